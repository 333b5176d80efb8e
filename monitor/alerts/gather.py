"""Gathers the alarms of the watch into incidents: each day of a version's stage once, in order, in one transaction.

A day's incidents, their events and the messages about them commit together with the mark that the day is gathered, so
a kill leaves the day undone and a second worker finds it taken. A person's new baseline closes what is open at once.

Reviews come days after their frames, so that their sum mostly passes its limit on a day that is gathered already:
such an alarm is told with the next day that is gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from monitor.alerts import account, beside, incidents, likely, witnesses
from monitor.alerts.account import Witness
from monitor.alerts.advice import fit, told
from monitor.alerts.beside import Beside
from monitor.alerts.desk import DAY, Desk, midnight
from monitor.alerts.incidents import QUIET_DAYS, Day, State
from monitor.alerts.life import BY_HAND
from monitor.alerts.likely import Latest
from monitor.alerts.links import HERE, Links
from monitor.records import QUIET, AlertEvent, Baseline, Measurement, Scope, SeriesKey, Window
from monitor.spec.load import LoadedContract
from monitor.store import acceptances, baselines, outbox, rankings, watched
from monitor.store import alerts as events
from monitor.store import incidents as kept
from monitor.store.database import Connection, Database
from monitor.store.incidents import Kept
from monitor.store.rankings import Said
from monitor.watch import ALL_LANES, GROUP, Incident, Path, Z, label

LOGGED = ("log",)
LOOK_BACK = 3 * QUIET_DAYS
"""Days in which the last seven known ones are looked for."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a day's incidents are told by: the alarms of the day and the one before, and (of a day that is over) the
    last alarm of each stream."""

    witnesses: Sequence[Witness]
    latest: Latest | None


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
                    Desk(conn, loaded, channels, now, task.watch, known[task.baseline_id], links),
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
                    Desk(conn, loaded, channels, now, task.watch, known[task.baseline_id], links),
                    task.day,
                    over=False,
                )
    return did


def _gather(desk: Desk, day: date, *, over: bool) -> None:
    """One day of incidents; on a day that is not `over` nothing closes."""
    held = kept.open_ones(desk.conn, desk.watch)
    cameras = witnesses.cameras(desk, day)
    paths = {camera: desk.loaded.contract.cameras.path_of(camera) for camera in cameras}
    today = [*witnesses.of_day(desk, day, paths), *witnesses.late(desk, day, paths)]
    if not (today or over):
        return
    yesterday = witnesses.of_day(desk, day - DAY, paths)
    calm = _calm(desk, day, held, paths) if over else {}
    ended = [before for one in held if (before := kept.before(desk.conn, one)) is not None]
    recent = (one.alarm for one in yesterday if not one.alarm.group)
    state = State(tuple(one.incident for one in held), tuple(recent), tuple(ended))
    done = incidents.advance(state, day, [one.alarm for one in today], list(paths.values()), calm)
    seen = likely.latest(desk, day, paths) if over and (held or done.opened) else None
    _keep(desk, day, held, done, _Seen([*today, *yesterday], seen), paths)
    if seen is not None:
        _look_again(desk, day, paths, seen)


def _calm(desk: Desk, day: date, held: Iterable[Kept], paths: dict[str, Path]) -> dict[incidents.Key, bool]:
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
        for m in desk.measured(day - LOOK_BACK * DAY, day, measure=Z, **whose):
            signal = ALL_LANES[m.key.signal].signal
            if incidents.CAUSES.get(signal, signal) == one.incident.cause and m.value is not None:
                streams.setdefault((m.key.signal, m.key.class_name), []).append(m.value)
        last = [values[-QUIET_DAYS:] for values in streams.values()]
        calm[scope, one.incident.cause] = bool(last) and all(abs(sum(v) / len(v)) <= 1 for v in last)
    return calm


def _keep(desk: Desk, day: date, held: Sequence[Kept], done: Day, seen: _Seen, paths: dict[str, Path]) -> None:
    """Store what the day did to the incidents, and tell people of those that opened or closed."""
    before = {(one.incident.scope, one.incident.cause): one for one in held}
    for incident in done.closed:
        _close(desk, replace(before[incident.scope, incident.cause], incident=incident))
    for incident in (one for one in done.state.open if one not in done.opened):
        known = before.get((incident.scope, incident.cause))
        if known is not None and known.incident != incident:
            kept.save(desk.conn, replace(known, incident=incident))
    for incident in done.opened:
        if kept.closed_since(desk.conn, kept.key_of(desk.watch, incident), day, BY_HAND):
            continue  # somebody has seen to it since: what is still wrong the day after is told then
        new = kept.open_new(desk.conn, desk.watch, desk.baseline.id, incident)
        own = [
            w
            for w in seen.witnesses
            if w.alarm.cause == incident.cause and incidents.covers(incident.scope, w.alarm.scope)
        ]
        if seen.latest is not None:
            found = likely.now(desk, day, incident, paths, seen.latest)[0]
        else:
            found = likely.so_far(desk, day, incident, paths)
        whose = desk.whose(group=incident.scope not in paths.values())
        surroundings = _surroundings(desk, day, incident, own, paths)
        last = kept.before(desk.conn, new)
        after = last if incidents.is_restless(incident, last) else None
        why = account.opened(incident, whose, own, _named(desk.baseline), found, surroundings, after)
        _tell(desk, new, "ok", "firing", day, why, max(own, key=lambda w: w.excess).told if own else None)


def _look_again(desk: Desk, day: date, paths: dict[str, Path], seen: Latest) -> None:
    """Write down what the open incidents look like by now, and are likely to be. Nobody is told of it anew."""
    for one in kept.open_ones(desk.conn, desk.watch):
        found, streams = likely.now(desk, day, one.incident, paths, seen)
        finding = account.standing(one.incident, desk.whose(group=False), streams, day)
        rankings.say(desk.conn, one, Said(day, day, told(found), finding))


def _surroundings(
    desk: Desk, day: date, incident: Incident, own: Sequence[Witness], paths: dict[str, Path]
) -> dict[str, Any]:
    """What stands beside an incident: deployment, frames, what moved most, panel, runbook, failure modes."""
    watch, window = desk.watch, Window(midnight(day), midnight(day) + DAY)
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
        **found.as_json(midnight(incident.onset)),
        "panel": desk.links.incident(scope, window),
        "runbook": f"dashboards/runbooks/incident-{incident.cause}.md",
        "failure_modes": fit(desk.loaded.contract.failure_modes, signals),
    }


def _named(baseline: Baseline) -> dict[str, Any]:
    start, end = baseline.period_start, baseline.period_end
    period = [start.isoformat(), end.isoformat()] if start and end else None
    return {"id": baseline.id, "source": baseline.source, "period": period, "sha256": baseline.sha256}


def _close(desk: Desk, one: Kept) -> None:
    kept.save(desk.conn, one)
    day = one.incident.closed_on or desk.now.date()
    _tell(desk, one, "firing", "resolved", day, account.closed(one.incident, desk.whose(group=False)), None)


def _tell(
    desk: Desk, one: Kept, left: str, reached: str, day: date, why: dict[str, Any], told: Measurement | None
) -> None:
    event = AlertEvent(
        alert_key=one.key,
        episode=one.episode,
        from_state=left,
        to_state=reached,
        window=Window(midnight(day), midnight(day) + DAY),
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
                desk = Desk(conn, loaded, channels, now, watch, known[one.baseline_id], HERE)
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
