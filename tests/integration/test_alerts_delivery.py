"""The outbox on real Postgres, and a webhook on a real HTTP server."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from outgoing import DAY, LOCAL, MINUTE, NOW, hook, rows, tell
from receiving import SECRET, Receiver, receiving
from sqlalchemy import text

from monitor.alerts import deliver
from monitor.alerts.channels import LogChannel
from monitor.alerts.webhook import WebhookChannel, sign
from monitor.alerts.wire import DeliveryFailed
from monitor.settings import Settings
from monitor.store import outbox
from monitor.store.database import Database, open_database
from monitor.store.outbox import Parcel


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as known:
        yield known


def test_a_message_is_tried_again_after_a_failure_under_the_same_key(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing")
    receiver.answers = [(500, {})]
    channel = hook(receiver, SECRET)
    assert deliver.run(database, [channel], NOW) == 0
    assert rows(database) == [(1, False, False, "the webhook answered 500")]
    assert deliver.run(database, [channel], NOW + timedelta(seconds=1)) == 0
    assert deliver.run(database, [channel], NOW + MINUTE) == 1
    assert deliver.run(database, [channel], NOW + DAY) == 0
    assert rows(database) == [(2, True, False, "")]
    (first, first_body), (second, second_body) = receiver.got
    assert first["webhook-id"] == second["webhook-id"] == json.loads(second_body)["deliveryKey"]
    assert first_body == second_body
    for headers, body in receiver.got:
        assert headers["webhook-signature"] == sign(
            SECRET.encode(), headers["webhook-id"], headers["webhook-timestamp"], body
        )
    assert int(second["webhook-timestamp"]) == int((NOW + MINUTE).timestamp())


def test_one_alerts_messages_keep_their_order(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing", "resolved", "firing")
    tell(database, "cam-2", "firing")
    # 400 is about this one message: the receiver is there, and other alerts go on.
    receiver.answers = [(400, {})]
    channel = hook(receiver)
    assert deliver.run(database, [channel], NOW) == 1
    assert receiver.said == [("cam-1", "firing"), ("cam-2", "firing")]
    assert deliver.run(database, [channel], NOW + MINUTE) == 3
    assert receiver.said[2:] == [("cam-1", "firing"), ("cam-1", "resolved"), ("cam-1", "firing")]


def test_one_channel_does_not_wait_for_another(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing", "resolved", channels=("log", "webhook"))
    receiver.answers = [(503, {})]
    assert deliver.run(database, [LogChannel(), hook(receiver)], NOW) == 2
    assert [row[1] for row in rows(database)].count(True) == 2
    assert len(receiver.got) == 1


def test_a_receiver_that_is_away_is_left_alone_for_the_rest_of_the_run(
    database: Database, receiver: Receiver
) -> None:
    for number in range(5):
        tell(database, f"cam-{number}", "firing")
    receiver.answers = [(503, {})] * 5
    assert deliver.run(database, [hook(receiver)], NOW) == 0
    assert len(receiver.got) == 1


def test_a_receiver_that_asks_for_time_gets_it(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing")
    receiver.answers = [(429, {"Retry-After": "600"})]
    channel = hook(receiver)
    deliver.run(database, [channel], NOW)
    assert deliver.run(database, [channel], NOW + 9 * MINUTE) == 0
    assert deliver.run(database, [channel], NOW + 11 * MINUTE) == 1


def test_redirects_are_not_followed(database: Database, receiver: Receiver) -> None:
    tell(database, "cam-1", "firing")
    receiver.answers = [(307, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"})]
    assert deliver.run(database, [hook(receiver)], NOW) == 0
    assert len(receiver.got) == 1
    assert rows(database)[0][3] == "the webhook redirects, which is not followed"


def test_after_a_day_it_is_given_up_and_the_next_one_goes(
    database: Database, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    tell(database, "cam-1", "firing", "resolved")
    receiver.answers = [(404, {}), (404, {})]
    channel = hook(receiver, SECRET)
    with caplog.at_level(logging.DEBUG):
        deliver.run(database, [channel], NOW)
        assert rows(database)[0][:3] == (1, False, False)
        assert deliver.run(database, [channel], NOW + DAY) == 1
    assert [row[:3] for row in rows(database)] == [(2, False, True), (1, True, False)]
    assert receiver.said == [("cam-1", "firing"), ("cam-1", "firing"), ("cam-1", "resolved")]
    assert "given up after 2 attempts: the webhook answered 404" in caplog.text
    assert SECRET not in caplog.text


def test_a_message_waits_a_day_for_a_channel_that_is_not_configured(database: Database) -> None:
    tell(database, "cam-1", "firing")
    deliver.run(database, [LogChannel()], NOW + DAY)
    assert rows(database) == [(0, False, False, "")]
    deliver.run(database, [LogChannel()], NOW + DAY + MINUTE)
    assert rows(database) == [(0, False, True, "the channel is not configured any more")]


def test_a_kill_between_sending_and_marking_sends_again_under_the_same_key(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    tell(database, "cam-1", "firing", "resolved")

    class Deadly(WebhookChannel):
        def send(self, parcel: Parcel, now: datetime) -> str:
            super().send(parcel, now)
            os.kill(os.getpid(), signal.SIGKILL)
            return "never"

    child = os.fork()
    if child == 0:
        try:
            with open_database(settings) as own:
                deliver.run(own, [Deadly(receiver.url, None, LOCAL)], NOW)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    channel = hook(receiver)
    # Until the dead worker's claim ends, nobody touches the message, nor the one behind it.
    assert deliver.run(database, [channel], NOW + deliver.CLAIM - timedelta(seconds=10)) == 0
    assert deliver.run(database, [channel], NOW + deliver.CLAIM + timedelta(seconds=10)) == 2
    assert receiver.said == [("cam-1", "firing"), ("cam-1", "firing"), ("cam-1", "resolved")]
    keys = [headers["webhook-id"] for headers, _ in receiver.got]
    assert keys[0] == keys[1] != keys[2]


def test_in_a_long_run_a_claim_counts_from_its_own_moment(database: Database) -> None:
    """Each message takes three quarters of a claim; another worker who looks in meanwhile finds it held."""
    for number in range(4):
        tell(database, f"cam-{number}", "firing")
    passed = [0.0]
    found: list[int] = []
    stamps: list[timedelta] = []

    class Slow:
        name = "webhook"
        is_fallback = False

        def send(self, parcel: Parcel, now: datetime) -> str:
            stamps.append(now - NOW)
            passed[0] += 0.75 * deliver.CLAIM.total_seconds()
            with database.begin() as conn:
                at = NOW + timedelta(seconds=passed[0])
                held = text("SELECT count(*) FROM outbox WHERE attempts = 1 AND sent_at IS NULL AND not_before > :at")
                found.append(conn.execute(held, {"at": at}).scalar_one())
            return "taken"

    assert deliver.run(database, [Slow()], NOW, stopwatch=lambda: 100 + passed[0]) == 4
    assert found == [1, 1, 1, 1]
    assert stamps == [number * 0.75 * deliver.CLAIM for number in range(4)]


def test_nothing_is_sent_within_a_transaction(database: Database) -> None:
    tell(database, "cam-1", "firing")

    class Looking:
        name = "webhook"
        is_fallback = False
        busy = -1

        def send(self, parcel: Parcel, now: datetime) -> str:
            with database.begin() as conn:
                others = text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'"
                )
                self.busy = conn.execute(others).scalar_one()
            return "taken"

    looking = Looking()
    assert deliver.run(database, [looking], NOW) == 1
    assert looking.busy == 0


def test_two_workers_never_claim_one_message(database: Database) -> None:
    tell(database, "cam-1", "firing", "resolved")
    tell(database, "cam-2", "firing")
    until = NOW + MINUTE
    with database.begin() as one, database.begin() as other:
        first = outbox.claim(one, ["webhook"], NOW, until)
        second = outbox.claim(other, ["webhook"], NOW, until)
        third = outbox.claim(other, ["webhook"], NOW, until)
    assert first is not None
    assert second is not None
    assert [p.deliveries[0].event.alert_key.split("/")[3] for p in (first, second)] == ["cam-1", "cam-2"]
    assert third is None
    with database.begin() as conn:
        outbox.mark_sent(conn, [first.key], NOW)
        behind = outbox.claim(conn, ["webhook"], NOW, until)
    assert behind is not None
    assert behind.state == "resolved"


def test_a_channel_that_fails_says_so_and_loses_nothing(database: Database) -> None:
    tell(database, "cam-1", "firing")

    class Away:
        name = "webhook"
        is_fallback = False

        def send(self, parcel: Parcel, now: datetime) -> str:
            raise DeliveryFailed("the line is dead", away=True)

    for attempt in range(1, 4):
        assert deliver.run(database, [Away()], NOW + attempt * timedelta(hours=1)) == 0
    assert rows(database) == [(3, False, False, "the line is dead")]
