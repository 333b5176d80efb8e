"""What one window does to one alert: rule × alert × measurement → the alert's next row and why.

A window says one of five things (`verdict`): **breach** (value above the rule's threshold plus what chance allows
for), **clear** (below the lower threshold plus the same), **between** (neither), **undecided** (too few frames, or
nothing to compare with) and **no-data**. What that does to an alert (`decide`):

- A breach opens an episode: `pending`, and `firing` with the `for_windows`-th breach in a row.
- A firing alert is left by `clear_windows` clear windows in a row and by nothing else: between keeps it (hysteresis),
  too little data and no data keep it too, for silence is not recovery. Then it is `resolved`, and `ok` with the next
  clear window; a breach after that is a new episode.
- An alert that would fire again before it has been clear for `CALM` times `clear_windows` windows is `flapping`: that
  is told once more, and it is over only when it has been clear for so long. Whoever goes to and fro is told thrice.
- A pending alert falls back to `ok` with the first window that does not breach: only breaches in a row are more than
  chance. Windows without a verdict neither count nor reset, or a camera that fails every other day would never be
  reported; but the breaches must lie within twice `for_windows` windows, or two of them a year apart would add up.
- Every other alert simply is what its last window said.

Windows are taken in order, each once: a measurement that is revised after its window had a verdict changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from math import isnan
from typing import Literal
from urllib.parse import quote

from monitor.alerts.conditions import Verdict, judged, limit, verdict, why_undecided
from monitor.records import Alert, AlertState, Measurement, SeriesKey, Window
from monitor.spec.rules import AlertRule

ACTIVE: frozenset[str] = frozenset({"firing", "flapping"})
"""The states of an alert that people have been told of and that is not over."""
OPEN: frozenset[str] = ACTIVE | {"pending"}
CALM = 5
"""So many times `clear_windows` clear windows in a row part two episodes; a shorter rest is flapping."""
_LAPSE = 2
"""Breaches of one episode lie within this many times `for_windows` windows."""
_USEFULNESS = ("ok", "insufficient", "no_baseline", "no_data")
"""States of a measurement, those first that say most."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The alert as it stands after the window. `left` is the state it came from where people are to be told."""

    alert: Alert
    left: AlertState | None = None


def matches(rule: AlertRule, series: SeriesKey) -> bool:
    """Whether `rule` watches `series`: one camera, all cameras together, or one slice of all cameras together."""
    scope = series.scope
    whose = {
        "camera": bool(scope.camera) and not scope.slice_name,
        "model": not scope.camera and not scope.slice_name,
        "slice": not scope.camera and bool(scope.slice_name),
    }
    return (
        series.signal == rule.signal
        and bool(series.class_name) == rule.by_class
        and not scope.shadow
        and whose[rule.scope]
    )


def alert_key(rule: str, series: SeriesKey) -> str:
    """A readable name of the alert: model/rule/version/camera/slice/class, and the stage where there is one.

    `-` stands for all of them; `%`, `/`, a lone `-`, what cannot be printed and (in a slice's name) `=` are escaped,
    so that no two alerts share a key.
    """
    scope = series.scope
    name = _escaped(scope.slice_name).replace("=", "%3D")
    condition = f"{name}={_escaped(scope.slice_value)}" if scope.slice_name else "-"
    before = [_escaped(part) for part in (scope.model, rule, scope.version, scope.camera)]
    stage = [_escaped(scope.stage)] if scope.stage else []
    return "/".join([*before, condition, _escaped(series.class_name), *stage])


def _escaped(part: str) -> str:
    if part in ("", "-"):
        return "%2D" if part else "-"
    return "".join(c if c.isprintable() and c not in "%/" else quote(c, safe="") for c in part)


def decide(rule: AlertRule, alert: Alert | None, measurement: Measurement) -> Decision:
    """The alert after `measurement` (the same row where its window was judged before); see the head of this file.

    `alert` is None where the series has never been judged. `rule` must match the measurement's series.
    """
    before = alert or _unseen(rule, measurement)
    window = measurement.window
    if window.end <= before.window_end:
        return Decision(before)
    said = verdict(rule, measurement)
    if said == "breach":
        after = _breached(rule, before, window)
    elif said == "clear":
        after = _cleared(rule, before, window)
    elif said == "between":
        after = _between(before)
    else:
        after = _unjudged(rule, before, window, said)
    after = replace(
        after,
        series=replace(measurement.key, recipe=""),
        measure=rule.measure,
        severity=rule.severity,
        window_end=window.end,
        value=measurement.value,
        threshold=_threshold(rule, before, measurement),
        n=measurement.n,
        low=measurement.low,
        high=measurement.high,
    )
    told = after.state != before.state and (after.state in ACTIVE or after.state == "resolved")
    return Decision(replace(after, reason=_reason(rule, after, measurement, said)), before.state if told else None)


