"""Reads what an explanation needs: one camera's stream, its verdicts and its histogram. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from monitor.drift import history, lanes, ordinary, past
from monitor.drift.explain import Explanation, bin_names, explain
from monitor.drift.ordinary import Span
from monitor.drift.watch import lanes_of
from monitor.errors import UsageError
from monitor.records import Baseline, Floats, Ints
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract
from monitor.stats.groups import equal_mass_cuts
from monitor.store import reviews
from monitor.store.database import Connection
from monitor.watch import LANES, HourColumns, Lane, Numbers


@dataclass(frozen=True, slots=True)
class Asked:
    """Which stream of which camera; `stage` None: the first. `day` None: the last alarm, else the last day with data.

    `class_name` of a lane over classes: `""` is the one that went furthest.
    """

    stage: str | None
    camera: str
    lane: str
    class_name: str = ""
    day: date | None = None


@dataclass(frozen=True, slots=True)
class _Stream:
    """The stream of all cameras, judged; `row` is the camera's place in it."""

    verdict: lanes.Verdict
    row: int
    calendar: lanes.Calendar
    read: past.Past


def explained(conn: Connection, loaded: LoadedContract, baseline: Baseline, asked: Asked) -> Explanation:
    """Why the stream alarmed on the day, or did not, against this baseline.

    Raises:
        UsageError: the baseline knows no such stream, or the day is none after it.
    """
    every = [lane for lane in lanes_of(loaded) if lane.name in LANES]
    own = [lane for lane in every if lane.name == asked.lane]
    if not own:
        raise UsageError(f"the contract does not watch the signal of {asked.lane}; see [drift] signals")
    read = past.read(conn, loaded, baseline, None, own, asked.stage)
    limit = _limit(
        past.usual_of(conn, baseline, read.stage), read.days, every, loaded, reviews.come(conn, loaded.model)
    )
    found = _judged(read, own, limit, asked)
    groups, names = _groups(conn, found, asked)
    # Four hours reach over midnight: what they say of a day without a value was said the day before.
    empty = groups.sum(axis=(1, 2)) == 0
    found.verdict.fast[found.row, empty] = 0
    first = read.later.first - timedelta(days=found.calendar.baseline)
    day, picked = _day(found, asked.day)
    said = explain(found.verdict, found.row, asked.camera, first, found.calendar, day, groups, names)
    return replace(said, picked=picked)


def _limit(
    usual: Sequence[Numbers], days: Span, every: Sequence[Lane], loaded: LoadedContract, reviewed: bool
) -> dict[str, float]:
    """By camera: what the budget buys for all of its lanes together, which hangs on the baseline's days alone."""
    nothing = [one.cut(0) for one in usual]
    later = Span(days.first + timedelta(days=days.days), 0)
    cameras, streams = ordinary.streams(usual, nothing, days, later, every)
    limits = lanes.limits(streams, loaded.contract.drift.false_alarms_per_camera_month, with_override=reviewed)
    return dict(zip(cameras, limits.tolist(), strict=True))


def _judged(read: past.Past, own: Sequence[Lane], limit: dict[str, float], asked: Asked) -> _Stream:
    cameras, streams = ordinary.streams(read.usual, read.seen, read.days, read.later, own)
    if asked.camera not in cameras:
        raise UsageError(f"the baseline knows no camera {asked.camera!r}; it knows {', '.join(cameras)}")
    row = cameras.index(asked.camera)
    bought: Floats = np.array([limit[camera] for camera in cameras])
    judged = [lanes.decide(one, bought, read.days.days) for one in streams]
    chosen = [one for one in judged if asked.class_name in ("", one.stream.class_name)]
    if not chosen:
        classes = ", ".join(one.class_name for one in streams if one.class_name) or "none"
        raise UsageError(f"the baseline has no {asked.lane} of class {asked.class_name!r}; its classes: {classes}")
    weekend = [history.calendar(span.first, span.days, 0).weekend for span in (read.days, read.later)]
    calendar = lanes.Calendar(np.concatenate(weekend), read.days.days)
    return _Stream(max(chosen, key=lambda one: _furthest(one, row)), row, calendar, read)


def _furthest(verdict: lanes.Verdict, row: int) -> tuple[int, float]:
    """The last day on which it alarmed, then how far its sums came."""
    alarms = np.flatnonzero(verdict.alarm[row])
    return int(alarms[-1]) if alarms.size else -1, float(
        np.maximum(verdict.path.up[row], verdict.path.down[row]).max()
    )


def _day(found: _Stream, asked: date | None) -> tuple[int, str]:
    """Place of the day among the stream's days, and why this one where none was asked for."""
    baseline, later = found.calendar.baseline, found.read.later
    if asked is not None:
        place = (asked - later.first).days
        if not 0 <= place < later.days:
            last = later.first + timedelta(days=later.days - 1)
            raise UsageError(f"{asked} is not among the days after the baseline, {later.first} to {last}")
        return baseline + place, ""
    verdict = found.verdict
    alarms = np.flatnonzero((verdict.alarm[found.row] != 0) | (verdict.fast[found.row] != 0))
    known = np.flatnonzero(np.isfinite(verdict.stream.z[found.row]))
    known = known[known >= baseline]
    if alarms.size:
        return int(alarms[-1]), "No day was asked for: the last day on which it alarmed since the baseline."
    if known.size:
        return int(
            known[-1]
        ), "No day was asked for: it has not alarmed since the baseline; this is the last day with data."
    return (
        baseline + later.days - 1,
        "No day was asked for: no day since the baseline has a verdict; this is the last one.",
    )


def _groups(conn: Connection, found: _Stream, asked: Asked) -> tuple[Ints, Sequence[str]]:
    """The camera's counts by group of bins, or by class, over the baseline's days and the later ones, with names.

    Where the roll-ups of the baseline's own days are gone its part is empty, and what moved cannot be told.
    """
    lane, camera = asked.lane, asked.camera
    read, signal = found.read, LANES[lane].signal
    reading = next(one.reading for one in read.usual if one.reading.lane == lane and one.reading.camera == camera)
    before = past.baseline_hours(conn, read.baseline, [history.stored(signal)], read.stage, [camera])
    recipes = {camera: reading.recipe}
    names = sorted({one.reading.class_name for one in read.usual if one.reading.lane == lane} - {""})

    def hours(columns: HourColumns, span: Span) -> history.Hours:
        return history.hours(columns, signal, span.first, span.days, recipes, names)

    both = [hours(before, read.days), hours(read.found, read.later)]
    if names:
        mixes = [part.classes[:, 0] for part in both if part.classes is not None]
        return np.moveaxis(np.concatenate(mixes, axis=1), 0, -1), names
    cuts = equal_mass_cuts(history.past(both[0])[0]).tolist()
    counts = [history.groups(part, [cuts])[0] for part in both]
    return np.concatenate(counts), bin_names(SIGNALS[signal].edges, cuts)
