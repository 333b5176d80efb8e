"""Which of the rules that hold a number against the baseline's can a baseline of this size carry?

A rule that asks for a change of 10 % is of no use against a number that is itself known to 20 %. It is carried where
the half-width of the baseline's own 95 % interval is at most half of the change that the rule asks for. An interval
shrinks with the root of the frames, so what is missing can be said in frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor.drift.compare import BaselineSeries, ReadyBaseline
from monitor.drift.health import ALIKE_DAYS
from monitor.measures import MEASURES, Figure, share
from monitor.records import Baseline, SeriesKey
from monitor.spec.contract import Contract
from monitor.spec.rules import COMPARISONS, COUNTED, AlertRule

_OF_CHANGE = 0.5
_TAIL = 300
"""Frames of which three lie beyond the p99 that a longest queue is held against."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Whether a baseline carries a rule, and where not, what it would need."""

    rule: str
    carried: bool
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


def carried(contract: Contract, baseline: Baseline, known: ReadyBaseline, days: float | None) -> list[Carried]:
    """What this baseline can do for every rule that is not about a divergence."""
    return [_of_rule(rule, baseline, known, days) for rule in contract.rules if rule.measure not in COMPARISONS]


def _of_rule(rule: AlertRule, baseline: Baseline, known: ReadyBaseline, days: float | None) -> Carried:
    if not rule.relative_to:
        return Carried(rule.name, True, f"holds {rule.measure} against a fixed bound and needs no baseline")
    if baseline.source == "images":
        return Carried(rule.name, False, "cannot be carried, needs a baseline from logs: images tell nothing of it")
    if rule.measure == "silence":
        weeks = f"{ALIKE_DAYS} weeks for weekends, {ALIKE_DAYS} days of work for the others"
        text = f"{days or 0:g} days tell when a camera is used to send"
        short = (days or 0) < ALIKE_DAYS
        return Carried(rule.name, not short, f"cannot be carried, needs {weeks}" if short else text)
    if rule.signal in COUNTED:
        return Carried(rule.name, True, "is held against the events and frames of the baseline's own days")
    found = list(_needed(rule, known))
    if not found:
        lacks = (
            f"this baseline knows no {rule.measure} of {rule.signal}; log it and freeze again, or switch the rule off"
        )
        return Carried(rule.name, False, f"cannot be carried, {lacks}")
    short_of = [(frames, needed, key) for frames, needed, key in found if frames < needed]
    if not short_of:
        return Carried(rule.name, True, f"carried on all {len(found)} series")
    frames, needed, key = max(short_of, key=lambda one: one[1])
    whose = ", ".join(part for part in (key.scope.camera or "all cameras", key.class_name) if part)
    text = f"cannot be carried on {len(short_of)} of {len(found)} series, needs {needed:,} frames"
    return Carried(rule.name, False, f"{text} ({whose} has {frames:,})")


def _needed(rule: AlertRule, known: ReadyBaseline) -> Iterator[tuple[int, int, SeriesKey]]:
    """(frames, frames needed, series) of each series that the rule is held against."""
    for key, series in known.by_key.items():
        scope = key.scope
        mine = bool(scope.camera) == (rule.scope == "camera") and bool(scope.slice_name) == (rule.scope == "slice")
        if not mine or key.signal != rule.signal or bool(key.class_name) != rule.by_class:
            continue
        if rule.measure == "peak":
            yield series.frames, max(_TAIL, rule.min_n), key
            continue
        figure = _figure(rule, key, series)
        if figure is None:
            yield series.frames, max(rule.min_n, MEASURES[rule.measure].least), key
        else:
            yield series.frames, max(rule.min_n, _frames(rule, series, figure)), key


def _figure(rule: AlertRule, key: SeriesKey, series: BaselineSeries) -> Figure | None:
    measure = MEASURES[rule.measure]
    if series.histogram is not None and measure.figure is not None:
        return measure.figure(key.signal, series.histogram)
    return None if series.mean is None else share(series.mean * series.effective, series.effective)


def _frames(rule: AlertRule, series: BaselineSeries, figure: Figure) -> int:
    """Frames from which on the baseline's number is known well enough; those it has, where it has no interval."""
    if figure.low is None or figure.high is None:
        return series.frames
    margins: Sequence[float] = [abs(bound - 1) for bound in (rule.above, rule.below) if bound is not None]
    change = max(min(margins) * abs(figure.value), rule.by_at_least)
    if change <= 0:
        return series.frames
    half = (figure.high - figure.low) / 2
    return math.ceil(series.frames * (half / (_OF_CHANGE * change)) ** 2)
