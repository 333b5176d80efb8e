"""What one status page shows, read in one transaction; the templates draw it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from monitor.alerts.conditions import limit
from monitor.alerts.evaluate import matches
from monitor.errors import MonitorError, TryAgain
from monitor.ingest.workers import Workers
from monitor.measures import CLASS_SHARE, mean_of
from monitor.records import ALL, EPOCH, Baseline, Histogram, Measurement, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract
from monitor.spec.rules import AlertRule
from monitor.store import baselines, reporting
from monitor.store.database import Connection, Database
from monitor.store.jobs import JobHealth, health
from monitor.web import figures, pictures, told

LIVE = timedelta(days=1)
"""Data younger than this are watched live; older data are shown as of their own end."""
TREND = timedelta(weeks=14)
MOST_CAMERAS = 12
"""Cameras whose trends are drawn on one page."""
MOST_SOURCES = 20
DRAWN = (
    "pixel_brightness",
    "confidence",
    "brightness",
    "contrast",
    "sharpness",
    "detections",
    "box_area",
    "box_aspect",
    "red_balance",
    "blue_balance",
    "latency_ms",
    "resolution",
    "exposure_ms",
    "gain_db",
    "queue_depth",
)
"""Signals whose distributions are drawn, in this order."""
TONES = ("bad", "watch", "well", "quiet")
"""How something stands, the gravest first."""
READERS = 4
"""Pages that are read from the database at once; the jobs need the other connections."""
PATIENCE_S = 10.0
"""How long a page waits for its turn."""
TRENDS = (("confidence", "mean"), ("brightness", "mean"), ("confidence", "PSI"), ("brightness", "PSI"))


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages need of their surroundings. `jobs` maps each job to its turn."""

    database: Database
    contracts: Callable[[], Mapping[str, LoadedContract]]
    jobs: Mapping[str, timedelta]
    clock: Callable[[], datetime]
    spool_dir: str
    workers: Workers | None = None
    """Processes that read what is posted; None: it is read in this one."""
    turns: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(READERS))

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A bounded, read-only transaction, for READERS at a time.

        Raises:
            DependencyAway: the database is away.
            TryAgain: too many are reading, or a statement took too long.
        """
        if not self.turns.acquire(timeout=PATIENCE_S):
            raise TryAgain("too many pages are being read at once; load this one again in a moment")
        try:
            with self.database.begin() as conn:
                reporting.bound(conn)
                yield conn
        finally:
            self.turns.release()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the reader chose; empty: whatever has the newest frames. `version` and `stage` go together."""

    model: str = ""
    version: str = ""
    stage: str | None = None
    camera: str = ALL
    at: datetime | None = None


class NotThere(MonitorError):
    """The page asked for does not exist."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A signal's distribution, now and in the baseline, with what a screen reader says of it."""

    signal: str
    unit: str
    help: str
    drawn: pictures.Distribution
    now_n: int
    baseline_n: int
    now_mean: float | None
    baseline_mean: float | None


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One measured signal; `word` is how it stands and `tone` its colour (well, watch, bad, quiet)."""

    measurement: Measurement
    unit: str
    threshold: float | None
    word: str
    tone: str
    cameras: tuple[tuple[str, float, str], ...] = ()
    """Of all cameras together: (camera, value, tone) of those that are out of the ordinary, the worst first."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A camera's lines, in the order of TRENDS."""

    camera: str
    lines: tuple[pictures.Line, ...]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every page shows: the jobs and the contracts."""

    now: datetime
    jobs: tuple[tuple[JobHealth, timedelta], ...]
    contracts: tuple[LoadedContract, ...]
    spool_dir: str


@dataclass(frozen=True, slots=True)
class Status:
    """The status page. `window` is the newest measured one, or the last 24 hours where none was measured."""

    around: Surroundings
    of: reporting.Produced
    choices: tuple[reporting.Produced, ...]
    camera: str
    at: datetime
    mode: Literal["live", "end", "asked"]
    """Whether `at` is the clock's now, the end of older data, or what the reader asked for."""
    window: Window
    measured: bool
    cameras: tuple[reporting.CameraFrames, ...]
    intake: reporting.Intake
    sources: tuple[reporting.SourceIntake, ...]
    """Those that sent last."""
    pillars: tuple[figures.Pillar, ...]
    pictures: tuple[Picture, ...]
    baseline: Baseline | None
    drift: tuple[DriftRow, ...]
    trends: tuple[Trend, ...]
    trend: Window
    """What the trends are drawn over: fourteen weeks, or less where there is less."""
    incidents: tuple[told.Told, ...]
    watch: str
    """How far the cameras are watched, or why nothing is judged."""
    alerts: tuple[reporting.AlertRow, ...]
    resolved: tuple[reporting.AlertRow, ...]

    @property
    def period(self) -> Window:
        """The last 24 hours."""
        return Window(self.at - timedelta(days=1), self.at)


