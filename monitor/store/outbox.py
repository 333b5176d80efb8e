"""The outbox: messages about alerts, written with the event, sent afterwards, and only then marked.

A message is claimed for a short while by pushing its `not_before` ahead: whoever dies between sending and marking
leaves it to be sent again, under the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from monitor.records import AlertEvent
from monitor.store.alerts import event_of
from monitor.store.database import Connection


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one channel. `key` is the same at every attempt; `attempts` counts this one too."""

    key: str
    channel: str
    attempts: int
    event: AlertEvent


def delivery_key(alert_key: str, episode: int, to_state: str, channel: str) -> str:
    """32 hex digits that stand for one turn of one alert told to one channel, however often it is sent."""
    identity = "\x1f".join((alert_key, str(episode), to_state, channel))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def add(conn: Connection, event_id: int, event: AlertEvent, channels: Sequence[str], now: datetime) -> None:
    """A message about `event` for each channel; belongs into the transaction that stores the event."""
    for channel in channels:
        conn.execute(
            text(
                "INSERT INTO outbox (delivery_key, event_id, channel, not_before)"
                " VALUES (:key, :event, :channel, :now)"
            ),
            {
                "key": delivery_key(event.alert_key, event.episode, event.to_state, channel),
                "event": event_id,
                "channel": channel,
                "now": now,
            },
        )


def claim(conn: Connection, channels: Sequence[str], now: datetime, until: datetime) -> Delivery | None:
    """Take the oldest message that is due on one of `channels`, until `until`; None: nothing is due.

    A message waits while an earlier one of the same alert to the same channel is neither sent nor given up. Messages
    that another worker is taking are passed over.
    """
    row = conn.execute(
        text(
            "WITH due AS (SELECT o.delivery_key FROM outbox o JOIN alert_event e USING (event_id)"
            " WHERE o.sent_at IS NULL AND o.given_up_at IS NULL AND o.not_before <= :now"
            " AND o.channel = ANY(:channels) AND NOT EXISTS (SELECT FROM outbox p JOIN alert_event f USING (event_id)"
            " WHERE p.sent_at IS NULL AND p.given_up_at IS NULL AND p.channel = o.channel"
            " AND f.alert_key = e.alert_key AND f.event_id < e.event_id)"
            " ORDER BY o.event_id, o.channel LIMIT 1 FOR UPDATE OF o SKIP LOCKED)"
            " UPDATE outbox SET attempts = attempts + 1, not_before = :until FROM due, alert_event e"
            " WHERE outbox.delivery_key = due.delivery_key AND e.event_id = outbox.event_id"
            " RETURNING outbox.delivery_key, outbox.channel, outbox.attempts,"
            " e.alert_key, e.episode, e.from_state, e.to_state, e.window_start, e.window_end, e.decided_at, e.value,"
            " e.threshold, e.n, e.evidence, e.event_id"
        ),
        {"channels": list(channels), "now": now, "until": until},
    ).one_or_none()
    if row is None:
        return None
    key, channel, attempts, *event = row
    return Delivery(key, channel, attempts, event_of(event))


def mark_sent(conn: Connection, key: str, now: datetime) -> None:
    """The channel has it."""
    conn.execute(
        text("UPDATE outbox SET sent_at = :now, last_error = '' WHERE delivery_key = :key"), {"key": key, "now": now}
    )


def postpone(conn: Connection, key: str, error: str, not_before: datetime) -> None:
    """The channel did not take it: again from `not_before` on."""
    conn.execute(
        text("UPDATE outbox SET last_error = :error, not_before = :at WHERE delivery_key = :key"),
        {"key": key, "error": error[:500], "at": not_before},
    )


def give_up(conn: Connection, key: str, error: str, now: datetime) -> None:
    """No further attempt; later messages of the same alert no longer wait for it."""
    conn.execute(
        text("UPDATE outbox SET last_error = :error, given_up_at = :now WHERE delivery_key = :key"),
        {"key": key, "error": error[:500], "now": now},
    )


def orphaned(conn: Connection, channels: Sequence[str], decided_before: datetime) -> list[tuple[str, str]]:
    """Open messages (key, channel) of old events to channels that are not configured any more."""
    rows = conn.execute(
        text(
            "SELECT o.delivery_key, o.channel FROM outbox o JOIN alert_event e USING (event_id)"
            " WHERE o.sent_at IS NULL AND o.given_up_at IS NULL AND o.channel <> ALL(:channels)"
            " AND e.decided_at < :before ORDER BY o.event_id"
        ),
        {"channels": list(channels), "before": decided_before},
    )
    return [(row[0], row[1]) for row in rows]
