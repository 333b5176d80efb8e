"""Whether the rules of a contract can mean something: what must hold between their values, and what chance allows."""

from __future__ import annotations

from collections.abc import Container, Iterator
from math import floor, inf

from monitor.measures import CLASS_SHARE, MEASURES, STATUS
from monitor.scoring import SCORED
from monitor.signals import SIGNALS
from monitor.spec.contract import Contract
from monitor.spec.faults import Fault, Place
from monitor.spec.rules import COMPARISONS, COUNTED, JUDGED, READY, AlertRule
from monitor.spec.sections import DAY, write_duration
from monitor.spec.words import choice, shown
from monitor.stats import null

_WHOLE = ("silence", "peak")
"""Measures that are not kept by slice."""
_ITS_OWN = ("signal", "measure", "by_class", "relative_to", "pillar")
"""What a ready rule is about: another one is a rule of one's own."""


def rule_faults(contract: Contract, unread: Container[str]) -> Iterator[Fault]:
    """Every fault of the rules, none of them fatal to finding the next; `unread` as in `find_faults`."""
    for i, rule in enumerate(contract.alerts):
        yield from _rule(contract, rule, ("alerts", i), unread)
        if rule.name in READY:
            yield Fault(
                ("alerts", i, "name"),
                f"{shown(rule.name)} is the name of a rule that comes with the product; change that one's numbers "
                f"under [ready.{rule.name}], or choose another name",
            )
    for name, ready in contract.ready.items():
        yield from _ready(name, ready)
        measured = ready.signal in (*contract.drift.signals, *COUNTED)
        if ready.on and measured:
            yield from _rule(contract, ready, ("ready", name), unread)


def _ready(name: str, rule: AlertRule) -> Iterator[Fault]:
    for key in _ITS_OWN:
        ours = getattr(READY[name], key)
        if getattr(rule, key) != ours:
            yield Fault(
                ("ready", name, key), f"{name} is about {shown(ours)}; write [[alerts]] for a rule of your own"
            )


def _rule(contract: Contract, rule: AlertRule, place: Place, unread: Container[str]) -> Iterator[Fault]:
    if rule.signal not in (*contract.drift.signals, *COUNTED) and "drift" not in unread:
        yield Fault((*place, "signal"), f"{shown(rule.signal)} is never measured; add it to drift.signals")
    fits = MEASURES[rule.measure].fits(rule.signal)
    if not fits:
        able = choice(name for name in JUDGED if MEASURES[name].fits(rule.signal))
        yield Fault((*place, "measure"), f"{shown(rule.measure)} is not measured of {rule.signal}; it has {able}")
    if rule.signal in SCORED and "drift" not in unread:
        yield from _nightly(contract, rule, place)
    yield from _class(rule, place)
    yield from _bounds(rule, place)
    yield from _scope(contract, rule, place, unread)
    serves = rule.signal in COUNTED or (rule.signal in SIGNALS and SIGNALS[rule.signal].service)
    if rule.severity == "critical" and (not serves or rule.measure in COMPARISONS):
        yield Fault((*place, "severity"), 'drift alone is never critical; use "warning" or "info"')
    if fits and rule.measure in COMPARISONS and rule.above is not None:
        yield from _drowned(contract, rule, rule.above, place, unread)


def _nightly(contract: Contract, rule: AlertRule, place: Place) -> Iterator[Fault]:
    """A night's score belongs to a window of a day at the most; in shorter ones the others say nothing of it."""
    window = contract.drift.window
    if window > DAY:
        yield Fault(
            (*place, "signal"),
            f"a score belongs to its day, and windows of {write_duration(window)} are none; set window of [drift] to "
            "1d or less, or demand it as [[acceptance]]",
        )
    if window < DAY and rule.for_windows > 1:
        yield Fault(
            (*place, "for_windows"),
            f"a set is scored once a day, so that no {rule.for_windows} windows of {write_duration(window)} in a row "
            "have a score; set for_windows = 1",
        )


def _class(rule: AlertRule, place: Place) -> Iterator[Fault]:
    if rule.signal == CLASS_SHARE and rule.measure == "mean":
        if not rule.by_class:
            yield Fault((*place, "by_class"), "a share is that of a class; set by_class = true")
        return
    able = [name for name, signal in SIGNALS.items() if signal.by_class]
    if rule.by_class and rule.signal not in (*able, *COUNTED):
        yield Fault((*place, "by_class"), f"{shown(rule.signal)} is not kept by class; {choice(able)} is")
    if rule.by_class and rule.signal == STATUS and rule.measure != "error_rate":
        yield Fault((*place, "by_class"), f"{rule.measure} is not kept by kind of error; error_rate is")


