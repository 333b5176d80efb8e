"""What one window says about one rule, and how that is said.

A window breaches when its value lies beyond the rule's bound, with all that chance may have done allowed for: of a
divergence the bound is raised by what chance alone reaches at this n (`noise`), of a measure with an interval it is
the interval's near end that must lie beyond. It is clear when the value itself is back within the bound at which the
alert clears; between the two nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from monitor.alerts.wording import called, quantity
from monitor.measures import ONE_SIDED
from monitor.records import Measurement
from monitor.spec.rules import COMPARISONS, AlertRule
from monitor.stats.intervals import ordinary_reach

Verdict = Literal["breach", "clear", "between", "undecided", "no-data"]

VERDICTS: frozenset[Verdict] = frozenset({"breach", "clear", "between"})
"""What a window says that had enough to say something."""
ORDINARY = 5
"""Windows of the baseline from which on they tell how much ordinary ones differ."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a window breaches and where it is clear, in the measure's unit; infinite where the rule has no bound."""

    above: float
    clear_below: float
    below: float
    clear_above: float


def bounds(rule: AlertRule, measurement: Measurement) -> Bounds | None:
    """The bounds that hold for this window; None: they are relative to a baseline that is not there."""
    above = math.inf if rule.above is None else rule.above
    below = -math.inf if rule.below is None else rule.below
    clear_below = math.inf if rule.clear_below is None else rule.clear_below
    clear_above = -math.inf if rule.clear_above is None else rule.clear_above
    if not rule.relative_to:
        chance = (measurement.noise or 0.0) if rule.measure in COMPARISONS else 0.0
        return Bounds(above + chance, clear_below + chance, below - chance, clear_above - chance)
    base = measurement.baseline_value
    if base is None or measurement.baseline_n < rule.min_n:
        return None
    floor = rule.by_at_least
    # Half the smallest change that counts is where it is over: a baseline of nought has no multiples.
    return Bounds(
        math.inf if rule.above is None else max(above * base, base + floor),
        math.inf if rule.above is None else max(clear_below * base, base + floor / 2),
        -math.inf if rule.below is None else min(below * base, base - floor),
        -math.inf if rule.below is None else min(clear_above * base, base - floor / 2),
    )


def limit(rule: AlertRule, measurement: Measurement) -> float:
    """The bound that the value is held against: of two the one on the side of the baseline that it lies on."""
    found = bounds(rule, measurement)
    if found is None:
        return math.nan
    return found.below if _is_low(rule, measurement, found) else found.above


def _is_low(rule: AlertRule, measurement: Measurement, found: Bounds) -> bool:
    if rule.above is None or rule.below is None:
        return rule.above is None
    middle = measurement.baseline_value if rule.relative_to else (found.above + found.below) / 2
    return (measurement.value or 0.0) < (middle or 0.0)


def verdict(rule: AlertRule, measurement: Measurement) -> Verdict:
    """What one window says about one rule; a value that is not a finite number says nothing."""
    if measurement.state == "no_data":
        return "no-data"
    value = measurement.value
    if measurement.state != "ok" or measurement.n < rule.min_n or value is None or not math.isfinite(value):
        return "undecided"
    found = bounds(rule, measurement)
    if found is None:
        return "undecided"
    if (
        value - _reach(rule, measurement, "low") > found.above
        or value + _reach(rule, measurement, "high") < found.below
    ):
        return "breach"
    return "clear" if found.clear_above < value < found.clear_below else "between"


def widened(measurement: Measurement, ordinary: Sequence[float]) -> Measurement:
    """The measurement with an interval that ordinary windows have room in: at least the reach of the values that the
    same series had in the windows of the baseline.

    Frames of one scene resemble each other and days differ, so that an interval from the number of frames alone is
    too short on most streams. Without an interval, or under `ORDINARY` values, nothing changes.
    """
    value, low, high = measurement.value, measurement.low, measurement.high
    if value is None or low is None or high is None or len(ordinary) < ORDINARY:
        return measurement
    reach = ordinary_reach(ordinary, ONE_SIDED)
    return replace(measurement, low=min(low, value - reach), high=max(high, value + reach))


