"""An audit finds what differs from the raw frames, and a repair leaves what a count by hand gives."""

from __future__ import annotations

import argparse
import json
import random
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from recounting import CONTRACT, NOW, READINGS, by_span, plain, record, recount
from sqlalchemy import text

from monitor.cli.rollups import report, run_audit
from monitor.errors import UsageError
from monitor.ingest import audit
from monitor.ingest.audit import Task
from monitor.ingest.spool import find_files
from monitor.ingest.stage import drain, load
from monitor.records import Window
from monitor.settings import Settings
from monitor.signals import SIGNALS, Edges
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import frames as frame_store
from monitor.store.database import Database

PERIOD = Window(NOW - timedelta(days=1), NOW + timedelta(hours=1))
Contracts = dict[str, LoadedContract]


@pytest.fixture
def filled(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contracts:
    """Two hundred frames of anything, in several batches; gives the contract."""
    monkeypatch.setattr("monitor.ingest.lines.BATCH_LINES", 90)
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    contracts = {"line": load_contract(tmp_path / "line.toml")}
    write(tmp_path / "incoming" / "a.jsonl", range(200))
    drain(database, tmp_path, contracts, NOW)
    return contracts


def write(path: Path, numbers: range) -> None:
    path.parent.mkdir(exist_ok=True)
    rng = random.Random(numbers.start)
    path.write_text("\n".join(json.dumps(record(rng, i)) for i in numbers), encoding="utf-8")


def believed(database: Database) -> None:
    """What is rolled up is what a count by hand gives."""
    with database.begin() as conn:
        frames = [dict(row) for row in conn.execute(text("SELECT * FROM frame")).mappings()]
        for minutes in (60, 15):
            read = by_span(conn, PERIOD.start, PERIOD.end, minutes)
            assert plain(read) == plain(recount(frames, minutes))


def do(database: Database, *statements: str) -> list[int]:
    with database.begin() as conn:
        return [conn.execute(text(statement)).rowcount for statement in statements]


ROW = """(SELECT series_id, start_at FROM series JOIN rollup USING (series_id)
    WHERE signal = '{}' AND cardinality(bins) > 0 ORDER BY 1, 2 OFFSET {} LIMIT 1)"""
DAMAGE = [
    f"UPDATE rollup SET n = n + 3 WHERE (series_id, start_at) = {ROW.format('brightness', 0)}",
    f"UPDATE rollup SET total = -total - 1 WHERE (series_id, start_at) = {ROW.format('confidence', 4)}",
    f"UPDATE rollup SET squares = squares + 1 WHERE (series_id, start_at) = {ROW.format('detections', 1)}",
    f"UPDATE rollup SET counts[1] = counts[1] + 1 WHERE (series_id, start_at) = {ROW.format('latency_ms', 2)}",
    f"UPDATE rollup SET bins[1] = bins[1] - 1 WHERE (series_id, start_at) = {ROW.format('box_area', 1)}",
    f"DELETE FROM rollup WHERE (series_id, start_at) = {ROW.format('contrast', 3)}",
    "INSERT INTO rollup SELECT series_id, start_at, 77, n, frames, total, squares, bins, counts FROM rollup"
    f" WHERE (series_id, start_at) = {ROW.format('sharpness', 2)}",
    "INSERT INTO rollup SELECT series_id, start_at - interval '9h', 0, n, frames, total, squares, bins, counts"
    f" FROM rollup WHERE (series_id, start_at) = {ROW.format('gain_db', 0)}",
]


@pytest.mark.usefixtures("filled")
def test_an_audit_of_what_intake_counted_finds_nothing(database: Database) -> None:
    with database.begin() as conn:
        rows = conn.execute(text("SELECT count(DISTINCT (series_id, start_at)) FROM rollup")).scalar_one()
    found = audit.run(database, Task(PERIOD), NOW)
    assert (found.compared, found.differing, found.hours) == (rows, 0, 24)
    with database.begin() as conn:
        parts = list(frame_store.read_frames(conn, PERIOD.start, PERIOD.end, rows=7))
    assert [len(part) for part in parts] == [7] * 28 + [4]
    assert audit.run(database, Task(PERIOD, model="other"), NOW).compared == 0


@pytest.mark.usefixtures("filled")
def test_an_audit_finds_every_damaged_cell_and_repairs_it_with_evidence(database: Database) -> None:
    assert do(database, *DAMAGE) == [1] * len(DAMAGE)
    do(
        database,
        "INSERT INTO measured_window SELECT 'line', v, s, s + interval '1 day', 5, NULL, 'c' FROM"
        " unnest(ARRAY['v1', 'v2']) v, unnest(ARRAY[timestamptz '2026-02-27Z', '2026-03-02Z']) s",
    )
    with database.begin() as conn:
        before = plain(by_span(conn, PERIOD.start, PERIOD.end, 60))
    found = audit.run(database, Task(PERIOD), NOW)
    assert found.differing == len(found.shown) == len(DAMAGE)
    said = {one.place.series.signal: str(one) for one in found.shown}
    assert "total" not in said["brightness"]
    assert "2 bins differ" in said["box_area"]
    assert "squares" in said["detections"]
    assert len(said) == len(DAMAGE)
    with database.begin() as conn:  # an audit alone changes nothing
        assert plain(by_span(conn, PERIOD.start, PERIOD.end, 60)) == before
    repaired = audit.run(database, Task(PERIOD, repair=True), NOW)
    assert (repaired.differing, repaired.repaired) == (len(DAMAGE),) * 2
    believed(database)
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    with database.begin() as conn:
        kept = conn.execute(
            text(
                "SELECT sum(rows_repaired), count(*) FILTER (WHERE occasion = 'audit'), count(*),"
                " sum(jsonb_array_length(evidence)), min(repaired_at) FROM rollup_repair"
            )
        ).one()
        undone = conn.execute(text("SELECT version, window_start FROM measured_window WHERE frames < 5")).all()
    assert (kept[0], kept[1], kept[3], kept[4]) == (len(DAMAGE), kept[2], len(DAMAGE), NOW)
    assert {at.date().isoformat() for _, at in undone} == {"2026-03-02"}
    assert audit.run(database, Task(PERIOD, repair=True), NOW).repaired == 0


@pytest.mark.usefixtures("filled")
def test_an_audit_says_how_far_it_is_and_where_something_differs(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("monitor.cli.progress._FILE_EVERY_S", 0.0)
    do(database, DAMAGE[0])
    args = argparse.Namespace(start=PERIOD.start, end=PERIOD.end, model=None, repair=True)
    assert run_audit(args, settings) == 0
    said = capsys.readouterr()
    assert said.err.count("differ") == 1
    told = [line for line in said.err.splitlines() if "hours recounted" in line]
    assert len(told) == 24, "one for every hour of the day that has frames"
    assert told[0].startswith("1 of 24 hours recounted, ")
    assert told[-1].endswith(" a second, up to 2026-03-03 00:00")
    assert "1 differ, all put right" in said.out


def test_rows_without_their_series_are_found_and_counted_anew(database: Database, filled: Contracts) -> None:
    lost = do(database, "DELETE FROM series WHERE signal = 'latency_ms' AND minutes = 60")[0]
    assert lost > 0
    with database.begin() as conn:
        of = "SELECT count(*) FROM rollup r LEFT JOIN series s USING (series_id) WHERE s.series_id IS NULL"
        rows = conn.execute(text(of)).scalar_one()
    found = audit.run(database, Task(PERIOD), NOW)
    assert (found.nameless, found.repaired) == (rows, 0)
    assert any("of no known series" in said for said in report(found))
    mended = audit.run(database, Task(PERIOD, repair=True), NOW)
    assert (mended.nameless, mended.repaired) == (0, mended.differing)
    believed(database)
    # Of a day whose frames are gone nothing can be counted anew.
    do(
        database,
        "INSERT INTO rollup (series_id, start_at, batch_id, n, frames, total, squares, bins, counts)"
        f" VALUES (1, '{PERIOD.start}', 0, 1, 1, 1, 1, '{{1}}', '{{1}}')",
    )
    assert audit.run(database, Task(PERIOD, repair=True), NOW).nameless == 1


def test_what_is_taken_in_during_a_repair_is_counted_once(
    database: Database, tmp_path: Path, filled: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (damaged,) = do(database, "UPDATE rollup SET total = total + 1")  # so that every row is put right
    write(tmp_path / "more" / "b.jsonl", range(500, 620))
    committed = threading.Event()

    def take_in() -> None:  # its merge has to wait for the audit, so it works beside it
        load(database, find_files(tmp_path / "more"), filled, NOW, lambda *_: committed.set())

    worker = threading.Thread(target=take_in)
    read = frame_store.read_frames

    def read_then_take_in(*args: Any, **named: Any) -> Any:
        parts = list(read(*args, **named))
        if parts and not worker.ident:
            worker.start()
            assert committed.wait(60)
        return parts

    monkeypatch.setattr(frame_store, "read_frames", read_then_take_in)
    repaired = audit.run(database, Task(PERIOD, repair=True), NOW)
    worker.join(60)
    assert not worker.is_alive()
    assert repaired.repaired == damaged
    believed(database)
    with database.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM frame")).scalar_one() == 320


@pytest.mark.usefixtures("filled")
def test_a_signal_whose_definition_changed_is_rebuilt_and_no_other_is_touched(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = (
        "SELECT r.* FROM rollup r JOIN series USING (series_id) WHERE signal NOT IN ('sharpness') ORDER BY 1, 2, 3"
    )
    with database.begin() as conn:
        before = [tuple(row) for row in conn.execute(text(others))]
    changed = replace(
        SIGNALS["sharpness"], edges=Edges("sharpness-2", -3, 13, 40), reader=lambda c: c.sharpness * 0.5, scale=10
    )
    monkeypatch.setitem(SIGNALS, "sharpness", changed)
    monkeypatch.setitem(
        READINGS, "sharpness", lambda f: [] if f["sharpness"] is None else [("", f["sharpness"] * 0.5)]
    )
    task = Task(PERIOD, signal="sharpness", repair=True)
    rebuilt = audit.run(database, task, NOW)
    assert rebuilt.repaired == rebuilt.compared > 0
    believed(database)
    with database.begin() as conn:
        assert [tuple(row) for row in conn.execute(text(others))] == before
        edges = text("SELECT edges_id FROM series JOIN rollup USING (series_id) WHERE signal = 'sharpness'")
        assert set(conn.execute(edges).scalars()) == {changed.edges.id}
        evidence = conn.execute(text("SELECT occasion, signal FROM rollup_repair")).all()
        assert {tuple(row) for row in evidence} == {("rebuild", "sharpness")}
    assert audit.run(database, task, NOW).differing == 0
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    with pytest.raises(UsageError, match="no signal 'sharpnes'"):
        audit.run(database, Task(PERIOD, signal="sharpnes"), NOW)
