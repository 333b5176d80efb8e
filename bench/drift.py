"""The drift check of a day against Evidently's preset on the raw values of the same windows."""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.drift import baseline, stage
from monitor.ingest import stage as intake
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import migrate
from monitor.store.database import Database, open_database

CAMERAS = 20
FRAMES = 100
"""A camera and day."""
DAYS = 5
"""Of the baseline; the day after it is checked."""
SIGNALS = (
    "brightness",
    "contrast",
    "sharpness",
    "red_balance",
    "blue_balance",
    "latency_ms",
    "queue_depth",
    "confidence",
)
RUNS = 3
GOAL = 50.0
START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)

Columns = dict[str, np.ndarray]


def figures() -> Iterator[dict[str, Any]]:
    """One tick of the drift stage for all cameras, signals and measures, and Evidently's for PSI alone."""
    try:
        evidently = importlib.import_module("evidently")
        presets = importlib.import_module("evidently.presets")
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        print(f"drift.check_vs_evidently is left out: {error}; `make bench` installs what it needs", file=sys.stderr)
        return
    draw = np.random.default_rng(17)
    days = {f"cam-{i:02d}": [_values(draw) for _ in range(DAYS + 1)] for i in range(CAMERAS)}
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        ours, measured = _tick(Path(name), days)
    before = time.perf_counter()
    for camera in days.values():
        reference, current = (pandas.DataFrame(_joined(part)) for part in (camera[:DAYS], camera[DAYS:]))
        report = evidently.Report([presets.DataDriftPreset(method="psi")])
        report.run(current, reference).dict()
    theirs = time.perf_counter() - before
    yield {
        "name": "drift.check_vs_evidently",
        "value": round(ours, 3),
        "unit": f"s to check a day of {CAMERAS} cameras x {len(SIGNALS)} signals, {measured} measurements",
        "against": f"evidently {version('evidently')} DataDriftPreset(psi) on the same raw windows: {theirs:.2f} s",
        "ratio": round(theirs / ours, 1),
        "goal": GOAL,
        "holds": theirs / ours >= GOAL,
    }


def _values(draw: np.random.Generator) -> Columns:
    """A camera's day: one value a frame for each signal."""
    return {
        "brightness": draw.normal(120, 12, FRAMES).clip(0, 255),
        "contrast": draw.uniform(30, 60, FRAMES),
        "sharpness": draw.normal(5, 0.5, FRAMES),
        "red_balance": draw.normal(0, 0.05, FRAMES),
        "blue_balance": draw.normal(0, 0.05, FRAMES),
        "latency_ms": draw.lognormal(3.2, 0.2, FRAMES),
        "queue_depth": draw.poisson(2, FRAMES),
        "confidence": draw.beta(8, 2, FRAMES),
    }


def _joined(days: list[Columns]) -> Columns:
    return {name: np.concatenate([day[name] for day in days]) for name in SIGNALS}


def _tick(folder: Path, days: dict[str, list[Columns]]) -> tuple[float, int]:
    """Median seconds of the stage's run over the day to check, and how many measurements it writes."""
    loaded = _contract(folder)
    with open_database(Settings(state_dir=folder / "state")) as database:
        migrate.upgrade(database.engine)
        _take_in(database, folder / "spool", loaded, days)
        period = Window(START, START + DAYS * DAY)
        baseline.from_logs(database, loaded, "v1", period, period.end + DAY)
        now = START + (DAYS + 1) * DAY + loaded.contract.drift.settle
        stage.run(database, loaded, now)
        return statistics.median(_again(database, loaded, now) for _ in range(RUNS)), _count(database)


def _again(database: Database, loaded: LoadedContract, now: datetime) -> float:
    with database.begin() as conn:
        conn.execute(text("DELETE FROM measured_window WHERE window_start = :last"), {"last": START + DAYS * DAY})
    before = time.perf_counter()
    windows = stage.run(database, loaded, now)
    took = time.perf_counter() - before
    assert windows == 1, f"{windows} windows were measured"
    return took


def _count(database: Database) -> int:
    with database.begin() as conn:
        last = {"last": START + DAYS * DAY}
        return int(
            conn.execute(text("SELECT count(*) FROM measurement WHERE window_start = :last"), last).scalar_one()
        )


def _contract(folder: Path) -> LoadedContract:
    path = folder / "bench.toml"
    path.write_text(
        '[model]\nname = "bench"\n[[classes]]\nname = "part"\n[cameras]\npolicy = "open"\n'
        f"[drift]\nsignals = {json.dumps(SIGNALS)}\n",
        encoding="utf-8",
    )
    return load_contract(path)


def _take_in(database: Database, spool: Path, loaded: LoadedContract, days: dict[str, list[Columns]]) -> None:
    (spool / "incoming").mkdir(parents=True)
    for camera, columns in days.items():
        lines = [_line(camera, day, i, c) for day, c in enumerate(columns) for i in range(FRAMES)]
        (spool / "incoming" / f"{camera}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    intake.run(database, spool, {"bench": loaded}, START + 30 * DAY)


def _line(camera: str, day: int, i: int, columns: Columns) -> str:
    said = {name: float(values[i]) for name, values in columns.items()}
    image = {name: said[name] for name in SIGNALS[:5]} | {"recipe": "bench-1", "histogram": [1] * 32}
    record = {
        "event_id": f"{camera}-{day}-{i}",
        "captured_at": (START + day * DAY + i * DAY / FRAMES).isoformat(),
        "model": "bench",
        "version": "v1",
        "camera": camera,
        "width": 640,
        "height": 480,
        "latency_ms": said["latency_ms"],
        "queue_depth": int(said["queue_depth"]),
        "image": image,
        "detections": [{"class": "part", "confidence": said["confidence"], "box": [10, 10, 90, 70]}],
    }
    return json.dumps(record)
