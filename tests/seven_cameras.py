"""Seven cameras in two places with a frozen baseline, written as roll-ups and watched day by day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from hourly import write
from sqlalchemy import text

from monitor.alerts import gather
from monitor.drift import baseline, watch
from monitor.records import Window
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
BASELINE, DAYS = 16, 30
CAMERAS = tuple(f"cam-{i}" for i in range(1, 8))
NORTH = CAMERAS[:3]
PLACES = ", ".join(f'{{ name = "{c}", site = "{"north" if c in NORTH else "south"}" }}' for c in CAMERAS)
CONTRACT = f"""
[model]
name = "line"
[[classes]]
name = "carton"
[cameras]
list = [{PLACES}]
"""
ORDINARY = {
    "brightness": (120.0, 9.0),
    "sharpness": (5.0, 0.4),
    "confidence": (0.75, 0.1),
    "detections": (3.5, 1.2),
    "latency_ms": (40.0, 5.0),
}
Counts = dict[tuple[str, str, str], np.ndarray]


def correlated(draw: np.random.Generator, phi: float) -> np.ndarray:
    """A level for each day: AR(1) with unit variance."""
    level = np.empty(DAYS)
    level[0] = draw.normal()
    for day in range(1, DAYS):
        level[day] = phi * level[day - 1] + np.sqrt(1 - phi**2) * draw.normal()
    return level


def plant(seed: int, moved: Mapping[tuple[str, str], np.ndarray]) -> Counts:
    """Hourly histograms of 12 hours a day, 20 values each; `moved` adds sds by day to (camera, signal)."""
    counts: Counts = {}
    for place, camera in enumerate(CAMERAS):
        draw = np.random.default_rng([seed, place])
        open_hours = np.arange(DAYS * 24) % 24 >= 12
        for signal, (middle, sd) in ORDINARY.items():
            edges = SIGNALS[signal].edges
            level = 0.3 * correlated(draw, 0.5) + moved.get((camera, signal), np.zeros(DAYS))
            values = middle + sd * (draw.normal(size=(DAYS * 24, 20)) + level.repeat(24)[:, None])
            rows = np.zeros((DAYS * 24, edges.count + 2), dtype=np.int64)
            np.add.at(rows, (np.arange(DAYS * 24)[:, None], edges.bin_of(np.abs(values))), 1)
            counts[camera, signal, ""] = rows * open_hours[:, None]
        whole = counts[camera, "confidence", ""]
        counts[camera, "confidence", "pouch"] = draw.binomial(whole, 0.2)
        counts[camera, "confidence", "carton"] = whole - counts[camera, "confidence", "pouch"]
        frames = np.zeros((DAYS * 24, 3), dtype=np.int64)
        frames[:, 1] = 20 * open_hours
        counts[camera, "status", ""] = frames
    return counts


@dataclass
class Line:
    """A model whose baseline is frozen, and what was written of it."""

    database: Database
    loaded: LoadedContract
    counts: Counts

    def write(self, first: int, end: int, batch: int = 1, scale: int = 1) -> None:
        part = {key: rows[first * 24 : end * 24] * scale for key, rows in self.counts.items()}
        with self.database.begin() as conn:
            write(conn, "line", "v1", START + first * DAY, part, batch)

    def tick(self, day: int) -> tuple[int, int]:
        """Watch and gather what is undone at two in the morning after `day`."""
        now = START + (day + 1) * DAY + timedelta(hours=2)
        return watch.run(self.database, self.loaded, now), gather.run(self.database, self.loaded, now)

    def all_rows(self) -> list[str]:
        """Everything that the two write."""
        questions = (
            "SELECT to_jsonb(t) FROM measurement t",
            "SELECT to_jsonb(t) FROM watched_day t",
            "SELECT to_jsonb(t) FROM gathered_day t",
            "SELECT to_jsonb(t) FROM incident t",
            "SELECT to_jsonb(t) FROM incident_said t",
            "SELECT to_jsonb(t) - 'event_id' - 'decided_at' FROM alert_event t",
        )
        with self.database.begin() as conn:
            return sorted(repr(row) for question in questions for row in conn.execute(text(question)).scalars())


def line(database: Database, folder: Path, counts: Counts) -> Line:
    path = folder / "line.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    made = Line(database, load_contract(path), counts)
    made.write(0, BASELINE)
    period = Window(START, START + BASELINE * DAY)
    baseline.from_logs(database, made.loaded, "v1", period, period.end + DAY)
    return made


RAMP = np.maximum(0.0, np.arange(DAYS) - 19) * 0.2
