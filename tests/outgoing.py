"""Messages in the outbox, written as the judging writes them, and a webhook that speaks to this machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from receiving import Receiver
from sqlalchemy import text

from monitor.alerts.evaluate import alert_key
from monitor.alerts.webhook import WebhookChannel
from monitor.alerts.wire import Guard, Wire
from monitor.records import Alert, AlertEvent, Scope, SeriesKey, Window
from monitor.store import alerts, outbox
from monitor.store.database import Database

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LOCAL = Wire(Guard.of("127.0.0.1"))


def hook(receiver: Receiver, secret: str | None = None) -> WebhookChannel:
    return WebhookChannel(receiver.url, secret, LOCAL)


def tell(database: Database, camera: str, *states: str, channels: tuple[str, ...] = ("webhook",)) -> None:
    """One episode for each pair of turns, decided at NOW."""
    series = SeriesKey(Scope("m", "v1", camera=camera), "brightness")
    key = alert_key("drift", series)
    window = Window(START, START + DAY)
    with database.begin() as conn:
        alert = Alert(
            key, series, "drift", "psi", "warning", "firing", 1, 2, 0, START, window.end, 0.6, 0.5, 60, "because"
        )
        assert alerts.save(conn, alert)
        for turn, state in enumerate(states):
            why = {"sentence": f"{camera} is {state}", "severity": "warning"}
            event = AlertEvent(key, 1 + turn // 2, "pending", state, window, NOW, 0.6, 0.5, 60, why)
            outbox.add(conn, alerts.add_event(conn, event), event, channels, NOW)


def rows(database: Database) -> list[tuple[int, bool, bool, str]]:
    """(attempts, sent, given up, last error) by event."""
    with database.begin() as conn:
        found = conn.execute(
            text(
                "SELECT attempts, sent_at IS NOT NULL, given_up_at IS NOT NULL, last_error FROM outbox"
                " ORDER BY event_id"
            )
        )
        return [(row[0], row[1], row[2], row[3]) for row in found]
