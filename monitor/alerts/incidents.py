"""From alarms to what people are told: one open incident a scope and cause, its children silent.

A scope is a path from the widest to the narrowest name, such as (version, site, line, camera): a camera lies under
its line, its line under its site; () is everything. A level that a plant does not use is "". Alarms of one cause on
one scope are one incident; an alarm under a scope with an open incident of that cause adds to it and tells nobody
again. Many cameras that start on one signal together are one incident of the scope that they share.

What goes to and fro is told thrice and then kept open, so that it may be quiet for weeks. Whatever else begins there
meanwhile would be told to nobody: so where it is clearly worse than what people know, it is told anew.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from monitor.spec.contract import CameraSpec
from monitor.watch import Incident, Path

Scope = Path
Key = tuple[Scope, str]
"""Scope and cause: there is one open incident of each."""

CAUSES: dict[str, str] = {
    "brightness": "optics",
    "pixel_brightness": "optics",
    "contrast": "optics",
    "sharpness": "optics",
    "red_balance": "optics",
    "blue_balance": "optics",
    "class_share": "content",
    "detections": "content",
    "box_area": "content",
    "box_aspect": "content",
    "confidence": "model",
    "override": "model",
    "latency_ms": "service",
    "queue_depth": "service",
    "status": "service",
}
"""The cause group of each signal: what one repair is likely to mend."""
TOGETHER = timedelta(days=2)
"""Starts within this time are together: today and yesterday."""
SHARE = 0.3
FEWEST = 3
QUIET_DAYS = 7
"""Days without an alarm, and back within ±1 sd, after which an incident closes."""
RESTLESS_DAYS = 35
"""The same of one that came back within so many days: what goes to and fro is told thrice."""
AGAIN_DAYS = 7
"""Days after an incident was told before which it is not told anew; what it reaches in them, people know of."""
FAR = 2.0
"""So many times as far off as people know of is clearly worse."""
WORSE = "clearly worse"
"""What the reason of an incident that is told anew begins with."""
_QUIET = " quiet days"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A lane alarmed on `day` in `scope`. `onset` is the most likely first day of the change; `group` says that the
    stream is one of many cameras, whose scope is then not a camera's. `size` is how far off it is, as a multiple of
    the smallest change worth telling (where that is not known: 1)."""

    day: date
    scope: Scope
    signal: str
    lane: str
    onset: date
    group: bool = False
    size: float = 1.0

    @property
    def cause(self) -> str:
        """The cause group; a signal outside the list is a cause of its own."""
        return CAUSES.get(self.signal, self.signal)


@dataclass(frozen=True, slots=True)
class State:
    """Open incidents, the camera alarms of the last two days that a group's incident may still take in, and the
    incidents that `ended` for being quiet (of each scope and cause the last): what comes back after is restless."""

    open: tuple[Incident, ...] = ()
    recent: tuple[Alarm, ...] = ()
    ended: tuple[Incident, ...] = ()


@dataclass(frozen=True, slots=True)
class Day:
    """What one day did: who is told of what is `opened`; `closed` incidents; `silent` alarms went into open ones."""

    state: State
    opened: tuple[Incident, ...]
    closed: tuple[Incident, ...]
    silent: tuple[Alarm, ...]


def covers(wide: Scope, narrow: Scope) -> bool:
    """Whether `narrow` is `wide` or lies under it."""
    return narrow[: len(wide)] == wide


