"""Stored hourly roll-ups as the series and the calendar that lanes are decided on.

Days are days of UTC, the baseline's first. Roll-ups stay sparse until a lane asks for a number: the latencies of a
hundred cameras over three months would fill a gigabyte as dense histograms, and most numbers are sums over bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from monitor.drift import lanes
from monitor.measures import CLASS_SHARE
from monitor.records import ALL, EPOCH, Floats, Ints
from monitor.signals import SIGNALS
from monitor.stats import seasonal
from monitor.watch import HourColumns, Lane

HOURS = 24
COUNTED = "confidence"
"""The signal whose values, counted by class, are the mix of classes."""


@dataclass(frozen=True, slots=True)
class Hours:
    """One signal of some cameras by the hour, sparse.

    `n` [cameras, days, 24] values and their sum `total`, in the signal's integer unit; each cell is `count` values in
    `bin` of the hour `row`, a flat place in n. `classes` [names, cameras, days, 24] counts by class, for
    `class_share`; empty for the others.
    """

    signal: str
    cameras: tuple[str, ...]
    n: Ints
    total: Ints
    row: Ints
    bin: Ints
    count: Ints
    names: tuple[str, ...] = ()
    classes: Ints | None = None

    @property
    def bins(self) -> int:
        return SIGNALS[self.signal].edges.count + 2


def signals_of(chosen: Iterable[Lane]) -> list[str]:
    """The stored signals that lanes are read from, each once."""
    return list(dict.fromkeys(COUNTED if lane.signal == CLASS_SHARE else lane.signal for lane in chosen))


def calendar(first: date, days: int, baseline: int) -> lanes.Calendar:
    """The calendar of `days` days of UTC from `first` on, of which the first `baseline` are the baseline."""
    weekend = [(first + timedelta(days=i)).weekday() >= 5 for i in range(days)]
    return lanes.Calendar(np.array(weekend, dtype=np.int64), baseline)


def recipes_of(found: HourColumns, signal: str) -> dict[str, str]:
    """The recipe by camera under which most values of a signal were read: recipes are never compared."""
    n = np.bincount(found.row_series, weights=found.n, minlength=len(found.series))
    most: dict[str, tuple[float, str]] = {}
    for key, values in zip(found.series, n.tolist(), strict=True):
        if key.signal == signal and key.class_name == ALL:
            most[key.scope.camera] = max(most.get(key.scope.camera, (-1.0, "")), (values, key.recipe))
    return {camera: recipe for camera, (_, recipe) in most.items()}


def hours(
    found: HourColumns,
    signal: str,
    first: date,
    days: int,
    recipes: Mapping[str, str],
    names: Sequence[str] = (),
) -> Hours:
    """The signal's days from `first` on, of the cameras and recipes given, in the order of their names.

    The columns are of one version and stage, in spans of an hour. `names`: the classes to count, of `class_share`.
    """
    stored = COUNTED if signal == CLASS_SHARE else signal
    cameras = tuple(sorted(recipes))
    place = {camera: i for i, camera in enumerate(cameras)}
    camera = np.full(len(found.series), -1, dtype=np.int64)
    of_class = np.full(len(found.series), -1, dtype=np.int64)
    for i, key in enumerate(found.series):
        if key.signal == stored and key.recipe == recipes.get(key.scope.camera):
            camera[i] = place[key.scope.camera]
            of_class[i] = names.index(key.class_name) if key.class_name in names else -1 if key.class_name else -2
    start = (first - EPOCH.date()).days * HOURS
    hour = found.slot - start
    inside = (camera[found.row_series] >= 0) & (hour >= 0) & (hour < days * HOURS)
    whole = inside & (of_class[found.row_series] == -2)
    flat = camera[found.row_series] * days * HOURS + hour
    shape = (len(cameras), days, HOURS)
    cells = np.repeat(whole, found.cells)
    classes = [_sum(flat, inside & (of_class[found.row_series] == i), found.n, shape) for i in range(len(names))]
    return Hours(
        stored,
        cameras,
        _sum(flat, whole, found.n, shape),
        _sum(flat, whole, found.total, shape),
        np.repeat(flat, found.cells)[cells],
        found.bins[cells],
        found.counts[cells],
        tuple(names),
        np.stack(classes) if classes else None,
    )


def _sum(flat: Ints, where: np.ndarray, values: Ints, shape: tuple[int, ...]) -> Ints:
    # Sums of doubles: exact up to 2^53, which no hour of a camera reaches.
    added = np.bincount(flat[where], weights=values[where], minlength=int(np.prod(shape)))
    return added.astype(np.int64).reshape(shape)


def series(found: Hours) -> lanes.Series:
    """The same as dense histograms: for one camera, or a few bins."""
    if found.classes is not None:
        return lanes.Series(np.moveaxis(found.classes, 0, -1), np.zeros(len(found.names)), found.names)
    size = found.n.size * found.bins
    counts = np.bincount(found.row * found.bins + found.bin, weights=found.count, minlength=size)
    values = SIGNALS[found.signal].edges.middles()
    return lanes.Series(counts.astype(np.int64).reshape(*found.n.shape, found.bins), values)


def groups(found: Hours, cuts: Ints) -> Ints:
    """Counts by group [cameras, days, 24, groups]; `cuts` [cameras, groups] are the last bin of each."""
    per_camera = found.n.shape[1] * HOURS
    group = np.empty(found.row.size, dtype=np.int64)
    camera = found.row // per_camera
    for i, ends in enumerate(cuts):
        group[camera == i] = np.searchsorted(ends, found.bin[camera == i])
    width = cuts.shape[1]
    counts = np.bincount(found.row * width + group, weights=found.count, minlength=found.n.size * width)
    return counts.astype(np.int64).reshape(*found.n.shape, width)


def probe(lane: Lane, found: Hours, marks: Floats) -> seasonal.Hourly:
    """The number that a daily lane watches, by the hour, as `lanes.probe` gives it from dense histograms.

    `marks` [cameras, bins] says what each bin counts for (`lanes.marks`).
    """
    n = found.n.astype(np.float64)
    camera = found.row // (found.n.shape[1] * HOURS)
    added = np.bincount(found.row, weights=found.count * marks[camera, found.bin], minlength=found.n.size)
    added = added.reshape(found.n.shape)
    if lane.probe in lanes.SHARES:
        return seasonal.shares(added, n)
    return seasonal.Hourly(n, added / np.maximum(n, 1))
