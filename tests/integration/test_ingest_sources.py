"""Logs of every kind through the one intake path: the same frames, the same faults, and files that break off."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from sqlalchemy import text

from monitor.cli import ingest as ingest_command
from monitor.errors import FilesLeft
from monitor.ingest import spool
from monitor.ingest.spool import find_files
from monitor.ingest.stage import drain, load
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
[model]
name = "line"
[cameras]
list = [{ name = "cam-1" }]
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
values = ["day", "night"]
[retention]
raw_days = 30
"""
Contracts = dict[str, LoadedContract]
Record = dict[str, Any]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    return {"line": load_contract(tmp_path / "line.toml")}


def record(number: int, **said: Any) -> Record:
    return {
        "event_id": f"e{number:03}",
        "captured_at": NOW - timedelta(minutes=number),
        "model": "line",
        "version": "v1",
        "camera": "cam-1",
        "width": 64,
        "height": 48,
        "latency_ms": 1.5 * number,
        "slices": {"lighting": "day"},
        "camera_meta": {"gain_db": 2.0},
        "detections": [{"class": "carton", "confidence": 0.25, "box": [1.0, 2.0, 30.5, 40.0]}] * (number % 3),
    } | said


def line(said: Record) -> bytes:
    return json.dumps(said, default=datetime.isoformat).encode() + b"\n"


def jsonl(records: list[Record]) -> bytes:
    return b"".join(map(line, records))


def parquet(records: list[Record]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), out)
    return out.getvalue()


KINDS: dict[str, Callable[[list[Record]], bytes]] = {
    ".jsonl": jsonl,
    ".jsonl.gz": lambda records: gzip.compress(jsonl(records)),
    ".jsonl.zst": lambda records: zstandard.compress(jsonl(records)),
    ".parquet": parquet,
}


def drop(folder: Path, name: str, data: bytes) -> None:
    path = folder / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def left(folder: Path, name: str) -> list[str]:
    return sorted(str(p.relative_to(folder / name)) for p in (folder / name).rglob("*") if p.is_file())


def reason(folder: Path, name: str) -> str:
    return (folder / "quarantine" / f"{name}.reason").read_text(encoding="utf-8")


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.begin() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def test_every_kind_gives_the_same_frames_and_rollups(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    records = [record(number) for number in range(40)]
    for number, (suffix, write) in enumerate(KINDS.items()):
        drop(tmp_path, f"s{number}/a{suffix}", write(records))
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.files, summary.stored, summary.rejected) == (4, 160, 0)
    assert left(tmp_path, "done") == [f"2026-03-02/s{n}/a{suffix}" for n, suffix in enumerate(KINDS)]
    digests = rows(database, "SELECT event_id, count(DISTINCT digest), count(*) FROM frame_key GROUP BY 1")
    assert {found[1:] for found in digests} == {(1, 4)}
    frames = "SELECT to_jsonb(f) - 'source' - 'batch_id' FROM frame f WHERE source = '{}' ORDER BY event_id"
    first, *others = (rows(database, frames.format(f"s{number}")) for number in range(4))
    assert len(first) == 40
    assert others == [first] * 3
    values = "SELECT sum(n) FROM rollup JOIN series USING (series_id) WHERE signal = 'box_area' AND slice_name = ''"
    assert rows(database, values) == [(4 * sum(number % 3 for number in range(40)),)]


