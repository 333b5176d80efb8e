"""Gathers the alarms of the watch into incidents: each day of a version's stage once, in order, in one transaction.

A day's incidents, their events and the messages about them commit together with the mark that the day is gathered, so
a kill leaves the day undone and a second worker finds it taken. A person's new baseline closes what is open at once.

Reviews come days after their frames, so that their sum mostly passes its limit on a day that is gathered already:
such an alarm is told with the next day that is gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from monitor.alerts import account, beside, causes, incidents
from monitor.alerts.account import Whose, Witness
from monitor.alerts.advice import fit
from monitor.alerts.beside import Beside
from monitor.alerts.causes import Likely
from monitor.alerts.incidents import QUIET_DAYS, Alarm, Day, State
from monitor.alerts.life import BY_HAND
from monitor.alerts.links import HERE, Links
from monitor.records import QUIET, AlertEvent, Baseline, Measurement, Scope, SeriesKey, Window
from monitor.spec.load import LoadedContract
from monitor.stats import sequential, strata
from monitor.store import acceptances, baselines, measurements, outbox, watched
from monitor.store import alerts as events
from monitor.store import incidents as kept
from monitor.store.database import Connection, Database
from monitor.store.incidents import Kept, Watch
from monitor.watch import ALARM, ALL_LANES, APART, DOWN, EFFECT, FAST, GROUP, UP, Incident, Path, Z, label

LOGGED = ("log",)
_DAY = timedelta(days=1)
_LOOK_BACK = 3 * QUIET_DAYS
"""Days in which the last seven known ones are looked for, and alarms of reviews that came late."""
REVIEWS = APART["override"].name


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a day is gathered with."""

    conn: Connection
    loaded: LoadedContract
    channels: Sequence[str]
    now: datetime
    watch: Watch
    baseline: Baseline
    links: Links

    def whose(self, *, group: bool) -> Whose:
        contract = self.loaded.contract
        month = contract.drift.false_alarms_per_group_month if group else contract.drift.false_alarms_per_camera_month
        return Whose(self.watch.model, self.watch.version, self.watch.stage, contract.model.owner, month)

    def measured(self, first: date, last: date, **filters: Any) -> list[Measurement]:
        """What was measured from `first` to `last`, of this stage and against this baseline."""
        starts = [_midnight(first + i * _DAY) for i in range((last - first).days + 1)]
        found = measurements.read(self.conn, self.watch.model, version=self.watch.version, starts=starts, **filters)
        return [m for m in found if m.key.scope.stage == self.watch.stage and m.baseline_id == self.baseline.id]


def run(
    database: Database,
    loaded: LoadedContract,
    now: datetime,
    *,
    channels: Sequence[str] = LOGGED,
    links: Links = HERE,
) -> int:
    """Gather what is ungathered of one model; returns how many days were.

    `channels` are the names that messages are written for, `links` where those lead. Safe to kill, to repeat and to
    run twice at the same time.
    """
    _lay_to_rest(database, loaded, channels, now)
    with database.begin() as conn:
        todo = kept.ungathered(conn, loaded.model)
        known = {one.id: one for one in baselines.listing(conn, loaded.model)}
    did = 0
    for task in todo:
        with database.begin() as conn:
            if kept.advance(conn, task.watch, task.day):
                _gather(
                    _Desk(conn, loaded, channels, now, task.watch, known[task.baseline_id], links),
                    task.day,
                    over=True,
                )
                did += 1
    # A sudden change is told on the day itself, which is gathered for good when it is over.
    with database.begin() as conn:
        running = kept.running(conn, loaded.model)
    for task in running:
        with database.begin() as conn:
            watched.hold(conn, task.watch.model, task.watch.version)
            if task in kept.running(conn, loaded.model):
                _gather(
                    _Desk(conn, loaded, channels, now, task.watch, known[task.baseline_id], links),
                    task.day,
                    over=False,
                )
    return did


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _gather(desk: _Desk, day: date, *, over: bool) -> None:
    """One day of incidents; on a day that is not `over` nothing closes."""
    held = kept.open_ones(desk.conn, desk.watch)
    cameras = _cameras(desk, day)
    paths = {camera: desk.loaded.contract.cameras.path_of(camera) for camera in cameras}
    today = [*_witnesses(desk, day, paths), *_late(desk, day, paths)]
    if not (today or over):
        return
    yesterday = _witnesses(desk, day - _DAY, paths)
    calm = _calm(desk, day, held, paths) if over else {}
    ended = [before for one in held if (before := kept.before(desk.conn, one)) is not None]
    recent = (one.alarm for one in yesterday if not one.alarm.group)
    state = State(tuple(one.incident for one in held), tuple(recent), tuple(ended))
    done = incidents.advance(state, day, [one.alarm for one in today], list(paths.values()), calm)
    _keep(desk, day, held, done, [*today, *yesterday], paths)


