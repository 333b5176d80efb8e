"""Peak memory of a whole intake, in processes of its own, on the worst that a file can be."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from sqlalchemy import text

from monitor.settings import Settings
from monitor.store.database import Database

MOST_KIB = 256 << 10
CONTRACT = """
[model]
name = "line"
[cameras]
policy = "open"
[[classes]]
name = "carton"
[retention]
raw_days = 36500
rollup_days = 36500
"""
RECORD = (
    '{"event_id":"%s","captured_at":"2026-03-02T08:00:00Z","model":"line","version":"v1","camera":"%s",'
    '"width":64,"height":48%s}\n'
)
BOX = '{"class":"carton","confidence":0.5,"box":[1,2,30,40]}'


def high_water(pid: int) -> dict[int, int]:
    """The most KiB that a process and those it started have held at once, each by itself."""
    found = {}
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        found[pid] = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM"))
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                found |= high_water(int(child))
    except (OSError, StopIteration):  # it has ended
        pass
    return found


def take_in(settings: Settings) -> tuple[int, str]:
    """Take in what waits in the spool, in a process of its own: the peak of all its processes together, what it said.

    Together even where their peaks are at other times: an upper bound.
    """
    environ = os.environ | {
        "MONITOR_STATE_DIR": str(settings.state_dir),
        "MONITOR_CONTRACTS_DIR": str(settings.contracts_dir),
        "MONITOR_DATABASE_URL": str(settings.database_url),
    }
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "line.toml").write_text(CONTRACT, encoding="utf-8")
    peaks: dict[int, int] = {}
    command = [sys.executable, "-m", "monitor", "ingest", "run"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while True:
            try:
                out, said = process.communicate(timeout=0.05)
                break
            except subprocess.TimeoutExpired:
                peaks |= high_water(process.pid)
    assert process.returncode == 0, said.decode()
    return sum(peaks.values()), out.decode()


def a_line_of_a_gigabyte(incoming: Path) -> None:
    with (incoming / "a.jsonl").open("wb") as file:
        file.truncate(1 << 30)  # zeros, of which the disk keeps none
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + (RECORD % ("e1", "c", "")).encode())


def a_gzip_bomb_of_zeros(incoming: Path) -> None:
    good = gzip.compress((RECORD % ("e1", "c", "")).encode())
    (incoming / "a.jsonl.gz").write_bytes(good + gzip.compress(bytes(1 << 24)) * 128)


def a_gzip_bomb_of_good_lines(incoming: Path) -> None:
    line = (RECORD % ("e1", "c", "")).rstrip().encode().ljust((1 << 16) - 1) + b"\n"
    (incoming / "a.jsonl.gz").write_bytes(gzip.compress(line * (1 << 8)) * 64)


def a_zstd_bomb_of_good_lines(incoming: Path) -> None:
    line = (RECORD % ("e1", "c", "")).encode()
    (incoming / "a.jsonl.zst").write_bytes(zstandard.compress(line * (1 << 17)) * 64)


def numbers_of_one_digit(incoming: Path) -> None:
    """As many as a batch may have bytes for, in two times as many bytes."""
    numbers = ',"embedding":[' + ",".join("0" * 4096) + "]"
    lines = [RECORD % (f"e{number}", "c", numbers) for number in range(4000)]
    (incoming / "a.jsonl").write_text("".join(lines), encoding="utf-8")


def twenty_million_rows(incoming: Path) -> None:
    rows = 1 << 20
    none = pa.array(np.zeros(rows, dtype=np.int32))
    names = {"event_id": "e", "model": "line", "version": "v1", "camera": "c"}
    columns = {name: pa.DictionaryArray.from_arrays(none, pa.array([said])) for name, said in names.items()}
    columns["captured_at"] = pa.array(np.full(rows, 1_772_438_400_000_000), pa.timestamp("us", "UTC"))
    columns |= {"width": pa.array(np.full(rows, 64)), "height": pa.array(np.full(rows, 48))}
    table = pa.table(columns)
    with pq.ParquetWriter(incoming / "a.parquet", table.schema, compression="zstd") as file:
        for _ in range(20):
            file.write_table(table, row_group_size=rows)


def one_value_for_every_row(incoming: Path) -> None:
    """A megabyte of text, kept once, stands in each of a million rows."""
    rows = 1 << 20
    none = pa.array(np.zeros(rows, dtype=np.int32))
    names = {"event_id": "e" * (1 << 20), "model": "line", "version": "v1", "camera": "c"}
    columns = {name: pa.DictionaryArray.from_arrays(none, pa.array([said])) for name, said in names.items()}
    columns["captured_at"] = pa.array(np.full(rows, 1_772_438_400_000_000), pa.timestamp("us", "UTC"))
    columns |= {"width": pa.array(np.full(rows, 64)), "height": pa.array(np.full(rows, 48))}
    pq.write_table(pa.table(columns), incoming / "a.parquet", compression="zstd", row_group_size=rows)


def a_hundred_thousand_boxes(incoming: Path) -> None:
    """In one line, which is too long; and in lines of nearly a megabyte, as many as make three batches."""
    full = ',"detections":[' + ",".join([BOX] * ((1 << 20) // (len(BOX) + 1) - 4)) + "]"
    lines = [RECORD % ("e0", "c", ',"detections":[' + ",".join([BOX] * 100_000) + "]")]
    lines += [RECORD % (f"e{number}", "c", full) for number in range(1, 40)]
    assert max(map(len, lines[1:])) <= 1 << 20
    (incoming / "a.jsonl").write_text("".join(lines), encoding="utf-8")


def a_hundred_thousand_cameras(incoming: Path) -> None:
    lines = [RECORD % (f"e{number}", f"camera-{number}", "") for number in range(100_000)]
    (incoming / "a.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (a_line_of_a_gigabyte, "2 lines: 1 stored, 0 duplicate, 1 rejected"),
        (a_gzip_bomb_of_zeros, "1 line: 1 stored"),
        (a_gzip_bomb_of_good_lines, ": 1 stored"),
        (a_zstd_bomb_of_good_lines, ": 1 stored"),
        (twenty_million_rows, "0 lines: 0 stored"),
        (one_value_for_every_row, "0 lines: 0 stored"),
        (a_hundred_thousand_boxes, "40 lines: 39 stored, 0 duplicate, 1 rejected"),
        (numbers_of_one_digit, "4000 lines: 4000 stored"),
        (a_hundred_thousand_cameras, "100000 lines: 100000 stored"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_memory_of_an_intake_is_bounded(
    settings: Settings, database: Database, write: Callable[[Path], None], said: str
) -> None:
    incoming = settings.spool_dir / "incoming"
    incoming.mkdir(parents=True)
    write(incoming)
    peak, told = take_in(settings)
    print(json.dumps({"file": write.__name__, "peak_mib": peak >> 10}))
    assert said in told
    assert peak <= MOST_KIB, told
    if write is a_hundred_thousand_cameras:
        with database.begin() as conn:
            cameras = conn.execute(text("SELECT count(DISTINCT camera) FROM series")).scalar_one()
        assert cameras == 201
