"""What bad input costs: 30 poison rows among 10,000, 100,000 random cameras, and Parquet beside JSON lines."""

from __future__ import annotations

import io
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitor.ingest.spool import Waiting
from monitor.ingest.stage import Summary, load
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import migrate
from monitor.store.database import Database, open_database
from monitor.web.metrics import Metrics

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RUNS = 5
ROWS = 10_000
CAMERAS = 100_000
CONTRACT = '[model]\nname = "bench"\n[cameras]\npolicy = "open"\n[[classes]]\nname = "carton"\n'
RULES = {"bench": LoadedContract(parse_contract(CONTRACT), CONTRACT, "0" * 16, Path("bench.toml"))}
POISON: list[dict[str, Any]] = [
    {"width": -1},
    {"latency_ms": float("nan")},
    {"site": "\0"},
    {"captured_at": "20000-01-01T00:00:00Z"},
    {"queue_depth": 2**40},
]


def record(name: str, **said: Any) -> dict[str, Any]:
    """One frame with three detections."""
    box = {"class": "carton", "confidence": 0.5, "box": [1.0, 2.0, 30.0, 40.0]}
    good = {"event_id": name, "captured_at": "2026-03-02T08:00:00Z", "model": "bench", "version": "v1"}
    return good | {"camera": "cam-1", "width": 640, "height": 480, "latency_ms": 9.5, "detections": [box] * 3} | said


def packed(records: list[dict[str, Any]], suffix: str) -> bytes:
    """The records as a file of that kind."""
    if suffix == ".parquet":
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), out)
        return out.getvalue()
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def taken(database: Database, folder: Path, records: list[dict[str, Any]], suffix: str) -> tuple[float, Summary]:
    """Seconds to take records in from a file that lies ready, and what became of them."""
    path = folder / f"{time.monotonic_ns()}{suffix}"
    path.write_bytes(packed(records, suffix))
    begun = time.perf_counter()
    summary = load(database, [Waiting(path, "s", path.name)], RULES, NOW)
    return time.perf_counter() - begun, summary


def figures() -> Iterator[dict[str, Any]]:
    """Seconds for the poisoned file; size and time of /metrics after the cameras; Parquet against lines."""
    logging.getLogger("monitor").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        with open_database(Settings(state_dir=folder / "state")) as database:
            migrate.upgrade(database.engine)
            seconds: dict[str, list[float]] = {"poison": [], ".jsonl": [], ".parquet": []}
            for run in range(RUNS + 1):  # the first makes the partition and the series
                records = [record(f"p{run}-{i}") for i in range(ROWS)]
                for place in range(30):
                    records[17 + 333 * place] |= POISON[place % len(POISON)]
                needed, summary = taken(database, folder, records, ".jsonl")
                assert (summary.stored, summary.rejected) == (ROWS - 30, 30), summary
                seconds["poison"].append(needed)
                for suffix in (".jsonl", ".parquet"):
                    good = [record(f"{suffix}{run}-{i}") for i in range(ROWS)]
                    seconds[suffix].append(taken(database, folder, good, suffix)[0])
            median = {what: statistics.median(found[1:]) for what, found in seconds.items()}
            yield _figure("bounds.poison", median["poison"], "s", "30 of 10,000 rows", 1.0)
            slower = median[".parquet"] / median[".jsonl"]
            yield _figure("bounds.parquet_against_jsonl", slower, "times", "the same 10,000 rows as JSON lines", None)
            cameras = [record(f"c{i}", camera=f"c-{i}", detections=[]) for i in range(CAMERAS)]
            assert taken(database, folder, cameras, ".jsonl")[1].stored == CAMERAS
            metrics = Metrics()
            metrics.refresh(database, RULES, {}, NOW)
            begun = time.perf_counter()
            page = metrics.exposition()
            needed = time.perf_counter() - begun
            yield _figure("bounds.metrics_of_random_cameras", len(page), "bytes", "100,000 random cameras", 1e6)
            yield _figure("bounds.scrape_of_random_cameras", needed, "s", "100,000 random cameras", 0.2)


def _figure(name: str, value: float, unit: str, against: str, limit: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "against": against,
        "ratio": None if limit is None else round(value / limit, 4),
        "goal": None if limit is None else f"at most {limit:g} {unit}",
        "holds": limit is None or value <= limit,
    }
