"""What the auditor finds: each thing in a world where it is so, beside one where it is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from plants import START, contract, frame, take
from sqlalchemy import text

from monitor.daemon import audit
from monitor.daemon.jobs import JOBS
from monitor.ingest import audit as recounting
from monitor.ingest.audit import Task
from monitor.records import AlertEvent, Window
from monitor.spec.golden import GoldenSpec
from monitor.store import findings, jobs, outbox, workers
from monitor.store.database import Database
from monitor.store.jobs import Ended, Turn

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WATCHED = [job for job in JOBS if job.name != "audit"]
TURNS = {job.name: job.every for job in WATCHED}


def ran(database: Database, at: datetime, *, without: str = "", error: str = "") -> None:
    """Every job ran then, but for one, which failed or did not run."""
    with database.begin() as conn:
        for job, every in TURNS.items():
            if job != without or error:
                turn = Turn(job, at - (at - START) % every, every)
                jobs.note(conn, turn, Ended(at, at, 0, error if job == without else ""), again=True)


@pytest.fixture
def contracts(tmp_path):
    return contract(tmp_path / "contracts")


def found(database: Database, contracts, now: datetime = NOW) -> dict[tuple[str, str], str]:
    audit.run(database, contracts, WATCHED, now, signal=False)
    with database.begin() as conn:
        return {(one.check, one.subject): one.sentence for one in findings.standing(conn)}


def test_nothing_is_wrong_where_everything_ran(database, contracts):
    ran(database, NOW)
    assert found(database, contracts) == {}
    assert list(found(database, {})) == [("contracts", "")]


@pytest.mark.parametrize("job", sorted(TURNS))
def test_a_job_is_found_once_it_is_overdue(database, contracts, job):
    ran(database, NOW)
    late = NOW + 3 * TURNS[job] + MINUTE
    ran(database, late, without=job)
    assert found(database, contracts, late) == {}
    late += timedelta(seconds=1)
    assert list(found(database, contracts, late)) == [("jobs", job)]
    ran(database, late)
    assert found(database, contracts, late) == {}, "what is well again is found no more"


def test_a_job_that_was_never_done_is_found(database, contracts):
    ran(database, NOW, without="drift")
    assert "has never been done yet" in found(database, contracts)["jobs", "drift"]
    ran(database, NOW, without="retention", error="a lock was in the way")
    said = found(database, contracts)
    assert "has never been done and failed: a lock was in the way" in said["jobs", "retention"]


def test_the_beginning_of_a_finding_is_kept(database, contracts):
    ran(database, NOW, without="drift")
    for minutes in (0, 1):
        found(database, contracts, NOW + minutes * MINUTE)
    with database.begin() as conn:
        assert [one.since for one in findings.standing(conn)] == [NOW]


def test_the_intake_of_each_process_is_looked_at(database, contracts):
    ran(database, NOW)
    with database.begin() as conn:
        workers.took_in(conn, "one", NOW, "")
        workers.took_in(conn, "other", NOW - timedelta(seconds=76), "")
    ((place, sentence),) = found(database, contracts).items()
    assert place == ("jobs", "intake other")
    assert "11:58:44" in sentence


def tell(database: Database, decided_at: datetime) -> str:
    """An alert is told to the webhook; returns the key of the message."""
    event = AlertEvent(
        "line/r", 1, "pending", "firing", Window(START, START + HOUR), decided_at, 1.0, 0.5, 100, {"severity": "info"}
    )
    with database.begin() as conn:
        number = conn.execute(
            text(
                "INSERT INTO alert_event (alert_key, episode, from_state, to_state, window_start, window_end,"
                " decided_at, value, threshold, n, evidence) VALUES ('line/r', 1, 'pending', 'firing', :start, :end,"
                " :at, 1, 0.5, 100, '{}') RETURNING event_id"
            ),
            {"start": event.window.start, "end": event.window.end, "at": decided_at},
        ).scalar_one()
        outbox.add(conn, number, event, ["webhook"], decided_at)
        return outbox.delivery_key("line/r", 1, "firing", "webhook")


def test_messages_that_nobody_takes(database, contracts):
    told_at = NOW - 15 * MINUTE
    ran(database, NOW)
    key = tell(database, told_at)
    assert found(database, contracts) == {}
    later = NOW + MINUTE
    ran(database, later)
    said = found(database, contracts, later)["outbox", "webhook"]
    assert said == (
        "1 messages to webhook are not taken, one since 2026-03-20 11:45 UTC (it was not tried); see to the receiver"
    )
    with database.begin() as conn:
        outbox.postpone(conn, [key], "the webhook answered 503", NOW + 20 * MINUTE)
    assert "answered 503" in found(database, contracts, later)["outbox", "webhook"]
    with database.begin() as conn:
        outbox.mark_sent(conn, [key], NOW + 14 * MINUTE)
    assert found(database, contracts, later) == {}


def sent(database: Database, source: str, hours: list[datetime]) -> None:
    """A source sent a batch in each of these hours."""
    with database.begin() as conn:
        for number, at in enumerate(hours):
            conn.execute(
                text(
                    "INSERT INTO batch (source, name, file_name, sha256, lines, stored, duplicate, rejected, blank,"
                    " detections_rejected, received_at) VALUES (:source, :name, 'f', '', 1, 1, 0, 0, 0, 0, :at)"
                ),
                {"source": source, "name": str(number), "at": at},
            )
        conn.execute(
            text(
                "INSERT INTO intake_total (source, outcome, reason, count, mended, last_at)"
                " VALUES (:source, 'batch', '', :count, 0, :at)"
            ),
            {"source": source, "count": len(hours), "at": max(hours)},
        )


def test_a_source_is_silent_by_its_own_habit(database, contracts):
    """One that sends every hour, one on workdays from six to two, one that is new; all stop on a Friday at 13:30."""
    friday = datetime(2026, 3, 20, 13, 30, tzinfo=UTC)
    every_hour = [friday - number * HOUR for number in range(24 * 13)]
    shift = [at for at in every_hour if at.weekday() < 5 and 6 <= at.hour < 14]
    for source, hours in (("steady", every_hour), ("shift", shift), ("new", every_hour[:20])):
        sent(database, source, hours)

    def silent(now: datetime) -> list[str]:
        with database.begin() as conn:
            return [one.source for one in findings.silent(conn, now)]

    assert silent(friday + HOUR) == []
    assert silent(friday + 2 * HOUR) == ["steady"]
    monday = friday + timedelta(days=2, hours=18)
    assert silent(monday) == ["steady"], "a weekend is the other's habit"
    assert silent(monday + timedelta(days=2)) == ["shift", "steady"]
    assert silent(friday + timedelta(days=15)) == [], "they are taken to be gone"
    ran(database, friday + 2 * HOUR)
    sentence = found(database, contracts, friday + 2 * HOUR)["sources", "steady"]
    assert sentence.startswith("steady last sent 2026-03-20 13:30 UTC, and never paused longer than 1 h")


def test_a_roll_up_that_is_wrong_is_found_and_stands_until_it_is_right(database, contracts):
    take(database, contracts, "a", [frame(f"e-{minute}", minute, [("carton", 0.9)]) for minute in range(30)])
    looked = START + 2 * HOUR
    assert audit.recount(database, contracts, looked) == 0
    wrong = text("UPDATE rollup SET n = n + 1 WHERE ctid = (SELECT min(ctid) FROM rollup)")
    with database.begin() as conn:
        conn.execute(wrong)
    assert audit.recount(database, contracts, looked + HOUR) == 0, "another hour is looked at"
    assert audit.recount(database, contracts, looked) == 1
    ran(database, looked)
    ((place, sentence),) = found(database, contracts, looked).items()
    assert place == ("rollups", "2026-03-02T09:00+0000 line")
    assert "1 of " in sentence
    assert "monitor rollups audit --from 2026-03-02T09:00Z" in sentence
    assert audit.recount(database, contracts, looked + HOUR) == 1, "what was wrong is looked at again"
    recounting.run(database, Task(Window(START, START + HOUR), repair=True), NOW)
    assert audit.recount(database, contracts, looked + 5 * HOUR) == 0
    assert found(database, contracts, looked) == {}


def test_models_are_recounted_in_turn(database, contracts):
    both = contracts | {"another": contracts["line"]}
    hours = [START - HOUR, START, START + HOUR, START + 2 * HOUR]
    seen = []
    for hour in hours:
        name = f"e-{hour:%d%H}"
        take(database, contracts, name, [frame(name, (hour - START) // MINUTE, [("carton", 0.9)])])
    with database.begin() as conn:
        conn.execute(text("UPDATE rollup SET n = n + 1 WHERE n > 0"))
    for hour in hours:
        before = len(seen_wrong(database))
        audit.recount(database, both, hour + 2 * HOUR)
        seen.append(len(seen_wrong(database)) - before)
    assert seen in ([1, 0, 1, 0], [0, 1, 0, 1])


def seen_wrong(database: Database) -> list[str]:
    with database.begin() as conn:
        return [one.subject for one in findings.standing(conn, "rollups")]


def golden(database: Database, run: int, status: str, reason: str = "", version: str = "v1") -> None:
    with database.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO golden_run (model, version, kind, contract_hash, started_at, status, reason)"
                " VALUES ('line', :version, 'golden', '', :at, :status, :reason)"
            ),
            {"status": status, "reason": reason, "at": NOW + run * MINUTE, "version": version},
        )


@pytest.fixture
def scored(contracts):
    """The contracts, with a golden set for v1."""
    (loaded,) = contracts.values()
    named = GoldenSpec(manifest="manifest.json", model="detector.onnx", version="v1")
    return {"line": replace(loaded, contract=loaded.contract.model_copy(update={"golden": named}))}


def test_a_candidate_that_fails_and_a_set_that_is_gone_are_no_trouble(database, contracts, scored):
    ran(database, NOW)
    golden(database, 1, "done")
    golden(database, 2, "error", "it cannot be loaded", version="v2")
    assert found(database, scored) == {}
    golden(database, 3, "error", "it cannot be loaded")
    assert list(found(database, scored)) == [("golden", "line golden")]
    assert found(database, contracts) == {}


def test_a_golden_run_on_another_provider_is_found(database, scored):
    contracts = scored
    ran(database, NOW)
    golden(database, 1, "degraded", "it ran on CPUExecutionProvider and should on CUDAExecutionProvider")
    sentence = found(database, contracts)["golden", "line golden"]
    assert "is degraded: it ran on CPUExecutionProvider" in sentence
    golden(database, 2, "running")
    assert len(found(database, contracts)) == 1, "a run that is under way says nothing yet"
    golden(database, 3, "done")
    assert found(database, contracts) == {}
