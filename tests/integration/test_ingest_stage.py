"""Intake into a real Postgres: every bad input, the same tables whatever happens, roll-ups equal to a recount."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from monitor.errors import DependencyAway, UsageError
from monitor.ingest import stage
from monitor.ingest.parse import parse, rules_of
from monitor.ingest.stage import Summary, drain
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import frames, ledger
from monitor.store.database import Database, open_database
from monitor.store.rows import frame_rows

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
[model]
name = "line"
[cameras]
list = [{ name = "cam-1" }, { name = "cam-2" }]
[[classes]]
name = "carton"
[[classes]]
name = "pouch"
[[conditions]]
name = "lighting"
values = ["day", "night"]
[retention]
raw_days = 30
"""
Contracts = dict[str, LoadedContract]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    return contract(tmp_path, CONTRACT)


def contract(folder: Path, said: str) -> Contracts:
    (folder / "line.toml").write_text(said, encoding="utf-8")
    return {"line": load_contract(folder / "line.toml")}


def record(number: int, **said: Any) -> dict[str, Any]:
    """A good record of frame `number`, one every 7 minutes back from now."""
    rng = random.Random(number)
    return {
        "event_id": f"e{number:03}",
        "captured_at": (NOW - timedelta(minutes=7 * number)).isoformat(),
        "model": "line",
        "version": "v1",
        "camera": f"cam-{1 + number % 2}",
        "width": 640,
        "height": 480,
        "latency_ms": round(rng.uniform(5, 50), 2),
        "slices": {"lighting": rng.choice(["day", "night", "dusk"])},
        "detections": [
            {"class": rng.choice(["carton", "pouch"]), "confidence": rng.random(), "box": [1, 2, 31, 42]}
            for _ in range(rng.randint(0, 3))
        ],
    } | said


def drop(folder: Path, name: str, records: list[dict[str, Any] | bytes]) -> Path:
    """Write a file as a producer does: under a temporary name, then renamed."""
    path = folder / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [said if isinstance(said, bytes) else json.dumps(said).encode() for said in records]
    path.with_suffix(".tmp").write_bytes(b"".join(each + b"\n" for each in lines))
    path.with_suffix(".tmp").rename(path)
    return path