def _bounds(rule: AlertRule, place: Place) -> Iterator[Fault]:
    if rule.above is None and rule.below is None:
        yield Fault(place, "has no bound; give above, below or both")
    if rule.measure in COMPARISONS:
        if rule.below is not None:
            yield Fault((*place, "below"), f"{rule.measure} is a distance: little of it is no fault; use above alone")
        if rule.relative_to:
            yield Fault((*place, "relative_to"), f"{rule.measure} is a comparison with the baseline itself")
    elif rule.relative_to and rule.signal == "override":
        yield Fault((*place, "relative_to"), "of reviews no share is kept with the baseline; give the share itself")
    if rule.by_at_least and not rule.relative_to:
        yield Fault((*place, "by_at_least"), 'is for relative_to = "baseline"; a bound of its own says it all')
    if rule.relative_to and ((rule.above or inf) < 1 or (rule.below or 0) > 1):
        yield Fault(place, "the bounds are multiples of the baseline: above is 1 or more, below 1 or less")
    if rule.above is not None and rule.below is not None and rule.below >= rule.above:
        yield Fault((*place, "below"), f"{rule.below:g} is not below above = {rule.above:g}: it would always fire")
    same = rule.by_at_least > 0  # then the smallest change that counts parts the two
    below, above = rule.clear_below, rule.clear_above
    if rule.above is not None and below is not None and (below > rule.above or (below == rule.above and not same)):
        yield Fault(
            (*place, "clear_below"),
            f"{rule.clear_below:g} is not below above = {rule.above:g}, so the alert would flap; set it lower",
        )
    if rule.below is not None and above is not None and (above < rule.below or (above == rule.below and not same)):
        yield Fault(
            (*place, "clear_above"),
            f"{rule.clear_above:g} is not above below = {rule.below:g}, so the alert would flap; set it higher",
        )


def _scope(contract: Contract, rule: AlertRule, place: Place, unread: Container[str]) -> Iterator[Fault]:
    if rule.scope == "slice" and not any(c.of == "frame" for c in contract.conditions) and "conditions" not in unread:
        yield Fault(
            (*place, "scope"), "no condition of frames is declared, so there is no slice; write [[conditions]]"
        )
    if rule.scope == "slice" and rule.measure in _WHOLE:
        yield Fault((*place, "scope"), f'{rule.measure} is not kept by slice; use scope = "camera"')
    if rule.scope == "model" and rule.measure == "silence":
        yield Fault((*place, "scope"), 'silence is that of a camera; use scope = "camera"')
    if rule.measure == "passed_on" and not contract.model.stages and "model" not in unread:
        yield Fault((*place, "measure"), "the model has no stages that pass anything on; name them in model.stages")


def _drowned(
    contract: Contract, rule: AlertRule, above: float, place: Place, unread: Container[str]
) -> Iterator[Fault]:
    """Refuse a threshold that chance alone reaches on average, even against a baseline known exactly.

    The criterion is the mean of the law of chance at `min_n` frames: where that reaches `above`, the greater part of
    what the rule demands (`above` plus `allowance`) is chance, and `above` is a wish rather than a threshold.
    """
    if ("classes" if rule.signal == CLASS_SHARE else "drift") in unread:
        return
    groups, scale = _groups(contract, rule), COMPARISONS[rule.measure]
    noise = null.expected(groups, rule.min_n, inf, scale)
    if noise >= above:
        enough = floor(null.expected(groups, 1, inf, scale) / above) + 1
        yield Fault(
            (*place, "min_n"),
            f"at {rule.min_n} frames chance alone makes {rule.measure} over {groups} groups {noise:.2g} on average, "
            f"which reaches above = {above:g}; from min_n = {enough} on the rule means something, or raise "
            "above",
        )


def fewest(contract: Contract, rule: AlertRule) -> int:
    """Frames of the smallest window that a rule judges."""
    return max(rule.min_n, contract.drift.min_n)


def allowance(contract: Contract, rule: AlertRule) -> float:
    """What chance alone exceeds in one of a thousand windows of the `fewest` frames: a rule about a divergence allows
    for it, and 0 of any other.

    At the least: against a baseline known exactly, in as many groups as the contract asks for, one value a frame.
    """
    if rule.measure not in COMPARISONS:
        return 0.0
    return null.quantile(_groups(contract, rule), fewest(contract, rule), inf, COMPARISONS[rule.measure])


def _groups(contract: Contract, rule: AlertRule) -> int:
    return len(contract.classes) + 1 if rule.signal == CLASS_SHARE else contract.drift.groups
