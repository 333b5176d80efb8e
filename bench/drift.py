"""What deciding costs: a day of a hundred cameras on every probe, and one check of raw windows beside Evidently's."""

from __future__ import annotations

import importlib
import resource
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sqlalchemy import text

from bench import plant
from monitor.drift import baseline, compare, watch
from monitor.measures import MEASURES
from monitor.records import Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import baselines, histograms, migrate
from monitor.store.database import Connection, Database, open_database
from monitor.store.rows import rollup_rows

CAMERAS, BASELINE = 100, 28
FRAMES = (20, 100)
"""A camera and hour: the tick must not care."""
TICK_GOAL, FLAT_GOAL = 2.0, 1.5
ROWS = {1_000_000: 400.0, 10_000_000: 4000.0}
"""Rows of a window, and how many times faster than Evidently the check must be."""
MEMORY_GOAL_MB = 5.0
PARTS = 10
"""A large window is written in this many batches."""
COLUMNS = {
    "brightness": (120.0, 12.0),
    "contrast": (45.0, 6.0),
    "sharpness": (5.0, 0.5),
    "red_balance": (0.0, 0.05),
    "blue_balance": (0.0, 0.05),
    "resolution": (800.0, 5.0),
    "exposure_ms": (8.0, 1.0),
    "gain_db": (6.0, 1.0),
    "latency_ms": (35.0, 5.0),
    "queue_depth": (20.0, 4.0),
    "confidence": (0.7, 0.08),
    "box_area": (0.05, 0.01),
    "box_aspect": (0.1, 0.3),
}
"""Mean and spread of the thirteen signals of a raw window."""
RUNS = 5
CONTRACT = """
[model]
name = "bench"
[[classes]]
name = "part"
[cameras]
policy = "open"
"""


def figures() -> Iterator[dict[str, Any]]:
    """The tick at two volumes, then the check against Evidently at two sizes of window."""
    ticks = {frames: _tick(frames) for frames in FRAMES}
    few, many = (ticks[frames] for frames in FRAMES)
    stored = [CAMERAS * (BASELINE + 1) * 24 * frames / 1e6 for frames in FRAMES]
    yield {
        "name": "drift.tick",
        "value": round(few, 3),
        "unit": f"s to watch a day of {CAMERAS} cameras x 13 probes, everything read and written",
        "against": f"limit of {TICK_GOAL:g} s",
        "ratio": round(TICK_GOAL / few, 1),
        "goal": TICK_GOAL,
        "holds": few <= TICK_GOAL,
    }
    yield {
        "name": "drift.tick_flat",
        "value": round(many, 3),
        "unit": f"s for the same over {stored[1]:.1f} M frames",
        "against": f"over {stored[0]:.1f} M frames: {few:.3f} s",
        "ratio": round(many / few, 2),
        "goal": FLAT_GOAL,
        "holds": many / few <= FLAT_GOAL,
    }
    for rows, goal in ROWS.items():
        yield from _against_evidently(rows, goal)


@contextmanager
def _database(folder: Path) -> Iterator[tuple[Database, LoadedContract]]:
    path = folder / "bench.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    with open_database(Settings(state_dir=folder / "state")) as database:
        migrate.upgrade(database.engine)
        yield database, load_contract(path)


def _tick(frames: int) -> float:
    """Median seconds of `watch.run` over one day that is due."""
    whole = plant.Plant(CAMERAS, BASELINE + 1, frames)
    period = Window(plant.START, plant.START + BASELINE * plant.DAY)
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name, _database(Path(name)) as (database, loaded):
        plant.write(database, whole, BASELINE)
        baseline.from_logs(database, loaded, plant.VERSION, period, whole.end)
        now = whole.end + loaded.contract.drift.settle + timedelta(minutes=1)
        assert watch.run(database, loaded, now) == 1
        return statistics.median(_again(database, loaded, now) for _ in range(RUNS))


def _again(database: Database, loaded: LoadedContract, now: Any) -> float:
    with database.begin() as conn:
        conn.execute(text("DELETE FROM watched_day"))
    before = time.perf_counter()
    days = watch.run(database, loaded, now)
    took = time.perf_counter() - before
    assert days == 1, f"{days} days were watched"
    return took


def _values(name: str, rows: int) -> np.ndarray:
    """One column: the same for every caller."""
    mean, spread = COLUMNS[name.split("/")[0]]
    values = np.random.default_rng([len(name), *name.encode()]).normal(mean, spread, rows)
    low, high = SIGNALS[name.split("/")[0]].edges.values()[[0, -1]]
    return np.clip(values, low, np.nextafter(high, low))


