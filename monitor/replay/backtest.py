"""What a rule or a set of lanes would have told people over stored history, and what that is worth.

The deciding files do the deciding: `alerts.evaluate` for rules, `drift.lanes` and `alerts.incidents` for lanes. What
they would have said becomes pages; incidents that somebody has labelled tell delays, misses and false pages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby

import numpy as np

from monitor.alerts import conditions, evaluate, incidents
from monitor.drift import lanes, verdicts
from monitor.records import Alert, Measurement, SeriesKey, Window
from monitor.spec.rules import AlertRule
from monitor.watch import Incident, Path, label

MONTH = timedelta(days=30)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Page:
    """People would have been told at `at` (the end of the window whose data said so), until `until` if it ended.

    `where` is the place as one says it; `cameras` are those that it names, empty for all together. `since` is when
    the change began, as far as the rule or lane knows; `window` holds the frames that decided.
    """

    at: datetime
    subject: str
    where: str
    cameras: tuple[str, ...]
    since: datetime | None
    reason: str
    window: Window
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Something that really happened: `camera` (`""`: every one) from `start` to `end` (None: to the end of data)."""

    camera: str
    start: datetime
    end: datetime | None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A labelled incident and the first page of it; None: missed."""

    labelled: Labelled
    page: Page | None

    @property
    def delay(self) -> timedelta | None:
        """From the incident's start to the page."""
        return None if self.page is None else self.page.at - self.labelled.start


