"""What an event says for itself: plain data, and one sentence that a person woken at night can act on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.alerts.advice import Advice, surety
from monitor.alerts.conditions import limit, verdict
from monitor.alerts.wording import figure, per_cent, subject, unit, when
from monitor.records import Alert, Baseline, Measurement, Window
from monitor.spec.rules import COMPARISONS, AlertRule

SHOWN_WINDOWS = 7
"""Windows of a series that are told with an alert, its own one last."""
_STILL = 0.005
"""A mean that moved by a smaller part than this is called unmoved."""


@dataclass(frozen=True, slots=True)
class Case:
    """What was known when an alert turned. `recent` are the series' last windows, this one included, in order."""

    owner: str
    rule: AlertRule
    contract_hash: str
    alert: Alert
    measurement: Measurement
    recent: Sequence[Measurement]
    together: Sequence[tuple[AlertRule, Measurement]]
    baseline: Baseline | None
    advice: Advice = field(default_factory=Advice)
    beside: Mapping[str, Any] = field(default_factory=dict)
    """Last deployment, frames and what moved most, as JSON takes them."""
    panel: str = ""
    """The address of the panel that shows it."""
    own: bool = True
    """Whether the rule is one of the contract's own, or one that comes with the product."""


def evidence(case: Case) -> dict[str, Any]:
    """Everything the decision rests on, as JSON takes it; times are ISO 8601 in UTC."""
    rule, alert, found = case.rule, case.alert, case.measurement
    return {
        "sentence": sentence(case),
        "reason": alert.reason,
        **_subject(alert),
        "pillar": rule.pillar,
        "owner": case.owner,
        "runbook": rule.runbook,
        "unit": unit(rule.signal),
        "value": _finite(found.value),
        "n": found.n,
        "threshold": {
            "value": _finite(alert.threshold),
            "above": rule.above,
            "clear_below": rule.clear_below,
            "noise": _finite(found.noise),
            "min_n": rule.min_n,
            "for_windows": rule.for_windows,
            "clear_windows": rule.clear_windows,
            "below": rule.below,
            "clear_above": rule.clear_above,
            "relative_to": rule.relative_to,
            "by_at_least": rule.by_at_least,
            "contract_hash": case.contract_hash,
            "rule": rule.name,
            "origin": f"{'rule' if case.own else 'ready rule'} {rule.name}, contract {case.contract_hash}",
        },
        "baseline": _baseline(case.baseline, found),
        "current": {
            "window": _period(found.window),
            "mean": _finite(found.now_mean),
            "value": _finite(found.value),
            "low": _finite(found.low),
            "high": _finite(found.high),
            "n": found.n,
        },
        "sure": surety(rule, found) if alert.state != "resolved" else "",
        "causes": list(case.advice.causes),
        "failure_modes": list(case.advice.failure_modes),
        "first": case.advice.first,
        "panel": case.panel,
        "deployment": case.beside.get("deployment"),
        "frames": case.beside.get("frames", []),
        "moved_most": case.beside.get("moved_most", []),
        "windows": [_window(rule, m) for m in case.recent],
        "moved_together": [_beside(other, m) for other, m in case.together],
    }


def farewell(alert: Alert, contract_hash: str) -> dict[str, Any]:
    """Evidence for an alert that is resolved because nothing judges it any more; `alert.reason` says why."""
    since = f"; it had been firing since {when(alert.since)}" if alert.since else ""
    said = f"{subject(alert.series)} is no longer watched by {alert.rule}: {alert.reason}{since}."
    return {
        "sentence": said,
        "reason": alert.reason,
        **_subject(alert),
        "unit": unit(alert.series.signal),
        "value": _finite(alert.value),
        "n": alert.n,
        "threshold": {"value": _finite(alert.threshold), "contract_hash": contract_hash, "rule": alert.rule},
    }


def sentence(case: Case) -> str:
    """`Brightness of cam-2 fell from 131.2 to 118.4 (-9.8 %): PSI 0.61 is above 0.38 ..., since ... UTC.`"""
    found, alert = case.measurement, case.alert
    against = f" against {found.baseline_n:,} in the baseline" if case.rule.compares else ""
    counts = f"n {found.n:,}{against}"
    since = f"since {when(alert.since)}" if alert.since else ""
    what = subject(alert.series)
    if alert.state == "resolved":
        return f"{what} is back in its band: {alert.reason}; {counts}; it had been off {since}."
    said = f" {movement(found)}" if case.rule.measure in COMPARISONS else ""
    return " ".join([f"{what}{said}: {alert.reason}; {counts}; {since}.", *_rest(case)])