def surroundings(conn: Connection, site: Site, now: datetime) -> Surroundings:
    """The jobs and contracts as they are now."""
    jobs = tuple((one, site.jobs[one.job]) for one in health(conn, list(site.jobs)))
    contracts = tuple(loaded for _, loaded in sorted(site.contracts().items()))
    return Surroundings(now, jobs, contracts, site.spool_dir)


def status(conn: Connection, site: Site, asked: Asked) -> Status | Surroundings:
    """Everything on the status page; only the surroundings where no frame has come in yet.

    Raises:
        NotThere: the model, version, stage or camera asked for has no frames.
    """
    now = site.clock()
    around = surroundings(conn, site, now)
    choices = reporting.produced(conn)
    if not choices and not asked.model:
        return around
    of = _chosen(choices, asked)
    mode, at = _moment(conn, of, asked, now)
    found_window = reporting.last_window(conn, of, at)
    hour = at.replace(minute=0, second=0, microsecond=0)
    window = found_window or Window(hour - timedelta(days=1), hour + timedelta(hours=1))
    cameras = reporting.camera_frames(conn, of, at, window)
    if asked.camera and asked.camera not in {one.camera for one in cameras}:
        raise NotThere(f"no camera is called {asked.camera!r} here; choose one of the page's list")
    day = Window(at - timedelta(days=1), at)
    trend = Window(_trend_start(of, at, window.end - window.start), at)
    baseline = baselines.active(conn, of.model, of.version)
    loaded = site.contracts().get(of.model)
    rules = loaded.contract.rules if loaded else ()
    in_force = [(of.model, rule.name) for rule in rules]
    return Status(
        around=around,
        of=of,
        choices=tuple(choices),
        camera=asked.camera,
        at=at,
        mode=mode,
        window=window,
        measured=found_window is not None,
        cameras=tuple(cameras),
        intake=reporting.intake(conn),
        sources=tuple(reporting.intake_by_source(conn, MOST_SOURCES)),
        pillars=figures.pillars(reporting.histograms(conn, of, asked.camera, day), 24.0),
        pictures=_pictures(conn, of, asked.camera, window, baseline),
        baseline=baseline,
        drift=_drift(conn, of, asked.camera, tuple(one.camera for one in cameras), found_window, rules),
        trends=_trends(conn, of, [asked.camera] if asked.camera else [one.camera for one in cameras], trend),
        trend=trend,
        incidents=told.incidents_of(conn, of),
        watch=told.watch_of(conn, of, baseline),
        alerts=tuple(reporting.alerts(conn, ("firing", "flapping", "pending"), in_force)),
        resolved=tuple(reporting.alerts(conn, ("resolved",), in_force, limit=5)),
    )


def _moment(
    conn: Connection, of: reporting.Produced, asked: Asked, now: datetime
) -> tuple[Literal["live", "end", "asked"], datetime]:
    """The moment that the page shows: the one asked for, else now, else (old data) the data's own end.

    That end is the end of the newest hour with frames, or of the measured window which that hour lies in.
    """
    if asked.at is not None:
        return "asked", asked.at
    if now - of.last_at < LIVE:
        return "live", now
    newest = reporting.last_window(conn, of, datetime.max.replace(tzinfo=UTC))
    return "end", newest.end if newest is not None and newest.start < of.last_at <= newest.end else of.last_at


def _trend_start(of: reporting.Produced, at: datetime, length: timedelta) -> datetime:
    """Start of the window of `length` in which the trends begin, for the first frame seldom comes at its start."""
    first = max(at - TREND, min(of.first_at, at - timedelta(days=1)))
    return EPOCH + (first - EPOCH) // length * length


def _chosen(choices: list[reporting.Produced], asked: Asked) -> reporting.Produced:
    for one in choices:
        if (
            asked.model in ("", one.model)
            and asked.version in ("", one.version)
            and (asked.stage is None or asked.stage == one.stage)
        ):
            return one
    named = " ".join(part for part in (asked.model, asked.version, asked.stage) if part)
    raise NotThere(f"no live frame of {named!r} has come in; see / for the models that have frames")


