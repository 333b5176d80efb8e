"""Watches the cameras day by day against what is ordinary for them: the calibrated lanes, kept in Postgres.

A day is watched once it is over and settled. Its measurements, and the mark that it was watched over so many frames,
are one transaction of a few days at most; a day that has gained frames since is watched again with all days after it.
So a repeat changes nothing, a kill costs at most what is at hand, and late records need no code of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from monitor.drift import apart, history, lanes, ordinary, verdicts
from monitor.drift.ordinary import Span
from monitor.drift.windows import Measured, due, undone
from monitor.records import EPOCH, QUIET, Baseline, Measurement, Window
from monitor.spec.load import LoadedContract
from monitor.store import acceptances, baselines, histograms, hours, measurements, reviews, watched
from monitor.store.database import Connection, Database, server_time
from monitor.store.watched import WatchedDay
from monitor.watch import ALL_LANES, APART, LANES, HourColumns, Lane, Numbers

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
QUEUE = APART["queue_peak"]
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


@dataclass(frozen=True, slots=True)
class _Stage:
    """Days of one stage of a task."""

    task: _Task
    stage: str
    days: Sequence[WatchedDay]

    @property
    def subject(self) -> verdicts.Subject:
        task = self.task
        return verdicts.Subject(task.model, task.version, self.stage, task.baseline.id, task.loaded.hash)

    def read(self, span: Span, signals: Sequence[str], minutes: int = 60) -> HourColumns:
        """The roll-ups of a run of days; of a day that is not over, the hours that are."""
        start = watched.midnight(span.first)
        end = start + span.days * _DAY - (history.HOURS - self.days[-1].hours) * _HOUR
        task = self.task
        return hours.read(task.conn, task.model, task.version, start, end, signals, stage=self.stage, minutes=minutes)


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
        for lane in ALL_LANES.values()
        if lane.signal in drift.signals or lane.signal == lanes.OVERRIDE
    ]


def _watch(conn: Connection, loaded: LoadedContract, version: str, now: datetime) -> int:
    baseline = baselines.active(conn, loaded.model, version)
    if baseline is None or baseline.period_start is None or acceptances.pending(conn, loaded.model, version):
        return 0
    task = _Task(conn, loaded, version, baseline)
    todo = _undone(task, now) or _running(task, now)
    if not todo:
        return 0
    usual = known(conn, loaded, baseline)
    if not usual:
        return 0
    before = [one.day for one in watched.days(conn, task.model, version) if one.day < todo[0].day]
    watched.enter(conn, task.model, version, todo, loaded.hash)
    for stage, group in groupby(usual, key=lambda one: one.reading.stage):
        _judge(_Stage(task, stage, todo), list(group), before[-1] if before else None)
    return len(todo)


def _undone(task: _Task, now: datetime) -> list[WatchedDay]:
    """The next days to watch that are over, without a gap between them."""
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
    return [WatchedDay(day, history.HOURS, counted.get(watched.midnight(day), 0), task.baseline.id) for day in run_of]


def _running(task: _Task, now: datetime) -> list[WatchedDay]:
    """The day that is not over, where hours of it are and have not been looked at, or have gained frames since."""
    settled = now - task.loaded.contract.drift.settle
    start = EPOCH + (settled - EPOCH) // _DAY * _DAY
    over = (settled - start) // _HOUR
    known = {one.day: one for one in watched.days(task.conn, task.model, task.version)}
    if not over or start.date() < task.end or (known and max(known) > start.date()):
        return []
    window = Window(start, start + over * _HOUR)
    frames = histograms.frames_between(task.conn, task.model, task.version, window)
    seen = known.get(start.date())
    if not frames or (seen is not None and (seen.hours, seen.frames) == (over, frames)):
        return []
    return [WatchedDay(start.date(), over, frames, task.baseline.id)]


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
            quarters = hours.read(
                conn,
                baseline.model,
                baseline.version,
                baseline.period_start,
                baseline.period_end,
                [QUEUE.signal],
                stage=stage,
                minutes=15,
            )
            watched.keep_ordinary(conn, baseline.id, ordinary.queues(quarters, stage, span.first, span.days))
        usual = watched.ordinary(conn, baseline.id)
    return [one for one in usual if ALL_LANES[one.reading.lane].signal in loaded.contract.drift.signals]


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
        usual = [one for one in group if one.reading.lane in LANES]
        for board in _boards(task, usual, [one.cut(0) for one in usual], Span(task.end, 0)):
            said += verdicts.standing(board)
    return said or ["the baseline holds no value of any lane"]


def _boards(task: _Task, usual: Sequence[Numbers], seen: Sequence[Numbers], later: Span) -> list[verdicts.Board]:
    drift = task.loaded.contract.drift
    seasonal = [lane for lane in lanes_of(task.loaded) if lane.name in LANES]
    cameras, streams = ordinary.streams(usual, seen, task.span, later, seasonal)
    return verdicts.boards(
        cameras,
        streams,
        ordinary.values(usual, seen, cameras),
        {camera: task.loaded.contract.cameras.path_of(camera) for camera in cameras},
        task.span.days,
        drift.false_alarms_per_camera_month,
        drift.false_alarms_per_group_month,
        with_override=reviews.come(task.conn, task.model),
    )


def _judge(at: _Stage, usual: Sequence[Numbers], before: date | None) -> None:
    """Write the measurements of a stage's days; `before` is the last day that was watched before them."""
    task, first, days = at.task, at.days[0].day, len(at.days)
    seasonal = [one for one in usual if one.reading.lane in LANES]
    # The day before lends its last hours to the first four hours' windows; the baseline's own last day is at hand.
    context = 1 if first > task.end else 0
    later = Span(first - context * _DAY, days + context)
    found = at.read(later, history.signals_of(LANES[one] for one in {n.reading.lane for n in seasonal}))
    seen = ordinary.observe(found, [one.reading for one in seasonal], later.first, later.days)
    made = _boards(task, seasonal, seen, later)
    stood: verdicts.Stood = {}
    if before is not None:
        stood = watched.stood(task.conn, task.model, task.version, at.stage, before, task.baseline.id)
    if not stood:
        for sentence in (said for board in made for said in verdicts.standing(board)[:3]):
            _log.info("%s %s: %s", task.model, task.version, sentence)
    places = {task.span.days + context + i: one.day for i, one in enumerate(at.days)}
    rows = [
        row
        for board in made
        for row in verdicts.judge(at.subject, board, places, task.span.days, stood, at.days[0].hours)
    ]
    rows += _queues(at, [one for one in usual if one.reading.lane == QUEUE.name])
    if at.days[0].hours == history.HOURS:
        rows += _overrides(at, sorted({one.reading.camera for one in usual}), stood)
    measurements.save(task.conn, rows)


