"""How numbers, moments and places are said in messages: one wording for alerts, incidents and their evidence."""

from __future__ import annotations

from datetime import datetime

from monitor.measures import MEASURES
from monitor.records import Scope, SeriesKey
from monitor.signals import SIGNALS

_PLAIN = {
    "error_rate": "error rate",
    "throughput": "throughput",
    "silence": "silence",
    "passed_on": "share passed on",
    "low_share": "share of unsure detections",
    "peak": "longest queue",
    "honest": "estimated share corrected by people",
    "raw": "share corrected among reviewed detections",
    "work_order_rate": "work orders",
    "catches": "defects that people had missed",
    "minutes_per_false_alarm": "minutes for a false alarm",
    "throughput_gain": "gain in throughput",
}
"""What measures are called that tell what they are of by themselves."""


def figure(value: float) -> str:
    """A number with as many digits as a person compares."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def per_cent(share: float) -> str:
    """`4.2 %`: one digit more under 1 %."""
    return f"{100 * share:.{1 if abs(share) >= 0.01 or not share else 2}f} %"


def when(at: datetime) -> str:
    """`2026-09-14 00:00 UTC`."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def unit(signal: str) -> str:
    """The unit of a signal's mean; derived signals are shares."""
    return SIGNALS[signal].unit if signal in SIGNALS else "share"


def unit_of(signal: str, measure: str) -> str:
    """The unit of one measure of a signal."""
    known = MEASURES[measure].unit if measure in MEASURES else unit(signal)
    return unit(signal) if known == "the signal's unit" else known


def quantity(signal: str, measure: str, value: float) -> str:
    """A value of a measure as a person reads it: `4.2 %`, `131.2`, `42.0 ms`, `3 hours`."""
    of = unit_of(signal, measure)
    if of == "share":
        return per_cent(value)
    if of in ("ms", "hours", "minutes", "per 1,000 frames", "frames an hour"):
        return f"{figure(value)} {of}"
    return figure(value)


def called(series: SeriesKey, measure: str) -> str:
    """`error rate`, `mean latency`, `share of class carton`: what a measure of a series is called."""
    words = series.signal.removesuffix("_ms").removesuffix("_db").replace("_", " ")
    if measure in MEASURES and MEASURES[measure].needs_baseline:
        return measure.upper()
    if measure in _PLAIN:
        name = _PLAIN[measure]
    elif series.signal == "class_share":
        name = "share"
    else:
        name = f"{measure} {words}" if measure in ("mean", "p95", "p99") else measure.replace("_", " ")
    if not series.class_name:
        return name
    return f"{name} of {'kind' if series.signal == 'status' else 'class'} {series.class_name}"


def subject(series: SeriesKey) -> str:
    """`Confidence of class carton on cam-2`."""
    words = series.signal.removesuffix("_ms").removesuffix("_db").replace("_", " ")
    of_class = f" of class {series.class_name}" if series.class_name else ""
    return f"{words[:1].upper()}{words[1:]}{of_class} {'on' if of_class else 'of'} {where(series.scope)}"


def where(scope: Scope) -> str:
    """The place that a scope names, as one says it; the version always, for the same camera may run two."""
    parts = [scope.camera or "all cameras"]
    parts += [f"under {scope.slice_name} = {scope.slice_value}"] if scope.slice_name else []
    parts += [f"at {scope.stage}"] if scope.stage else []
    return f"{' '.join(parts)} ({scope.model} {scope.version})"
