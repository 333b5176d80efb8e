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
    return list(dict.fromkeys(stored(lane.signal) for lane in chosen))


def stored(signal: str) -> str:
    """The signal whose roll-ups a watched signal is read from."""
    return COUNTED if signal == CLASS_SHARE else signal


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


def of_stage(found: HourColumns, stage: str) -> HourColumns:
    """The rows of one stage."""
    own = np.array([key.scope.stage == stage for key in found.series], dtype=bool)
    if own.all():
        return found
    place = np.cumsum(own) - 1
    rows = own[found.row_series]
    cells = np.repeat(rows, found.cells)
    return HourColumns(
        series=[key for key, is_own in zip(found.series, own, strict=True) if is_own],
        row_series=place[found.row_series[rows]],
        slot=found.slot[rows],
        n=found.n[rows],
        total=found.total[rows],
        cells=found.cells[rows],
        bins=found.bins[cells],
        counts=found.counts[cells],
    )


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
    source = stored(signal)
    cameras = tuple(sorted(recipes))
    place = {camera: i for i, camera in enumerate(cameras)}
    camera = np.full(len(found.series), -1, dtype=np.int64)
    of_class = np.full(len(found.series), -1, dtype=np.int64)
    for i, key in enumerate(found.series):
        if key.signal == source and key.recipe == recipes.get(key.scope.camera):
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
        source,
        cameras,
        _sum(flat, whole, found.n, shape),
        _sum(flat, whole, found.total, shape),
        np.repeat(flat[whole], found.cells[whole]),
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


def past(found: Hours) -> Ints:
    """Each camera's histogram over all its days, [cameras, bins]."""
    camera = found.row // (found.n.shape[1] * HOURS)
    size = len(found.cameras) * found.bins
    counts = np.bincount(camera * found.bins + found.bin, weights=found.count, minlength=size)
    return counts.astype(np.int64).reshape(len(found.cameras), found.bins)


def groups(found: Hours, cuts: Sequence[Sequence[int]]) -> list[Ints]:
    """Each camera's counts by group [days, 24, groups]; `cuts` are the last fine bins of each camera's groups."""
    days = found.n.shape[1]
    camera = found.row // (days * HOURS)
    order = np.argsort(camera, kind="stable")
    ends = np.searchsorted(camera[order], np.arange(len(cuts) + 1))
    counts = []
    for i, own in enumerate(cuts):
        cells = order[ends[i] : ends[i + 1]]
        place = (found.row[cells] - i * days * HOURS) * len(own) + np.searchsorted(own, found.bin[cells])
        flat = np.bincount(place, weights=found.count[cells], minlength=days * HOURS * len(own))
        counts.append(flat.astype(np.int64).reshape(days, HOURS, len(own)))
    return counts


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