def _against_evidently(rows: int, goal: float) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name, _database(Path(name)) as (database, loaded):
        binning = _fill(database, loaded, rows)
        took = statistics.median(_timed(database, loaded) for _ in range(RUNS))
        memory = _memory(database, loaded)
    yield {
        "name": f"drift.memory_{rows // 1_000_000}m",
        "value": round(memory, 2),
        "unit": "MB of memory of a check, beyond what was there",
        "against": f"limit of {MEMORY_GOAL_MB:g} MB",
        "ratio": round(MEMORY_GOAL_MB / memory, 1),
        "goal": MEMORY_GOAL_MB,
        "holds": memory <= MEMORY_GOAL_MB,
    }
    try:
        theirs, said = _evidently(rows)
    except ImportError as error:
        print(f"drift.check_{rows} is left out: {error}; `make bench` installs what it needs", file=sys.stderr)
        return
    yield {
        "name": f"drift.check_{rows // 1_000_000}m",
        "value": round(1000 * took, 1),
        "unit": f"ms to compare {len(COLUMNS)} signals of {rows:,} rows with as many, fetch included",
        "against": said,
        "ratio": round(theirs / took),
        "goal": goal,
        "holds": theirs / took >= goal,
        "binning": f"{binning:.2f} us a frame of {len(COLUMNS)} values at intake, paid once",
    }


def _fill(database: Database, loaded: LoadedContract, rows: int) -> float:
    """Two days of one camera with `rows` frames each, the first frozen; microseconds that a frame's binning took."""
    took = 0.0
    scope = Scope("bench", "v1", camera="cam-0")
    for day, which in enumerate(("before", "now")):
        for part in range(PARTS):
            size = rows // PARTS
            hour = day * 24 + np.arange(size) * 24 // size
            columns = {name: _values(f"{name}/{which}/{part}", size) for name in COLUMNS}
            before = time.perf_counter()
            parts = [(SeriesKey(scope, "status"), hour * 3 + 1)]
            for name, values in columns.items():
                edges = SIGNALS[name].edges
                parts.append((SeriesKey(scope, name), hour * (edges.count + 2) + edges.bin_of(values)))
            found = plant.columns(parts)
            took += time.perf_counter() - before
            with database.begin() as conn:
                histograms.append(conn, day * PARTS + part + 1, rollup_rows(found))
    period = Window(plant.START, plant.START + plant.DAY)
    baseline.from_logs(database, loaded, "v1", period, period.end + plant.DAY)
    with database.begin() as conn:
        histograms.merge(conn, period.end + 2 * plant.DAY)
    return took / (2 * rows) * 1e6


def _check(conn: Connection, loaded: LoadedContract) -> int:
    """What the stage does for one window of one camera: both sides are read, every measure is taken."""
    window = Window(plant.START + plant.DAY, plant.START + 2 * plant.DAY)
    known = baselines.active(conn, "bench", "v1")
    assert known is not None
    ready = compare.make_ready(known, baselines.histograms(conn, known.id), "v1", loaded.contract.drift.min_n)
    found = histograms.read(
        conn, "bench", window.start, window.end, version="v1", signals=list(COLUMNS), shadow=False
    )
    return len(compare.compare(found, ready, window, list(COLUMNS), loaded.hash))


def _timed(database: Database, loaded: LoadedContract) -> float:
    with database.begin() as conn:
        before = time.perf_counter()
        measured = _check(conn, loaded)
        took = time.perf_counter() - before
    # The camera by itself and all cameras together, each with every measure.
    assert measured == 2 * len(COLUMNS) * len(MEASURES), measured
    return took


def _memory(database: Database, loaded: LoadedContract) -> float:
    """Peak of what Python and numpy allocate during a check, in MB."""
    with database.begin() as conn:
        tracemalloc.start()
        _check(conn, loaded)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / 1e6


def _evidently(rows: int) -> tuple[float, str]:
    """Seconds of the preset on the same windows. Its columns are judged one by one, so of the largest windows one
    column is measured and multiplied."""
    evidently, presets, pandas = (_module(name) for name in ("evidently", "evidently.presets", "pandas"))
    names = list(COLUMNS) if rows <= 1_000_000 else list(COLUMNS)[:1]
    window, reference = (
        pandas.DataFrame({name: _column(name, which, rows) for name in names}) for which in ("now", "before")
    )
    before = time.perf_counter()
    evidently.Report([presets.DataDriftPreset()]).run(window, reference).dict()
    took = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    said = f"evidently {version('evidently')} DataDriftPreset on the same raw windows"
    if len(names) == len(COLUMNS):
        return took, f"{said}: {took:.1f} s, process peak {peak:.1f} GB"
    whole = took * len(COLUMNS)
    return whole, f"{said}: {took:.1f} s for one column, so {whole:.0f} s for {len(COLUMNS)}"


def _column(name: str, which: str, rows: int) -> np.ndarray:
    return np.concatenate([_values(f"{name}/{which}/{part}", rows // PARTS) for part in range(PARTS)])


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)