def _queues(at: _Stage, usual: Sequence[Numbers]) -> list[Measurement]:
    lane = next((lane for lane in lanes_of(at.task.loaded) if lane.name == QUEUE.name), None)
    if lane is None or not usual:
        return []
    span = Span(at.days[0].day, len(at.days))
    quarters = at.read(span, [QUEUE.signal], minutes=15)
    seen = ordinary.queues(quarters, at.stage, span.first, span.days, [one.reading.camera for one in usual])
    days = {i: one.day for i, one in enumerate(at.days)}
    pairs = zip(usual, seen, strict=True)
    return [row for before, now in pairs for row in apart.queue(at.subject, lane, before, now, days)]


def _overrides(at: _Stage, cameras: Sequence[str], stood: verdicts.Stood) -> list[Measurement]:
    task, span = at.task, at.task.span
    days = [span.first + i * _DAY for i in range(span.days)] + [one.day for one in at.days]
    found = reviews.by_band(task.conn, task.model, task.version, at.stage, cameras, days)
    if found is None:
        return []
    lane = next(lane for lane in lanes_of(task.loaded) if lane.signal == lanes.OVERRIDE)
    places = {span.days + i: one.day for i, one in enumerate(at.days)}
    return list(
        apart.overrides(at.subject, lane, cameras, found.reviewed, found.overridden, span.days, places, stood)
    )
