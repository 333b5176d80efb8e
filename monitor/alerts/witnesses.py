"""Which streams alarmed on a day, since when, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date

from monitor.alerts.account import Witness
from monitor.alerts.desk import DAY, Desk
from monitor.alerts.incidents import CAUSES, QUIET_DAYS, Alarm, covers
from monitor.records import Measurement, Scope
from monitor.stats import sequential, strata
from monitor.store import incidents
from monitor.watch import ALARM, ALL_LANES, APART, DOWN, EFFECT, FAST, GROUP, UP, Incident, Path, Z, label

REVIEWS = APART["override"].name
LATEST = 3 * QUIET_DAYS
"""Days that the alarms of reviews may come late."""


def cameras(desk: Desk, day: date) -> list[str]:
    """The cameras that were watched on a day."""
    found = [*desk.measured(day, day, measure=Z), *desk.measured(day, day, measure=FAST)]
    return sorted({m.key.scope.camera for m in found} - {""})


def of_day(desk: Desk, day: date, paths: dict[str, Path]) -> list[Witness]:
    """The streams that alarmed on a day; one that did so by its sum is not named for its four hours again."""
    found = desk.measured(day, day, measure=ALARM)
    slow = {m.key for m in found}
    fast = desk.measured(day, day, measure=FAST, beyond=True)
    alarms = [*found, *(m for m in fast if m.key not in slow)]
    places = [place_of(alarm.key.scope, paths) for alarm in alarms]
    return [_witness(desk, day, at, alarm) for alarm, at in zip(alarms, places, strict=True) if at is not None]


def place_of(scope: Scope, paths: Mapping[str, Path]) -> Path | None:
    """Where a stream hangs: its camera, or its group; None: the cameras of the day have no such place."""
    if scope.slice_name != GROUP:
        return paths.get(scope.camera)
    above = (path[:depth] for path in paths.values() for depth in range(len(path)))
    return next((path for path in above if label(path) == scope.slice_value), None)


def late(desk: Desk, day: date, paths: dict[str, Path]) -> list[Witness]:
    """The alarms of reviews on earlier days that no incident has heard of, as if they were of `day`."""
    first = day - LATEST * DAY
    found = desk.measured(first, day - DAY, measure=ALARM, signal=REVIEWS)
    heard = [one.incident for one in incidents.of_watch(desk.conn, desk.watch)] if found else []
    witnesses = []
    for alarm in found:
        on, place = _day(alarm), paths.get(alarm.key.scope.camera)
        if place is not None and not any(_heard(one, on, place) for one in heard):
            own = _witness(desk, on, place, alarm)
            witnesses.append(replace(own, alarm=replace(own.alarm, day=day)))
    return witnesses


def _heard(incident: Incident, day: date, place: Path) -> bool:
    """Whether an incident has taken in what reviews said of a camera on a day, or was closed since."""
    ended = incident.closed_on is not None and incident.closed_on >= day
    mine = incident.cause == CAUSES[REVIEWS] and covers(incident.scope, place)
    return mine and (ended or incident.last_alarm_on >= day)


def _day(found: Measurement) -> date:
    return found.window.start.astimezone(UTC).date()


def _witness(desk: Desk, day: date, place: Path, alarm: Measurement) -> Witness:
    key, scope = alarm.key, alarm.key.scope
    first = desk.baseline.period_end.astimezone(UTC).date() if desk.baseline.period_end else day
    of_stream = {
        "signal": key.signal,
        "class_name": key.class_name,
        "camera": scope.camera,
        "slice_name": scope.slice_name,
        "slice_value": scope.slice_value,
    }
    scores = desk.measured(first, day, measure=Z, **of_stream)
    effect = next(iter(desk.measured(day, day, measure=EFFECT, **of_stream)), None)
    began, shape, told = day, "step", alarm
    if alarm.measure == ALARM:
        sign = 1 if (alarm.value or 0.0) > 0 else -1
        sums = desk.measured(first, day, measure=UP if sign > 0 else DOWN, **of_stream)
        began, shape, told = *_onset(scores or sums, sign), sums[-1]
    group = scope.slice_name == GROUP
    found = Alarm(day, place, ALL_LANES[key.signal].signal, key.signal, began, group)
    seen = Witness(found, shape, told, scores, effect)
    return replace(seen, alarm=replace(found, size=seen.size))


def _onset(path: Sequence[Measurement], sign: int) -> tuple[date, str]:
    """The most likely first day of a change, and its shape, from a stream's scores (of reviews: from their sums)."""
    values = [float("nan") if m.value is None else m.value for m in path]
    if path[-1].measure == Z:
        found = sequential.onset(values, len(values) - 1, sign)
        place, shape = found.day, found.shape
    else:
        place, shape = strata.onset(values, len(values) - 1), "step"
    return _day(path[place]), shape
