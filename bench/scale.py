"""Ten times the stored frames: what that does to intake and to a drift tick.

A day of frames is taken in by the product, then copied day by day in SQL: frames, keys and roll-ups. At half a
million frames and at five million the same things are timed: files of 50,000 new frames, and the check of one day.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, text

from monitor.drift import baseline
from monitor.drift import stage as drift
from monitor.ingest import stage as intake
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import frames, migrate
from monitor.store.database import Database, open_database

A_DAY = 50_000
SMALL, LARGE = 10, 100
"""Days stored: half a million frames, and five million."""
CAMERAS, CLASSES, DETECTIONS = 50, 20, 3
RUNS = 3
GOAL = 0.8
"""A rate must be at least this much of what it was; a time at most its inverse."""
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
NEW = START + 200 * DAY
"""The day of the frames that are timed."""

_COPY_DAY = (
    "INSERT INTO frame (captured_at, event_id, {others})"
    " SELECT captured_at + :by, event_id || :mark, {others} FROM template",
    "INSERT INTO frame_key (source, event_id, captured_at, digest)"
    " SELECT source, event_id || :mark, captured_at + :by, digest FROM template_key",
    "INSERT INTO rollup (series_id, start_at, batch_id, n, frames, total, squares, bins, counts)"
    " SELECT series_id, start_at + :by, 0, n, frames, total, squares, bins, counts FROM template_rollup",
)
_OTHERS = """
    SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = 'frame'::regclass AND attnum > 0 AND NOT attisdropped
        AND attname NOT IN ('captured_at', 'event_id')
"""


def figures() -> Iterator[dict[str, Any]]:
    """Intake and a drift tick at five million stored frames, against the same at half a million."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        loaded = _contract(folder)
        lines = _lines()
        with open_database(Settings(state_dir=folder / "state")) as database:
            migrate.upgrade(database.engine)
            _take_in(database, folder, loaded, lines, START, "first")
            _keep_template(database)
            baseline.from_logs(database, loaded, "v1", Window(START, START + DAY), START + 2 * DAY)
            measured = []
            for already, days in ((1, SMALL), (SMALL, LARGE)):
                _copy_days(database, already, days)
                measured.append(_measure(database, folder, loaded, lines, days))
    (rate_before, tick_before), (rate, tick) = measured
    yield {
        "name": "scale.intake",
        "value": round(rate),
        "unit": f"frames/s at {LARGE * A_DAY:,} stored frames",
        "against": f"{rate_before:.0f} at {SMALL * A_DAY:,}",
        "ratio": round(rate / rate_before, 3),
        "goal": GOAL,
        "holds": rate / rate_before >= GOAL,
    }
    yield {
        "name": "scale.drift_tick",
        "value": round(tick, 3),
        "unit": f"s to check a day of {CAMERAS} cameras at {LARGE * A_DAY:,} stored frames",
        "against": f"{tick_before:.3f} at {SMALL * A_DAY:,}",
        "ratio": round(tick_before / tick, 3),
        "goal": GOAL,
        "holds": tick_before / tick >= GOAL,
    }


def _measure(
    database: Database, folder: Path, loaded: LoadedContract, lines: list[str], days: int
) -> tuple[float, float]:
    """Frames a second from files, and seconds for the check of the last day copied; the median of three each."""
    last = START + (days - 1) * DAY
    now = last + DAY + loaded.contract.drift.settle
    drift.run(database, loaded, now)
    _settle(database)
    # Taken in turns, so that a slow minute of the machine meets both.
    rates, ticks = [], []
    for run in range(RUNS):
        mark = f"{days}-{run}"
        rates.append(A_DAY / _take_in(database, folder, loaded, lines, NEW + (days + run) * DAY, mark))
        ticks.append(_tick(database, loaded, last, now))
    return statistics.median(rates), statistics.median(ticks)


def _tick(database: Database, loaded: LoadedContract, last: datetime, now: datetime) -> float:
    with database.begin() as conn:
        conn.execute(text("DELETE FROM measured_window WHERE window_start = :last"), {"last": last})
    before = time.perf_counter()
    windows = drift.run(database, loaded, now)
    took = time.perf_counter() - before
    assert windows == 1, f"{windows} windows were measured"
    return took