def tables(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that intake writes, but for numbers of batches, names of batches and files, and times of arrival."""
    queries = {
        "batch": "SELECT source, sha256, lines, stored, duplicate, rejected, blank, detections_rejected FROM batch",
        "intake_total": "SELECT source, outcome, reason, count, mended FROM intake_total",
        "reject": "SELECT source, sha256, line_number, part, whole_line, reason, detail, raw FROM reject"
        " JOIN batch USING (batch_id)",
        "frame_key": "SELECT * FROM frame_key",
        "frame": "SELECT captured_at, source, event_id, to_jsonb(frame) - 'batch_id' FROM frame",
        "series": "SELECT * FROM series",
        "rollup": "SELECT series_id, start_at, batch_id = 0, to_jsonb(rollup) - 'batch_id' FROM rollup",
    }
    with database.begin() as conn:
        return {
            name: sorted((tuple(row) for row in conn.execute(text(query))), key=repr)
            for name, query in queries.items()
        }


def count(database: Database, query: str) -> Any:
    with database.begin() as conn:
        return conn.execute(text(query)).scalar_one()


def left(folder: Path, name: str) -> list[str]:
    """The files below one of the spool's folders."""
    return sorted(str(p.relative_to(folder / name)) for p in (folder / name).rglob("*") if p.is_file())


def test_files_of_sources_end_up_in_done(database: Database, tmp_path: Path, contracts: Contracts) -> None:
    drop(tmp_path, "a.jsonl", [record(1), record(2)])
    drop(tmp_path, "line-7/deep/b.jsonl", [record(1)])
    (tmp_path / "incoming" / "half.jsonl.tmp").write_bytes(b"{")
    (tmp_path / "incoming" / ".hidden.jsonl").write_bytes(b"{")
    outside = tmp_path / "outside.jsonl"
    outside.write_text(json.dumps(record(3)), encoding="utf-8")
    (tmp_path / "incoming" / "link.jsonl").symlink_to(outside)
    (tmp_path / "incoming" / "folder").symlink_to(tmp_path)
    assert stage.run(database, tmp_path, contracts, NOW) == 3
    assert left(tmp_path, "done") == ["2026-03-02/a.jsonl", "2026-03-02/line-7/deep/b.jsonl"]
    assert left(tmp_path, "quarantine") == []
    with database.begin() as conn:
        sources = conn.execute(text("SELECT source, event_id FROM frame ORDER BY 1, 2")).all()
    assert [tuple(row) for row in sources] == [("line-7", "e001"), ("spool", "e001"), ("spool", "e002")]


def test_a_name_that_is_taken_in_done_is_not_overwritten(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    for number in (1, 2, 3):
        drop(tmp_path, "a.jsonl", [record(number)])
        drain(database, tmp_path, contracts, NOW)
    assert left(tmp_path, "done") == ["2026-03-02/a-2.jsonl", "2026-03-02/a-3.jsonl", "2026-03-02/a.jsonl"]
    assert len({(tmp_path / "done" / name).read_bytes() for name in left(tmp_path, "done")}) == 3


def test_bad_lines_are_kept_with_their_reasons_and_the_rest_goes_on(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    bad_box = {"class": "carton", "confidence": 0.5, "box": [1, 1, 900, 9]}
    good = {"class": "carton", "confidence": 0.5, "box": [1, 1, 9, 9]}
    drop(
        tmp_path,
        "a.jsonl",
        [
            record(1),
            b'{"event_id": ',
            b"",
            b"\xff\xfe",
            record(2, camera="cam-9"),
            record(3, detections=[good, bad_box, bad_box]),
            record(1),
            record(1, width=641),
            b"x" * ((1 << 20) + 5),
            record(4, latency_ms=float("nan")),
        ],
    )
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.lines, summary.stored, summary.duplicate, summary.rejected, summary.blank) == (10, 2, 1, 6, 1)
    assert summary.detections_rejected == 2
    with database.begin() as conn:
        rows = conn.execute(
            text("SELECT line_number, part, whole_line, reason, length(raw) FROM reject ORDER BY 1, 2")
        ).all()
        frame = conn.execute(text("SELECT boxes_rejected, det_class FROM frame WHERE event_id = 'e003'")).one()
    assert [tuple(row)[:4] for row in rows] == [
        (2, 0, True, "not_json"),
        (4, 0, True, "not_utf8"),
        (5, 0, True, "unknown_camera"),
        (6, 0, False, "box_outside_image"),
        (6, 1, False, "box_outside_image"),
        (8, 0, True, "conflict"),
        (9, 0, True, "line_too_long"),
        (10, 0, True, "not_finite"),
    ]
    assert rows[6][4] == 1 << 16
    assert tuple(frame) == (2, ["carton"])
    assert summary.reasons["box_outside_image"] == 2
    assert left(tmp_path, "done") == ["2026-03-02/a.jsonl"]


@pytest.mark.parametrize(
    ("lines", "word"),
    [([], "empty"), ([b"", b"  "], "blank"), ([b"\xff", record(1, model="x")], "unknown_model 1")],
)
def test_a_file_without_a_good_line_is_quarantined(
    database: Database, tmp_path: Path, contracts: Contracts, lines: list[Any], word: str
) -> None:
    drop(tmp_path, "bad.jsonl", lines)
    drop(tmp_path, "good.jsonl", [record(1)])
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.stored, summary.quarantined) == (1, 1)
    assert left(tmp_path, "quarantine") == ["bad.jsonl", "bad.jsonl.reason"]
    assert word in (tmp_path / "quarantine" / "bad.jsonl.reason").read_text(encoding="utf-8")


def test_a_quarantined_file_is_taken_in_once_the_contract_is_mended(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", [record(1, camera="cam-3"), record(2, camera="cam-3")])
    drop(tmp_path, "b.jsonl", [record(3), record(4, camera="cam-3")])
    drain(database, tmp_path, contracts, NOW)
    before = tables(database)
    for place in ("quarantine/a.jsonl", "done/2026-03-02/b.jsonl"):
        (tmp_path / place).rename(tmp_path / "incoming" / Path(place).name)
    again = drain(database, tmp_path, contracts, NOW)
    assert (again.stored, again.repeated, again.quarantined) == (0, 4, 1)
    assert tables(database) == before
    (tmp_path / "quarantine" / "a.jsonl").rename(tmp_path / "incoming" / "a.jsonl")
    (tmp_path / "done" / "2026-03-02" / "b.jsonl").rename(tmp_path / "incoming" / "b.jsonl")
    mended = contract(tmp_path, CONTRACT.replace('{ name = "cam-2" }', '{ name = "cam-2" }, { name = "cam-3" }'))
    summary = drain(database, tmp_path, mended, NOW)
    assert (summary.lines, summary.stored, summary.duplicate, summary.rejected, summary.repeated) == (4, 3, 0, 0, 1)
    assert count(database, "SELECT sum(lines) FROM batch") == 4 + 3, "a line counts each time it is looked at"
    assert count(database, "SELECT sum(count - mended) FROM intake_total WHERE outcome <> 'batch'") == 4, "here once"
    drop(tmp_path, "a.jsonl", [record(1, camera="cam-3"), record(2, camera="cam-3")])
    assert drain(database, tmp_path, mended, NOW).repeated == 2
    assert count(database, "SELECT count(*) FROM frame") == 4


def test_no_contract_leaves_the_files_where_they_are(database: Database, tmp_path: Path) -> None:
    drop(tmp_path, "a.jsonl", [record(1)])
    with pytest.raises(UsageError, match="no contract"):
        drain(database, tmp_path, {}, NOW)
    assert left(tmp_path, "incoming") == ["a.jsonl"]


def test_postgres_away_leaves_the_file_and_the_next_run_takes_it(
    database: Database, engine: Engine, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", [record(1)])
    name = engine.url.database
    with database.begin() as conn:
        conn.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    engine.dispose()
    with pytest.raises(DependencyAway):
        drain(database, tmp_path, contracts, NOW)
    assert left(tmp_path, "incoming") == ["a.jsonl"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("SET default_transaction_read_only = off"))
        conn.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    engine.dispose()
    assert stage.run(database, tmp_path, contracts, NOW) == 1


def test_the_same_id_with_other_content_or_time_is_a_conflict_and_not_stored(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", [record(n) for n in range(6)])
    drain(database, tmp_path, contracts, NOW)
    before = tables(database)
    later = (NOW - timedelta(days=2)).isoformat()
    drop(tmp_path, "b.jsonl", [record(1, width=641), record(2, captured_at=later), record(3), record(9)])
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.stored, summary.duplicate, summary.rejected) == (1, 1, 2)
    after = tables(database)
    assert [row for row in after["frame"] if row[2] != "e009"] == before["frame"]
    assert [row[2:6] for row in after["reject"]] == [(1, 0, True, "conflict"), (2, 0, True, "conflict")]


def test_what_postgres_refuses_is_found_and_the_rest_is_stored(database: Database, contracts: Contracts) -> None:
    columns = parse([json.dumps(record(n)).encode() for n in range(40)], 1, rules_of(contracts, NOW), NOW).columns
    for row in (3, 17, 18):
        columns.image_uri[row] = "a\0b"  # the parser would have found it
    with database.begin() as conn:
        frames.make_days(conn, frames.days_of(columns.captured_us))
    with database.begin() as conn:
        batch_id = ledger.open_batch(conn, "s", "b", "f", b"h", NOW)
        assert batch_id is not None
        placed = frames.insert_frames(conn, batch_id, "s", frame_rows("s", columns))
    assert sorted(placed.refused) == [3, 17, 18]
    assert "0x00" in placed.refused[3]
    assert placed.new.sum() == 37 == count(database, "SELECT count(*) FROM frame")
    assert count(database, "SELECT count(*) FROM frame_key") == 37


ODD = record(39, detections=[{"class": "x", "confidence": 1, "box": [0, 0, 1, 1]}])
FILES = [
    [*(record(n) for n in range(14)), b"{", record(90, camera="cam-9")],
    [*(record(n) for n in range(200, 214)), b""],
    [*(record(n, version="v2") for n in range(30, 38)), ODD],
]


def feed(database: Database, folder: Path, contracts: Contracts, names: str = "abc") -> Summary:
    for name, lines in zip(names, FILES, strict=True):
        drop(folder, f"{name}.jsonl", list(lines))
    return drain(database, folder, contracts, NOW)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of six lines, so that small files have several."""
    monkeypatch.setattr("monitor.ingest.lines.BATCH_LINES", 6)


@pytest.mark.usefixtures("small_batches")
def test_twice_and_in_another_order_gives_the_same_tables(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    summary = feed(database, tmp_path, contracts)
    assert (summary.lines, summary.stored, summary.rejected, summary.blank) == (40, 37, 2, 1)
    once = tables(database)
    assert all(once.values())
    again = feed(database, tmp_path, contracts, "xyz")
    assert (again.repeated, again.stored) == (40, 0)
    assert tables(database) == once
    empty(database)
    feed(database, tmp_path, contracts, "cab")
    assert tables(database) == once


def empty(database: Database) -> None:
    with database.begin() as conn:
        conn.execute(text("TRUNCATE batch, reject, intake_total, frame_key, frame, series, rollup"))


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(point: str, number: int) -> None:
    """Have this process kill itself at the number-th time that the point is reached."""
    seen = 0

    def hooked(real: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number and not after:
                die()
            result = real(*args, **named)
            if seen == number:
                die()
            return result

        return call

    def on_call(frame: Any, event: str, argument: Any) -> None:
        nonlocal seen
        seen += event == "call"
        if seen == number:
            die()

    where, after = point.split()
    if where == "commit":
        psycopg.Connection.commit = hooked(psycopg.Connection.commit, after=after == "after")  # type: ignore[method-assign]
    elif where == "move":
        os.replace = hooked(os.replace, after=after == "after")
    else:
        sys.setprofile(on_call)


def run_and_die(settings: Settings, folder: Path, contracts: Contracts, point: str, number: int) -> int | None:
    """Drain the spool in a child that kills itself; returns the child's exit code."""

    def child() -> None:
        with open_database(settings) as database:
            die_at(point, number)
            drain(database, folder, contracts, NOW)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    return process.exitcode


# Each batch has three transactions: a look into the ledger, the partitions, the batch itself; the merge is the last.
POINTS = [
    *((f"commit {side}", number) for side in ("before", "after") for number in (2, 3, 9, 12, 25)),
    *(("move before", number) for number in (1, 3)),
    ("move after", 2),
    *(("call at", number) for number in random.Random(2).sample(range(500, 9000), 5)),
]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("point", "number"), POINTS, ids=[f"{point} {number}" for point, number in POINTS])
def test_killed_and_run_again_gives_the_same_tables(
    settings: Settings, database: Database, tmp_path: Path, contracts: Contracts, point: str, number: int
) -> None:
    for name, lines in zip("abc", FILES, strict=True):
        drop(tmp_path, f"{name}.jsonl", list(lines))
    assert run_and_die(settings, tmp_path, contracts, point, number) == -signal.SIGKILL
    drain(database, tmp_path, contracts, NOW)
    killed = tables(database)
    assert left(tmp_path, "incoming") == []  # a move that was cut short may leave an empty file in done/
    assert len([name for name in left(tmp_path, "done") if (tmp_path / "done" / name).stat().st_size]) == 3
    empty(database)
    feed(database, tmp_path / "clean", contracts)
    assert killed == tables(database)