def _reach(rule: AlertRule, measurement: Measurement, side: Literal["low", "high"]) -> float:
    """How far the value may lie off what it estimates, against its bound; 0 of a measure without an interval.

    A bound that is a multiple of the baseline's number is as uncertain as that number: its reach is that of the
    window, less by the root of the cases that the baseline has more (the delta method for a ratio).
    """
    end, value = getattr(measurement, side), measurement.value
    if end is None or value is None:
        return 0.0
    own = abs(value - end)
    if not rule.relative_to or not measurement.baseline_n:
        return float(own)
    multiple = (rule.above if side == "low" else rule.below) or 0.0
    return math.hypot(own, multiple * own * math.sqrt(measurement.n / measurement.baseline_n))


def judged(rule: AlertRule, measurement: Measurement, said: Verdict) -> str:
    """`PSI 0.6 is above 0.5 (0.2 + 0.3 for chance at 60 frames)`: a value against the bound that it was held to."""
    found = bounds(rule, measurement)
    assert found is not None
    low = _is_low(rule, measurement, found)
    value = f"{called(measurement.key, rule.measure)} {_said(rule, measurement)}"
    breach = _bound(rule, measurement, "below" if low else "above")
    over = _bound(rule, measurement, "clear_above" if low else "clear_below")
    beyond, back = ("below", "above") if low else ("above", "below")
    if said == "breach":
        return f"{value} is {beyond} {breach}"
    if said == "between":
        return f"{value} is neither {_surely(measurement)}{beyond} {breach} nor {back} {over}"
    return f"{value} is {back} {over}"


def _surely(measurement: Measurement) -> str:
    return "" if measurement.low is None and measurement.high is None else "for sure "


def _said(rule: AlertRule, measurement: Measurement) -> str:
    assert measurement.value is not None
    if rule.measure in COMPARISONS:
        return f"{measurement.value:.3g}"
    return quantity(rule.signal, rule.measure, measurement.value) + interval(measurement)


def interval(measurement: Measurement) -> str:
    """` (95 % interval 2.9 % to 6.0 %)`, or nothing where there is none."""
    ends = [end for end in (measurement.low, measurement.high) if end is not None and math.isfinite(end)]
    if len(ends) < 2:
        return ""
    low, high = (quantity(measurement.key.signal, measurement.measure, end) for end in ends)
    return f" (95 % interval {low} to {high})"


def _bound(rule: AlertRule, measurement: Measurement, side: str) -> str:
    """`0.5 (0.2 + 0.3 for chance at 60 frames)`, `1.0 %`, `8.2 ms (2 x 4.1 ms of the baseline)`."""
    found, said = bounds(rule, measurement), getattr(rule, side)
    assert found is not None
    assert said is not None
    whole = getattr(found, side)
    if rule.measure in COMPARISONS:
        chance = whole - said
        made_of = f" ({said:.3g} + {chance:.3g} for chance at {measurement.n:,} frames)" if chance else ""
        return f"{whole:.3g}{made_of}"
    told = quantity(rule.signal, rule.measure, whole)
    if not rule.relative_to:
        return told
    base = measurement.baseline_value or 0.0
    of = quantity(rule.signal, rule.measure, base)
    if not math.isclose(whole, said * base):
        return f"{told} ({of} of the baseline and {quantity(rule.signal, rule.measure, abs(whole - base))} from it)"
    return f"{told} ({said:g} x {of} of the baseline)"


def why_undecided(rule: AlertRule, measurement: Measurement) -> str:
    """Why a window has no verdict."""
    if measurement.state == "no_baseline":
        return "the baseline holds nothing that this could be compared with"
    what = counted(rule.signal)
    if measurement.n < rule.min_n:
        return f"{measurement.n} {what} are fewer than the {rule.min_n} that the rule asks for"
    if measurement.state == "ok" and rule.relative_to:
        if measurement.baseline_value is None:
            return "the baseline does not know this measure here"
        return (
            f"{measurement.baseline_n} {what} of the baseline are fewer than the {rule.min_n} that the rule asks for"
        )
    return f"{measurement.n} {what} are too few for a number"


def counted(signal: str) -> str:
    """What the n of a signal's measurements counts."""
    return {"override": "reviewed detections", "business": "cases"}.get(signal, "frames")