def _take_in(
    database: Database, folder: Path, loaded: LoadedContract, lines: list[str], day: datetime, mark: str
) -> float:
    spool = folder / f"spool-{mark}"
    (spool / "incoming").mkdir(parents=True)
    said = "\n".join(lines).replace("@DAY", f"{day:%Y-%m-%d}").replace("@MARK", mark)
    (spool / "incoming" / "frames.jsonl").write_text(said, encoding="utf-8")
    before = time.perf_counter()
    stored = intake.run(database, spool, {"bench": loaded}, day + 2 * DAY)
    took = time.perf_counter() - before
    assert stored == A_DAY, f"{stored} of {A_DAY} frames were stored"
    return took


def _keep_template(database: Database) -> None:
    with database.begin() as conn:
        for name, table in (("template", "frame"), ("template_key", "frame_key"), ("template_rollup", "rollup")):
            conn.execute(text(f"CREATE TABLE {name} AS TABLE {table}"))


def _copy_days(database: Database, start: int, end: int) -> None:
    for day in range(start, end):
        values = {"by": day * DAY, "mark": f"-{day}"}
        with database.begin() as conn:
            frames.make_days(conn, [(START + day * DAY).date()])
        with database.begin() as conn:
            others = conn.execute(text(_OTHERS)).scalar_one()
            for statement in _COPY_DAY:
                conn.execute(text(statement.format(others=others)), values)
        if day % 10 == 9:
            print(f"  {(day + 1) * A_DAY:,} frames", file=sys.stderr, flush=True)


def _settle(database: Database) -> None:
    """What autovacuum and the checkpointer would have done by and by is done now, before anything is timed."""
    superuser = create_engine(database.engine.url.set(username="postgres"), isolation_level="AUTOCOMMIT")
    with superuser.connect() as conn:
        conn.execute(text("VACUUM (ANALYZE)"))
        conn.execute(text("CHECKPOINT"))
    superuser.dispose()


def _contract(folder: Path) -> LoadedContract:
    path = folder / "bench.toml"
    classes = "".join(f'[[classes]]\nname = "class-{i:02d}"\n' for i in range(CLASSES))
    path.write_text(f'[model]\nname = "bench"\n[cameras]\npolicy = "open"\n{classes}', encoding="utf-8")
    return load_contract(path)


def _lines() -> list[str]:
    """A day's records, evenly over four hours, with marks where the day and a part of the id go."""
    rng = np.random.default_rng(11)
    return [json.dumps(_record(rng, i)) for i in range(A_DAY)]


def _record(rng: np.random.Generator, i: int) -> dict[str, Any]:
    second = 8 * 3600 + i * 4 * 3600 // A_DAY
    grey = float(rng.normal(120, 12))
    x, y = rng.uniform(0, 1000, (2, DETECTIONS)).round(1).tolist()
    return {
        "event_id": f"@MARK-{i:06d}",
        "captured_at": f"@DAYT{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z",
        "model": "bench",
        "version": "v1",
        "camera": f"cam-{i % CAMERAS:02d}",
        "width": 1920,
        "height": 1080,
        "latency_ms": round(float(rng.lognormal(3.2, 0.2)), 3),
        "queue_depth": int(rng.poisson(2)),
        "image_uri": f"s3://frames/{i:08d}.jpg",
        "image": {
            "recipe": "bench-1",
            "brightness": round(min(max(grey, 0), 255), 4),
            "contrast": round(float(rng.uniform(30, 60)), 4),
            "sharpness": round(float(rng.normal(5, 0.5)), 4),
            "red_balance": round(float(rng.normal(0, 0.05)), 5),
            "blue_balance": round(float(rng.normal(0, 0.05)), 5),
            "histogram": rng.integers(1000, 9000, 32).tolist(),
        },
        "detections": [
            {
                "class": f"class-{int(rng.integers(CLASSES)):02d}",
                "confidence": round(float(rng.beta(8, 2)), 5),
                "box": [x[k], y[k], x[k] + 80, y[k] + 60],
            }
            for k in range(DETECTIONS)
        ],
    }