def advance(
    state: State,
    day: date,
    alarms: Iterable[Alarm],
    cameras: Sequence[Scope],
    calm: Mapping[Key, bool] | None = None,
) -> Day:
    """One day of incidents, in the order in which people would want to hear of it: the widest scope first.

    1. Alarms of a group's stream open that group's incident, or add to the one that is open.
    2. Cameras of `cameras` that started on one signal today or yesterday are one incident of the scope that holds
       them, when they are max(3, 30 %) of the cameras there; the incidents that some of them had alone go into it.
    3. Every other alarm opens an incident of its own scope, unless one of its cause is open there or above.
    4. An incident closes after 7 days without an alarm, once `calm` says so: for (scope, cause), whether its streams'
       mean of the last seven days lies within ±1 sd. Where nothing is said (no data), it stays open.
    5. One that came back within 35 days of its end closes after 35 days without an alarm, and is told anew where it
       is clearly worse than what people know, at most once in 7 days (`_worsened`).

    The same alarms in another order give the same day.
    """
    today = sorted(alarms, key=lambda a: (a.scope, a.signal, a.lane, a.onset))
    singly = [a for a in today if not a.group]
    held = {(i.scope, i.cause): i for i in state.open}
    before = set(held)
    taken_in: list[Incident] = []
    kept = [a for a in state.recent if day - a.day < TOGETHER]
    starts = [*kept, *singly]
    gathered = [*(a for a in today if a.group), *_together(starts, cameras, day)]
    for alarm in sorted(gathered, key=lambda a: (len(a.scope), a.scope, a.signal)):
        _add(held, alarm)
    for alarm in starts:
        above = _above(held, alarm, strictly=True)
        if above is not None:
            held[above] = _with(held[above], alarm)
            own = held.pop((alarm.scope, alarm.cause), None)
            taken_in += [own] if own is not None and (alarm.scope, alarm.cause) in before else []
    silent = []
    for alarm in singly:
        silent += [alarm] if _above(held, alarm) is not None else []
        _add(held, alarm)
    absorbed = [replace(i, closed_on=day, closed_because="part of a wider incident") for i in taken_in]
    ended = {(i.scope, i.cause): i for i in state.ended}
    worse = _worsened(held, state.open, ended, today, day)
    held |= {key: anew for key, (_, anew) in worse.items()}
    ended |= {key: over for key, (over, _) in worse.items()}
    over = _over(held, ended, day, calm or {})
    closed = (*absorbed, *(end for end, _ in worse.values()), *over.values())
    opened = tuple(i for key, i in held.items() if key not in before or key in worse)
    still = tuple(i for key, i in held.items() if key not in over)
    return Day(State(still, tuple(starts), tuple((ended | over).values())), opened, closed, tuple(silent))


def accept(state: State, scope: Scope, day: date) -> Day:
    """Somebody accepted a new baseline for `scope`: what is open there and below closes."""
    gone = [i for i in state.open if covers(scope, i.scope)]
    closed = tuple(replace(i, closed_on=day, closed_because="a new baseline was accepted") for i in gone)
    recent = tuple(a for a in state.recent if not covers(scope, a.scope))
    return Day(State(tuple(i for i in state.open if i not in gone), recent, state.ended), (), closed, ())


def is_restless(incident: Incident, before: Incident | None) -> bool:
    """Whether an incident opened shortly after the one before of its scope and cause had ended for being quiet, or
    because it was told anew."""
    if before is None or before.closed_on is None:
        return False
    if not (before.closed_because.endswith(_QUIET) or before.closed_because.startswith(WORSE)):
        return False
    return incident.opened_on - before.closed_on < timedelta(days=RESTLESS_DAYS)


def homeless(scope: Scope, cameras: CameraSpec) -> str | None:
    """Why an incident has no place in the contract any more: its camera was taken out or hangs elsewhere now.

    None: it has one. Where the contract is open to undeclared cameras, these hang where no place is named.
    """
    declared = {camera.name: cameras.path_of(camera.name) for camera in cameras.list}
    if not scope or any(covers(scope, path) for path in declared.values()):
        return None
    name = scope[-1]
    if name in declared:
        return f"camera {name} hangs elsewhere in the contract now"
    if cameras.policy == "open" and (not any(scope) or (name and cameras.path_of(name) == scope)):
        return None
    return f"{' / '.join(part for part in scope if part)} is not in the contract any more"


