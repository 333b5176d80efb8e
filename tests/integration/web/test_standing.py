"""Who leads and what the auditor found, as /readyz, /metrics and the doctor say it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from monitor.cli import doctor
from monitor.daemon.context import Context
from monitor.daemon.jobs import JOBS
from monitor.daemon.lead import Lead
from monitor.daemon.run import run_once, take_turn
from monitor.spec.load import Shelf
from monitor.store import findings
from monitor.upkeep import Finding
from monitor.web.metrics import Metrics

LONG = timedelta(seconds=30)
SILENT = Finding("sources", "line-7", "line-7 last sent 2026-03-02 06:00 UTC; see whether it runs")


@pytest.fixture
def pair(plant):
    """The plant's daemon, which leads, and one beside it."""
    context, beside = (
        Context(
            plant.context.settings,
            plant.context.database,
            Shelf(plant.context.settings.contracts_dir),
            lead=Lead(plant.context.database, LONG, name),
        )
        for name in ("north:1", "north:2")
    )
    assert context.lead.keep()
    assert not beside.lead.keep()
    return context, beside


def tick(context, name, at):
    (job,) = (job for job in JOBS if job.name == name)
    return take_turn(context, job, at)


def test_only_the_leader_schedules_and_both_take_records_in(plant, pair, story_start, day_of_records):
    leader, beside = pair
    for context in pair:
        tick(context, "contracts", story_start)
    assert tick(beside, "partitions", story_start) is None
    assert tick(leader, "partitions", story_start) == 9
    for number, context in enumerate((beside, leader)):
        plant.drop(f"file-{number}", day_of_records(0, "cam-1")[number::2])
        at = story_start + timedelta(days=1, seconds=2 * number)
        assert tick(context, "intake", at) == 30
    assert tick(beside, "drift", at) is None
    assert tick(leader, "drift", at) == 0
    with plant.context.database.begin() as conn:
        jobs = conn.execute(text("SELECT job, state FROM job_run ORDER BY job, scheduled_for")).all()
    assert jobs == [
        ("contracts", "done"), ("drift", "done"), ("intake", "done"), ("intake", "done"), ("partitions", "done"),
    ]  # fmt: skip


def test_by_hand_beside_a_daemon_only_what_is_everybodys_is_done(plant, pair, story_start):
    beside = pair[1]
    did = run_once(beside, story_start)
    assert sorted(did) == sorted(job.name for job in JOBS if job.local)


def test_a_leader_that_is_followed_while_it_works_keeps_nothing_of_it(plant, pair, story_start, caplog):
    leader, beside = pair

    def work(context, now):
        with plant.context.database.begin() as conn:
            conn.execute(text("UPDATE leader SET until = clock_timestamp()"))
            conn.execute(text("CREATE TABLE taken AS SELECT 1"))
        assert beside.lead.keep(), "another takes over in the middle"
        with context.database.begin() as conn:
            conn.execute(text("CREATE TABLE stale AS SELECT 1"))
        return 1

    job = replace(JOBS[1], function=work)
    assert take_turn(leader, job, story_start) is None
    with plant.context.database.begin() as conn:
        there = conn.execute(text("SELECT to_regclass('taken'), to_regclass('stale')")).one()
        assert tuple(there) == ("taken", None)
        runs = conn.execute(text("SELECT state FROM job_run")).scalars().all()
    assert runs == ["running"], "it is not the old one's to close"
    assert "left to the leader" in caplog.text or "has to wait" in caplog.text
    assert tick(beside, "partitions", story_start) is not None, "the new leader takes the very turn over"


def test_ready_says_who_leads_and_what_was_found(plant, pair, browse):
    tick(plant.context, "contracts", plant.context.clock())
    with plant.context.database.begin() as conn:
        findings.replace(conn, ["sources"], [SILENT], plant.context.clock())
    answer = browse("/readyz")
    assert answer.status_code == 200, "what the auditor found keeps nobody from taking records in"
    assert answer.json() == {
        "ready": True, "reasons": [], "leads": True, "leader": "north:1", "findings": [SILENT.sentence],
    }  # fmt: skip


def test_metrics_say_it(plant, pair, story_start):
    with plant.context.database.begin() as conn:
        findings.replace(conn, ["sources"], [SILENT], story_start)
    metrics = Metrics()
    metrics.refresh(plant.context.database, {}, {}, story_start)
    page = metrics.exposition().decode()
    assert 'monitor_leader{worker="north:1"} 1.0' in page
    assert "monitor_leader_epoch 1.0" in page
    assert 'monitor_audit_findings{check="sources"} 1.0' in page
    assert 'monitor_audit_findings{check="rollups"} 0.0' in page


def test_the_doctor_says_it(plant, pair, story_start):
    plant.jobs(0)
    with plant.context.database.begin() as conn:
        findings.replace(conn, ["sources"], [SILENT], story_start)
    now = story_start + timedelta(hours=2, seconds=20)
    said = {one.about: one for one in doctor.findings(plant.context.settings, now)}
    assert said["leader"].mark == "well"
    assert said["leader"].sentence.startswith("north:1 since ")
    assert "beside it: north:2" in said["leader"].sentence
    assert said["audit"].sentence == (
        f"sources: {SILENT.sentence} (found by the daemon, since {story_start:%Y-%m-%d %H:%M} UTC)"
    )
    pair[0].lead.leave()
    said = {one.about: one for one in doctor.findings(plant.context.settings, now)}
    assert said["leader"].sentence.startswith("nobody leads; north:1 did until")
