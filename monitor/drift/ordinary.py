"""What is ordinary: a baseline's days reduced to the numbers that lanes watch, and production's days read likewise.

Which bins count, which recipe is read and which classes are known is settled once, from the baseline, as `Reading`s;
after that a day costs the fetch of its own roll-ups, however long the history is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from monitor.drift import history, lanes
from monitor.drift.history import HOURS, Hours
from monitor.measures import CLASS_SHARE
from monitor.records import EPOCH, Floats, Ints
from monitor.signals import SIGNALS
from monitor.stats import seasonal
from monitor.stats.groups import equal_mass_cuts
from monitor.watch import APART, LANES, HourColumns, Lane, Numbers, Reading

QUARTERS = 4 * HOURS


def learn(found: HourColumns, stage: str, first: date, days: int, chosen: Iterable[Lane]) -> list[Numbers]:
    """The baseline's days, by camera and class, of each lane that they hold a value for.

    `found` are the hours of one version and stage; `first` is the baseline's first day.
    """
    readings: list[Reading] = []
    for lane in chosen:
        stored = history.stored(lane.signal)
        recipes = history.recipes_of(found, stored)
        if recipes:
            hours = history.hours(found, lane.signal, first, days, recipes, _classes(found, lane))
            readings += _readings(lane, stage, hours, recipes)
    return observe(found, readings, first, days)


def _classes(found: HourColumns, lane: Lane) -> tuple[str, ...]:
    if lane.signal != CLASS_SHARE:
        return ()
    return tuple(sorted({key.class_name for key in found.series if key.signal == history.COUNTED and key.class_name}))


def _readings(lane: Lane, stage: str, hours: Hours, recipes: dict[str, str]) -> list[Reading]:
    past = history.past(hours)
    found = []
    for i, camera in enumerate(hours.cameras):
        cuts: Sequence[int] = ()
        if lane.probe == "shape":
            cuts = equal_mass_cuts(past[i]).tolist()
        elif lane.probe == "above":
            marked = np.flatnonzero(lanes.marks(lane, past[i] * 0.0, past[i : i + 1])[0])
            cuts = [int(marked[0]) if marked.size else hours.bins]
        for name in hours.names or ("",):
            found.append(Reading(stage, lane.name, name, camera, recipes[camera], tuple(cuts)))
    return found


def observe(found: HourColumns, readings: Sequence[Reading], first: date, days: int) -> list[Numbers]:
    """Days from `first` on, read as the baseline was; readings are of one stage. In the order of the readings."""
    kept: dict[tuple[object, ...], Hours] = {}
    answer: dict[Reading, Numbers] = {}
    for name in dict.fromkeys(reading.lane for reading in readings):
        lane = LANES[name]
        own = [reading for reading in readings if reading.lane == name]
        recipes = {reading.camera: reading.recipe for reading in own}
        names = tuple(sorted({reading.class_name for reading in own} - {""}))
        key = (lane.signal, names, tuple(sorted(recipes.items())))
        if key not in kept:
            kept[key] = history.hours(found, lane.signal, first, days, recipes, names)
        answer |= _numbers(lane, kept[key], own)
    return [answer[reading] for reading in readings]


def _numbers(lane: Lane, hours: Hours, readings: Sequence[Reading]) -> dict[Reading, Numbers]:
    place = {camera: i for i, camera in enumerate(hours.cameras)}
    n = hours.n.astype(np.float64)
    if lane.probe == "classes" and hours.classes is not None:
        shares = {name: seasonal.shares(hours.classes[i], n).x for i, name in enumerate(hours.names)}
        return {r: Numbers(r, n[place[r.camera]], shares[r.class_name][place[r.camera]]) for r in readings}
    by_camera = {reading.camera: reading for reading in readings}
    own = [by_camera[camera] for camera in hours.cameras]
    if lane.probe == "shape":
        counts = history.groups(hours, [reading.cuts for reading in own])
        return {r: Numbers(r, n[i], counts[i].astype(np.float64)) for i, r in enumerate(own)}
    marks = lanes.marks(lane, SIGNALS[hours.signal].edges.middles(), history.past(hours))
    if lane.probe == "above":
        marks = (np.arange(hours.bins) >= np.array([reading.cuts for reading in own])).astype(np.float64)
    x = history.probe(lane, hours, marks).x
    return {reading: Numbers(reading, n[i], x[i]) for i, reading in enumerate(own)}


def queues(found: HourColumns, stage: str, first: date, days: int, cameras: Sequence[str] = ()) -> list[Numbers]:
    """The depth of each camera's queue by quarters of an hour, of `cameras` or of all that `found` knows.

    `found` are quarters of one version and stage.
    """
    lane = APART["queue_peak"]
    known = sorted({key.scope.camera for key in found.series if key.signal == lane.signal})
    start = (first - EPOCH.date()).days * QUARTERS
    answer = []
    for camera in cameras or known:
        own = np.array([(key.scope.camera, key.signal) == (camera, lane.signal) for key in found.series], dtype=bool)
        quarter = found.slot - start
        rows = np.flatnonzero((quarter >= 0) & (quarter < days * QUARTERS))
        rows = rows[own[found.row_series[rows]]] if rows.size else rows
        n, total = (
            np.bincount(quarter[rows], weights=part[rows], minlength=days * QUARTERS).reshape(days, HOURS, -1)
            for part in (found.n, found.total)
        )
        with np.errstate(invalid="ignore"):
            mean = total / n / SIGNALS[lane.signal].scale
        answer.append(Numbers(Reading(stage, lane.name, "", camera, ""), n.sum(axis=-1), mean))
    return answer


@dataclass(frozen=True, slots=True)
class Span:
    """A run of days: `days` of them from `first` on."""

    first: date
    days: int


def streams(
    usual: Sequence[Numbers], seen: Sequence[Numbers], baseline: Span, later: Span, chosen: Sequence[Lane]
) -> tuple[tuple[str, ...], list[lanes.Stream]]:
    """The cameras, and every stream over the baseline's days and the later ones after them.

    `usual` and `seen` are the same readings over the two spans. Where a camera has no reading of a lane, its days are
    empty.
    """
    cameras = tuple(sorted({numbers.reading.camera for numbers in usual}))
    weekend = [history.calendar(span.first, span.days, 0).weekend for span in (baseline, later)]
    calendar = lanes.Calendar(np.concatenate(weekend), baseline.days)
    by_stream: dict[tuple[str, str], dict[str, tuple[Floats, Floats]]] = {}
    for before, after in zip(usual, seen, strict=True):
        reading = before.reading
        both = np.concatenate((before.n, after.n)), np.concatenate((before.x, after.x))
        by_stream.setdefault((reading.lane, reading.class_name), {})[reading.camera] = both
    empty = np.zeros((baseline.days + later.days, HOURS))
    found = []
    for lane in chosen:
        for name, class_name in sorted(key for key in by_stream if key[0] == lane.name):
            own = by_stream[name, class_name]
            if lane.probe == "shape":
                nothing = empty, empty[..., None]
                grouped: list[Ints] = [own.get(camera, nothing)[1].astype(np.int64) for camera in cameras]
                found.append(lanes.shape_of(lane, grouped, calendar))
            else:
                n, x = (np.stack([own.get(camera, (empty, empty))[i] for camera in cameras]) for i in (0, 1))
                found.append(lanes.stream_of(lane, seasonal.Hourly(n, x), calendar, class_name))
    return cameras, found


def values(usual: Sequence[Numbers], seen: Sequence[Numbers], cameras: Sequence[str]) -> dict[tuple[str, str], Ints]:
    """The number of values by lane and class [cameras, days], over the baseline's days and the later ones."""
    place = {camera: i for i, camera in enumerate(cameras)}
    found: dict[tuple[str, str], Ints] = {}
    for before, after in zip(usual, seen, strict=True):
        n = np.concatenate((before.n, after.n)).sum(axis=-1).astype(np.int64)
        key = (before.reading.lane, before.reading.class_name)
        found.setdefault(key, np.zeros((len(cameras), n.size), dtype=np.int64))[place[before.reading.camera]] = n
    return found
