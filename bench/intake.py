"""Intake against Postgres' own loader: files of JSON lines → committed rows and roll-ups, beside `psql \\copy` of a
ready-made binary file of the same rows into the same tables."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.ingest import stage
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import migrate
from monitor.store.binaries import find_binaries, server_account
from monitor.store.database import Database, open_database

FRAMES = 50_000
CAMERAS = 50
CLASSES = 20
DETECTIONS = 3
RUNS = 3
GOAL = 0.35
TABLES = ("frame_key", "frame", "series", "rollup")
START = datetime(2026, 3, 2, 10, tzinfo=UTC)


def write_log(path: Path, seed: int = 7) -> None:
    """An hour of 50 cameras: 50,000 frames with 3 detections of 20 classes and a histogram of 32 bins each."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.uniform(0, 3600, FRAMES))
    bins = rng.multinomial(129_600, rng.dirichlet(np.full(32, 2.0)), FRAMES)
    with path.open("w", encoding="utf-8") as file:
        for i in range(FRAMES):
            grey = float(rng.normal(120, 12))
            at = START + timedelta(seconds=float(seconds[i]))
            file.write(json.dumps(_frame(rng, i, at, grey, bins[i].tolist())) + "\n")


def _frame(rng: np.random.Generator, i: int, at: datetime, grey: float, histogram: list[int]) -> dict[str, Any]:
    x, y = rng.uniform(0, 1000, (2, DETECTIONS))
    wide, high = rng.uniform(20, 400, (2, DETECTIONS))
    return {
        "schema_version": 1,
        "event_id": f"frame-{i:08d}",
        "captured_at": at.isoformat(),
        "model": "bench",
        "version": "v1.0",
        "camera": f"cam-{i % CAMERAS:02d}",
        "width": 1920,
        "height": 1080,
        "latency_ms": round(float(rng.lognormal(3.2, 0.2)), 3),
        "queue_depth": int(rng.poisson(2)),
        "slices": {"lighting": "day" if i % 3 else "evening"},
        "image_uri": f"s3://frames/{i:08d}.jpg",
        "image": {
            "recipe": "bench-1",
            "brightness": round(min(max(grey, 0), 255), 4),
            "contrast": round(float(rng.uniform(30, 60)), 4),
            "sharpness": round(float(rng.normal(5, 0.5)), 4),
            "red_balance": round(float(rng.normal(0, 0.05)), 5),
            "blue_balance": round(float(rng.normal(0, 0.05)), 5),
            "histogram": histogram,
        },
        "detections": [
            {
                "class": f"class-{int(rng.integers(CLASSES)):02d}",
                "confidence": round(float(rng.beta(8, 2)), 5),
                "box": [round(float(v), 2) for v in (x[k], y[k], x[k] + wide[k], y[k] + high[k])],
            }
            for k in range(DETECTIONS)
        ],
    }


def contract(folder: Path) -> LoadedContract:
    """The contract that the frames of `write_log` keep."""
    lines = ['[model]\nname = "bench"\n[cameras]\npolicy = "declared"\n']
    lines += [f'[[cameras.list]]\nname = "cam-{i:02d}"\n' for i in range(CAMERAS)]
    lines += [f'[[classes]]\nname = "class-{i:02d}"\n' for i in range(CLASSES)]
    lines += ['[[conditions]]\nname = "lighting"\nvalues = ["day", "evening"]\n', "[output]\nclip_boxes = true\n"]
    path = folder / "bench.toml"
    path.write_text("".join(lines), encoding="utf-8")
    return load_contract(path)


def figures() -> Iterator[dict[str, Any]]:
    """Ours and Postgres' own loader in turn, the median of three each."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        loaded = contract(folder)
        with open_database(Settings(state_dir=folder / "state")) as database:
            migrate.upgrade(database.engine)
            ours, theirs, rows = [], [], 0
            for run in range(RUNS):
                ours.append(_load_files(database, folder / f"spool-{run}", loaded))
                if run == 0:
                    rows = _dump(database, folder)
                _empty(database)
                theirs.append(_copy(database, folder))
                _empty(database)
            version = _version(database)
    mine, peer = statistics.median(ours), statistics.median(theirs)
    yield {
        "name": "ingest.files_vs_copy_binary",
        "value": round(FRAMES / mine),
        "unit": f"frames/s from files to committed rows ({rows} roll-up rows merged)",
        "against": f"psql \\copy, binary, same rows, same tables, {version}: {FRAMES / peer:.0f} frames/s",
        "ratio": round(peer / mine, 3),
        "goal": GOAL,
        "holds": peer / mine >= GOAL,
    }


def _load_files(database: Database, spool: Path, loaded: LoadedContract) -> float:
    (spool / "incoming").mkdir(parents=True)
    write_log(spool / "incoming" / "frames.jsonl")
    before = time.perf_counter()
    stored = stage.run(database, spool, {"bench": loaded}, START + timedelta(days=1))
    took = time.perf_counter() - before
    assert stored == FRAMES, f"{stored} of {FRAMES} frames were stored"
    return took


def _dump(database: Database, folder: Path) -> int:
    """Write each table as a binary COPY file; returns the number of roll-up rows."""
    _psql(database, *(f"\\copy (TABLE {table}) TO '{folder / table}' (FORMAT BINARY)" for table in TABLES))
    with database.begin() as conn:
        return int(conn.execute(text("SELECT count(*) FROM rollup")).scalar_one())


def _empty(database: Database) -> None:
    with database.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join((*TABLES, 'batch', 'reject', 'intake_total'))}"))


def _copy(database: Database, folder: Path) -> float:
    before = time.perf_counter()
    _psql(database, *(f"\\copy {table} FROM '{folder / table}' (FORMAT BINARY)" for table in TABLES))
    return time.perf_counter() - before


def _psql(database: Database, *commands: str) -> None:
    psql = find_binaries(server_account()) / "psql"
    uri = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run([psql, "-qX", "-1", "-v", "ON_ERROR_STOP=1", "-d", uri, *words], check=True)


def _version(database: Database) -> str:
    with database.begin() as conn:
        return "PostgreSQL " + str(conn.execute(text("SHOW server_version")).scalar_one()).split()[0]