def _rest(case: Case) -> list[str]:
    """What moved most, how sure it is, what was deployed, what it may be and what to do first: a sentence each."""
    said = []
    if moved := case.beside.get("moved_most"):
        most = moved[0]
        said.append(f"Most of it: {most['part']}, {per_cent(most['now'])} instead of {per_cent(most['then'])}.")
    if case.advice.first:
        said.append(f"How sure: {surety(case.rule, case.measurement)}.")
    if deployed := case.beside.get("deployment"):
        said.append(f"Last deployment: {deployed['version']} at {deployed['at'][:16].replace('T', ' ')} UTC.")
    if case.advice.causes:
        said.append(f"Likely {', or '.join(_share(one) for one in case.advice.causes)}.")
    return [*said, _first(case.advice)] if case.advice.first else said


def _first(advice: Advice) -> str:
    """What to do first, and who says so where it is the contract: the likeliest cause may be another."""
    known = next((mode["name"] for mode in advice.failure_modes if mode["mitigation"] == advice.first), "")
    return f"First: {advice.first}{f' (So the contract says of {known}.)' if known else ''}"


def _share(cause: Mapping[str, Any]) -> str:
    return f"{cause['text']} ({100 * cause['share']:.0f} %)"


def movement(found: Measurement) -> str:
    """What the mean did: `fell from 131.2 to 118.4 (-9.8 %)`; a mean that hardly moved hides a change of shape."""
    now, before = _finite(found.now_mean), _finite(found.baseline_mean)
    if now is None or before is None:
        return "moved away from the baseline"
    change = now - before
    share = change / abs(before) if before else math.inf
    if abs(share) < _STILL or not change:
        return f"changed its shape (the mean stayed at {figure(now)})"
    by = f"{share:+.1%}".replace("%", " %") if _is_ratio(found.key.signal) and before else f"{change:+.2g}"
    return f"{'rose' if change > 0 else 'fell'} from {figure(before)} to {figure(now)} ({by})"


def moved_together(
    rules: Iterable[AlertRule], alert: Alert, measurements: Iterable[Measurement]
) -> list[tuple[AlertRule, Measurement]]:
    """The other signals of the same scope that breach a rule of their own in the same window, the gravest first."""
    others = [rule for rule in rules if rule.signal != alert.series.signal]
    found = [
        (rule, m)
        for m in measurements
        for rule in others
        if m.key.scope == alert.series.scope
        and (m.key.signal, m.measure) == (rule.signal, rule.measure)
        and bool(m.key.class_name) == rule.by_class
        and verdict(rule, m) == "breach"
    ]
    return sorted(found, key=lambda pair: limit(*pair) / (pair[1].value or 1.0))


def _is_ratio(signal: str) -> bool:
    """Whether "10 % less" means anything: not for logarithms, whose zero is arbitrary."""
    return not unit(signal).startswith("ln") and unit(signal) != "dB"


def _subject(alert: Alert) -> dict[str, Any]:
    scope = alert.series.scope
    return {
        "rule": alert.rule,
        "severity": alert.severity,
        "signal": alert.series.signal,
        "measure": alert.measure,
        "scope": {
            "model": scope.model,
            "version": scope.version,
            "stage": scope.stage,
            "camera": scope.camera,
            "slice_name": scope.slice_name,
            "slice_value": scope.slice_value,
            "class": alert.series.class_name,
        },
        "since": alert.since.isoformat() if alert.since else None,
    }


def _baseline(baseline: Baseline | None, found: Measurement) -> dict[str, Any] | None:
    if baseline is None:
        return None
    start, end = baseline.period_start, baseline.period_end
    return {
        "id": baseline.id,
        "source": baseline.source,
        "period": _period(Window(start, end)) if start and end else None,
        "sha256": baseline.sha256,
        "mean": _finite(found.baseline_mean),
        "value": _finite(found.baseline_value),
        "n": found.baseline_n,
    }


def _window(rule: AlertRule, found: Measurement) -> dict[str, Any]:
    return {
        "window": _period(found.window),
        "state": found.state,
        "value": _finite(found.value),
        "limit": _finite(limit(rule, found)),
        "mean": _finite(found.now_mean),
        "n": found.n,
    }


def _beside(rule: AlertRule, found: Measurement) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "signal": rule.signal,
        "class": found.key.class_name,
        "measure": rule.measure,
        "value": _finite(found.value),
        "limit": _finite(limit(rule, found)),
        "movement": movement(found),
    }


def _period(window: Window) -> list[str]:
    return [window.start.isoformat(), window.end.isoformat()]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
