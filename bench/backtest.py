"""A backtest of a plant's quarter: lanes with two budgets, and a static rule with two thresholds, fetch included."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench import plant
from monitor.cli.main import main as command
from monitor.drift import baseline, watch
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import embedded, measurements, migrate
from monitor.store.database import Database, open_database

CAMERAS, BASELINE, DAYS, FRAMES = 100, 28, 90, 20
GOAL = 30.0
CONTRACT = """
[model]
name = "bench"
[[classes]]
name = "carton"
[cameras]
policy = "open"
[[alerts]]
name = "brightness"
signal = "brightness"
measure = "psi"
above = 0.2
min_n = 50
"""


def figures() -> Iterator[dict[str, Any]]:
    """Seconds of the command, from the command line to the printed table."""
    whole = plant.Plant(CAMERAS, BASELINE + DAYS, FRAMES)
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name, embedded.start(Path(name) / "pg") as server:
        folder = Path(name)
        loaded = _contract(folder)
        known = _labelled(folder / "known.csv", whole)
        with open_database(Settings(state_dir=folder, database_url=server.url)) as database:
            migrate.upgrade(database.engine)
            plant.write(database, whole, BASELINE)
            _freeze(database, loaded)
            _measure(database, loaded, whole)
        os.environ["MONITOR_DATABASE_URL"] = server.url
        os.environ["MONITOR_CONTRACTS_DIR"] = str(folder / "contracts")
        asked = {
            "lanes": ["--budget", "0.08", "--against", "0.02"],
            "rule": ["--rule", "brightness", "--set", "above=0.4"],
        }
        for what, words in asked.items():
            took, cpu, said = _timed(["backtest", "--model", plant.MODEL, "--incidents", str(known), *words])
            yield {
                "name": f"backtest.{what}",
                "value": round(took, 2),
                "unit": f"s for {CAMERAS} cameras and {DAYS} days, two settings, fetch included",
                "against": "limit of 30 s",
                "ratio": round(GOAL / took, 1),
                "goal": GOAL,
                "holds": took <= GOAL,
                "cpu": f"{cpu:.2f} s of its own, the server's aside",
                "said": said,
            }


def _contract(folder: Path) -> LoadedContract:
    (folder / "contracts").mkdir()
    path = folder / "contracts" / "bench.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    return load_contract(path)


def _labelled(path: Path, whole: plant.Plant) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["camera", "start", "end", "cause"])
        for camera, (start, cause) in whole.changes(BASELINE).items():
            rows.writerow([camera, start.isoformat(), "", cause])
    return path


def _freeze(database: Database, loaded: LoadedContract) -> None:
    period = Window(plant.START, plant.START + BASELINE * plant.DAY)
    frozen = baseline.from_logs(database, loaded, plant.VERSION, period, period.end + timedelta(hours=1))
    with database.begin() as conn:
        watch.known(conn, loaded, frozen.baseline)


def _measure(database: Database, loaded: LoadedContract, whole: plant.Plant) -> None:
    """A PSI a camera and day, as the drift stage leaves it: chance, and a jump where the brightness changed."""
    draw, changes = np.random.default_rng(31), whole.changes(BASELINE)
    rows = []
    for day in range(BASELINE, whole.days):
        window = Window(plant.START + day * plant.DAY, plant.START + (day + 1) * plant.DAY)
        for camera in whole.names:
            moved = camera in changes and window.start >= changes[camera][0]
            key = SeriesKey(Scope(plant.MODEL, plant.VERSION, camera=camera), "brightness", recipe="bench-1")
            value = float(draw.gamma(2, 0.05) + 0.5 * moved)
            rows.append(Measurement(key, "psi", window, value, "ok", 480, 13_440, 1, loaded.hash, 0.05, 120.0, 120.0))
    with database.begin() as conn:
        measurements.save(conn, rows)


def _timed(words: list[str]) -> tuple[float, float, str]:
    out = io.StringIO()
    before, worked = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(out):
        code = command(words)
    took, cpu = time.perf_counter() - before, time.process_time() - worked
    assert code == 0, out.getvalue()
    shown = out.getvalue().split("labelled incidents:")[0]
    return took, cpu, "; ".join(re.sub(r"\s{2,}", " ", line) for line in shown.splitlines()[3:] if line.strip())
