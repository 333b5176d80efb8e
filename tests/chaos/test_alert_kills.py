"""Alerts under kills and bad receivers: none is missing, a repeat has a known key, an alert's turns stay in order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from chaos.children import Nursery
from chaos.conftest import Account
from light import DAY, START, freeze, key_of, measure
from receiving import HANG, RESET, Receiver, receiving
from sqlalchemy import text

from monitor.alerts import deliver
from monitor.alerts.webhook import WebhookChannel
from monitor.alerts.wire import Guard, Wire
from monitor.records import Alert, AlertEvent, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.store import alerts, outbox
from monitor.store.database import Database

CAMERAS = 6
STEP = timedelta(minutes=2)
"""Longer than a claim: what a child left behind is free for the next."""
PLACES = ("monitor.alerts.wire:Wire.post", "psycopg:Connection.commit", "monitor.store.outbox:mark_sent")
BAD = ((500, {}), (429, {"Retry-After": "3"}), (RESET, {}), (HANG, {}))


def turn(database: Database, camera: str, number: int, now: datetime) -> None:
    """The number-th turn of one alert: firing, resolved, firing, ..."""
    key = key_of(camera)
    series = SeriesKey(Scope("presses", "v1", camera=camera), "brightness")
    state = "resolved" if number % 2 else "firing"
    episode = number // 2 + 1
    window = Window(START + number * DAY, START + (number + 1) * DAY)
    scope = {"model": "presses", "version": "v1", "camera": camera}
    why = {"sentence": f"{camera} {number}", "rule": "light", "severity": "warning", "scope": scope}
    with database.begin() as conn:
        known = {alert.key: alert.revision for alert in alerts.read(conn, prefix=key)}
        facts = ("light", "psi", "warning", state, episode, 1, 0, window.start, window.end, 0.6, 0.5, 60, "because")
        assert alerts.save(conn, Alert(key, series, *facts, known.get(key, 0)))
        event = AlertEvent(key, episode, "", state, window, now, float(number), 0.5, 60, why)
        outbox.add(conn, alerts.add_event(conn, event), event, ["webhook"], now)


def heard(bodies: list[dict[str, Any]]) -> list[tuple[str, float, str]]:
    """(alert, number of its turn, delivery key) of every alert in every message, in order."""
    return [
        (one["annotations"]["alert"], float(one["annotations"]["value"]), one["deliveryKey"])
        for body in bodies
        for one in body["alerts"]
    ]


def quiet_end(database: Database, receiver: Receiver, now: datetime) -> datetime:
    """Deliver with a receiver that is well until nothing is left."""
    receiver.answers = []
    channel = WebhookChannel(receiver.url, None, Wire(Guard.of("127.0.0.1")))
    for _ in range(30):
        now += timedelta(minutes=15)
        deliver.run(database, [channel], now)
        with database.begin() as conn:
            left = text("SELECT count(*) FROM outbox WHERE sent_at IS NULL AND given_up_at IS NULL")
            if conn.execute(left).scalar_one() == 0:
                return now
    raise AssertionError("the outbox has not been emptied in seven hours")


def test_kills_and_bad_receivers_lose_no_alert(
    warm: Nursery,
    settings: Settings,
    database: Database,
    rng: random.Random,
    count: Callable[[int, int], int],
    account: Callable[[str], Account],
) -> None:
    opened, kills, rounds, now = account("deliverer killed, bad receivers"), 0, 0, START
    turns = dict.fromkeys((f"cam-{number}" for number in range(CAMERAS)), 0)
    with receiving() as receiver:
        while kills < count(30, 200):
            rounds += 1
            assert rounds < 1000
            now += STEP
            for camera in rng.sample(sorted(turns), rng.randint(1, CAMERAS)):
                turn(database, camera, turns[camera], now)
                turns[camera] += 1
            receiver.answers = [rng.choice(BAD) if rng.random() < 0.3 else (200, {}) for _ in range(20)]
            wound = {
                "where": rng.choice(PLACES),
                "nth": rng.randint(1, 6),
                "side": rng.choice(("before", "after")),
                "act": "kill",
            }
            child = warm.run("tell", wound, url=settings.database_url, hook=receiver.url, now=now.isoformat())
            kills += child.code == -9
            assert child.code in (0, -9), child.said
        quiet_end(database, receiver, now)
        every = heard([json.loads(body) for _, body in receiver.got])
        taken = {key for _, _, key in heard([body for _, body in receiver.taken])}
        parcels = {headers["webhook-id"] for headers, _ in receiver.got}
    with database.begin() as conn:
        known = set(conn.execute(text("SELECT delivery_key FROM outbox")).scalars())
        given_up = conn.execute(text("SELECT count(*) FROM outbox WHERE given_up_at IS NOT NULL")).scalar_one()
    opened.closed(kills)
    assert len(known) == sum(turns.values())
    assert known - taken == set(), "none is missing"
    assert given_up == 0
    assert {key for _, _, key in every} == known, "a repeat has a known key"
    assert parcels <= known
    last: dict[str, float] = {}
    for alert, number, _ in every:
        assert number >= last.get(alert, 0), f"{alert}: turn {number} after turn {last[alert]}"
        last[alert] = number


@pytest.mark.parametrize("act", ["ends", "killed"])
def test_restarts_while_an_alert_fires_tell_it_once(
    act: str,
    warm: Nursery,
    settings: Settings,
    database: Database,
    rng: random.Random,
    count: Callable[[int, int], int],
    account: Callable[[str], Account],
) -> None:
    opened, baseline, kills = account(f"restarts while firing, each {act}"), freeze(database), 0
    restarts = count(10, 100)
    with receiving() as receiver:
        for number in range(restarts + 1):
            # The last window is clear.
            now = measure(database, baseline, number, [0.9 if number < restarts else 0.0])
            wound = {
                "where": PLACES[1],
                "nth": rng.randint(1, 12),
                "side": rng.choice(("before", "after")),
                "act": "kill",
            }
            told = {"url": settings.database_url, "hook": receiver.url, "judge": True, "now": now.isoformat()}
            kills += warm.run("tell", wound if act == "killed" else None, **told).code == -9
        for minute in (2, 4):
            warm.run("tell", None, **{**told, "now": (now + timedelta(minutes=minute)).isoformat()})
        messages = [(key, body["status"]) for _, body in receiver.taken for key in [body["deliveryKey"]]]
    opened.closed(restarts)
    states = [status for _, status in dict.fromkeys(messages)]
    assert states == ["firing", "resolved"], "one trigger, one end, whatever was repeated"
    if act == "ends":
        assert len(messages) == 2
    else:
        assert kills >= restarts // 2