def _threshold(rule: AlertRule, before: Alert, measurement: Measurement) -> float:
    """What the value was held against; where there was nothing to hold it against, what it was before."""
    found = limit(rule, measurement)
    return before.threshold if isnan(found) else found


def retire(alert: Alert, reason: str) -> Decision:
    """An alert that will not be judged any more: what fires is resolved, everything else is laid to rest as `ok`."""
    if alert.state in ACTIVE:
        return Decision(replace(alert, state="resolved", breaches=0, clears=0, reason=reason), alert.state)
    return Decision(replace(alert, state="ok", breaches=0, clears=0, since=None, reason=reason))


def silence(alert: Alert, window: Window, contract_hash: str) -> Measurement:
    """What a window says of a series that was judged before and of which it has no measurement at all."""
    return Measurement(alert.series, alert.measure, window, None, "no_data", 0, 0, None, contract_hash)


def one_each(measurements: Iterable[Measurement]) -> list[Measurement]:
    """One measurement a series, whatever the recipes: that which says most, then that of most frames."""
    best: dict[SeriesKey, Measurement] = {}
    for found in sorted(measurements, key=lambda m: (_USEFULNESS.index(m.state), -m.n, m.key.recipe)):
        best.setdefault(replace(found.key, recipe=""), found)
    return list(best.values())


def _unseen(rule: AlertRule, measurement: Measurement) -> Alert:
    series = replace(measurement.key, recipe="")
    return Alert(
        key=alert_key(rule.name, series),
        series=series,
        rule=rule.name,
        measure=rule.measure,
        severity=rule.severity,
        state="ok",
        episode=0,
        breaches=0,
        clears=0,
        since=None,
        window_end=measurement.window.start,
        value=None,
        threshold=rule.above or rule.below or 0.0,
        n=0,
        reason="",
    )


def _breached(rule: AlertRule, before: Alert, window: Window) -> Alert:
    if before.state in ACTIVE:
        return replace(before, breaches=before.breaches + 1, clears=0)
    goes_on = before.state == "pending" and not _lapsed(rule, before, window)
    breaches = before.breaches + 1 if goes_on else 1
    since = before.since if goes_on else window.start
    again: AlertState = "flapping" if _rested_shortly(rule, before.calm_since, since, window) else "firing"
    return replace(
        before,
        state=again if breaches >= rule.for_windows else "pending",
        episode=before.episode if before.state == "pending" else before.episode + 1,
        breaches=breaches,
        clears=0,
        since=since,
    )


def _rested_shortly(rule: AlertRule, calm_since: datetime | None, since: datetime | None, window: Window) -> bool:
    """Whether an episode since `since` begins before the last one would be over if it had been flapping."""
    rest = CALM * rule.clear_windows * (window.end - window.start)
    return calm_since is not None and since is not None and since - calm_since < rest


def _cleared(rule: AlertRule, before: Alert, window: Window) -> Alert:
    if before.state not in ACTIVE:
        return replace(before, state="ok", breaches=0, clears=0, since=None)
    clears = before.clears + 1
    if clears < _clears_needed(rule, before):
        return replace(before, clears=clears)
    calm_since = window.end - clears * (window.end - window.start)
    return replace(before, state="resolved", breaches=0, clears=clears, calm_since=calm_since)


def _clears_needed(rule: AlertRule, alert: Alert) -> int:
    return rule.clear_windows * (CALM if alert.state == "flapping" else 1)


def _between(before: Alert) -> Alert:
    if before.state in ACTIVE or before.state == "resolved":
        return replace(before, clears=0)
    return replace(before, state="ok", breaches=0, clears=0, since=None)


def _unjudged(rule: AlertRule, before: Alert, window: Window, said: Literal["undecided", "no-data"]) -> Alert:
    if before.state in ACTIVE or (before.state == "pending" and not _lapsed(rule, before, window)):
        return before
    return replace(before, state=said, breaches=0, clears=0, since=None)


def _lapsed(rule: AlertRule, before: Alert, window: Window) -> bool:
    within = _LAPSE * rule.for_windows * (window.end - window.start)
    return before.since is None or window.end - before.since > within


def _reason(rule: AlertRule, after: Alert, measurement: Measurement, said: Verdict) -> str:
    still = f"still {after.state}: " if after.state in OPEN else ""
    if said == "no-data":
        return f"{still}no frame gave a value in this window"
    if said == "undecided":
        return still + why_undecided(rule, measurement)
    value = judged(rule, measurement, said)
    if said == "breach":
        turn = f", window {after.breaches} of {rule.for_windows}" if after.state == "pending" else ""
        if after.state == "flapping":
            turn = f"; flapping: over once {_clears_needed(rule, after)} windows in a row are clear"
        return f"{value}{turn}"
    if said == "between":
        return f"{still}{value}"
    turn = f", window {after.clears} of {_clears_needed(rule, after)}" if after.state in ACTIVE else ""
    return f"{still}{value}{turn}"