FAR = np.datetime64("20000-01-01", "us")
BAD: dict[str, tuple[Record, str, str]] = {
    # what is bad about it, and the reason that a line and that a row of Parquet is rejected for
    "a NUL": ({"event_id": "a\0b"}, "bad_text", "bad_text"),
    "a NUL in a class": (
        {"detections": [{"class": "\0", "confidence": 0.5, "box": [1.0] * 4}]},
        "bad_text",
        "bad_text",
    ),
    "half a surrogate pair": ({"event_id": "\ud800"}, "bad_text", "not_utf8"),
    "a name too long": ({"version": "\U0001f4a1" * 100}, "name_too_long", "name_too_long"),
    "a text too long": ({"version": "v" * 300}, "invalid", "invalid"),
    "overflow of a count": ({"queue_depth": 2**31}, "invalid", "invalid"),
    "overflow of a size": ({"width": 2**40}, "invalid", "invalid"),
    "a number beyond sense": ({"latency_ms": 1e18}, "out_of_range", "out_of_range"),
    "beyond single precision": ({"embedding": [1.0, -1e39]}, "out_of_range", "out_of_range"),
    "NaN": ({"latency_ms": float("nan")}, "not_finite", "not_finite"),
    "infinity": ({"latency_ms": float("inf")}, "not_finite", "not_finite"),
    "NaN in a box": (
        {"detections": [{"class": "carton", "confidence": 0.5, "box": [float("nan"), 1.0, 2.0, 3.0]}]},
        "not_finite",
        "not_finite",
    ),
    "minus infinity in an embedding": ({"embedding": [float("-inf")]}, "not_finite", "not_finite"),
    "the year 20000": ({"captured_at": FAR}, "invalid", "invalid"),
    "the year 9999": ({"captured_at": datetime(9999, 12, 31, tzinfo=UTC)}, "future", "future"),
    "the year 1": ({"captured_at": datetime(1, 1, 2, tzinfo=UTC)}, "too_late", "too_late"),
    "a line too long": ({"image_uri": "x" * (1 << 20)}, "line_too_long", "line_too_long"),
    "an unknown model": ({"model": "other"}, "unknown_model", "unknown_model"),
    "an unknown camera": ({"camera": "cam-9"}, "unknown_camera", "unknown_camera"),
    "a missing field": ({"camera": None}, "invalid", "invalid"),
    "a status that is none": ({"status": "NOT OK"}, "invalid", "invalid"),
}


def bad_table(records: list[Record]) -> bytes:
    """A table of rows, each with columns of its own; texts that are not UTF-8 and far times as they are stored."""
    tables = []
    for said in records:
        columns = {name: [value] for name, value in said.items() if value is not None}
        at = np.datetime64(said["captured_at"].replace(tzinfo=None) if said["captured_at"] is not FAR else FAR, "us")
        columns["captured_at"] = pa.array(np.array([at]).view("i8"), pa.timestamp("us", "UTC"))
        if said["event_id"] == "\ud800":
            columns["event_id"] = pa.array([b"\xed\xa0\x80"]).view(pa.string())
        tables.append(pa.table(columns))
    out = io.BytesIO()
    pq.write_table(pa.concat_tables(tables, promote_options="permissive"), out)
    return out.getvalue()


def bad_lines(records: list[Record]) -> bytes:
    return b"".join(
        line(said | {"captured_at": "20000-01-01T00:00:00Z"} if said["captured_at"] is FAR else said)
        for said in records
    )


@pytest.mark.parametrize(
    ("suffix", "write"),
    [(".jsonl", bad_lines), (".jsonl.gz", lambda r: gzip.compress(bad_lines(r))), (".parquet", bad_table)],
    ids=["jsonl", "gzip", "parquet"],
)
def test_every_bad_input_is_set_aside_with_its_reason_and_the_rest_is_stored(
    database: Database, tmp_path: Path, contracts: Contracts, suffix: str, write: Callable[[list[Record]], bytes]
) -> None:
    records, wanted = [], []
    for number, (said, of_line, of_row) in enumerate(BAD.values()):
        records += [record(2 * number), record(2 * number + 1, **said)]
        wanted.append((2 * number + 2, of_row if suffix == ".parquet" else of_line))
    drop(tmp_path, f"a{suffix}", write(records))
    summary = drain(database, tmp_path, contracts, NOW)
    assert rows(database, "SELECT line_number, reason FROM reject ORDER BY 1") == wanted
    assert (summary.lines, summary.stored, summary.rejected) == (len(records), len(BAD), len(BAD))
    ids = rows(database, "SELECT event_id FROM frame ORDER BY 1")
    assert ids == [(f"e{2 * number:03}",) for number in range(len(BAD))]
    assert all(len(detail) > 20 for (detail,) in rows(database, "SELECT detail FROM reject"))


def test_thirty_poison_rows_among_ten_thousand(database: Database, tmp_path: Path, contracts: Contracts) -> None:
    poison = [line(record(9, **said)) for said, _, _ in BAD.values() if said.get("captured_at") is not FAR]
    lines = [line(record(number, event_id=f"g{number}")) for number in range(10_000)]
    chosen = range(17, 10_000, 333)[:30]
    for turn, number in enumerate(chosen):
        lines[number] = poison[turn % len(poison)]
    drop(tmp_path, "a.jsonl", b"".join(lines))
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.lines, summary.stored, summary.rejected) == (10_000, 9970, 30)
    assert rows(database, "SELECT line_number FROM reject ORDER BY 1") == [(number + 1,) for number in chosen]
    assert rows(database, "SELECT count(*) FROM reject WHERE reason = '' OR detail = ''") == [(0,)]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.ingest.lines.BATCH_LINES", 7)


