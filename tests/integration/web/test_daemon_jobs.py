"""Jobs and their record: each turn once, nothing lost by a kill, one failure never another's."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from monitor.daemon.context import Context, Job
from monitor.daemon.jobs import JOBS, turn_of
from monitor.daemon.run import run_job, run_once
from monitor.errors import DependencyAway, TryAgain, UsageError
from monitor.spec.load import Shelf
from monitor.store import jobs

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TURN = timedelta(minutes=1)


def runs(plant) -> list[tuple[str, str, int, str]]:
    with plant.context.database.begin() as conn:
        rows = conn.execute(text("SELECT job, state, did, error FROM job_run ORDER BY job, scheduled_for"))
        return [tuple(row) for row in rows]


def job_that(function) -> Job:
    return Job("probe", TURN, function, "for the test")


def test_every_job_runs_once_in_order(plant):
    assert list(plant.jobs(0)) == [job.name for job in JOBS]
    assert sorted(name for name, state, _, _ in runs(plant) if state == "done") == sorted(job.name for job in JOBS)


def test_a_turn_is_taken_once_and_by_hand_again(plant):
    taken = []
    probe = job_that(lambda context, now: taken.append(now) or 7)
    assert run_job(plant.context, probe, NOW, NOW) == 7
    assert run_job(plant.context, probe, NOW, NOW) is None
    assert run_job(plant.context, probe, NOW, NOW, again=True) == 7
    assert run_job(plant.context, probe, NOW + TURN, NOW + TURN) == 7
    assert taken == [NOW, NOW, NOW + TURN]
    assert runs(plant) == [("probe", "done", 7, "")] * 2


def test_a_failure_is_a_sentence_in_the_record_and_stops_nobody(plant, monkeypatch, caplog):
    def fail(context, now):
        raise RuntimeError("the belt is stuck")

    monkeypatch.setattr("monitor.daemon.run.JOBS", (JOBS[0], job_that(fail), *JOBS[1:]))
    did = plant.jobs(0)
    assert list(did) == [job.name for job in JOBS]
    assert ("probe", "failed", 0, "RuntimeError: the belt is stuck") in runs(plant)
    assert "job probe failed" in caplog.text


def said_of(caplog, job: str) -> list[tuple[str, bool]]:
    """What was logged of a job: the sentence, and whether a traceback went with it."""
    return [
        (one.getMessage(), one.exc_info is not None) for one in caplog.records if f"job {job}" in one.getMessage()
    ]


def test_a_file_that_waits_for_a_contract_is_a_sentence_said_once(plant, caplog, day_of_records):
    contract = plant.context.settings.contracts_dir / "presses.toml"
    held_back = contract.rename(contract.with_suffix(".later"))
    plant.drop("early", day_of_records(0, "cam-1"))
    for hours in (2, 3):
        assert "intake" not in plant.jobs(1, hours)
    ((sentence, traceback),) = said_of(caplog, "intake")
    assert "no contract is in force; put one TOML" in sentence
    assert not traceback
    assert [(state, error) for job, state, _, error in runs(plant) if job == "intake"] == [
        ("failed", sentence.removeprefix("job intake is not done: "))
    ] * 2
    held_back.rename(contract)
    assert plant.jobs(1, 4)["intake"] == 60
    contract.unlink()
    plant.context.shelf = Shelf(plant.context.settings.contracts_dir)  # as after a restart
    plant.drop("early", day_of_records(0, "cam-1"))
    plant.jobs(1, 5)
    assert len(said_of(caplog, "intake")) == 2, "it was well in between, so it is said again"


def test_a_statement_that_was_broken_off_is_no_traceback(plant, caplog):
    def wait_for_ever(context, now):
        with context.database.begin() as conn:
            conn.execute(text("SET LOCAL statement_timeout = '10ms'"))
            conn.execute(text("SELECT pg_sleep(60)"))

    assert run_job(plant.context, job_that(wait_for_ever), NOW, NOW) is None
    ((sentence, traceback),) = said_of(caplog, "probe")
    assert "due to statement timeout" in sentence
    assert not traceback
    assert not plant.context.away, "the database is there"


def test_what_the_product_says_of_its_models_needs_no_traceback(plant, monkeypatch, caplog):
    def measure(database, loaded, now):
        raise TryAgain("other work was in the way")

    monkeypatch.setattr("monitor.drift.stage.run", measure)
    plant.jobs(0)
    assert said_of(caplog, "drift") == [("job drift is not done: model presses: other work was in the way", False)]


def test_one_model_that_fails_does_not_stop_the_others(plant, monkeypatch):
    seen = []

    def measure(database, loaded, now):
        seen.append(loaded.model)
        if loaded.model == "presses":
            raise RuntimeError("no such edges")
        return 1

    folder = plant.context.settings.contracts_dir
    other = (folder / "presses.toml").read_text().replace('name = "presses"', 'name = "rollers"')
    (folder / "rollers.toml").write_text(other)
    monkeypatch.setattr("monitor.drift.stage.run", measure)
    assert "drift" not in plant.jobs(0)
    assert seen == ["presses", "rollers"]
    assert [error for name, _, _, error in runs(plant) if name == "drift"] == [
        "ExceptionGroup: model presses: no such edges (1 sub-exception)"
    ]


def test_a_job_is_done_by_one_process_at_a_time(plant):
    entered = []
    probe = job_that(lambda context, now: entered.append(now) or 1)
    with plant.context.database.begin() as conn:
        assert jobs.hold(conn, "probe")
        assert run_job(plant.context, probe, NOW, NOW) is None
    assert entered == []
    assert run_job(plant.context, probe, NOW, NOW) == 1


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from monitor.daemon.context import Context, Job
from monitor.daemon.run import run_job
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store.database import open_database
from datetime import timedelta

url, at = sys.argv[1:]
settings = Settings(database_url=url)
with open_database(settings) as database:
    job = Job("probe", timedelta(minutes=1), lambda context, now: os.kill(os.getpid(), signal.SIGKILL), "")
    run_job(Context(settings, database, Shelf(Path("none"))), job, *[datetime.fromisoformat(at)] * 2)
"""


