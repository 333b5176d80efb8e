"""Watches the cameras day by day against what is ordinary for them: the calibrated lanes, kept in Postgres.

A day is watched once it is over and settled. Its measurements, and the mark that it was watched over so many frames,
are one transaction of a few days at most; a day that has gained frames since is watched again with all days after it.
So a repeat changes nothing, a kill costs at most what is at hand, and late records need no code of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from monitor.drift import history, ordinary, verdicts
from monitor.drift.ordinary import Span
from monitor.drift.windows import Measured, due, undone
from monitor.records import EPOCH, QUIET, Baseline, Window
from monitor.spec.load import LoadedContract
from monitor.store import acceptances, baselines, histograms, hours, measurements, watched
from monitor.store.database import Connection, Database, server_time
from monitor.store.watched import WatchedDay
from monitor.watch import LANES, Lane, Numbers

_DAY = timedelta(days=1)
CHUNK = 7
"""Days that are watched in one transaction."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Task:
    """The version whose days are watched, against which baseline."""

    conn: Connection
    loaded: LoadedContract
    version: str
    baseline: Baseline

    @property
    def model(self) -> str:
        return self.loaded.model

    @property
    def span(self) -> Span:
        """The days of the baseline; the first and the last may be there in part."""
        assert self.baseline.period_start is not None
        first = self.baseline.period_start.astimezone(UTC).date()
        return Span(first, (self.end - first).days)

    @property
    def end(self) -> date:
        """The first whole day after the baseline."""
        assert self.baseline.period_end is not None
        return -((EPOCH - self.baseline.period_end) // _DAY) * _DAY + EPOCH.date()


def run(database: Database, loaded: LoadedContract, now: datetime) -> int:
    """Watch what is undone of one model; returns the number of days that were watched.

    Raises:
        DependencyAway: Postgres is not there.
    """
    with database.begin() as conn:
        versions = baselines.versions(conn, loaded.model)
    done = 0
    for version in versions:
        while True:
            with database.begin() as conn:
                watched.hold(conn, loaded.model, version)
                count = _watch(conn, loaded, version, now)
            if not count:
                break
            done += count
    return done


def lanes_of(loaded: LoadedContract) -> list[Lane]:
    """Every lane of the signals that the contract watches, with the floors that it sets."""
    drift = loaded.contract.drift
    return [
        replace(lane, floor=drift.floors.get(lane.name, lane.floor))
        for lane in LANES.values()
        if lane.signal in drift.signals
    ]


def _watch(conn: Connection, loaded: LoadedContract, version: str, now: datetime) -> int:
    baseline = baselines.active(conn, loaded.model, version)
    if baseline is None or baseline.period_start is None or acceptances.pending(conn, loaded.model, version):
        return 0
    task = _Task(conn, loaded, version, baseline)
    todo, frames = _undone(task, now)
    if not todo:
        return 0
    usual = known(conn, loaded, baseline)
    if not usual:
        return 0
    marks = [WatchedDay(day, history.HOURS, frames.get(day, 0), baseline.id) for day in todo]
    before = [one.day for one in watched.days(conn, task.model, version) if one.day < todo[0]]
    watched.enter(conn, task.model, version, marks, loaded.hash)
    for _, group in groupby(usual, key=lambda one: one.reading.stage):
        _judge(task, list(group), todo, before[-1] if before else None)
    return len(todo)


def _undone(task: _Task, now: datetime) -> tuple[list[date], dict[date, int]]:
    """The next days to watch, without a gap between them, and the frames of the days that have any."""
    oldest = now - timedelta(days=task.loaded.contract.retention.raw_days) - QUIET
    marked = watched.days(task.conn, task.model, task.version)
    others = [one.day + _DAY for one in marked if one.baseline_id != task.baseline.id and one.hours == history.HOURS]
    first = watched.midnight(max([task.end, *others]))
    counted = histograms.window_frames(task.conn, task.model, _DAY, max(first, oldest)).get(task.version, {})
    counted = {start: frames for start, frames in counted.items() if start >= first}
    settle, clock = task.loaded.contract.drift.settle, server_time(task.conn)
    done = {
        Window(watched.midnight(one.day), watched.midnight(one.day) + _DAY): Measured(one.frames, one.baseline_id)
        for one in marked
        if one.hours == history.HOURS
    }
    # Silence in a day that has not passed yet by the server's clock is none: `now` is ahead.
    ripe = [w for w in due(counted, _DAY, settle, now) if w.start in counted or w.end + settle <= clock]
    late = {w.start for w in undone(counted, done, task.baseline.id, _DAY, settle, now)}
    stale = {watched.midnight(one.day) for one in marked if one.frames < 0}
    wanted = [window.start for window in ripe if window.start in late | stale]
    run_of = [at.date() for at in wanted[:CHUNK] if (at - wanted[0]) // _DAY < CHUNK]
    run_of = [day for i, day in enumerate(run_of) if (day - run_of[0]).days == i]
    return run_of, {at.date(): frames for at, frames in counted.items()}


def known(conn: Connection, loaded: LoadedContract, baseline: Baseline) -> list[Numbers]:
    """The baseline's days by the hour; learnt from its roll-ups, and kept, where nobody has done so yet."""
    usual = watched.ordinary(conn, baseline.id)
    if not usual and baseline.period_start is not None and baseline.period_end is not None:
        span = _Task(conn, loaded, baseline.version, baseline).span
        signals = history.signals_of(LANES.values())
        found = hours.read(
            conn, baseline.model, baseline.version, baseline.period_start, baseline.period_end, signals
        )
        for stage in sorted({key.scope.stage for key in found.series}):
            learnt = ordinary.learn(history.of_stage(found, stage), stage, span.first, span.days, LANES.values())
            watched.keep_ordinary(conn, baseline.id, learnt)
        usual = watched.ordinary(conn, baseline.id)
    return [one for one in usual if LANES[one.reading.lane].signal in loaded.contract.drift.signals]


def standing(conn: Connection, loaded: LoadedContract, version: str) -> list[str]:
    """How the lanes of a version stand, in sentences: what is judged by which limit, what is still learnt, or why
    nothing is."""
    baseline = baselines.active(conn, loaded.model, version)
    awaited = acceptances.pending(conn, loaded.model, version)
    if awaited is not None:
        return [str(awaited)]
    if baseline is None or baseline.period_start is None:
        return ["no baseline from logs: what is ordinary is learnt from production; freeze one of at least 14 days"]
    task = _Task(conn, loaded, version, baseline)
    said: list[str] = []
    for _, group in groupby(known(conn, loaded, baseline), key=lambda one: one.reading.stage):
        usual = list(group)
        for board in _boards(task, usual, [one.cut(0) for one in usual], Span(task.end, 0)):
            said += verdicts.standing(board)
    return said or ["the baseline holds no value of any lane"]


def _boards(task: _Task, usual: Sequence[Numbers], seen: Sequence[Numbers], later: Span) -> list[verdicts.Board]:
    drift = task.loaded.contract.drift
    cameras, streams = ordinary.streams(usual, seen, task.span, later, lanes_of(task.loaded))
    return verdicts.boards(
        cameras,
        streams,
        ordinary.values(usual, seen, cameras),
        {camera: task.loaded.contract.cameras.path_of(camera) for camera in cameras},
        task.span.days,
        drift.false_alarms_per_camera_month,
        drift.false_alarms_per_group_month,
        with_override=False,
    )


def _judge(task: _Task, usual: Sequence[Numbers], todo: Sequence[date], before: date | None) -> None:
    conn, loaded, stage = task.conn, task.loaded, usual[0].reading.stage
    # The day before lends its last hours to the first four hours' windows; the baseline's own last day is at hand.
    context = 1 if todo[0] > task.end else 0
    later = Span(todo[0] - context * _DAY, len(todo) + context)
    start, chosen = watched.midnight(later.first), lanes_of(loaded)
    found = hours.read(
        conn,
        task.model,
        task.version,
        start,
        start + later.days * _DAY,
        history.signals_of(chosen),
        stage=stage,
    )
    seen = ordinary.observe(found, [one.reading for one in usual], later.first, later.days)
    made = _boards(task, usual, seen, later)
    subject = verdicts.Subject(task.model, task.version, stage, task.baseline.id, loaded.hash)
    stood: Mapping[tuple[str, str, str, str], Mapping[str, tuple[float, int]]] = {}
    if before is not None:
        stood = watched.stood(conn, task.model, task.version, stage, before, task.baseline.id)
    if not stood:
        for sentence in (said for board in made for said in verdicts.standing(board)[:3]):
            _log.info("%s %s: %s", task.model, task.version, sentence)
    places = {task.span.days + context + i: day for i, day in enumerate(todo)}
    for board in made:
        measurements.save(conn, list(verdicts.judge(subject, board, places, task.span.days, stood)))
