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
from contextlib import ExitStack
from dataclasses import dataclass, field
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
RUNS = 5
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


@dataclass
class Plant:
    """A database with so many days of frames, and the seconds that things took there."""

    folder: Path
    days: int
    database: Database = field(init=False)
    loaded: LoadedContract = field(init=False)
    intakes: list[float] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)

    @property
    def last(self) -> datetime:
        return START + (self.days - 1) * DAY

    @property
    def now(self) -> datetime:
        return self.last + DAY + self.loaded.contract.drift.settle


def figures() -> Iterator[dict[str, Any]]:
    """Intake and a drift tick at five million stored frames, against the same at half a million."""
    lines = _lines()
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name, ExitStack() as open_ones:
        plants = [_fill(Plant(Path(name) / str(days), days), lines, open_ones) for days in (SMALL, LARGE)]
        small, large = plants
        # In turns, so that a slow minute of the machine meets both.
        for run in range(RUNS):
            for plant in plants if run % 2 else reversed(plants):
                _measure(plant, lines, f"timed-{run}")
    yield _figure("scale.intake", "s to take in 50,000 frames", small.intakes, large.intakes)
    yield _figure("scale.drift_tick", f"s to check a day of {CAMERAS} cameras", small.ticks, large.ticks)


def _figure(name: str, unit: str, small: list[float], large: list[float]) -> dict[str, Any]:
    ratio = statistics.median(before / after for before, after in zip(small, large, strict=True))
    return {
        "name": name,
        "value": round(statistics.median(large), 3),
        "unit": f"{unit}, at {LARGE * A_DAY:,} stored frames",
        "against": f"{statistics.median(small):.3f} at {SMALL * A_DAY:,}",
        "ratio": round(ratio, 3),
        "goal": GOAL,
        "holds": ratio >= GOAL,
    }


def _fill(plant: Plant, lines: list[str], open_ones: ExitStack) -> Plant:
    """A database with `plant.days` days of frames, a baseline of the first and the check of all that follow done."""
    plant.folder.mkdir()
    plant.loaded = _contract(plant.folder)
    plant.database = open_ones.enter_context(open_database(Settings(state_dir=plant.folder / "state")))
    migrate.upgrade(plant.database.engine)
    _take_in(plant, lines, START, "first")
    _keep_template(plant.database)
    baseline.from_logs(plant.database, plant.loaded, "v1", Window(START, START + DAY), START + 2 * DAY)
    _copy_days(plant.database, plant.days)
    drift.run(plant.database, plant.loaded, plant.now)
    _settle(plant.database)
    return plant


def _measure(plant: Plant, lines: list[str], mark: str) -> None:
    """The seconds that new frames take, and the check of the last day copied."""
    plant.intakes.append(_take_in(plant, lines, NEW + len(plant.intakes) * DAY, mark))
    plant.ticks.append(_tick(plant))


def _tick(plant: Plant) -> float:
    with plant.database.begin() as conn:
        conn.execute(text("DELETE FROM measured_window WHERE window_start = :last"), {"last": plant.last})
    before = time.perf_counter()
    windows = drift.run(plant.database, plant.loaded, plant.now)
    took = time.perf_counter() - before
    assert windows == 1, f"{windows} windows were measured"
    return took


def _take_in(plant: Plant, lines: list[str], day: datetime, mark: str) -> float:
    spool = plant.folder / f"spool-{mark}"
    (spool / "incoming").mkdir(parents=True)
    said = "\n".join(lines).replace("@DAY", f"{day:%Y-%m-%d}").replace("@MARK", mark)
    (spool / "incoming" / "frames.jsonl").write_text(said, encoding="utf-8")
    before = time.perf_counter()
    stored = intake.run(plant.database, spool, {"bench": plant.loaded}, day + 2 * DAY)
    took = time.perf_counter() - before
    assert stored == A_DAY, f"{stored} of {A_DAY} frames were stored"
    return took


def _keep_template(database: Database) -> None:
    with database.begin() as conn:
        for name, table in (("template", "frame"), ("template_key", "frame_key"), ("template_rollup", "rollup")):
            conn.execute(text(f"CREATE TABLE {name} AS TABLE {table}"))


def _copy_days(database: Database, days: int) -> None:
    for day in range(1, days):
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