def _cameras(desk: _Desk, day: date) -> list[str]:
    """The cameras that were watched on a day."""
    found = [*desk.measured(day, day, measure=Z), *desk.measured(day, day, measure=FAST)]
    return sorted({m.key.scope.camera for m in found} - {""})


def _witnesses(desk: _Desk, day: date, paths: dict[str, Path]) -> list[Witness]:
    """The streams that alarmed on a day; one that did so by its sum is not named for its four hours again."""
    found = desk.measured(day, day, measure=ALARM)
    slow = {m.key for m in found}
    fast = [m for m in desk.measured(day, day, measure=FAST) if abs(m.value or 0.0) > (m.noise or 0.0)]
    groups = {label(path[:depth]): path[:depth] for path in paths.values() for depth in range(len(path))}
    witnesses = []
    for alarm in [*found, *(m for m in fast if m.key not in slow)]:
        scope = alarm.key.scope
        place = groups.get(scope.slice_value) if scope.slice_name == GROUP else paths.get(scope.camera)
        if place is not None:
            witnesses.append(_witness(desk, day, place, alarm))
    return witnesses


def _late(desk: _Desk, day: date, paths: dict[str, Path]) -> list[Witness]:
    """The alarms of reviews on earlier days that no incident has heard of, as if they were of `day`."""
    first = day - _LOOK_BACK * _DAY
    found = desk.measured(first, day - _DAY, measure=ALARM, signal=REVIEWS)
    heard = [one.incident for one in kept.of_watch(desk.conn, desk.watch)] if found else []
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
    mine = incident.cause == incidents.CAUSES[REVIEWS] and incidents.covers(incident.scope, place)
    return mine and (ended or incident.last_alarm_on >= day)


def _day(found: Measurement) -> date:
    return found.window.start.astimezone(UTC).date()


def _witness(desk: _Desk, day: date, place: Path, alarm: Measurement) -> Witness:
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
    return Witness(found, shape, told, scores, effect)


def _onset(path: Sequence[Measurement], sign: int) -> tuple[date, str]:
    """The most likely first day of a change, and its shape, from a stream's scores (of reviews: from their sums)."""
    values = [float("nan") if m.value is None else m.value for m in path]
    if path[-1].measure == Z:
        found = sequential.onset(values, len(values) - 1, sign)
        place, shape = found.day, found.shape
    else:
        place, shape = strata.onset(values, len(values) - 1), "step"
    return _day(path[place]), shape


def _calm(desk: _Desk, day: date, held: Iterable[Kept], paths: dict[str, Path]) -> dict[incidents.Key, bool]:
    """Of each open incident: whether all streams of its scope and cause have come back to within ±1 sd."""
    calm: dict[incidents.Key, bool] = {}
    cameras = {path: camera for camera, path in paths.items()}
    for one in held:
        scope = one.incident.scope
        whose = (
            {"camera": cameras[scope]}
            if scope in cameras
            else {"camera": "", "slice_name": GROUP, "slice_value": label(scope)}
        )
        streams: dict[tuple[str, str], list[float]] = {}
        for m in desk.measured(day - _LOOK_BACK * _DAY, day, measure=Z, **whose):
            signal = ALL_LANES[m.key.signal].signal
            if incidents.CAUSES.get(signal, signal) == one.incident.cause and m.value is not None:
                streams.setdefault((m.key.signal, m.key.class_name), []).append(m.value)
        last = [values[-QUIET_DAYS:] for values in streams.values()]
        calm[scope, one.incident.cause] = bool(last) and all(abs(sum(v) / len(v)) <= 1 for v in last)
    return calm


