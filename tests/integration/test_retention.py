"""Retention on a real server: what is past its period goes, what something open refers to stays, nothing dangles."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.cli import retention as command
from monitor.cli import rollups
from monitor.daemon.context import Context
from monitor.daemon.jobs import JOBS
from monitor.daemon.run import run_job
from monitor.errors import GateRefused, UsageError
from monitor.ingest import audit, retention, stage
from monitor.ingest.audit import Task
from monitor.ingest.retained import Horizons
from monitor.ingest.retention import Plan
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, Shelf, load_contract
from monitor.store import contracts as remembered
from monitor.store import frames, repairs
from monitor.store import retention as store
from monitor.store.database import Database
from monitor.upkeep import Hold

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
THEN = START + 20 * DAY
"""When the frames of twenty days were taken in."""
CONTRACT = """
[model]
name = "{model}"
[cameras]
policy = "open"
[[classes]]
name = "carton"
[retention]
raw_days = {raw}
rollup_days = {rollup}
"""
Contracts = dict[str, LoadedContract]


def contract(folder: Path, model: str, raw: int, rollup: int) -> LoadedContract:
    folder.mkdir(exist_ok=True)
    path = folder / f"{model}.toml"
    path.write_text(CONTRACT.format(model=model, raw=raw, rollup=rollup), encoding="utf-8")
    return load_contract(path)


@pytest.fixture
def contracts(database: Database, settings: Settings, tmp_path: Path) -> Contracts:
    """Two models that keep frames for 10 and for 30 days, with a frame each on twenty days, and a bad line a day."""
    found = {"a": contract(settings.contracts_dir, "a", 10, 15), "b": contract(settings.contracts_dir, "b", 30, 40)}
    (tmp_path / "spool" / "incoming").mkdir(parents=True)
    for day in range(20):
        lines = [json.dumps(record(model, day)) for model in found] + ["{"]
        (tmp_path / "spool" / "incoming" / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
        stage.run(database, tmp_path / "spool", found, START + (day + 1) * DAY)
    return found


def record(model: str, day: int) -> dict[str, Any]:
    at = START + day * DAY + timedelta(hours=9)
    said = {"event_id": f"{model}{day}", "captured_at": at.isoformat(), "model": model, "version": "v1"}
    return said | {"camera": "c", "width": 64, "height": 48, "latency_ms": 5.0 + day}


def rows(database: Database, query: str) -> list[Any]:
    with database.begin() as conn:
        found = [tuple(row) for row in conn.execute(text(query))]
    return [row[0] if len(row) == 1 else row for row in found]


def days_of(database: Database, table: str, column: str = "captured_at", where: str = "true") -> list[int]:
    """The days, counted from START, on which a table has rows."""
    found = rows(database, f"SELECT DISTINCT CAST({column} AS date) FROM {table} WHERE {where} ORDER BY 1")
    return [(day - START.date()).days for day in found]


def nothing_dangles(database: Database) -> None:
    """Frames and keys match one to one, and nothing names a batch, a day or a baseline that is gone."""
    for question in (
        "SELECT count(*) FROM frame f FULL JOIN frame_key k USING (source, event_id, captured_at)"
        " WHERE f.batch_id IS NULL OR k.digest IS NULL",
        "SELECT count(*) FROM frame WHERE batch_id NOT IN (SELECT batch_id FROM batch)",
        "SELECT count(*) FROM reject WHERE batch_id NOT IN (SELECT batch_id FROM batch)"
        " OR replay_batch_id NOT IN (SELECT batch_id FROM batch)",
        "SELECT count(*) FROM rollup WHERE batch_id > 0 AND batch_id NOT IN (SELECT batch_id FROM batch)",
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'dropped\\_frame%'",
        "SELECT count(*) FROM dropped_day WHERE dropped_at IS NULL",
    ):
        assert rows(database, question) == [0], question


def freeze(database: Database, model: str, first: int, beyond: int) -> int:
    """A baseline of the days [first, beyond)."""
    statement = text(
        "INSERT INTO baseline (model, version, source, period_start, period_end, frames, sha256, contract_hash,"
        " created_at, note) VALUES (:model, 'v1', 'logs', :start, :end, 30, 'x', 'x', :end, '') RETURNING baseline_id"
    )
    values = {"model": model, "start": START + first * DAY, "end": START + beyond * DAY}
    with database.begin() as conn:
        return int(conn.execute(statement, values).scalar_one())


def open_alert(database: Database, model: str, first: int, beyond: int, state: str, baseline: int) -> None:
    """An alert on the windows of [first, beyond), measured against `baseline`."""
    with database.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO alert VALUES (:key, :model, 'v1', '', 'c', '', '', 'r', 'latency_ms', '', 'psi',"
                " 'warning', :state, 1, 2, 0, :since, :end, 0.5, 0.2, 9, '', 1)"
            ),
            {
                "key": f"{model}/r",
                "model": model,
                "state": state,
                "since": START + first * DAY,
                "end": START + beyond * DAY,
            },
        )
        conn.execute(
            text(
                "INSERT INTO measurement SELECT :model, 'v1', false, '', 'c', '', '', 'latency_ms', '', '', 'psi', d,"
                " d + interval '1 day', 0.5, 'ok', 9, 9, :baseline, 'x', 0.1, 1, 1"
                " FROM generate_series(CAST(:since AS timestamptz), :last, '1 day') d"
            ),
            {"model": model, "baseline": baseline, "since": START + first * DAY, "last": START + (beyond - 1) * DAY},
        )


def test_within_the_longest_period_nothing_goes(database: Database, contracts: Contracts) -> None:
    taken = retention.run(database, contracts, THEN)
    assert (taken.days, taken.frames, taken.rollups, taken.rejects, taken.batches) == (0, 0, 0, 0, 0)
    assert days_of(database, "frame", where="model = 'a'") == list(range(20))


def test_everything_goes_at_its_time(database: Database, contracts: Contracts) -> None:
    now = START + 36 * DAY + timedelta(hours=12)  # frames from before day 6.5 are past 30 days
    before = rows(database, "SELECT count(*) FROM rollup")[0]
    plan = retention.plan(database, contracts, now)
    assert rows(database, "SELECT count(*) FROM dropped_day") == [0]
    assert [verdict.day.day for verdict in plan.days if verdict.goes] == [1, 2, 3, 4, 5, 6]
    taken = retention.run(database, contracts, now)
    assert (taken.days, taken.frames, taken.rejects) == (6, 12, plan.rejects)
    assert (taken.rollups, taken.batches) == (sum(plan.rollups.values()), plan.batches)
    assert before - rows(database, "SELECT count(*) FROM rollup")[0] == taken.rollups > 0
    assert days_of(database, "frame") == days_of(database, "frame_key") == list(range(6, 20))
    # a keeps roll-ups for 15 days, but they stay as long as the frames; b keeps them for 40.
    of = "rollup JOIN series USING (series_id)"
    assert days_of(database, of, "start_at", "model = 'a'") == list(range(6, 20))
    assert days_of(database, of, "start_at", "model = 'b'") == list(range(20))
    assert days_of(database, "batch JOIN reject USING (batch_id)", "received_at") == list(range(7, 21))
    assert rows(database, "SELECT day, frames FROM dropped_day ORDER BY 1")[0] == (START.date(), 2)
    nothing_dangles(database)
    assert retention.run(database, contracts, now).total == 0
    later = retention.run(database, contracts, now + 400 * DAY)
    assert (later.days, later.frames) == (14, 28)
    for table in ("frame", "frame_key", "rollup", "reject", "batch"):
        assert rows(database, f"SELECT count(*) FROM {table}") == [0]
    nothing_dangles(database)


@pytest.mark.parametrize("state", ["firing", "pending"])
def test_what_an_open_alert_rests_on_stays_until_it_is_resolved(
    database: Database, contracts: Contracts, state: str
) -> None:
    old = freeze(database, "a", 1, 3)
    freeze(database, "a", 15, 16)  # a newer one, so that only the alert holds the first
    open_alert(database, "a", 7, 9, state, old)
    now = START + 100 * DAY
    plan = retention.plan(database, contracts, now)
    why = {(verdict.day - START.date()).days: verdict.why for verdict in plan.days if not verdict.goes}
    assert sorted(why) == [1, 2, 7, 8]
    assert why[1] == f"baseline {old}, which the open alert a/r rests on"
    assert why[7] == "the open alert a/r"
    retention.run(database, contracts, now)
    of = "rollup JOIN series USING (series_id)"
    assert days_of(database, "frame") == days_of(database, "frame_key") == [1, 2, 7, 8]
    assert days_of(database, of, "start_at", "model = 'a'") == [1, 2, 7, 8]
    assert days_of(database, of, "start_at", "model = 'b'") == []
    nothing_dangles(database)
    with database.begin() as conn:
        conn.execute(text("UPDATE alert SET state = 'resolved'"))
    retention.run(database, contracts, now)
    assert days_of(database, "frame") == days_of(database, of, "start_at") == []
    nothing_dangles(database)


def test_the_period_of_the_active_baseline_stays_while_its_version_is_in_use(
    database: Database, contracts: Contracts
) -> None:
    freeze(database, "b", 2, 4)
    active = freeze(database, "b", 5, 7)
    in_use, out_of_use = START + 48 * DAY, START + 51 * DAY
    plan = retention.plan(database, contracts, in_use)
    assert [(v.day - START.date()).days for v in plan.days if not v.goes] == [5, 6]
    assert {v.why for v in plan.days if not v.goes} == {f"baseline {active}, the active one of v1"}
    retention.run(database, contracts, in_use)
    of = "rollup JOIN series USING (series_id)"
    assert days_of(database, "frame") == [5, 6, 18, 19]
    assert days_of(database, of, "start_at", "model = 'b'") == [5, 6, *range(8, 20)]
    retention.run(database, contracts, out_of_use)
    assert days_of(database, "frame") == []
    assert days_of(database, of, "start_at", "model = 'b'") == list(range(11, 20))
    nothing_dangles(database)


def test_frames_in_use_stay_and_intake_does_not_wait_long(database: Database, contracts: Contracts) -> None:
    now = START + 35 * DAY
    with database.begin() as reader:
        reader.execute(text("SELECT count(*) FROM frame"))
        taken = retention.run(database, contracts, now)
        assert [verdict.day.day for verdict in taken.in_use] == [1, 2, 3, 4, 5]
        assert taken.days == 0
    assert days_of(database, "frame") == list(range(20))
    assert retention.run(database, contracts, now).days == 5


def test_a_kill_after_detaching_leaves_a_day_that_the_next_run_drops(
    database: Database, contracts: Contracts
) -> None:
    with database.begin() as conn:
        assert store.detach_day(conn, START.date(), THEN)
    assert days_of(database, "frame") == list(range(1, 20))
    assert days_of(database, "frame_key") == list(range(20))
    with database.begin() as conn:  # the day may be made again meanwhile
        frames.make_days(conn, [START.date()])
    taken = retention.run(database, contracts, START + 32 * DAY)
    assert (taken.days, taken.frames) == (3, 4)  # the day that was cut short, what was made of it again, and the next
    assert days_of(database, "frame_key") == list(range(2, 20))
    nothing_dangles(database)
    with database.begin() as conn:
        frames.make_days(conn, [START.date()])
    with database.begin() as conn:  # and be dropped once more
        assert store.detach_day(conn, START.date(), THEN)
        assert store.drop_day(conn, START.date(), THEN) == 0
        assert store.drop_day(conn, START.date(), THEN) == 0
        assert store.detach_day(conn, date(2020, 1, 1), THEN)


def test_a_day_that_was_dropped_is_not_counted_again_when_the_period_is_raised(
    database: Database, contracts: Contracts, settings: Settings, tmp_path: Path
) -> None:
    now = START + 36 * DAY
    retention.run(database, contracts, now)
    before = rows(database, "SELECT * FROM rollup ORDER BY 1, 2, 3")
    raised = {"a": contract(settings.contracts_dir, "a", 90, 90), "b": contract(settings.contracts_dir, "b", 90, 90)}
    lines = [json.dumps(record("a", day)) for day in (2, 5, 6)] + [json.dumps(record("b", -1))]
    (tmp_path / "spool" / "incoming" / "again.jsonl").write_text("\n".join(lines), encoding="utf-8")
    summary = stage.drain(database, tmp_path / "spool", raised, now)
    assert (summary.stored, summary.duplicate, summary.rejected) == (1, 1, 2)
    assert summary.reasons == {"too_late": 2}
    day_before = "start_at < '2026-03-01Z'"
    assert rows(database, f"SELECT * FROM rollup WHERE NOT {day_before} ORDER BY 1, 2, 3") == before
    assert days_of(database, "frame") == [-1, *range(6, 20)]
    nothing_dangles(database)


def test_a_model_without_a_contract_keeps_its_last_one_and_an_unknown_one_stops_all(
    database: Database, contracts: Contracts, settings: Settings
) -> None:
    only_a = {"a": contracts["a"]}
    taken = retention.run(database, only_a, START + 36 * DAY)
    assert "how long b is to be kept is not known" in taken.blocked
    assert days_of(database, "frame") == list(range(20))
    with database.begin() as conn:
        remembered.remember(conn, contract(settings.contracts_dir, "b", 99, 99), THEN - DAY)
        remembered.remember(conn, contracts["b"], THEN)
    assert retention.run(database, only_a, START + 36 * DAY).days == 6


def test_without_any_contract_nothing_goes(database: Database) -> None:
    assert "no contract is in force" in retention.plan(database, {}, THEN).blocked
    assert "no contract is in force" in retention.run(database, {}, THEN).blocked


def test_an_audit_leaves_dropped_days_alone(database: Database, contracts: Contracts) -> None:
    now = START + 36 * DAY
    retention.run(database, contracts, now)
    with database.begin() as conn:  # as late frames would have it made again
        frames.make_days(conn, [START.date()])
    before = rows(database, "SELECT * FROM rollup ORDER BY 1, 2, 3")
    found = audit.run(database, Task(Window(START, THEN), repair=True), now)
    assert (found.differing, found.hours) == (0, 14 * 24)
    assert found.without_frames == [START.date() + timedelta(days=i) for i in range(6)]
    assert rows(database, "SELECT * FROM rollup ORDER BY 1, 2, 3") == before


def test_a_day_that_is_dropped_during_an_audit_keeps_its_rollups(database: Database, contracts: Contracts) -> None:
    before = rows(database, "SELECT * FROM rollup ORDER BY 1, 2, 3")

    def drop(hour: Window, *_: int) -> None:
        if hour.start == START + timedelta(hours=3):
            with database.begin() as conn:
                assert store.detach_day(conn, START.date(), THEN)

    found = audit.run(database, Task(Window(START, START + 2 * DAY), repair=True), THEN, drop)
    assert (found.hours, found.differing, found.without_frames) == (4 + 24, 0, [START.date()])
    assert rows(database, "SELECT * FROM rollup ORDER BY 1, 2, 3") == before
    with repairs.snapshot(database) as recount, database.begin() as conn:
        assert store.has_all_frames(recount, START.date() + DAY)
        assert not store.detach_day(conn, START.date() + DAY, THEN)


def monitor(noun: Any, settings: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    noun.register(parser.add_subparsers())
    args = parser.parse_args(words)
    return int(args.run(args, settings))


def test_the_command_says_what_would_go_and_why_the_rest_stays(
    database: Database, contracts: Contracts, settings: Settings, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = freeze(database, "b", 5, 7)
    words = ["retention", "run", "--dry-run", "--at", "2026-04-18"]
    assert monitor(command, settings, *words) == 0
    said = capsys.readouterr().out
    assert "16 days of frames" in said
    assert "2026-03-01  older than 30 days, the period of b" in said
    assert f"2026-03-06  because of baseline {active}, the active one of v1" in said
    assert "roll-up rows of a from before 2026-03-19" in said
    assert "17 rejects from before 2026-03-19, 17 of them still open" in said
    with pytest.raises(UsageError, match="--dry-run"):
        monitor(command, settings, "retention", "run", "--at", "2026-04-18")
    monkeypatch.setattr(command, "clock", lambda: START + 48 * DAY)
    assert monitor(command, settings, "retention", "run") == 0
    assert "taken away: 16 days with 32 frames" in capsys.readouterr().out
    (settings.contracts_dir / "b.toml").unlink()
    with pytest.raises(GateRefused, match="no contract was ever taken up"):
        monitor(command, settings, "retention", "run")


def test_the_daemon_takes_away_once_a_day(database: Database, contracts: Contracts, settings: Settings) -> None:
    shelf = Shelf(settings.contracts_dir)
    shelf.refresh()
    context = Context(settings, database, shelf)
    job = next(job for job in JOBS if job.name == "retention")
    assert job.every == DAY
    now = START + 36 * DAY
    assert (run_job(context, job, now, now) or 0) > 6
    assert run_job(context, job, now, now) is None
    assert days_of(database, "frame") == list(range(6, 20))


@pytest.mark.usefixtures("contracts")
def test_the_rollups_commands(
    database: Database, settings: Settings, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "clock", lambda: THEN)
    assert monitor(rollups, settings, "rollups", "audit", "--from", "2026-03-18") == 0
    assert "over 72 hours recounted: nothing differs" in capsys.readouterr().out
    with database.begin() as conn:
        conn.execute(text("UPDATE rollup SET n = n + 1 WHERE start_at = (SELECT max(start_at) FROM rollup)"))
    assert monitor(rollups, settings, "rollups", "audit") == 1
    said = capsys.readouterr()
    assert "--repair puts them right" in said.out
    assert "2026-03-20 09:00" in said.err
    assert monitor(rollups, settings, "rollups", "audit", "--repair") == 0
    assert "all put right" in capsys.readouterr().out
    with database.begin() as conn:
        conn.execute(
            text("DELETE FROM rollup WHERE series_id IN (SELECT series_id FROM series WHERE signal = 'latency_ms')")
        )
    assert monitor(rollups, settings, "rollups", "rebuild", "--signal", "latency_ms") == 0
    assert "over 480 hours recounted: 80 differ, all put right" in capsys.readouterr().out
    assert monitor(rollups, settings, "rollups", "audit", "--from", "2026-03-01") == 0
    with pytest.raises(UsageError, match="is not before"):
        monitor(rollups, settings, "rollups", "audit", "--from", "2026-03-09", "--to", "2026-03-08")


def test_what_many_things_refer_to_is_said_once_and_what_is_young_not_at_all() -> None:
    old, young = START, START + 90 * DAY
    holds = [
        Hold("a", old, old + DAY, "baseline 1, the active one of v1"),
        Hold("a", old, old + DAY, "baseline 1, which the open alert x rests on"),
        Hold("a", old, old + DAY, "baseline 1, which the open alert y rests on"),
        Hold("a", young, young + DAY, "the open alert x"),
    ]
    horizon = Horizons(old, old, old, {"a": old + 30 * DAY}, {"a": old}, old, "a")
    said = "\n".join(command.outlook(Plan(horizon, holds=holds, rollups={"a": 0})))
    assert said.count("roll-ups and reviews of a from") == 1
    assert "because of baseline 1, the active one of v1, and of 2 more" in said
