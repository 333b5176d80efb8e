"""A plant of many cameras as roll-ups of hours, written straight to Postgres: months in a minute, without frames.

Each camera has its own level, a daily and weekly rhythm and days that differ; brightness steps down on a few cameras
and fades on a few others. What is stored is what intake would have stored for such values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from monitor.records import Scope, SeriesKey, microseconds
from monitor.signals import SIGNALS
from monitor.store import histograms
from monitor.store.database import Database
from monitor.store.rows import rollup_rows
from monitor.upkeep import RollupColumns

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
MODEL, VERSION = "bench", "v1"
CLASSES = ("carton", "pouch", "sleeve", "tray", "can")
LEVELS = {
    "brightness": (120.0, 8.0),
    "sharpness": (6.0, 0.4),
    "confidence": (0.78, 0.1),
    "detections": (2.5, 1.0),
    "latency_ms": (35.0, 5.0),
}
"""Mean and spread of a frame's values."""
RECIPE = {"brightness": "bench-1", "sharpness": "bench-1"}
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Plant:
    """`cameras` cameras over `days` days with `frames` frames an hour."""

    cameras: int
    days: int
    frames: int

    @property
    def names(self) -> list[str]:
        return [f"cam-{i:03d}" for i in range(self.cameras)]

    @property
    def end(self) -> datetime:
        return START + self.days * DAY

    def changes(self, baseline: int) -> dict[str, tuple[datetime, str]]:
        """When and how the brightness of some cameras changes: every tenth steps, the one after each fades."""
        start = START + (baseline + (self.days - baseline) // 3) * DAY
        kinds = {0: "lens", 1: "lamp"}
        return {name: (start, kinds[i % 10]) for i, name in enumerate(self.names) if i % 10 in kinds}


def write(database: Database, plant: Plant, baseline: int) -> None:
    """Append the roll-ups of the whole plant, a camera a transaction."""
    draw = np.random.default_rng(29)
    changes = plant.changes(baseline)
    known: set[int] = set()
    for name in plant.names:
        parts = list(_series(plant, name, changes.get(name), draw))
        with database.begin() as conn:
            known |= histograms.append(conn, 1, rollup_rows(columns(parts)), known)


Cells = tuple[SeriesKey, np.ndarray]
"""A series and its counts by hour and bin as flat places: hour × bins + bin, one a value."""


def _series(
    plant: Plant, name: str, change: tuple[datetime, str] | None, draw: np.random.Generator
) -> Iterator[Cells]:
    hours = plant.days * 24
    rhythm = np.sin(2 * np.pi * np.arange(hours) / 24)
    scope = Scope(MODEL, VERSION, camera=name)
    hour = np.repeat(np.arange(hours), plant.frames)
    yield SeriesKey(scope, "status"), hour * 3 + 1
    for signal, (mean, spread) in LEVELS.items():
        level = mean * (1 + draw.normal(0, 0.05)) + spread * (
            0.3 * rhythm + np.repeat(draw.normal(0, 0.2, plant.days), 24)
        )
        if signal == "brightness" and change is not None:
            since = np.maximum(0, np.arange(hours) / 24 - (change[0] - START) / DAY)
            level = level * np.where(change[1] == "lens", np.where(since > 0, 0.95, 1.0), 0.997**since)
        values = np.repeat(level, plant.frames) + draw.normal(0, spread, hours * plant.frames)
        edges = SIGNALS[signal].edges
        if signal == "detections":
            values = np.maximum(0, np.rint(values))
        if signal == "confidence":
            values = np.clip(values, 0, 0.999)
        bins = edges.bin_of(values)
        yield SeriesKey(scope, signal, recipe=RECIPE.get(signal, "")), hour * (edges.count + 2) + bins
        if signal == "confidence":
            of = draw.choice(len(CLASSES), hour.size, p=[0.4, 0.3, 0.15, 0.1, 0.05])
            for i, class_name in enumerate(CLASSES):
                yield SeriesKey(scope, signal, class_name), (hour * (edges.count + 2) + bins)[of == i]


def columns(parts: list[Cells]) -> RollupColumns:
    """The roll-ups of these values, without the sums of squares that detections have."""
    rows: dict[str, list[np.ndarray]] = {
        name: [] for name in ("series", "start", "n", "total", "cells", "bins", "counts")
    }
    for number, (key, flat) in enumerate(parts):
        signal = SIGNALS[key.signal]
        width = signal.edges.count + 2
        places, counts = np.unique(flat, return_counts=True)
        hours, first = np.unique(places // width, return_index=True)
        n = np.add.reduceat(counts, first)
        rows["series"].append(np.full(hours.size, number))
        rows["start"].append(microseconds(START) + hours * HOUR_US)
        rows["n"].append(n)
        rows["total"].append(np.add.reduceat(counts * signal.edges.middles()[places % width] * signal.scale, first))
        rows["cells"].append(np.diff(np.append(first, places.size)))
        rows["bins"].append(places % width)
        rows["counts"].append(counts)
    joined = {name: np.rint(np.concatenate(found)).astype(np.int64) for name, found in rows.items()}
    return RollupColumns(
        names=[key.named(SIGNALS[key.signal].edges.id, 60) for key, _ in parts],
        series_row=joined["series"],
        start_us=joined["start"],
        n=joined["n"],
        frames=joined["n"],
        total=joined["total"],
        squares=joined["n"],
        cells=joined["cells"],
        bins=joined["bins"],
        counts=joined["counts"],
    )