def _pictures(
    conn: Connection, of: reporting.Produced, camera: str, window: Window, baseline: Baseline | None
) -> tuple[Picture, ...]:
    now = reporting.histograms(conn, of, camera, window)
    reference: dict[tuple[str, str, str], Histogram] = {}
    if baseline is not None:
        stage = "" if baseline.source == "images" else of.stage  # images know no stages, and serve all
        reference = reporting.baseline_histograms(conn, baseline.id, stage, camera)
    # As in the drift stage: images stand for every camera, logs of some cameras for no other.
    whose = ALL if baseline is not None and baseline.source == "images" else camera
    found = (_picture(signal, now, reference, whose) for signal in DRAWN)
    return tuple(one for one in found if one is not None)


def _picture(
    signal: str, now: Mapping[SeriesKey, Histogram], reference: Mapping[tuple[str, str, str], Histogram], whose: str
) -> Picture | None:
    of_signal = {key: one for key, one in now.items() if key.signal == signal and not key.class_name}
    if not of_signal:
        return None
    key, current = max(of_signal.items(), key=lambda item: item[1].n)
    known = SIGNALS[signal]
    before = reference.get((whose, signal, key.recipe))
    drawn = pictures.distribution(known.edges, current, before)
    if drawn is None:
        return None
    return Picture(
        signal=signal,
        unit=known.unit,
        help=known.help,
        drawn=drawn,
        now_n=current.n,
        baseline_n=before.n if before else 0,
        now_mean=mean_of(signal, current),
        baseline_mean=mean_of(signal, before) if before else None,
    )


def _drift(
    conn: Connection,
    of: reporting.Produced,
    camera: str,
    cameras: tuple[str, ...],
    window: Window | None,
    rules: tuple[AlertRule, ...],
) -> tuple[DriftRow, ...]:
    """The rows of `camera`, the gravest first; of all together (`""`) with the cameras that stand out."""
    if window is None:
        return ()
    found = reporting.measurements(conn, of, (camera,) if camera else ("", *cameras), window, "psi")
    rows = [_drift_row(one, rules) for one in found if not (one.key.signal == CLASS_SHARE and one.key.class_name)]
    apart: dict[tuple[str, str, str], list[tuple[str, float, str]]] = {}
    for row in rows:
        key = row.measurement.key
        if key.scope.camera != camera and row.tone in TONES[:2] and row.measurement.value is not None:
            said = (key.scope.camera, row.measurement.value, row.tone)
            apart.setdefault((key.signal, key.class_name, key.recipe), []).append(said)
    own = [
        replace(row, cameras=tuple(sorted(apart.get((key.signal, key.class_name, key.recipe), ()), key=_gravity)))
        for row in rows
        if (key := row.measurement.key).scope.camera == camera
    ]
    return tuple(sorted(own, key=lambda row: min(TONES.index(tone) for tone in _tones(row))))


def _gravity(said: tuple[str, float, str]) -> tuple[int, float]:
    return TONES.index(said[2]), -said[1]


def _tones(row: DriftRow) -> list[str]:
    return [row.tone, *(tone for _, _, tone in row.cameras)]


def _drift_row(one: Measurement, rules: tuple[AlertRule, ...]) -> DriftRow:
    limits = [limit(rule, one) for rule in rules if rule.measure == one.measure and matches(rule, one.key)]
    threshold = min(limits, default=None)
    known = SIGNALS.get(one.key.signal)
    return DriftRow(one, known.unit if known else "share", threshold, *_standing(one, threshold))


def _standing(one: Measurement, threshold: float | None) -> tuple[str, str]:
    """How a measurement stands, as a word and a tone."""
    if one.value is None:
        return one.standing, "quiet"
    if threshold is not None and one.value > threshold:
        return "drifted", "bad"
    return one.standing, "watch" if one.noise is not None and one.value > one.noise else "well"


def _trends(conn: Connection, of: reporting.Produced, cameras: list[str], period: Window) -> tuple[Trend, ...]:
    drawn = cameras[:MOST_CAMERAS]
    points = reporting.trend(conn, of, drawn, ["confidence", "brightness"], period)
    columns = []
    for signal, what in TRENDS:
        of_signal = [one for one in points if one.signal == signal]
        values = {
            camera: [(one.end, one.mean if what == "mean" else one.psi) for one in of_signal if one.camera == camera]
            for camera in drawn
        }
        known = [value for line in values.values() for _, value in line if value is not None]
        low, high = pictures.span(known, floor=0.0 if what == "PSI" else None)
        levels = {one.camera: one.baseline_mean for one in of_signal if what == "mean"}
        columns.append([pictures.line(values[camera], period, low, high, levels.get(camera)) for camera in drawn])
    by_camera = zip(drawn, zip(*columns, strict=True), strict=True)
    return tuple(Trend(camera, lines) for camera, lines in by_camera if any(one.last is not None for one in lines))