@dataclass(frozen=True, slots=True)
class Score:
    """What one setting is worth over a period. `false` are pages of no labelled incident."""

    pages: tuple[Page, ...]
    findings: tuple[Finding, ...]
    false: tuple[Page, ...]
    camera_months: float

    @property
    def found(self) -> int:
        """Labelled incidents with a page."""
        return sum(finding.page is not None for finding in self.findings)

    @property
    def paged(self) -> int:
        """Cameras that a page named."""
        return len({camera for page in self.pages for camera in page.cameras})

    @property
    def median_delay(self) -> timedelta | None:
        """Of the incidents that were found; None of none."""
        delays = sorted(finding.delay for finding in self.findings if finding.delay is not None)
        return None if not delays else (delays[(len(delays) - 1) // 2] + delays[len(delays) // 2]) / 2


def score(pages: Iterable[Page], labelled: Sequence[Labelled], cameras: int, period: Window) -> Score:
    """Judge the pages of `period` by what really happened there; `cameras` were watched.

    A page belongs to every labelled incident of one of its cameras (or of all) during which it came.
    """
    told = tuple(sorted((p for p in pages if period.start < p.at <= period.end), key=lambda p: (p.at, p.subject)))
    findings = tuple(Finding(one, next((p for p in told if belongs(p, one)), None)) for one in labelled)
    false = tuple(p for p in told if not any(belongs(p, one) for one in labelled))
    return Score(told, findings, false, cameras * ((period.end - period.start) / MONTH))


def belongs(page: Page, labelled: Labelled) -> bool:
    """Whether the page came during the incident and names its camera; a page or an incident of all names each."""
    there = not labelled.camera or not page.cameras or labelled.camera in page.cameras
    return there and labelled.start < page.window.end and (labelled.end is None or page.window.start < labelled.end)


def of_rule(
    rule: AlertRule, history: Iterable[Measurement], contract_hash: str, ordinary: Iterable[Measurement] = ()
) -> list[Page]:
    """The pages of a static rule over measured windows, taken in order and each once, as the daemon judges them.

    `history` holds the measurements of one model version that lie after the baseline's own period, `ordinary` those
    within it; those of other signals and measures are passed over. Series that fall silent are judged as silent.
    """
    usual: dict[SeriesKey, list[float]] = {}
    for m in ordinary:
        if m.measure == rule.measure and m.value is not None:
            usual.setdefault(m.key, []).append(m.value)
    watched = [m for m in history if m.measure == rule.measure and evaluate.matches(rule, m.key)]
    watched.sort(key=lambda m: (m.window.end, m.window.start))
    known: dict[SeriesKey, Alert] = {}
    told: dict[str, Page] = {}
    pages: list[Page] = []
    for window, measured in groupby(watched, key=lambda m: m.window):
        found = {replace(m.key, recipe=""): m for m in evaluate.one_each(measured)}
        silent = {key: evaluate.silence(known[key], window, contract_hash) for key in known.keys() - found.keys()}
        for key, plain in {**found, **silent}.items():
            of_series = usual.get(plain.key, []) if rule.relative_to else []
            decision = evaluate.decide(rule, known.get(key), conditions.widened(plain, of_series))
            known[key] = decision.alert
            if decision.left is None:
                continue
            if decision.alert.state in evaluate.ACTIVE:
                told[decision.alert.key] = _of_alert(decision.alert, window)
            elif decision.alert.key in told:
                pages.append(replace(told.pop(decision.alert.key), until=window.end))
    return [*pages, *told.values()]


def _of_alert(alert: Alert, window: Window) -> Page:
    scope = alert.series.scope
    where = scope.camera or (f"{scope.slice_name} = {scope.slice_value}" if scope.slice_name else "all cameras")
    where += f", class {alert.series.class_name}" if alert.series.class_name else ""
    cameras = (scope.camera,) if scope.camera else ()
    return Page(window.end, alert.rule, where, cameras, alert.since, alert.reason, window)


@dataclass(frozen=True, slots=True)
class Watched:
    """Streams of `cameras` over the baseline's days and the days after them, the first of which is `first`.

    `paths` says where each camera hangs: an alarm's scope.
    """

    cameras: Sequence[str]
    streams: Sequence[lanes.Stream]
    paths: Mapping[str, Path]
    first: date
    baseline: int

    @property
    def days(self) -> list[date]:
        """The days after the baseline."""
        count = int(self.streams[0].z.shape[-1]) - self.baseline if self.streams else 0
        return [self.first + timedelta(days=i) for i in range(count)]

    def day(self, index: int) -> date:
        """The day at this place of the streams' days."""
        return self.first + timedelta(days=index - self.baseline)


def of_lanes(watched: Watched, budget: float, group_budget: float, with_override: bool = False) -> list[Page]:
    """The pages of calibrated lanes: each incident that would have been opened, for these budgets of false alarms.

    `budget` is false alarms a camera-month over all lanes of a camera (with or without the one over reviews),
    `group_budget` a month of one group of cameras.
    """
    boards = verdicts.boards(
        watched.cameras,
        watched.streams,
        {},
        watched.paths,
        watched.baseline,
        budget,
        group_budget,
        with_override,
    )
    alarms: dict[date, list[incidents.Alarm]] = {}
    calm: dict[incidents.Key, np.ndarray] = {}
    for board in boards:
        for stream in board.streams:
            verdict = lanes.decide(stream, board.limit, watched.baseline)
            scopes = _scopes(watched, board)
            for alarm in alarms_of(watched, verdict, scopes):
                alarms.setdefault(alarm.day, []).append(alarm)
            for key, days in calm_of(verdict, scopes).items():
                calm[key] = calm[key] & days if key in calm else days
    return _opened(watched, alarms, calm)


def _scopes(watched: Watched, board: verdicts.Board) -> list[Path]:
    """The scope of each of a board's rows: a camera's path, or that of a group."""
    known = {label(path): path for path in verdicts.groups([watched.paths[camera] for camera in watched.cameras])}
    return [watched.paths[camera] if camera else known[group] for camera, group in board.rows]


def alarms_of(watched: Watched, verdict: lanes.Verdict, scopes: Sequence[Path]) -> list[incidents.Alarm]:
    """The alarms of a verdict, each with its onset; a scope that is no camera's is a group's."""
    lane, own = verdict.stream.lane, {watched.paths[camera] for camera in watched.cameras}
    found = []
    for row, day in np.argwhere((verdict.alarm != 0) | (verdict.fast != 0)).tolist():
        onset = watched.day(lanes.onset_of(verdict, row, day, watched.baseline).day)
        group = scopes[row] not in own
        size = abs(np.nan_to_num(verdict.stream.effect[row, day])) / lane.floor if lane.floor else 1.0
        found.append(
            incidents.Alarm(watched.day(day), scopes[row], lane.signal, lane.name, onset, group, float(size))
        )
    return found


def calm_of(verdict: lanes.Verdict, scopes: Sequence[Path]) -> dict[incidents.Key, np.ndarray]:
    """Whether the stream is calm, by scope and cause, bool [days]."""
    signal = verdict.stream.lane.signal
    cause = incidents.CAUSES.get(signal, signal)
    return {(scope, cause): days for scope, days in zip(scopes, lanes.calm(verdict.stream), strict=True)}


def _opened(
    watched: Watched, alarms: Mapping[date, list[incidents.Alarm]], calm: Mapping[incidents.Key, np.ndarray]
) -> list[Page]:
    """A page for each incident, day after day."""
    state = incidents.State()
    pages: dict[tuple[Path, str, date], Page] = {}
    scopes = [watched.paths[camera] for camera in watched.cameras]
    for place, day in enumerate(watched.days, start=watched.baseline):
        quiet = {key: bool(days[place]) for key, days in calm.items()}
        done = incidents.advance(state, day, alarms.get(day, ()), scopes, quiet)
        state = done.state
        for incident in done.opened:
            pages[incident.scope, incident.cause, incident.opened_on] = _of_incident(incident, scopes)
        for incident in done.closed:
            key = incident.scope, incident.cause, incident.opened_on
            if key in pages:
                pages[key] = replace(pages[key], until=_midnight(day + DAY))
    return list(pages.values())


def _of_incident(incident: Incident, own: Collection[Path]) -> Page:
    cameras = tuple(sorted(member[-1] for member in incident.members if member in own))
    where = " / ".join(part for part in incident.scope if part) or "the whole plant"
    reason = f"{', '.join(incident.signals)} moved" + (f" on {len(cameras)} cameras" if len(cameras) > 1 else "")
    opened = _midnight(incident.opened_on)
    window = Window(opened, opened + DAY)
    return Page(window.end, incident.cause, where, cameras, _midnight(incident.onset), reason, window)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