def test_a_run_that_a_kill_cut_off_is_taken_over(plant):
    url = plant.context.settings.database_url
    for at in (NOW, NOW + TURN):
        ended = subprocess.run([sys.executable, "-c", KILLED, url, at.isoformat()], timeout=60, check=False)
        assert ended.returncode == -signal.SIGKILL
    assert runs(plant) == [
        ("probe", "failed", 0, "the process ended before the run did"),
        ("probe", "running", 0, ""),
    ]
    assert run_job(plant.context, job_that(lambda context, now: 3), NOW + TURN, NOW + TURN) == 3
    assert runs(plant)[1] == ("probe", "done", 3, "")


def test_turns_that_nobody_ran_are_skipped_and_old_ones_forgotten(plant):
    probe = job_that(lambda context, now: 0)
    run_job(plant.context, probe, NOW, NOW)
    later = NOW + timedelta(hours=1)
    run_job(plant.context, probe, later, later)
    assert [state for _, state, *_ in runs(plant)] == ["done", *["skipped"] * 59, "done"]
    assert "nobody led" in runs(plant)[1][3]
    much_later = NOW + timedelta(days=30)
    run_job(plant.context, probe, much_later, much_later)
    assert len(runs(plant)) == 3000


def test_health_and_overdue(plant):
    run_job(plant.context, job_that(lambda context, now: 4), NOW, NOW)
    with plant.context.database.begin() as conn:
        probe, unknown = jobs.health(conn, ["probe", "unknown"])
    assert (probe.did, probe.failed_at, unknown.done_at) == (4, None, None)
    assert probe.done_at is not None
    assert NOW <= probe.done_at < NOW + timedelta(seconds=30)
    assert not probe.overdue(TURN, NOW + timedelta(minutes=4))
    assert probe.overdue(TURN, NOW + timedelta(minutes=5))
    assert not unknown.overdue(TURN, NOW)


def test_a_changed_contract_is_taken_up_and_a_faulty_one_is_not(plant, caplog):
    caplog.set_level(logging.INFO, "monitor")
    plant.jobs(0)
    before = plant.context.shelf.contracts["presses"].hash
    file = plant.context.settings.contracts_dir / "presses.toml"
    file.write_text(file.read_text().replace("above = 0.2", "above = 0.3"))
    plant.jobs(0, hours=3)
    after = plant.context.shelf.contracts["presses"].hash
    assert after != before
    file.write_text(file.read_text() + "\nnonsense = 1\n")
    plant.jobs(0, hours=4)
    assert plant.context.shelf.contracts["presses"].hash == after
    assert "stays in force" in caplog.text
    with plant.context.database.begin() as conn:
        assert set(conn.execute(text("SELECT contract_hash FROM contract")).scalars()) == {before, after}
        assert conn.execute(text("SELECT name, site FROM camera ORDER BY 1")).all() == [
            ("cam-1", "north"),
            ("cam-idle", "north"),
        ]


def test_days_are_made_ahead(plant):
    plant.jobs(0)
    with plant.context.database.begin() as conn:
        names = set(
            conn.execute(
                text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'frame'::regclass")
            ).scalars()
        )
    assert names == {f"frame_202603{day:02d}" for day in range(1, 10)}


def test_the_same_story_twice_changes_nothing(plant):
    plant.day(0)
    with plant.context.database.begin() as conn:
        before = conn.execute(text("SELECT * FROM measurement ORDER BY 1, 5, 8, 9, 10, 11")).all()
        frames = conn.execute(text("SELECT count(*) FROM frame")).scalar_one()
    run_once(plant.context, NOW + timedelta(days=1))
    with plant.context.database.begin() as conn:
        assert conn.execute(text("SELECT * FROM measurement ORDER BY 1, 5, 8, 9, 10, 11")).all() == before
        assert conn.execute(text("SELECT count(*) FROM frame")).scalar_one() == frames == 120