@pytest.mark.usefixtures("small_batches")
def test_of_a_file_that_breaks_off_the_lines_before_are_stored_once(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    whole = gzip.compress(jsonl([record(number) for number in range(300)]))
    drop(tmp_path, "cut.jsonl.gz", whole[: len(whole) * 2 // 3])
    summary = drain(database, tmp_path, contracts, NOW)
    assert 50 < summary.stored == summary.lines < 300
    assert left(tmp_path, "quarantine") == ["cut.jsonl.gz", "cut.jsonl.gz.reason"]
    said = reason(tmp_path, "cut.jsonl.gz")
    assert f"only the first {summary.lines} lines were looked at ({summary.lines} are stored)" in said
    assert "ends in the middle" in said
    assert left(tmp_path, "incoming") == []
    drop(tmp_path, "whole.jsonl.gz", whole)
    again = drain(database, tmp_path, contracts, NOW)
    assert (again.stored + summary.stored, again.duplicate) == (300, summary.stored)
    (tmp_path / "quarantine" / "cut.jsonl.gz").rename(tmp_path / "incoming" / "cut.jsonl.gz")
    third = drain(database, tmp_path, contracts, NOW)
    assert (third.repeated, third.stored, third.quarantined) == (summary.lines, 0, 1)
    assert rows(database, "SELECT count(*) FROM frame") == [(300,)]


def test_what_nothing_can_be_read_from_is_quarantined_with_a_sentence(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl.gz", b"no gzip")
    drop(tmp_path, "b.parquet", b"no Parquet")
    drop(tmp_path, "c.parquet", parquet([record(1, colour="red")]))
    drop(tmp_path, "d.jsonl.gz", gzip.compress(b""))
    drop(tmp_path, "e.jsonl", line(record(2)))
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.stored, summary.quarantined) == (1, 4)
    assert "no gzip" in reason(tmp_path, "a.jsonl.gz")
    assert "no Parquet, or damaged" in reason(tmp_path, "b.parquet")
    assert "column 'colour' is no field of a record" in reason(tmp_path, "c.parquet")
    assert "The file is empty" in reason(tmp_path, "d.jsonl.gz")


def test_a_broken_file_of_history_is_said_and_stays_where_it_lies(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl.gz", gzip.compress(jsonl([record(1)])) + b"and more")
    drop(tmp_path, "b.jsonl", line(record(2)))
    with pytest.raises(FilesLeft, match=r"a\.jsonl\.gz: Of the file only the first 1 lines") as said:
        load(database, find_files(tmp_path / "incoming"), contracts, NOW)
    assert (said.value.stored, said.value.exit_code) == (2, 2)
    assert left(tmp_path, "incoming") == ["a.jsonl.gz", "b.jsonl"]


@pytest.mark.parametrize(("module", "suffix"), [("pyarrow", ".parquet"), ("zstandard", ".jsonl.zst")])
def test_without_the_package_a_file_stays_and_the_sentence_names_it(
    database: Database,
    tmp_path: Path,
    contracts: Contracts,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    suffix: str,
) -> None:
    drop(tmp_path, f"a{suffix}", KINDS[suffix]([record(1)]))
    drop(tmp_path, "b.jsonl", line(record(2)))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FilesLeft, match=f"needs the package {module}; install the extra"):
        drain(database, tmp_path, contracts, NOW)
    assert left(tmp_path, "incoming") == [f"a{suffix}"]
    monkeypatch.undo()
    assert drain(database, tmp_path, contracts, NOW).stored == 1


def test_a_link_by_another_name_is_read_as_the_file_it_names(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl([record(1)])))
    (tmp_path / "newest").symlink_to(tmp_path / "a.jsonl.gz")
    files = ingest_command._files(tmp_path / "newest", "s")
    assert load(database, files, contracts, NOW).stored == 1


def test_files_of_every_kind_are_found_and_strangers_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b/c.jsonl.gz", "d.parquet", "e.jsonl.zst", "f.csv", "g.gz", "h.jsonl.tmp", ".i.jsonl"):
        drop(tmp_path, name, b"")
    incoming = tmp_path / "incoming"
    (incoming / "link.jsonl").symlink_to(incoming / "a.jsonl")
    (incoming / "folder").symlink_to(tmp_path)
    assert [file.name for file in find_files(incoming)] == ["a.jsonl", "b/c.jsonl.gz", "d.parquet", "e.jsonl.zst"]
    assert [path.name for path in spool.find_strangers(incoming)] == ["f.csv", "folder", "g.gz", "link.jsonl"]
