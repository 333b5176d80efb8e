"""Receivers that are away, refuse, ask for time or lie where nobody may speak to; and who stands in for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from outgoing import DAY, LOCAL, MINUTE, NOW, START, hook, rows, tell
from receiving import HANG, RESET, Receiver, receiving
from sqlalchemy import text

from monitor.alerts import deliver
from monitor.alerts.webhook import WebhookChannel
from monitor.alerts.wire import DeliveryFailed, Guard, Wire
from monitor.records import AlertEvent, Window
from monitor.store import alerts, outbox, receivers
from monitor.store.database import Database
from monitor.store.outbox import Parcel


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as known:
        yield known


def test_a_reset_and_a_time_out_are_failures_like_others(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing")
    receiver.answers = [(RESET, {}), (HANG, {})]
    channel = WebhookChannel(receiver.url, None, Wire(Guard.of("127.0.0.1"), timeout_s=0.3))
    said = []
    for minute in (0, 1, 3):
        deliver.run(database, [channel], NOW + minute * MINUTE)
        said.append(rows(database)[0][3].removeprefix("the webhook cannot be reached "))
    assert said[0] in ("(ReadError)", "(RemoteProtocolError)", "(WriteError)")
    assert said[1:] == ["(ReadTimeout)", ""]
    assert [sent for _, sent, _, _ in rows(database)] == [True]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_a_receiver_that_stays_away_is_left_alone_longer_and_longer(database: Database, receiver: Receiver) -> None:
    for number in range(5):
        tell(database, f"cam-{number}", "firing")
    receiver.answers = [(503, {})] * 100
    channel, tried = hook(receiver), []
    for turn in range(120):  # an hour
        before = len(receiver.got)
        deliver.run(database, [channel], NOW + turn * timedelta(seconds=30))
        tried += [turn] if len(receiver.got) > before else []
    # Five messages and their own waits would be some fifty attempts; the receiver is asked once a while.
    assert len(tried) < 15
    assert max(later - sooner for sooner, later in pairwise(tried)) <= 21, "ten minutes at most"
    receiver.answers = []
    deliver.run(database, [channel], NOW + timedelta(hours=2))
    deliver.run(database, [channel], NOW + timedelta(hours=3))
    assert all(sent for _, sent, _, _ in rows(database)), "once it is back, everything goes out"
    with database.begin() as conn:
        assert receivers.read(conn)["webhook"].failures == 0


def test_what_the_receiver_asks_for_holds_for_every_message(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing")
    tell(database, "cam-2", "firing")
    receiver.answers = [(429, {"Retry-After": "600"})]
    channel = hook(receiver)
    deliver.run(database, [channel], NOW)
    assert deliver.run(database, [channel], NOW + 9 * MINUTE) == 0
    assert len(receiver.got) == 1
    assert deliver.run(database, [channel], NOW + 11 * MINUTE) == 2


def test_the_fallback_speaks_while_the_other_is_away_and_tells_the_end_too(
    database: Database, receiver: Receiver
) -> None:
    tell(database, "cam-1", "firing", channels=("alertmanager",))

    class Away:
        name = "alertmanager"
        is_fallback = False

        def send(self, parcel: Parcel, now: datetime) -> str:
            raise DeliveryFailed("the line is dead", away=True)

    stands_in = WebhookChannel(receiver.url, None, LOCAL, fallback=True)
    for second in range(0, 40, 10):
        deliver.run(database, [Away(), stands_in], NOW + timedelta(seconds=second))
    assert receiver.got == [], "two failures are no absence"
    for minute in range(1, 4):
        deliver.run(database, [Away(), stands_in], NOW + minute * MINUTE)
    assert receiver.said == [("cam-1", "firing")], "once, however long it lasts"
    with database.begin() as conn:
        [alert] = alerts.read(conn)
        event = AlertEvent(alert.key, 1, "firing", "resolved", Window(START, START + DAY), NOW, 0.1, 0.5, 60, {})
        outbox.add(conn, alerts.add_event(conn, event), event, ["alertmanager"], NOW)
    deliver.run(database, [Away(), stands_in], NOW + 4 * MINUTE)
    assert receiver.said == [("cam-1", "firing"), ("cam-1", "resolved")]


def test_what_a_receiver_will_never_take_goes_to_the_fallback_too(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing", channels=("alertmanager",))

    class Refusing:
        name = "alertmanager"
        is_fallback = False

        def send(self, parcel: Parcel, now: datetime) -> str:
            raise DeliveryFailed("it answered 404", away=False)

    stands_in = WebhookChannel(receiver.url, None, LOCAL, fallback=True)
    for turn in range(20):
        deliver.run(database, [Refusing(), stands_in], NOW + turn * MINUTE)
    assert receiver.said == [("cam-1", "firing")]


def test_what_waits_for_a_receiver_goes_out_soon_after_it_is_back(database: Database, receiver: Receiver) -> None:
    for number in range(3):
        tell(database, f"cam-{number}", "firing")
    receiver.answers = [(503, {})] * 1000
    channel = hook(receiver)
    for minute in range(0, 181, 3):
        deliver.run(database, [channel], NOW + minute * MINUTE)
    receiver.answers = []
    back = NOW + timedelta(hours=3)
    for minute in range(11):
        deliver.run(database, [channel], back + minute * MINUTE)
    assert all(sent for _, sent, _, _ in rows(database)), "ten minutes, however long it was away"


def test_a_parcel_that_is_sent_again_holds_what_it_held(database: Database, receiver: Receiver) -> None:
    def fire(camera: str) -> None:
        tell(database, camera, "firing")
        with database.begin() as conn:
            conn.execute(text("UPDATE outbox SET group_key = 'm/drift' WHERE group_key <> 'm/drift'"))

    for camera in ("cam-1", "cam-2"):
        fire(camera)
    receiver.answers = [(500, {})]
    channel = hook(receiver)
    deliver.run(database, [channel], NOW)
    fire("cam-3")
    assert deliver.run(database, [channel], NOW + MINUTE) == 3
    sizes = [len(json.loads(body)["alerts"]) for _, body in receiver.got]
    assert sizes == [2, 2, 1]
    keys = [headers["webhook-id"] for headers, _ in receiver.got]
    assert keys[0] == keys[1] != keys[2]


def test_a_receiver_on_a_private_address_that_nobody_named_is_not_spoken_to(
    database: Database, receiver: Receiver
) -> None:
    tell(database, "cam-1", "firing")
    for number, host in enumerate(("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433")):
        channel = WebhookChannel(f"http://{host}:{receiver.port}/")
        deliver.run(database, [channel], NOW + number * timedelta(hours=1))
        assert "name it in MONITOR_PRIVATE_RECEIVERS" in rows(database)[0][3], host
    assert receiver.got == []


class Forgetful:
    """A receiver that forgets what is on: it takes nothing while it is away, and notes what it is told of again."""

    name, is_fallback, interval = "webhook", False, MINUTE

    def __init__(self) -> None:
        self.is_away, self.told = True, [""]

    def send(self, parcel: Parcel, now: datetime) -> str:
        return self._take([one.event for one in parcel.deliveries])

    def refresh(self, still_on: list[AlertEvent], taken_on: object, now: datetime) -> None:
        self._take(still_on)

    def _take(self, events: list[AlertEvent]) -> str:
        if self.is_away:
            raise DeliveryFailed("nobody is there", away=True)
        self.told = [event.alert_key for event in events]
        return "taken"


def test_what_is_still_on_is_told_when_a_receiver_was_away_for_longer_than_a_day(database: Database) -> None:
    tell(database, "cam-1", "firing")
    receiver = Forgetful()
    for hour in range(26):
        deliver.run(database, [receiver], NOW + hour * 60 * MINUTE)
    assert rows(database)[0][1:3] == (False, True), "given up"
    receiver.is_away = False
    deliver.run(database, [receiver], NOW + 28 * 60 * MINUTE)
    assert receiver.told == ["m/drift/v1/cam-1/-/-"]


class Broken(Forgetful):
    """A receiver whose code has a fault that only cam-1 meets."""

    def _take(self, events: list[AlertEvent]) -> str:
        if any("cam-1" in event.alert_key for event in events):
            raise ValueError("nobody thought of that")
        self.told += [event.alert_key for event in events]
        return "taken"


def test_a_fault_that_one_message_meets_holds_up_no_other(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    tell(database, "cam-1", "firing")
    tell(database, "cam-2", "firing")
    receiver = Broken()
    assert deliver.run(database, [receiver], NOW) == 1
    assert receiver.told == ["", "m/drift/v1/cam-2/-/-"]
    assert rows(database)[0][1:] == (False, False, "webhook failed (ValueError); see the log")
    assert "ValueError at" in caplog.text
    assert "nobody thought of that" not in caplog.text
