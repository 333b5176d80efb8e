"""What to do first, and how sure a finding is: the part of a message that somebody acts on at night."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from monitor.alerts.causes import Likely, Moved
from monitor.feedback import BUSINESS
from monitor.measures import MEASURES
from monitor.records import Measurement
from monitor.spec.contract import FailureMode
from monitor.spec.rules import COMPARISONS, AlertRule

LEAST_SHARE = 0.02
"""A cause that is less likely than this is not told."""
MOST_CAUSES = 2
FIRST = {
    "latency-high": "Look at the queue and at the load of the inference host; roll back a deployment that stands"
    " right before it.",
    "error-rate": "See which kind of error it is, then read the inference service's log of that time.",
    "queue-growing": "See whether more frames come or each takes longer; shed load or add a worker before frames are"
    " lost.",
    "camera-silent": "See whether the camera, its link and its inference service are up; a planned stop is to be"
    " acknowledged, no more.",
    "class-share-shift": "Compare with the production plan; if that has not changed, look at frames of this class.",
    "confidence-drop": "Look at the least sure frames of the class beside those of the baseline, then at light and"
    " lens.",
    "low-confidence-spike": "Look at the least sure frames: new products, dirty lenses and old lamps show there"
    " first.",
    "override-rate": "Look at the corrected frames by direction (false positive, missed, wrong class); tell the line"
    " not to rely on the model alone until that is clear.",
    "override-rate-class": "Look at the corrected frames of this class; raise its threshold if they are false"
    " positives.",
    "override-rate-raw": "See which frames were reviewed: where unsure ones are reviewed more often, the honest"
    " estimate is lower.",
    "work-order-rate": "Compare with the detections of the same days: are there more defects, or more false alarms?",
    "false-alarm-minutes": "Ask the line what takes longer with a false alarm, and look at the latest ones.",
}
"""What comes first at each of the ready rules."""
_SERVICE = frozenset({"latency_ms", "queue_depth", "status"})
"""Signals whose movement a lamp or a product has no part in."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Likely causes with what speaks for them, failure modes of the contract that fit, and what to do first."""

    causes: tuple[dict[str, Any], ...] = ()
    failure_modes: tuple[dict[str, str], ...] = ()
    first: str = ""


def advise(rule: AlertRule, likely: Sequence[Likely], modes: Iterable[FailureMode]) -> Advice:
    """What to make of a breach of a rule; `likely` is the ranking of causes, empty where none can be ranked."""
    causes = told(likely)
    fitting = fit(modes, [rule.signal])
    mitigations = [mode["mitigation"] for mode in fitting if mode["mitigation"]]
    # What the plant wrote down itself comes before what the product knows of such things in general.
    first = next((one for one in (first_of(rule), *mitigations, *(c["first"] for c in causes)) if one), "")
    return Advice(tuple(causes), tuple(fitting), first)


def first_of(rule: AlertRule) -> str:
    """What a rule itself says is to be done first: the contract's sentence, or the ready rule's; empty: nothing."""
    return rule.runbook if " " in rule.runbook else FIRST.get(rule.name, "")


def told(likely: Sequence[Likely]) -> list[dict[str, Any]]:
    """The causes that are told: the first few that a signal speaks for."""
    return [
        {
            "name": one.cause.name,
            "text": one.cause.text,
            "first": one.cause.first,
            "share": round(one.share, 2),
            "signals": list(one.speaks),
        }
        for one in likely
        if one.speaks and one.share >= LEAST_SHARE
    ][:MOST_CAUSES]


def in_words(causes: Sequence[Mapping[str, Any]]) -> str:
    """`a lamp ages or fails (65 %), or dirt ... (20 %)`."""
    return ", or ".join(f"{one['text']} ({100 * one['share']:.0f} %)" for one in causes)


def advice_in_words(causes: Sequence[Mapping[str, Any]]) -> list[str]:
    """`Likely a lamp ages (65 %), or ...` and what to do first, a sentence each; nothing without causes."""
    if not causes:
        return []
    return [f"Likely {in_words(causes)}.", f"First: {causes[0]['first']}"]


def turns(
    opening: Sequence[Mapping[str, Any]], course: Iterable[tuple[date, date, Sequence[Mapping[str, Any]]]]
) -> list[tuple[str, str]]:
    """What was held likely when an incident opened, and since then: days and causes in words, oldest first.

    `course` are the days (first, last) on which the causes stood in one order. Empty where it never changed.
    """
    found = [("when it opened", opening)]
    for first, last, causes in course:
        if [one["name"] for one in causes] != [one["name"] for one in found[-1][1]]:
            found.append((f"{first} to {last}" if first != last else f"{first}", causes))
    told = [(when, in_words(causes) or "no cause stood out") for when, causes in found]
    return told if len(told) > 1 else []


def fit(modes: Iterable[FailureMode], signals: Sequence[str]) -> list[dict[str, str]]:
    """The failure modes that one of these signals would show."""
    return [
        {"name": mode.name, "description": mode.description, "mitigation": mode.mitigation}
        for mode in modes
        if set(signals) & set(mode.watched_by)
    ]


def story(
    rule: AlertRule, found: Measurement, recent: Sequence[Measurement], others: Sequence[Measurement]
) -> list[Moved]:
    """The signals that moved, of a breach and of those beside it.

    Beside the service only the service counts: what else is amiss in the plant is another story. Of the business
    there is none to rank causes by.
    """
    if rule.signal == BUSINESS:
        return []
    step = _at_once(found, recent)
    return [Moved(m.key.signal, _up(m), step) for m in (found, *others) if tells_of(rule, m.key.signal)]


def tells_of(rule: AlertRule, signal: str) -> bool:
    """Whether what a signal does, or does not, says something of a breach of the rule."""
    return signal in _SERVICE if rule.signal in _SERVICE else True


def _up(found: Measurement) -> bool:
    for now, then in ((found.value, found.baseline_value), (found.now_mean, found.baseline_mean)):
        if now is not None and then is not None and (found.measure not in COMPARISONS or now is not found.value):
            return now > then
    return True


def _at_once(found: Measurement, recent: Sequence[Measurement]) -> bool:
    """Whether most of the way was gone from one window to the next."""
    values = [m.value for m in recent if m.value is not None]
    if len(values) < 3 or found.value is None:
        return True
    whole = abs(found.value - values[0])
    return whole == 0 or max(abs(b - a) for a, b in pairwise(values)) >= 0.6 * whole


def surety(rule: AlertRule, found: Measurement) -> str:
    """How sure a breach is, in words."""
    windows = "in this window" if rule.for_windows == 1 else f"in {rule.for_windows} windows in a row"
    if rule.measure in COMPARISONS:
        return f"beyond what chance reaches once in 1,000 windows of independent frames, {windows}"
    if found.low is None and found.high is None:
        return f"counted over all {found.n:,}, {windows}" if MEASURES[rule.measure].signals else f"measured {windows}"
    spread = ", ordinary windows' spread included," if rule.relative_to else ""
    return f"the near end of the 95 % interval{spread} lies beyond the bound {windows}"