def _together(starts: Sequence[Alarm], cameras: Sequence[Scope], day: date) -> list[Alarm]:
    """An alarm of a group for each signal on which enough of its cameras started within the two days."""
    found = []
    for signal in sorted({a.signal for a in starts}):
        same = [a for a in starts if a.signal == signal]
        scope = _gathering({a.scope for a in same}, cameras)
        if scope is not None:
            onset = sorted(a.onset for a in same if covers(scope, a.scope))
            size = max(a.size for a in same if covers(scope, a.scope))
            found.append(Alarm(day, scope, signal, "together", onset[len(onset) // 2], group=True, size=size))
    return found


def _gathering(started: set[Scope], cameras: Sequence[Scope]) -> Scope | None:
    """The widest scope with max(3, 30 %) of its cameras among `started`, and these not all under a narrower one."""
    depth = max((len(c) for c in cameras), default=0)
    for level in range(depth):
        for scope in sorted({c[:level] for c in cameras if len(c) > level}):
            inside = {c for c in cameras if covers(scope, c)}
            ours = started & inside
            if len(ours) < max(FEWEST, math.ceil(SHARE * len(inside))):
                continue
            if len({c[: level + 1] for c in ours}) > 1:
                return scope
    return None


def _over(
    held: Mapping[Key, Incident], ended: Mapping[Key, Incident], day: date, calm: Mapping[Key, bool]
) -> dict[Key, Incident]:
    """The incidents that have been quiet for long enough and are back in their band, with their end."""
    needed = {key: RESTLESS_DAYS if is_restless(i, ended.get(key)) else QUIET_DAYS for key, i in held.items()}
    quiet = [key for key, i in held.items() if calm.get(key, False) and _quiet(i, day, needed[key])]
    return {key: replace(held[key], closed_on=day, closed_because=f"{needed[key]}{_QUIET}") for key in quiet}


def _worsened(
    held: Mapping[Key, Incident],
    were: Iterable[Incident],
    ended: Mapping[Key, Incident],
    today: Iterable[Alarm],
    day: date,
) -> dict[Key, tuple[Incident, Incident]]:
    """The restless incidents that are told anew: each with the end of the old one, and the new one.

    Clearly worse is a signal that neither it nor the one before had, or more than twice as far off as they were in
    the days after they were told.
    """
    found = {}
    for one in were:
        key = (one.scope, one.cause)
        last = ended.get(key)
        if key not in held or last is None or not is_restless(one, last) or (day - one.opened_on).days < AGAIN_DAYS:
            continue
        own = [a for a in today if _above(held, a) == key]
        known = {*one.signals, *last.signals}
        why = _why_worse(own, known, max(one.told_size, last.told_size))
        if why:
            signals = (*dict.fromkeys((*last.signals, *held[key].signals)),)
            size = max(one.told_size, last.told_size, *(a.size for a in own))
            members = frozenset({one.scope, *(a.scope for a in own)})
            anew = Incident(
                one.scope, one.cause, day, min(a.onset for a in own), signals, members, day, told_size=size
            )
            found[key] = (replace(one, closed_on=day, closed_because=f"{WORSE}: {why}"), anew)
    return found


def _why_worse(own: Sequence[Alarm], known: Collection[str], told: float) -> str:
    """What is clearly worse than people know, in words; empty: nothing is."""
    joined = sorted({a.signal for a in own} - set(known))
    if joined:
        return f"{', '.join(joined).replace('_', ' ')} moved too"
    far = max((a.size for a in own), default=0.0)
    return f"{far / told:.1f} times as far off as was known" if told and far > FAR * told else ""


def _above(held: Mapping[Key, Incident], alarm: Alarm, strictly: bool = False) -> Key | None:
    """The open incident that an alarm belongs to: of its cause, widest scope first, its own last (or not at all)."""
    for length in range(len(alarm.scope) + (not strictly)):
        if (alarm.scope[:length], alarm.cause) in held:
            return alarm.scope[:length], alarm.cause
    return None


def _add(held: dict[Key, Incident], alarm: Alarm) -> None:
    key = _above(held, alarm)
    if key is not None:
        held[key] = _with(held[key], alarm)
        return
    held[alarm.scope, alarm.cause] = Incident(
        alarm.scope,
        alarm.cause,
        alarm.day,
        alarm.onset,
        (alarm.signal,),
        frozenset({alarm.scope}),
        alarm.day,
        told_size=alarm.size,
    )


def _with(incident: Incident, alarm: Alarm) -> Incident:
    known = (alarm.day - incident.opened_on).days < AGAIN_DAYS
    return replace(
        incident,
        signals=incident.signals if alarm.signal in incident.signals else (*incident.signals, alarm.signal),
        members=incident.members | {alarm.scope},
        last_alarm_on=max(incident.last_alarm_on, alarm.day),
        told_size=max(incident.told_size, alarm.size) if known else incident.told_size,
    )


def _quiet(incident: Incident, day: date, days: int) -> bool:
    return day - incident.last_alarm_on >= timedelta(days=days)
