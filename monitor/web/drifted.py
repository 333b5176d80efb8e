"""How far each signal lies from its baseline: its distribution, its drift, and each camera over fourteen weeks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.alerts.conditions import limit
from monitor.alerts.evaluate import matches
from monitor.measures import CLASS_SHARE, mean_of
from monitor.records import ALL, EPOCH, Baseline, Histogram, Measurement, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.spec.rules import AlertRule
from monitor.store import baselines, reporting
from monitor.store.database import Connection
from monitor.web import pictures
from monitor.web.view import DAY, TONES, Place

TREND = timedelta(weeks=14)
MOST_CAMERAS = 12
"""Cameras whose trends are drawn on one page."""
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
TRENDS = (("confidence", "mean"), ("brightness", "mean"), ("confidence", "PSI"), ("brightness", "PSI"))


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
class Drifted:
    """The newest measured window against the baseline, and the windows before it."""

    pictures: tuple[Picture, ...]
    baseline: Baseline | None
    drift: tuple[DriftRow, ...]
    trends: tuple[Trend, ...]
    trend: Window
    """What the trends are drawn over: fourteen weeks, or less where there is less."""


def drifted(conn: Connection, place: Place) -> Drifted:
    """How the signals stand in the place's window."""
    of, names = place.of, tuple(one.camera for one in place.cameras)
    rules = place.loaded.contract.rules if place.loaded else ()
    trend = Window(_trend_start(of, place.at, place.window.end - place.window.start), place.at)
    baseline = baselines.active(conn, of.model, of.version)
    measured = place.window if place.measured else None
    return Drifted(
        pictures=_pictures(conn, of, place.camera, place.window, baseline),
        baseline=baseline,
        drift=_drift(conn, of, place.camera, names, measured, rules),
        trends=_trends(conn, of, [place.camera] if place.camera else list(names), trend),
        trend=trend,
    )


def _trend_start(of: reporting.Produced, at: datetime, length: timedelta) -> datetime:
    """Start of the window of `length` in which the trends begin, for the first frame seldom comes at its start."""
    first = max(at - TREND, min(of.first_at, at - DAY))
    return EPOCH + (first - EPOCH) // length * length


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
