"""The signal that all is well comes every minute, and stays away once any one part has stopped.

The daemon's own jobs by a clock of the test's, to a receiver of its own on a real socket.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import text

from monitor.alerts import deadman
from monitor.daemon.context import Context
from monitor.daemon.jobs import JOBS, turn_of
from monitor.daemon.run import take_turn
from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store.database import Database

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
STOPPED = START + timedelta(minutes=3)
WITHIN = timedelta(minutes=2)
PIECE = bytes(1 << 20)
CONTRACT = '[model]\nname = "presses"\n[[classes]]\nname = "dent"\n[cameras]\npolicy = "open"\n'


class Receiver(ThreadingHTTPServer):
    """Counts what comes in, and answers with `status`."""

    def __init__(self) -> None:
        self.received = 0
        self.status = 200
        self.more = 0
        """Pieces of an answer of no use that follow the head of each."""
        self.gone = 0
        """Pieces of them that went out."""
        super().__init__(("127.0.0.1", 0), Counting)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ping/secret"


class Counting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.received += 1
        self.send_response(self.server.status)
        self.end_headers()
        with suppress(ConnectionError):
            for _ in range(self.server.more):
                self.wfile.write(PIECE)
                self.server.gone += 1

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Watched:
    """A daemon and who listens to it."""

    context: Context
    receiver: Receiver
    heard: list[datetime] = field(default_factory=list)

    def run(self, start: datetime, end: datetime, ticks: Callable[[str], bool] = lambda job: True) -> None:
        """Let the jobs that `ticks` names have their turns."""
        at = start
        while at < end:
            for job in JOBS:
                if ticks(job.name) and turn_of(at, job.every) == at:
                    take_turn(self.context, job, at)
            new = self.receiver.received - len(self.heard)
            self.heard += [at] * new
            at += timedelta(seconds=5)


@pytest.fixture
def watched(settings: Settings, database: Database, receiver: Receiver) -> Watched:
    """A daemon that is well."""
    settings.contracts_dir.mkdir(parents=True)
    (settings.contracts_dir / "presses.toml").write_text(CONTRACT)
    settings = replace(settings, deadman_url=receiver.address)
    made = Watched(Context(settings, database, Shelf(settings.contracts_dir)), receiver)
    for job in JOBS[:3]:
        take_turn(made.context, job, START - timedelta(seconds=5))
    return made


def is_well(watched: Watched) -> None:
    """It was heard every minute so far, at the latest a turn of the outbox late."""
    minutes = [START + timedelta(minutes=number) for number in range(3)]
    assert [turn_of(at, timedelta(minutes=1)) for at in watched.heard] == minutes


@pytest.mark.parametrize("part", ["intake", "deliver"])
def test_it_stops_once_a_part_has_stopped_and_comes_back_with_it(watched, part):
    watched.run(START, STOPPED)
    is_well(watched)
    watched.run(STOPPED, STOPPED + timedelta(minutes=4), lambda job: job != part)
    assert max(watched.heard) <= STOPPED + WITHIN
    before, back = len(watched.heard), STOPPED + timedelta(minutes=5)
    watched.run(back, back + timedelta(minutes=2))
    assert len(watched.heard) > before


def test_a_faulty_contract_is_found_and_does_not_stop_it_while_another_is_in_force(watched):
    file = watched.context.settings.contracts_dir / "presses.toml"
    file.write_text(CONTRACT.replace("[model]", "[modle]"))
    watched.run(START, STOPPED)
    is_well(watched)
    with watched.context.database.begin() as conn:
        checks = conn.execute(text("SELECT check_name FROM finding")).scalars().all()
    assert checks == ["contracts"]


def test_it_stops_where_no_contract_is_in_force(watched):
    watched.context.shelf.contracts.clear()
    (watched.context.settings.contracts_dir / "presses.toml").unlink()
    watched.run(START, STOPPED)
    assert not watched.heard


def test_it_stops_with_the_scheduler_and_an_old_one_is_never_sent(watched):
    watched.run(START, STOPPED)
    is_well(watched)
    take_turn(watched.context, JOBS[-1], STOPPED)
    before = watched.receiver.received
    late = STOPPED + timedelta(minutes=5)
    watched.run(late, late + timedelta(seconds=55), lambda job: job == "deliver")
    assert watched.receiver.received == before, "it would say that all was well then"


def test_an_intake_that_fails_ends_it_too(watched, monkeypatch):
    watched.run(START, STOPPED)

    def fail(*_, **__):
        raise UsageError("the spool cannot be read; let this account read it")

    monkeypatch.setattr("monitor.ingest.stage.run", fail)
    watched.run(STOPPED, STOPPED + timedelta(minutes=3))
    assert max(watched.heard) <= STOPPED + WITHIN


def test_it_is_one_row_and_a_receiver_that_refuses_is_tried_once_a_minute(watched, caplog):
    watched.receiver.status = 500
    watched.run(START, STOPPED)
    assert len(watched.heard) == 3
    with watched.context.database.begin() as conn:
        rows = conn.execute(text("SELECT delivery_key, event_id, sent_at, last_error FROM outbox")).all()
        assert conn.execute(text("SELECT count(*) FROM finding")).scalar_one() == 0
    assert rows == [("deadman", None, None, "its receiver answered 500")]
    assert "secret" not in caplog.text
    watched.receiver.shutdown()
    watched.receiver.server_close()
    watched.run(STOPPED, STOPPED + timedelta(minutes=1))
    assert "cannot be reached" in caplog.text
    assert "secret" not in caplog.text


def test_what_its_receiver_answers_is_not_read(watched):
    watched.receiver.more = 128
    watched.run(START, START + timedelta(seconds=30))
    assert len(watched.heard) == 1
    with watched.context.database.begin() as conn:
        assert conn.execute(text("SELECT sent_at IS NOT NULL FROM outbox")).scalar_one()
    assert watched.receiver.gone < 64, "it hung up"


@pytest.mark.parametrize("said", ["ftp://host/path", "host", "http://", "http://[::1"])
def test_an_address_that_cannot_be_used_is_a_sentence_without_it(said):
    with pytest.raises(UsageError, match="MONITOR_DEADMAN_URL") as error:
        deadman.address(Settings(deadman_url=said))
    assert said not in str(error.value).removesuffix("https://host/path")
