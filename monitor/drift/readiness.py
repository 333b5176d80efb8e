"""Is a baseline big and broad enough for the rules that will use it?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from monitor.drift.carried import Carried, carried
from monitor.drift.compare import COUNTED, BaselineSeries, ReadyBaseline, make_ready
from monitor.measures import MEASURES
from monitor.records import ALL, Baseline, BaselineHistogram, SeriesKey
from monitor.spec.contract import Contract
from monitor.spec.rules import COMPARISONS, AlertRule
from monitor.stats import null

SMALLEST = 30
"""Frames under which nothing is frozen."""
SMALL = 300
"""Frames under which each of ten groups rests on fewer than thirty."""
WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class RuleSupport:
    """What a baseline can do for one rule, judged by the series that it knows least of.

    `noise` is what chance alone reaches once in a thousand windows of `min_n` independent frames; `enough_n` is the n
    from which it is no more than the rule's threshold (infinite: with this baseline never). Windows are taken to give
    their values as unevenly as the baseline's frames do.
    """

    rule: str
    signal: str
    measure: str
    threshold: float
    min_n: int
    camera: str
    frames: int
    groups: int
    noise: float
    enough_n: float

    @property
    def sharp(self) -> bool:
        """Whether the rule's own threshold weighs at least as much as the allowance for chance."""
        return self.noise <= self.threshold

    def __str__(self) -> str:
        known = f"{self.frames} frames" + (f" of {self.camera}" if self.camera else "") + f" in {self.groups} groups"
        told = f"{self.rule}: {self.measure} of {self.signal} against {known}; at {self.min_n} frames a window "
        told += f"chance alone reaches {self.noise:.3f}, the threshold is {self.threshold:g}"
        if self.sharp:
            return told
        if math.isinf(self.enough_n):
            return f"{told}: no window is big enough with this baseline; freeze a bigger one or raise `above`"
        both, wanted = self.noise + self.threshold, math.ceil(self.enough_n)
        return (
            f"{told}, so it breaches above {both:.3f}; chance weighs less than the threshold from {wanted} frames on"
        )


@dataclass(frozen=True, slots=True)
class Readiness:
    """How big and how broad a baseline is, what it lacks, and what it can do for each rule of the contract."""

    frames: int
    days: float | None
    """Length of its period; None of a baseline from images."""
    cameras: Mapping[str, int]
    """Frames by camera."""
    classes: Mapping[str, tuple[int, int]]
    """(frames, detections) by class."""
    slices: Mapping[tuple[str, str], int]
    """Frames by condition and value."""
    lacks: tuple[str, ...]
    rules: tuple[RuleSupport, ...]
    """Those about a divergence."""
    blind: tuple[str, ...]
    """Those of them for which the baseline holds nothing to compare with."""
    carried: tuple[Carried, ...] = ()
    """The others."""


def readiness(contract: Contract, baseline: Baseline, rows: Mapping[SeriesKey, BaselineHistogram]) -> Readiness:
    """Judge a baseline by the contract that it is to serve."""
    cameras: dict[str, int] = {}
    slices: dict[tuple[str, str], int] = {}
    classes: dict[str, tuple[int, int]] = {}
    for key, row in rows.items():
        scope, histogram = key.scope, row.histogram
        if key.signal == "status" and key.class_name == ALL:
            if scope.camera and not scope.slice_name:
                cameras[scope.camera] = cameras.get(scope.camera, 0) + histogram.n
            elif scope.slice_name and not scope.camera:
                place = (scope.slice_name, scope.slice_value)
                slices[place] = slices.get(place, 0) + histogram.n
        elif key.signal == COUNTED and key.class_name != ALL and not (scope.camera or scope.slice_name):
            frames, detections = classes.get(key.class_name, (0, 0))
            classes[key.class_name] = (frames + histogram.frames, detections + histogram.n)
    period = (baseline.period_start, baseline.period_end)
    days = None if period[0] is None or period[1] is None else (period[1] - period[0]).total_seconds() / 86_400
    lacks = _lacks(contract, baseline, days, cameras, classes, slices)
    known = make_ready(baseline, rows, baseline.version, contract.drift.min_n)
    rules = _rules(contract, baseline, known)
    compare = [rule.name for rule in contract.rules if rule.measure in COMPARISONS]
    blind = tuple(name for name in compare if name not in {support.rule for support in rules})
    others = tuple(carried(contract, baseline, known, days))
    return Readiness(baseline.frames, days, cameras, classes, slices, tuple(lacks), rules, blind, others)


def _lacks(
    contract: Contract,
    baseline: Baseline,
    days: float | None,
    cameras: Mapping[str, int],
    classes: Mapping[str, tuple[int, int]],
    slices: Mapping[tuple[str, str], int],
) -> Iterator[str]:
    if baseline.frames < SMALL:
        yield f"{baseline.frames} frames are few: below {SMALL} the groups themselves are uncertain"
    if baseline.source == "images":
        yield "it comes from images: it knows no cameras, slices, detections or service signals"
        return
    if days is not None and days < WEEK_DAYS:
        yield f"{days:g} days are less than a week: what recurs weekly will look like drift"
    least = contract.drift.min_n
    for camera in contract.cameras.list:
        if (got := cameras.get(camera.name, 0)) < least:
            yield f"camera {camera.name} has {got} frames, fewer than {least}: it is not compared"
    for declared in contract.classes:
        if (got := classes.get(declared.name, (0, 0))[0]) < least:
            yield f"class {declared.name} is on {got} frames, fewer than {least}: nothing is said of it by itself"
    for condition in contract.conditions:
        for value in condition.values if condition.of == "frame" else ():
            if (got := slices.get((condition.name, value), 0)) < least:
                yield f"slice {condition.name} = {value} has {got} frames, fewer than {least}: it is not compared"


def _rules(contract: Contract, baseline: Baseline, known: ReadyBaseline) -> tuple[RuleSupport, ...]:
    supports = []
    for rule in contract.rules:
        if rule.measure not in COMPARISONS or rule.above is None:
            continue
        found = [
            _support(rule, rule.above, key, series)
            for key, series in known.by_key.items()
            if _watches(rule, key, baseline) and series.frames >= known.min_n
        ]
        supports += [max(found, key=lambda support: support.noise)] if found else []
    return tuple(supports)


def _watches(rule: AlertRule, key: SeriesKey, baseline: Baseline) -> bool:
    """Whether the rule will compare windows with this row: from images all that there is serves every camera."""
    by_camera = rule.scope == "camera" and baseline.source == "logs"
    return (
        key.signal == rule.signal
        and bool(key.class_name) == rule.by_class
        and bool(key.scope.camera) == by_camera
        and bool(key.scope.slice_name) == (rule.scope == "slice")
    )


def _support(rule: AlertRule, above: float, key: SeriesKey, series: BaselineSeries) -> RuleSupport:
    groups, even = series.shares.size, series.effective / series.frames
    scale = MEASURES[rule.measure].null_scale or 1.0
    return RuleSupport(
        rule.name,
        rule.signal,
        rule.measure,
        above,
        rule.min_n,
        key.scope.camera,
        series.frames,
        groups,
        null.quantile(groups, rule.min_n * even, series.effective, scale),
        null.enough(groups, series.effective, above, scale) / even,
    )