def _keep(
    desk: _Desk, day: date, held: Sequence[Kept], done: Day, witnesses: Sequence[Witness], paths: dict[str, Path]
) -> None:
    """Store what the day did to the incidents, and tell people of those that opened or closed."""
    before = {(one.incident.scope, one.incident.cause): one for one in held}
    for incident in done.closed:
        _close(desk, replace(before[incident.scope, incident.cause], incident=incident))
    for incident in done.state.open:
        known = before.get((incident.scope, incident.cause))
        if known is not None and known.incident != incident:
            kept.save(desk.conn, replace(known, incident=incident))
    for incident in done.opened:
        if kept.closed_since(desk.conn, kept.key_of(desk.watch, incident), day, BY_HAND):
            continue  # somebody has seen to it since: what is still wrong the day after is told then
        new = kept.open_new(desk.conn, desk.watch, desk.baseline.id, incident)
        own = [w for w in witnesses if w.alarm.cause == incident.cause and _belongs(w.alarm, incident)]
        likely = _likely(desk, day, incident, paths)
        whose = desk.whose(group=incident.scope not in paths.values())
        surroundings = _surroundings(desk, day, incident, own, paths)
        is_back = incidents.is_restless(incident, kept.before(desk.conn, new))
        why = account.opened(incident, whose, own, _named(desk.baseline), likely, surroundings, is_back=is_back)
        _tell(desk, new, "ok", "firing", day, why, max(own, key=lambda w: w.excess).told if own else None)


def _surroundings(
    desk: _Desk, day: date, incident: Incident, own: Sequence[Witness], paths: dict[str, Path]
) -> dict[str, Any]:
    """What stands beside an incident: deployment, frames, what moved most, panel, runbook, failure modes."""
    watch, window = desk.watch, Window(_midnight(day), _midnight(day) + _DAY)
    cameras = {path: camera for camera, path in paths.items()}
    scope = Scope(watch.model, watch.version, watch.stage, cameras.get(incident.scope, ""))
    found = Beside(beside.deployment(desk.conn, watch.model, window.end))
    if own:
        clearest = max(own, key=lambda one: one.excess)
        signal = ALL_LANES[clearest.alarm.lane].signal
        # Of a group the camera that is clearest shows it.
        camera = scope.camera or clearest.told.key.scope.camera
        camera = camera or next((m.alarm.scope[-1] for m in own if m.alarm.scope in cameras), "")
        series = SeriesKey(replace(scope, camera=camera), signal, clearest.told.key.class_name)
        window = clearest.told.window
        found = beside.read(desk.conn, series, window, desk.baseline.id, up=clearest.up)
    signals = [ALL_LANES[one.alarm.lane].signal for one in own] or list(incident.signals)
    return {
        **found.as_json(_midnight(incident.onset)),
        "panel": desk.links.incident(scope, window),
        "runbook": f"dashboards/runbooks/incident-{incident.cause}.md",
        "failure_modes": fit(desk.loaded.contract.failure_modes, signals),
    }


