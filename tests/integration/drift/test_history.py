"""Roll-ups of hours come back from Postgres as the very series that lanes are decided on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hourly import write

from monitor.drift import history, lanes
from monitor.signals import SIGNALS
from monitor.store import hours
from monitor.store.database import Database
from monitor.watch import LANES

START = datetime(2026, 3, 4, tzinfo=UTC)  # a Wednesday
DAYS = 5


def _drawn(draw: np.random.Generator, signal: str, middle: float, spread: float) -> np.ndarray:
    """Counts [hours, bins] of about 40 normal values an hour; the small hours are empty."""
    edges = SIGNALS[signal].edges
    rows = np.zeros((DAYS * 24, edges.count + 2), dtype=np.int64)
    for hour in range(DAYS * 24):
        if hour % 24 >= 6:
            values = edges.bin_of(draw.normal(middle, spread, draw.integers(20, 60)))
            rows[hour] = np.bincount(values, minlength=edges.count + 2)
    return rows


@pytest.fixture
def written(database: Database) -> dict[tuple[str, str, str], np.ndarray]:
    """Two cameras over five days, delivered in two batches that share every hour."""
    draw = np.random.default_rng(3)
    counts = {}
    for camera in ("cam-1", "cam-2"):
        for signal, middle, spread in (("confidence", 0.7, 0.1), ("latency_ms", 40, 5), ("detections", 3, 1)):
            counts[camera, signal, ""] = _drawn(draw, signal, middle, spread)
        counts[camera, "brightness", ""] = _drawn(draw, "brightness", 120, 9)
        counts[camera, "confidence", "pouch"] = counts[camera, "confidence", ""] // 3
        counts[camera, "confidence", "carton"] = (
            counts[camera, "confidence", ""] - counts[camera, "confidence", "pouch"]
        )
    with database.begin() as conn:
        write(conn, "line", "v1", START, {key: rows // 2 for key, rows in counts.items()}, batch=1)
        write(conn, "line", "v1", START, {key: rows - rows // 2 for key, rows in counts.items()}, batch=2)
    return counts


def _read(database: Database, signal: str, names: tuple[str, ...] = ()) -> history.Hours:
    stored = "confidence" if signal == "class_share" else signal
    with database.begin() as conn:
        found = hours.read(conn, "line", "v1", START, START + timedelta(days=DAYS), [stored])
    recipes = history.recipes_of(found, stored)
    return history.hours(found, signal, START.date(), DAYS, recipes, names)


@pytest.mark.parametrize("signal", ["confidence", "latency_ms", "detections", "brightness"])
def test_dense_series_are_what_was_counted(
    database: Database, written: dict[tuple[str, str, str], np.ndarray], signal: str
) -> None:
    series = history.series(_read(database, signal))
    assert series.counts.shape[:3] == (2, DAYS, 24)
    for i, camera in enumerate(("cam-1", "cam-2")):
        assert (series.counts[i].reshape(DAYS * 24, -1) == written[camera, signal, ""]).all()


SUMMED = [
    name
    for name, lane in LANES.items()
    if lane.probe not in ("classes", "shape") and lane.signal != "sharpness"  # which the plant does not log
]


@pytest.mark.parametrize("name", SUMMED)
def test_a_number_read_sparse_is_the_number_of_the_dense_histogram(
    database: Database, written: dict[tuple[str, str, str], np.ndarray], name: str
) -> None:
    lane = LANES[name]
    found = _read(database, lane.signal)
    dense = history.series(found)
    marks = lanes.marks(lane, dense.values, dense.counts[:, :3].sum(axis=(1, 2)))
    theirs, ours = lanes.probe(lane, dense, 3), history.probe(lane, found, marks)
    assert (ours.n == theirs.n).all()
    np.testing.assert_allclose(ours.x[ours.n > 0], theirs.x[theirs.n > 0], rtol=1e-13)


def test_classes_are_counted_and_groups_add_up(
    database: Database, written: dict[tuple[str, str, str], np.ndarray]
) -> None:
    mix = _read(database, "class_share", ("carton", "pouch", "never seen"))
    dense = history.series(mix)
    carton = written["cam-2", "confidence", "carton"].sum(axis=1).reshape(DAYS, 24)
    assert (dense.counts[1, ..., 0] == carton).all()
    assert dense.counts[..., 2].sum() == 0
    found = _read(database, "confidence")
    grouped = history.groups(found, [[50, 69, 101], [75, 101]])
    whole = history.series(found).counts
    assert (grouped[0][..., 1] == whole[0, ..., 51:70].sum(axis=-1)).all()
    assert (grouped[1][..., 0] == whole[1, ..., :76].sum(axis=-1)).all()
    assert (grouped[1].sum(axis=-1) == found.n[1]).all()


def test_the_calendar_knows_the_weekend() -> None:
    calendar = history.calendar(START.date(), DAYS, 3)
    assert calendar.weekend.tolist() == [0, 0, 0, 1, 1]
    assert calendar.baseline == 3
