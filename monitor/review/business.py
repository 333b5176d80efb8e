"""Events of the business → work orders, catches, the cost of a false alarm and the gain in throughput, by scope.

An event counts in the window in which it happened, for its version, camera, class and, where it names a stored frame,
that frame's stage and slices. A scope is told of once an event of it has come, in the window or in the baseline: a
plant that does not say which camera an order is about has no camera without orders.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from monitor.feedback import BUSINESS, BUSINESS_MEASURES, BusinessEvent
from monitor.measures import ONE_SIDED, Figure
from monitor.records import ALL, Measurement, Scope, SeriesKey, Window
from monitor.stats import intervals

PER = 1000
"""Frames that a rate is told for."""
_LEAST_ALARMS = 3
"""False alarms from which on the mean of their minutes is told."""
Key = tuple[Scope, str]
"""A scope and a class."""
Grouped = Mapping[Key, Sequence[BusinessEvent]]
MEASURE_OF = dict(zip(("work_order", "missed_defect", "false_alarm", "throughput"), BUSINESS_MEASURES, strict=True))
"""The measure that each kind of event is counted into."""


@dataclass(frozen=True, slots=True)
class Period:
    """Events of one version and the frames of each scope over the same time; `baseline_id`: of a baseline."""

    events: Sequence[BusinessEvent]
    frames: Mapping[Scope, int]
    baseline_id: int | None = None


def of_version(
    events: Iterable[BusinessEvent], version: str, hours: Mapping[str, Mapping[datetime, int]]
) -> list[BusinessEvent]:
    """The events of one version; those that name none belong to the one that most frames of their hour went through.

    `hours` are frames by version and start of the hour. Where an hour has none, it is the last one before that has;
    before the first, the first. So a version that took over at noon answers for the afternoon, as its frames do.
    """
    counts: dict[datetime, dict[str, int]] = defaultdict(dict)
    for name, by_hour in hours.items():
        for at, frames in by_hour.items():
            counts[at][name] = frames
    starts = sorted(counts)
    led = [max(counts[at], key=lambda name: (counts[at][name], name)) for at in starts]

    def leads(at: datetime) -> bool:
        return bool(led) and led[max(0, bisect_right(starts, at) - 1)] == version

    return [one for one in events if one.version == version or (not one.version and leads(one.at))]


def grouped(events: Iterable[BusinessEvent], model: str, version: str) -> dict[Key, list[BusinessEvent]]:
    """Events by every scope and class that they count in."""
    found: dict[Key, list[BusinessEvent]] = defaultdict(list)
    for one in events:
        for stage in dict.fromkeys((one.stage, ALL)):
            for camera in dict.fromkeys((one.camera, ALL)):
                for condition in ((ALL, ALL), *one.slices):
                    for class_name in dict.fromkeys((one.class_name, ALL)):
                        found[Scope(model, version, stage, camera, *condition), class_name].append(one)
    return dict(found)


def measure(
    now: Period,
    then: Period,
    model: str,
    version: str,
    window: Window,
    least: int,
    contract_hash: str,
    kinds: Collection[str] = tuple(MEASURE_OF),
) -> Iterator[Measurement]:
    """Every measurement of a window, of `kinds`; one of which neither period holds any is not spoken of."""
    current, earlier = grouped(now.events, model, version), grouped(then.events, model, version)
    for kind, name in ((kind, MEASURE_OF[kind]) for kind in kinds):
        told_before = any(one.kind == kind for one in then.events)
        known = {key for key, own in (*current.items(), *earlier.items()) if any(one.kind == kind for one in own)}
        for scope, class_name in sorted(known, key=lambda key: (str(key[0]), key[1])):
            own, old = ([e for e in of.get((scope, class_name), ()) if e.kind == kind] for of in (current, earlier))
            n, figure = _FIGURES[kind](own, now.frames.get(scope, 0))
            n_then, before = _FIGURES[kind](old, then.frames.get(scope, 0)) if told_before else (0, None)
            row = Measurement(
                SeriesKey(scope, BUSINESS, class_name), name, window, None, "insufficient" if n else "no_data", n,
                n_then, then.baseline_id if before else None, contract_hash,
                baseline_value=before.value if before else None,
            )  # fmt: skip
            enough = n >= least or kind not in _OF_FRAMES
            if figure is not None and enough:
                row = replace(row, value=figure.value, low=figure.low, high=figure.high, state="ok")
            yield row


def _rate(events: Sequence[BusinessEvent], frames: int) -> tuple[int, Figure | None]:
    if not frames:
        return 0, None
    each = PER / frames
    low, high = intervals.poisson(len(events), ONE_SIDED)
    return frames, Figure(len(events) * each, low * each, high * each)


def _minutes(events: Sequence[BusinessEvent], frames: int) -> tuple[int, Figure | None]:
    said = [one.minutes for one in events if one.minutes is not None]
    if len(said) < _LEAST_ALARMS:
        return len(said), None
    return len(said), Figure(*intervals.average(said, ONE_SIDED))


def _gain(events: Sequence[BusinessEvent], frames: int) -> tuple[int, Figure | None]:
    said = [(one.before, one.after) for one in events if one.before and one.after is not None]
    if not said:
        return 0, None
    return len(said), Figure(sum(after for _, after in said) / sum(before for before, _ in said) - 1)


_FIGURES: Mapping[str, Callable[[Sequence[BusinessEvent], int], tuple[int, Figure | None]]] = {
    "work_order": _rate,
    "missed_defect": _rate,
    "false_alarm": _minutes,
    "throughput": _gain,
}
_OF_FRAMES = ("work_order", "missed_defect")
