"""The lease and its fence: one leader an epoch, and nothing written by one that leads no more."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from daemons import eventually
from sqlalchemy import text

from monitor.daemon import serve
from monitor.daemon.context import CatchUp, Context, Job
from monitor.daemon.jobs import JOBS
from monitor.daemon.lead import Lead
from monitor.errors import DependencyAway, NotLeading, TryAgain, UsageError
from monitor.settings import Settings, load_settings
from monitor.spec.load import Shelf
from monitor.store import lease, workers
from monitor.store.database import Database, open_database

LONG, SHORT = timedelta(seconds=30), timedelta(milliseconds=200)


@pytest.fixture
def work(database: Database) -> Database:
    """A database with a table that leaders write to."""
    with database.begin() as conn:
        conn.execute(text("CREATE TABLE work (epoch bigint)"))
    return database


def taken(database: Database, holder: str, length: timedelta = LONG) -> int | None:
    with database.begin() as conn:
        return lease.take(conn, holder, length)


def expire(database: Database) -> None:
    with database.begin() as conn:
        conn.execute(text("UPDATE leader SET until = clock_timestamp()"))


def written(database: Database) -> list[int]:
    with database.begin() as conn:
        return list(conn.execute(text("SELECT epoch FROM work ORDER BY 1")).scalars())


def led(database: Database, epoch: int) -> Database:
    return database.fenced(partial(lease.fence, epoch=epoch))


def test_one_has_the_lease_until_it_runs_out(database):
    assert taken(database, "one") == 1
    assert taken(database, "other") is None
    expire(database)
    with database.begin() as conn:
        assert lease.renew(conn, 1, LONG), "nobody took it meanwhile"
    assert taken(database, "other") is None
    expire(database)
    assert taken(database, "other") == 2
    with database.begin() as conn:
        assert not lease.renew(conn, 1, LONG)
        now = lease.standing(conn)
    assert now is not None
    assert (now.epoch, now.holder, now.in_force) == (2, "other", True)


def test_whoever_leads_no_more_writes_nothing(work):
    taken(work, "one")
    with led(work, 1).begin() as conn:
        conn.execute(text("INSERT INTO work VALUES (1)"))
    expire(work)
    taken(work, "other")
    with pytest.raises(NotLeading, match="other leads in epoch 2"), led(work, 1).begin() as conn:
        conn.execute(text("INSERT INTO work VALUES (1)"))
    with led(work, 2).begin() as conn:
        conn.execute(text("INSERT INTO work VALUES (2)"))
    assert written(work) == [1, 2]


def test_nobody_takes_over_in_the_middle_of_a_transaction_and_a_renewal_passes(work):
    taken(work, "one")
    with led(work, 1).begin() as conn:
        conn.execute(text("INSERT INTO work VALUES (1)"))
        with work.begin() as other:
            assert lease.renew(other, 1, SHORT)
        eventually(lambda: not_in_force(work))
        with pytest.raises(TryAgain):
            taken(work, "other")
    assert written(work) == [1]
    assert taken(work, "other") == 2


def not_in_force(database: Database) -> bool:
    with database.begin() as conn:
        now = lease.standing(conn)
    return now is not None and not now.in_force


def test_what_a_stopped_leader_has_open_is_ended(work, settings):
    taken(work, "one")
    with open_database(settings) as stopped, pytest.raises(DependencyAway):
        write_while_another_takes_over(led(stopped, 1), work)
    assert written(work) == []


def write_while_another_takes_over(stale: Database, database: Database) -> None:
    with stale.begin() as conn:
        conn.execute(text("INSERT INTO work VALUES (1)"))
        with database.begin() as other:
            assert lease.end_sessions(other) == 0, "its lease is in force"
        expire(database)
        with database.begin() as other:
            assert lease.end_sessions(other) == 1
        assert taken(database, "other") == 2
        conn.execute(text("INSERT INTO work VALUES (1)"))


def test_a_session_is_marked_for_the_length_of_a_transaction_alone(database):
    taken(database, "one")
    name = text("SELECT current_setting('application_name')")
    with led(database, 1).begin() as conn:
        assert conn.execute(name).scalar_one() == "monitor leader 1"
    with database.begin() as conn:
        assert conn.execute(name).scalar_one() == "monitor"


def test_a_transaction_that_only_holds_a_lock_is_ended_too_and_keeps_no_vacuum_waiting(database, settings):
    taken(database, "one")
    with open_database(settings) as stopped, pytest.raises(DependencyAway):
        hold_while_another_takes_over(stopped.fenced(partial(lease.mark, epoch=1)), database)
    with pytest.raises(NotLeading), database.fenced(partial(lease.mark, epoch=1)).begin():
        pass


def hold_while_another_takes_over(stale: Database, database: Database) -> None:
    with stale.begin() as conn:
        assert conn.execute(text("SELECT pg_current_xact_id_if_assigned()")).scalar_one() is None
        expire(database)
        with database.begin() as other:
            assert lease.end_sessions(other) == 1
        assert taken(database, "other") == 2
        conn.execute(text("SELECT 1"))


def test_a_standby_takes_over_and_the_other_notices(database):
    seconds = [0.0]
    one = Lead(database, SHORT, "one", stopwatch=lambda: seconds[0])
    other = Lead(database, LONG, "other")
    assert one.keep()
    assert not one.keep(), "it leads already"
    assert one.database_of_leader() is not None
    eventually(other.keep)
    assert one.database_of_leader() is not None, "it was stopped and knows nothing yet"
    with pytest.raises(NotLeading), one.database_of_leader().begin():
        pass
    assert not one.keep()
    assert one.database_of_leader() is None
    assert other.database_of_leader() is not None
    other.leave()
    assert one.keep(), "given back, it is free at once"


def test_a_lease_that_was_not_renewed_in_time_is_not_counted_on(database):
    seconds = [0.0]
    one = Lead(database, LONG, "one", stopwatch=lambda: seconds[0])
    one.keep()
    seconds[0] = 30.1
    assert one.database_of_leader() is None
    one.keep()
    assert one.database_of_leader() is not None


def test_by_hand_a_dead_leader_is_waited_for_and_a_living_one_is_not(database):
    killed, by_hand, stopping = Lead(database, SHORT, "killed"), Lead(database, SHORT, "by hand"), threading.Event()
    killed.keep()
    assert by_hand.wait(stopping)
    daemon = Lead(database, LONG, "daemon")
    by_hand.leave()
    daemon.keep()
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.05):
            daemon.keep()

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        assert not by_hand.wait(stopping)
    finally:
        beating.set()
        heart.join()


def test_windows_wait_for_the_slowest_process(database):
    early, late = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
    with database.begin() as conn:
        assert workers.intake(conn) == workers.Intake(None, "")
        workers.took_in(conn, "one", late, "")
        workers.took_in(conn, "other", early, "")
        assert workers.intake(conn) == workers.Intake(early, "")
        workers.took_in(conn, "other", late, "the disk is full")
        assert workers.intake(conn) == workers.Intake(early, "the disk is full")
        conn.execute(text("UPDATE worker SET seen_at = seen_at - interval '11 seconds' WHERE name = 'other'"))
        assert workers.intake(conn) == workers.Intake(late, ""), "one that has gone is not waited for"
        workers.leave(conn, "one")
        assert workers.intake(conn) == workers.Intake(early, "the disk is full"), "the last one that was seen"


@pytest.mark.parametrize("said", ["0", "31", "ten", "1.5"])
def test_a_lease_that_is_too_long_or_too_short_is_refused(said):
    with pytest.raises(UsageError, match="MONITOR_LEASE_S"):
        load_settings({"MONITOR_LEASE_S": said})
    assert load_settings({"MONITOR_LEASE_S": "3"}).lease_s == 3
    assert load_settings({}).lease_s == Settings().lease_s


def test_a_message_does_not_wait_for_jobs_that_take_hours(database, settings, monkeypatch):
    finish, begun = threading.Event(), []

    def for_hours(context: Context, now: datetime) -> int:
        begun.append(now)
        finish.wait(60)
        return 0

    long = [Job(f"long-{i}", timedelta(hours=1), for_hours, "for the test", local=True) for i in range(9)]
    prompt = [job for job in JOBS if job.name in ("deliver", "metrics", "audit")]
    monkeypatch.setattr(serve, "JOBS", (*long, *(replace(job, catch_up=CatchUp.LATEST) for job in prompt)))
    context = Context(settings, database, Shelf(settings.contracts_dir))
    ticker = serve._ticker(context)
    ticker.start()
    try:
        eventually(lambda: len(begun) == 4)
        eventually(lambda: done(database) >= {"deliver", "metrics", "audit"})
        assert len(begun) == 4, "of the others four at a time"
    finally:
        context.stopping.set()
        finish.set()
        ticker.shutdown()


def done(database: Database) -> set[str]:
    with database.begin() as conn:
        return set(conn.execute(text("SELECT job FROM job_run WHERE state = 'done'")).scalars())


def test_coming_to_lead_just_as_the_daemon_stops_is_no_error(database, settings):
    lead = Lead(database, LONG)
    context = Context(settings, database, Shelf(settings.contracts_dir), lead=lead)
    ticker = serve._ticker(context)
    ticker.start(paused=True)
    ticker.shutdown()
    serve._keep_lead(context, lead, ticker)
    assert lead.database_of_leader() is not None
