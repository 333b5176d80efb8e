"""How a roll-up row is laid out: the bins that are not empty (ours), against every bin of the fixed edges.

The same roll-ups of the same frames are written twice by binary COPY and read back as one histogram a series: at a
busy plant (1,000 frames a camera-hour) and at a quiet one (4).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from bench.frames_log import CAMERAS, contract, write_log
from monitor.ingest.parse import parse, rules_of
from monitor.ingest.rollup import roll_up
from monitor.records import SeriesKey
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.store import binary, encoding
from monitor.store.database import Connection, Database, open_database
from monitor.upkeep import RollupColumns

FRAMES = 50_000
"""Those of an hour at a busy plant."""
NOW = datetime(2026, 3, 3, tzinfo=UTC)
TABLE = (
    "(series_id bigint, start_at timestamptz, n integer, frames integer, total bigint, squares bigint, {columns},"
    " PRIMARY KEY (series_id, start_at) INCLUDE (n))"
)
SPARSE, DENSE = "bins smallint[], counts integer[]", "counts integer[]"
READ = {
    "sparse": "SELECT series_id, bin, sum(count) FROM sparse, unnest(bins, counts) AS c (bin, count) GROUP BY 1, 2",
    "dense": "SELECT series_id, bin, sum(count) FROM dense, unnest(counts) WITH ORDINALITY AS c (count, bin)"
    " WHERE count > 0 GROUP BY 1, 2",
}


def figures() -> Iterator[dict[str, Any]]:
    """Bytes a frame, and the time to write and to read, of ours against dense rows."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        contracts = {"bench": contract(folder)}
        write_log(folder / "frames.jsonl", FRAMES, a_day=24 * FRAMES)
        lines = (folder / "frames.jsonl").read_bytes().splitlines()
        with open_database(Settings(state_dir=folder / "state")) as database:
            for plant, frames in (("busy", len(lines)), ("quiet", 4 * CAMERAS)):
                rows = roll_up(parse(lines[:frames], 1, rules_of(contracts, NOW), NOW).columns)
                measured = {layout: _measure(database, layout, rows) for layout in ("sparse", "dense")}
                yield from _figures(plant, frames, measured)


def _figures(plant: str, frames: int, measured: dict[str, dict[str, float]]) -> Iterator[dict[str, Any]]:
    for what, unit in (("size", "bytes a frame"), ("write", "s to COPY"), ("read", "s to sum up by series and bin")):
        ours, dense = measured["sparse"][what], measured["dense"][what]
        per = frames if what == "size" else 1
        yield {
            "name": f"rollup.layout.{what}.{plant}",
            "value": round(ours / per, 3),
            "unit": unit,
            "against": f"every bin in a row: {dense / per:.3f}",
            "ratio": round(dense / ours, 2),
            "goal": "ratio >= 0.8: not much worse in anything, better in size",
            "holds": dense / ours >= 0.8,
        }


def _measure(database: Database, layout: str, rows: RollupColumns) -> dict[str, float]:
    columns = {"sparse": SPARSE, "dense": DENSE}[layout]
    with database.begin() as conn:
        conn.execute(text(f"DROP TABLE IF EXISTS {layout}"))
        conn.execute(text(f"CREATE TABLE {layout} {TABLE.format(columns=columns)}"))
    data = _columns(layout, rows)
    writes, reads = [], []
    for _ in range(3):
        with database.begin() as conn:
            conn.execute(text(f"TRUNCATE {layout}"))
            writes.append(_timed(lambda conn=conn: binary.copy_in(conn, layout, data)))
    with database.begin() as conn:
        size = conn.execute(text(f"SELECT pg_total_relation_size('{layout}')")).scalar_one()
        reads = [_timed(lambda: _read(conn, layout)) for _ in range(3)]
    return {"size": float(size), "write": sorted(writes)[1], "read": sorted(reads)[1]}


def _read(conn: Connection, layout: str) -> None:
    conn.execute(text(READ[layout])).all()


def _timed(work: Any) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def _columns(layout: str, rows: RollupColumns) -> dict[str, encoding.Ragged]:
    shared = {
        "series_id": encoding.fixed(rows.series_row, encoding.INT8),
        "start_at": encoding.times(rows.start_us),
        "n": encoding.fixed(rows.n, encoding.INT4),
        "frames": encoding.fixed(rows.frames, encoding.INT4),
        "total": encoding.fixed(rows.total, encoding.INT8),
        "squares": encoding.fixed(rows.squares, encoding.INT8),
    }
    if layout == "sparse":
        bins = encoding.arrays(encoding.fixed(rows.bins, encoding.INT2), rows.cells, encoding.INT2)
        return {
            **shared,
            "bins": bins,
            "counts": encoding.arrays(encoding.fixed(rows.counts, encoding.INT4), rows.cells, encoding.INT4),
        }
    signals = [SeriesKey.of_name(name)[0].signal for name in rows.names]
    widths = np.array([SIGNALS[signals[i]].edges.count + 2 for i in rows.series_row.tolist()])
    starts = np.cumsum(widths) - widths
    dense = np.zeros(int(widths.sum()), dtype=np.int64)
    dense[np.repeat(starts, rows.cells) + rows.bins] = rows.counts
    return {**shared, "counts": encoding.arrays(encoding.fixed(dense, encoding.INT4), widths, encoding.INT4)}
