"""What an incident is likely to be: when it opens, and again each day that it goes on.

What has alarmed within the last seven days counts, by how far it stands off now: a lens that was set right again
speaks no more, a lamp that goes on ageing does, and three weeks tell bit by bit from at once better than two days
could.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date

from monitor.alerts import account, beside, causes, incidents
from monitor.alerts.account import Witness
from monitor.alerts.causes import Likely
from monitor.alerts.desk import DAY, Desk, midnight
from monitor.alerts.incidents import QUIET_DAYS, Alarm
from monitor.alerts.witnesses import LATEST, REVIEWS, of_day, place_of
from monitor.records import Measurement
from monitor.stats import sequential
from monitor.watch import ALARM, ALL_LANES, EFFECT, FAST, Incident, Path, Z

_EARLIER = 3 * QUIET_DAYS
"""Days before an incident is told whose alarms speak of it."""
_LONGEST = 120
"""Days that the beginning of a change is looked for among; of a longer course every second, third, ... is taken."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The last alarm of each stream within the last seven days with its place, how many it had, and which signals
    were watched on the day, by camera."""

    alarms: Sequence[tuple[Measurement, Path, int]]
    watched: Mapping[str, frozenset[str]]


def so_far(desk: Desk, day: date, incident: Incident, paths: dict[str, Path]) -> list[Likely]:
    """On a day that is not over, and has no effects yet: by the alarms since the onset.

    Its own streams count and those of other signals in the same place; what one camera of a group does in other
    signals says nothing of the group.
    """
    first = max(min(incident.onset, day), day - _EARLIER * DAY)
    days = [first + i * DAY for i in range((day - first).days + 1)]
    found = [
        one
        for each in days
        for one in of_day(desk, each, paths)
        if _speaks(one.alarm.scope, one.alarm.cause, incident)
    ]
    return _ranked(desk, day, incident, found, paths, _watched(desk, day))


def latest(desk: Desk, day: date, paths: dict[str, Path]) -> Latest:
    """What the open incidents of a day are looked at by; read once for all of them."""
    first = day - (QUIET_DAYS - 1) * DAY
    last: dict[object, tuple[Measurement, Path, int]] = {}
    alarms = [*desk.measured(first, day, measure=ALARM), *desk.measured(first, day, measure=FAST, beyond=True)]
    # Reviews come late, and what they say with them.
    alarms += desk.measured(day - LATEST * DAY, first - DAY, measure=ALARM, signal=REVIEWS)
    for found in sorted(alarms, key=lambda m: m.window.start):
        place = place_of(found.key.scope, paths)
        if place is not None:
            before = last.get(found.key)
            last[found.key] = (found, place, before[2] + 1 if before else 1)
    return Latest(list(last.values()), _watched(desk, day))


def now(
    desk: Desk, day: date, incident: Incident, paths: dict[str, Path], seen: Latest
) -> tuple[list[Likely], list[Witness]]:
    """The causes as the day has them, and the streams that speak for them, the clearest of each lane.

    Both are empty where nothing has alarmed for a week.
    """
    clearest: dict[str, tuple[Measurement, Path, int]] = {}
    for one in sorted(seen.alarms, key=_clearness):
        alarm, place, _ = one
        signal = ALL_LANES[alarm.key.signal].signal
        if _speaks(place, incidents.CAUSES.get(signal, signal), incident):
            clearest.setdefault(alarm.key.signal, one)
    found = [_standing(desk, day, alarm, place) for alarm, place, _ in clearest.values()]
    found.sort(key=lambda one: (not one.alarm.group, -one.size))
    return _ranked(desk, day, incident, found, paths, seen.watched), found


def _clearness(one: tuple[Measurement, Path, int]) -> tuple[bool, int, float, str]:
    """Sorts a group's stream before those of its cameras, then what alarmed most often, then farthest."""
    alarm, place, times = one
    far = abs(alarm.value or 0.0) / (alarm.noise or 1.0) if alarm.measure == FAST else 0.0
    return bool(alarm.key.scope.camera), -times, -far, repr((place, alarm.key.signal, alarm.key.class_name))


def _speaks(place: Path, cause: str, incident: Incident) -> bool:
    return place == incident.scope or (cause == incident.cause and incidents.covers(incident.scope, place))


def _standing(desk: Desk, day: date, alarm: Measurement, place: Path) -> Witness:
    """A stream as it stands: its last effect, and since when and how suddenly it moved, by the effects of its days.

    Scores would not do for that: far out they hardly grow any more, and every old ramp would look like a step.
    """
    key, scope = alarm.key, alarm.key.scope
    began, shape = alarm.window.start.astimezone(UTC).date(), "step"
    course = desk.measured(
        desk.baseline.period_end.astimezone(UTC).date() if desk.baseline.period_end else began,
        day,
        measure=EFFECT,
        signal=key.signal,
        class_name=key.class_name,
        camera=scope.camera,
        slice_name=scope.slice_name,
        slice_value=scope.slice_value,
    )
    if course:
        course = course[:: -math.ceil(len(course) / _LONGEST)][::-1]
        values = [float("nan") if m.value is None else m.value for m in course]
        onset = sequential.onset(values, len(values) - 1, 1 if (alarm.value or 0.0) > 0 else -1)
        began, shape = course[onset.day].window.start.astimezone(UTC).date(), onset.shape
    named = Alarm(day, place, ALL_LANES[key.signal].signal, key.signal, began, not scope.camera)
    return Witness(named, shape, alarm, (), course[-1] if course else None)


def _ranked(
    desk: Desk,
    day: date,
    incident: Incident,
    found: Sequence[Witness],
    paths: dict[str, Path],
    watched: Mapping[str, frozenset[str]],
) -> list[Likely]:
    inside = [camera for camera, path in paths.items() if incidents.covers(incident.scope, path)]
    story = account.story(found, day)
    there = frozenset[str]().union(*(watched.get(camera, frozenset()) for camera in inside))
    began = midnight(incident.onset)
    last = beside.deployment(desk.conn, desk.watch.model, began + DAY)
    # An onset is a day, and an estimate: a deployment of that day or the two before it stands right before it.
    deployed = beside.deployed_before(last, began, 2 * DAY)
    wide = incident.scope not in paths.values()
    return causes.ranked(story.moved, there - story.with_light, wide, deployed)


def _watched(desk: Desk, day: date) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for m in [*desk.measured(day, day, measure=Z), *desk.measured(day, day, measure=FAST)]:
        found.setdefault(m.key.scope.camera, set()).add(ALL_LANES[m.key.signal].signal)
    return {camera: frozenset(signals) for camera, signals in found.items()}