def _likely(desk: _Desk, day: date, incident: Incident, paths: dict[str, Path]) -> list[Likely]:
    """What it is likely to be, by its own streams since the onset and those of other signals in the same place.

    What one camera of a group does in other signals says nothing of the group.
    """
    first = max(min(incident.onset, day), day - _LOOK_BACK * _DAY)
    days = [first + i * _DAY for i in range((day - first).days + 1)]
    found = [
        one
        for each in days
        for one in _witnesses(desk, each, paths)
        if one.alarm.scope == incident.scope or (one.alarm.cause == incident.cause and _belongs(one.alarm, incident))
    ]
    inside = {camera for camera, path in paths.items() if incidents.covers(incident.scope, path)}
    read = [*desk.measured(day, day, measure=Z), *desk.measured(day, day, measure=FAST)]
    watched_here = {ALL_LANES[m.key.signal].signal for m in read if m.key.scope.camera in inside}
    wide = incident.scope not in paths.values()
    began = _midnight(incident.onset)
    last = beside.deployment(desk.conn, desk.watch.model, began + _DAY)
    # An onset is a day, and an estimate: a deployment of that day or the two before it stands right before it.
    deployed = beside.deployed_before(last, began, 2 * _DAY)
    return causes.ranked(account.moved(found), watched_here, wide, deployed)


def _belongs(alarm: Alarm, incident: Incident) -> bool:
    return incidents.covers(incident.scope, alarm.scope)


def _named(baseline: Baseline) -> dict[str, Any]:
    start, end = baseline.period_start, baseline.period_end
    period = [start.isoformat(), end.isoformat()] if start and end else None
    return {"id": baseline.id, "source": baseline.source, "period": period, "sha256": baseline.sha256}


def _close(desk: _Desk, one: Kept) -> None:
    kept.save(desk.conn, one)
    day = one.incident.closed_on or desk.now.date()
    _tell(desk, one, "firing", "resolved", day, account.closed(one.incident, desk.whose(group=False)), None)


def _tell(
    desk: _Desk, one: Kept, left: str, reached: str, day: date, why: dict[str, Any], told: Measurement | None
) -> None:
    event = AlertEvent(
        alert_key=one.key,
        episode=one.episode,
        from_state=left,
        to_state=reached,
        window=Window(_midnight(day), _midnight(day) + _DAY),
        decided_at=desk.now,
        value=told.value if told else None,
        threshold=(told.noise or 0.0) if told else 0.0,
        n=told.n if told else 0,
        evidence=why,
    )
    outbox.add(desk.conn, events.add_event(desk.conn, event), event, desk.channels, desk.now)


def _lay_to_rest(database: Database, loaded: LoadedContract, channels: Sequence[str], now: datetime) -> None:
    """Close the incidents of a baseline that a person has replaced, of versions out of use, of cameras that left."""
    with database.begin() as conn:
        last = kept.last_days(conn, loaded.model)
        known = {one.id: one for one in baselines.listing(conn, loaded.model)}
        newest = max(last.values(), default=None)
        for watch in sorted({one.watch for one in kept.read(conn, loaded.model, open_only=True)}, key=str):
            for one in kept.open_ones(conn, watch):
                desk = _Desk(conn, loaded, channels, now, watch, known[one.baseline_id], HERE)
                why = _replaced(conn, one)
                if why is None and newest is not None and newest - last.get(watch.version, newest) >= QUIET:
                    why = f"version {watch.version} sent nothing for a week and another one runs"
                why = why or incidents.homeless(one.incident.scope, loaded.contract.cameras)
                if why is not None:
                    over = replace(one.incident, closed_on=now.astimezone(UTC).date(), closed_because=why)
                    _close(desk, replace(one, incident=over))


def _replaced(conn: Connection, one: Kept) -> str | None:
    """Why a newer baseline than the incident's own closes it; None: there is none."""
    model, version = one.watch.model, one.watch.version
    active = baselines.active(conn, model, version)
    pending = acceptances.pending(conn, model, version)
    if pending is None and (active is None or active.id == one.baseline_id):
        return None
    said = [a for a in acceptances.listing(conn, model) if a.version == version]
    if pending is None:
        said = [a for a in said if active is not None and a.baseline_id == active.id]
    return f"a new baseline was accepted: {said[-1].reason}" if said else "a new baseline was frozen"