def test_turns_are_counted_from_the_epoch():
    assert turn_of(NOW + timedelta(seconds=7.3), timedelta(seconds=5)) == NOW + timedelta(seconds=5)
    assert turn_of(NOW, timedelta(hours=1)) == NOW


def tick(context: Context, name: str, at: datetime) -> int | None:
    """One turn of a job, as the ticker takes it."""
    (job,) = (job for job in JOBS if job.name == name)
    return run_job(context, job, turn_of(at, job.every), at)


@pytest.fixture
def beside(plant) -> Context:
    """A second daemon on the same database."""
    settings = plant.context.settings
    return Context(settings, plant.context.database, Shelf(settings.contracts_dir))


def test_every_process_reads_the_contracts_and_what_metrics_shows(plant, beside):
    for context in (plant.context, beside):
        assert tick(context, "contracts", NOW) is not None
        assert list(context.shelf.contracts) == ["presses"]
        assert tick(context, "metrics", NOW) is not None
        assert b'monitor_contract_info{contract_hash="' in context.metrics.exposition()
    assert [(job, state) for job, state, _, _ in runs(plant)] == [("contracts", "done"), ("metrics", "done")]


@pytest.mark.parametrize("name", ["intake", "drift", "alerts"])
def test_a_process_without_contracts_leaves_the_turn_to_others(plant, beside, caplog, name):
    tick(plant.context, "contracts", NOW)
    assert tick(beside, name, NOW) is None
    assert name not in [job for job, *_ in runs(plant)]
    ((sentence, _),) = said_of(caplog, name)
    assert "no contract is in force" in sentence
    assert tick(plant.context, name, NOW) == 0


def test_windows_whose_files_still_wait_are_not_measured(plant, day_of_records):
    lines = day_of_records(0, "cam-1")
    midnight = NOW.replace(hour=0) + timedelta(days=1)
    early, late = midnight - timedelta(hours=12), midnight + timedelta(hours=2)
    plant.drop("early", lines[:20])
    tick(plant.context, "contracts", early)
    assert tick(plant.context, "drift", early) == 0, "nothing was ever taken in"
    assert tick(plant.context, "intake", early) == 20
    plant.drop("late", lines[20:])
    tick(plant.context, "contracts", late)
    assert tick(plant.context, "drift", late) == 0
    assert tick(plant.context, "intake", late) == 40
    assert tick(plant.context, "drift", late + TURN) == 1
    with plant.context.database.begin() as conn:
        assert conn.execute(text("SELECT frames FROM measured_window")).scalars().all() == [60]


def test_drift_and_alerts_wait_while_the_intake_fails(plant, monkeypatch, caplog):
    def fail(*_, **__):
        raise UsageError("day.jsonl cannot be read; let this account read it")

    with monkeypatch.context() as broken:
        broken.setattr("monitor.ingest.stage.run", fail)
        assert plant.jobs(0).keys().isdisjoint({"intake", "drift", "alerts"})
        assert plant.jobs(0, hours=3).keys().isdisjoint({"intake", "drift", "alerts"})
    for name in ("drift", "alerts"):
        ((sentence, _),) = said_of(caplog, name)
        assert "until intake is done, which failed last time: day.jsonl cannot be read" in sentence
        assert name not in [job for job, *_ in runs(plant)]
    assert plant.jobs(0, hours=4).keys() >= {"intake", "drift", "alerts"}


def test_what_a_later_clock_left_behind_keeps_nobody_waiting(plant, day_of_records):
    plant.jobs(3)  # a tick with the clock ahead
    plant.drop("day", day_of_records(0, "cam-1"))
    assert plant.jobs(1)["drift"] == 1


def test_a_stop_that_cuts_a_job_off_is_no_error(plant, caplog):
    def cut_off(context, now):
        context.stopping.set()
        raise DependencyAway("terminating connection due to administrator command")

    assert run_job(plant.context, job_that(cut_off), NOW, NOW) is None
    plant.context.database = replace(plant.context.database, engine=gone(plant.context.database.engine))
    assert run_job(plant.context, job_that(cut_off), NOW + TURN, NOW + TURN) is None
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def gone(engine):
    """An engine of the same server for a database that is not there."""
    url = engine.url.set(database="no_such_database")
    return create_engine(url, poolclass=NullPool)


def test_one_file_that_cannot_be_moved_holds_up_nobody(plant, caplog):
    """The intake did come to its end: windows are measured, and the file is named once."""
    done = plant.context.settings.spool_dir / "done"
    done.mkdir(parents=True)
    (done / "2026-03-03").write_text("a file where a folder should be")
    with caplog.at_level("WARNING", logger="monitor.daemon"):
        did = plant.day(0)
    assert did["intake"] == 120
    assert did["drift"] == 1
    (sentence,) = [record.getMessage() for record in caplog.records if "left files behind" in record.getMessage()]
    assert "000-0.jsonl" in sentence
