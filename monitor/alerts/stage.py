"""Judges measured windows: alerts, events and messages, each window once for each rule, in one transaction.

For every rule and model version the windows come in order; `judged` says how far they have got. A window's alerts,
its events and their messages commit together with that mark, so a kill leaves the window undone and a second worker
finds it taken. Every alert's row is written by compare-and-swap on its revision too: not only this stage writes it.

A window in which no series came to a verdict (no data, too few frames) is judged once more when it has got a number,
unless a later one has had a verdict by then: silence tells nobody anything that would have to be taken back.

A window is ripe once it was measured against a baseline and lies after that baseline's own period; a rule that does
not compare needs no baseline. A rule that is new in the contract judges the windows since the baseline; one that is
changed goes on after the last verdict.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from monitor.alerts import beside, causes
from monitor.alerts.advice import Advice, advise, story, tells_of
from monitor.alerts.beside import Beside
from monitor.alerts.causes import Likely
from monitor.alerts.conditions import VERDICTS, limit, verdict, widened
from monitor.alerts.evaluate import (
    OPEN,
    Decision,
    alert_key,
    decide,
    matches,
    one_each,
    retire,
    silence,
)
from monitor.alerts.evidence import SHOWN_WINDOWS, Case, evidence, farewell, moved_together
from monitor.alerts.homeless import homeless
from monitor.alerts.links import HERE, Links
from monitor.records import QUIET, Alert, AlertEvent, Baseline, Measurement, Window
from monitor.scoring import OWN_RULES
from monitor.spec.load import LoadedContract
from monitor.spec.rules import COMPARISONS, AlertRule
from monitor.store import alerts, baselines, histograms, measurements, outbox
from monitor.store.alerts import Unjudged, Watched
from monitor.store.database import Connection, Database

LOGGED = ("log",)
_MANY = 3
"""Cameras from which on most of them are many."""

_log = logging.getLogger(__name__)


class _Overtaken(Exception):
    """Another worker judged this window; what was begun is rolled back."""


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a decision is written with."""

    conn: Connection
    loaded: LoadedContract
    channels: Sequence[str]
    now: datetime
    links: Links

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        return self.loaded.contract.rules


def run(
    database: Database,
    loaded: LoadedContract,
    now: datetime,
    *,
    channels: Sequence[str] = LOGGED,
    links: Links = HERE,
) -> int:
    """Judge what is ripe by the contract's rules; returns how many alerts were looked at afresh.

    `channels` are the names that messages about events are written for, `links` where those lead. Safe to kill, to
    repeat and to run twice at the same time.
    """
    did = _lay_to_rest(database, loaded, channels, now)
    for rule in loaded.contract.rules:
        did += _judge(database, loaded, rule, channels, now, links)
    return did


def _judge(
    database: Database,
    loaded: LoadedContract,
    rule: AlertRule,
    channels: Sequence[str],
    now: datetime,
    links: Links,
) -> int:
    _reopen(database, loaded, rule)
    with database.begin() as conn:
        todo = alerts.unjudged(conn, loaded.model, rule.name, loaded.contract.drift.window)
        active = {v: baselines.active(conn, loaded.model, v) for v in {task.version for task in todo}}
    did = 0
    waiting: set[str] = set()
    for task in todo:
        baseline = active[task.version]
        if task.version in waiting or not _is_ripe(rule, baseline, task.window):
            continue
        if rule.compares and task.baseline_id is None:
            # It will be measured again now that there is a baseline; later windows wait, for the order counts.
            waiting.add(task.version)
            continue
        try:
            with database.begin() as conn:
                did += _judge_window(_Desk(conn, loaded, channels, now, links), rule, task, baseline)
        except _Overtaken:
            _log.info(
                "%s: window ending %s of %s is judged by another worker", rule.name, task.window.end, loaded.model
            )
            waiting.add(task.version)
    return did


def _reopen(database: Database, loaded: LoadedContract, rule: AlertRule) -> None:
    """Make those windows unjudged again that had nothing to say when they were judged, and now have."""
    model, length = loaded.model, loaded.contract.drift.window
    with database.begin() as conn:
        found = alerts.reopened(conn, model, _watched(rule), length)
        active = {version: baselines.active(conn, model, version) for version in {task.version for task in found}}
        seen: set[str] = set()
        for task in found:
            baseline = active[task.version]
            if task.version in seen or not _is_ripe(rule, baseline, task.window):
                continue
            measured = one_each(_measured(conn, loaded, rule, task.version, task.window))
            if any(verdict(rule, m) in VERDICTS for m in measured):
                alerts.reopen(conn, model, rule.name, task.version, task.window)
                seen.add(task.version)


def _watched(rule: AlertRule) -> Watched:
    by_camera, by_slice = rule.scope == "camera", rule.scope == "slice"
    return Watched(rule.name, rule.signal, rule.measure, by_camera, by_slice, rule.by_class, rule.min_n)


def _is_ripe(rule: AlertRule, baseline: Baseline | None, window: Window) -> bool:
    """Whether a rule may judge a window: one that compares needs a baseline, and none judges what that is made of."""
    if baseline is None:
        return not rule.compares
    return baseline.period_end is None or window.end > baseline.period_end


def _judge_window(desk: _Desk, rule: AlertRule, task: Unjudged, baseline: Baseline | None) -> int:
    model, version, window = desk.loaded.model, task.version, task.window
    if not alerts.advance(desk.conn, model, rule.name, version, window.end):
        raise _Overtaken
    known = {alert.key: alert for alert in alerts.read(desk.conn, model, rule=rule.name, version=version)}
    measured = one_each(_measured(desk.conn, desk.loaded, rule, version, window))
    found = [_with_ordinary(desk.conn, rule, measurement, baseline) for measurement in measured]
    if any(verdict(rule, measurement) in VERDICTS for measurement in found):
        alerts.settle(desk.conn, model, rule.name, version, window.end)
    wide = _is_wide(rule, found)
    for measurement in found:
        _settle(desk, rule, known.pop(alert_key(rule.name, measurement.key), None), measurement, wide=wide)
    contract = desk.loaded.contract
    unheard = [a for a in known.values() if matches(rule, a.series) and homeless(contract, a.series) is None]
    for alert in unheard:
        _settle(desk, rule, alert, silence(alert, window, desk.loaded.hash), wide=False)
    return len(found) + len(unheard)


def _measured(
    conn: Connection, loaded: LoadedContract, rule: AlertRule, version: str, window: Window
) -> list[Measurement]:
    found = measurements.read(
        conn,
        loaded.model,
        version=version,
        signal=rule.signal,
        measure=rule.measure,
        start=window.start,
        end=window.end,
    )
    own = (m for m in found if m.window == window and matches(rule, m.key))
    return [m for m in own if homeless(loaded.contract, m.key) is None]


def _with_ordinary(
    conn: Connection, rule: AlertRule, measurement: Measurement, baseline: Baseline | None
) -> Measurement:
    """A breach of a relative bound with an interval that has room for the baseline's ordinary windows."""
    if not rule.relative_to or baseline is None or baseline.period_start is None:
        return measurement
    if measurement.low is None or verdict(rule, measurement) != "breach":
        return measurement
    scope, length = measurement.key.scope, measurement.window.end - measurement.window.start
    before = measurements.read(
        conn,
        scope.model,
        version=scope.version,
        camera=scope.camera,
        slice_name=scope.slice_name,
        slice_value=scope.slice_value,
        signal=rule.signal,
        class_name=measurement.key.class_name,
        measure=rule.measure,
        start=baseline.period_start,
        end=baseline.period_end,
    )
    same = [m for m in before if m.key == measurement.key and m.window.end - m.window.start == length]
    return widened(measurement, [m.value for m in same if m.value is not None])


def _is_wide(rule: AlertRule, found: Sequence[Measurement]) -> bool:
    """Whether most cameras breach a rule in one window, three at least; all cameras together always are most."""
    if rule.scope == "model":
        return True
    cameras = {m.key.scope.camera for m in found}
    breaching = {m.key.scope.camera for m in found if verdict(rule, m) == "breach"}
    return len(breaching) >= _MANY and 2 * len(breaching) > len(cameras)


def _settle(desk: _Desk, rule: AlertRule, alert: Alert | None, measurement: Measurement, *, wide: bool) -> None:
    decision = decide(rule, alert, measurement)
    if decision.alert is alert:
        return
    _keep(desk, decision.alert)
    if decision.left is not None:
        _tell(desk, decision, measurement.window, evidence(_case(desk, rule, decision.alert, measurement, wide)))


def _case(desk: _Desk, rule: AlertRule, alert: Alert, measurement: Measurement, wide: bool) -> Case:
    scope, window = alert.series.scope, measurement.window
    read = partial(
        measurements.read,
        desk.conn,
        scope.model,
        version=scope.version,
        camera=scope.camera,
        slice_name=scope.slice_name,
        slice_value=scope.slice_value,
        end=window.end,
    )
    first = window.end - SHOWN_WINDOWS * (window.end - window.start)
    recent = read(signal=rule.signal, class_name=alert.series.class_name, measure=rule.measure, start=first)
    recent = [m for m in recent if m.key == measurement.key]
    here = [m for m in read(start=window.start) if m.window == window and m.key.scope == scope]
    together = moved_together(desk.rules, alert, here)
    there = Beside() if alert.state == "resolved" else _beside(desk, rule, measurement)
    likely: list[Likely] = []
    if alert.state != "resolved":
        others = [m for _, m in together if m.key.signal != rule.signal]
        near = 2 * (window.end - window.start)
        deployed = beside.deployed_before(there.deployment, alert.since, near)
        watched = {m.key.signal for m in here if tells_of(rule, m.key.signal)}
        likely = causes.ranked(story(rule, measurement, recent, others), watched, wide, deployed)
    frozen = {baseline.id: baseline for baseline in baselines.listing(desk.conn, scope.model)}
    return Case(
        owner=rule.owner or desk.loaded.contract.model.owner,
        rule=rule,
        contract_hash=desk.loaded.hash,
        alert=alert,
        measurement=measurement,
        recent=recent,
        together=together,
        baseline=frozen.get(measurement.baseline_id or 0),
        advice=Advice() if alert.state == "resolved" else advise(rule, likely, desk.loaded.contract.failure_modes),
        beside=there.as_json(alert.since),
        panel=desk.links.panel(scope, window, rule.pillar, rule.signal, rule.measure),
        own=rule.name not in desk.loaded.contract.ready,
    )


def _beside(desk: _Desk, rule: AlertRule, measurement: Measurement) -> Beside:
    found = limit(rule, measurement)
    up = measurement.value is None or measurement.value >= found
    if rule.measure in COMPARISONS and measurement.now_mean is not None and measurement.baseline_mean is not None:
        up = measurement.now_mean >= measurement.baseline_mean
    if rule.measure == "low_share":
        up = not up  # the more are unsure, the lower they are
    return beside.read(desk.conn, measurement.key, measurement.window, measurement.baseline_id, up=up)


def _keep(desk: _Desk, alert: Alert) -> None:
    if not alerts.save(desk.conn, alert):
        raise _Overtaken


def _tell(desk: _Desk, decision: Decision, window: Window, why: dict[str, Any]) -> None:
    alert = decision.alert
    event = AlertEvent(
        alert_key=alert.key,
        episode=alert.episode,
        from_state=decision.left or "",
        to_state=alert.state,
        window=window,
        decided_at=desk.now,
        value=alert.value,
        threshold=alert.threshold,
        n=alert.n,
        evidence=why,
    )
    outbox.add(desk.conn, alerts.add_event(desk.conn, event), event, desk.channels, desk.now)


def _lay_to_rest(database: Database, loaded: LoadedContract, channels: Sequence[str], now: datetime) -> int:
    """Close what nothing judges any more: its rule is gone or asks for something else, its camera has left the
    contract, its version is out of use."""
    did = 0
    with database.begin() as conn:
        known = [a for a in alerts.read(conn, loaded.model) if a.rule not in OWN_RULES]
        open_ones = [a for a in known if a.state in OPEN]
        out_of_use = _out_of_use(conn, loaded, {a.series.scope.version for a in open_ones})
    for alert in open_ones:
        reason = _why_over(alert, loaded, out_of_use)
        if reason is None:
            continue
        try:
            with database.begin() as conn:
                _close(_Desk(conn, loaded, channels, now, HERE), retire(alert, reason))
            did += 1
        except _Overtaken:
            _log.info("%s: changed meanwhile by another worker", alert.key)
    return did


def _out_of_use(conn: Connection, loaded: LoadedContract, versions: set[str]) -> set[str]:
    """Those of `versions` whose week of silence has been measured to its end, while another version went on."""
    last = alerts.last_windows(conn, loaded.model)
    newest = max(last.values(), default=None)
    behind = {version for version in versions & last.keys() if last[version] != newest}
    if not behind:
        return set()
    window = loaded.contract.drift.window
    frames = histograms.window_frames(conn, loaded.model, window, min(last[v] for v in behind) - QUIET - window)
    return {v for v in behind if v not in frames or last[v] - max(frames[v]) >= QUIET}


def _why_over(alert: Alert, loaded: LoadedContract, out_of_use: set[str]) -> str | None:
    rule = next((r for r in loaded.contract.rules if r.name == alert.rule), None)
    if rule is None:
        return "rule removed from the contract"
    if not matches(rule, alert.series) or rule.measure != alert.measure:
        return "rule changed in the contract to watch something else"
    if (gone := homeless(loaded.contract, alert.series)) is not None:
        return gone
    version = alert.series.scope.version
    return f"version {version} sent nothing for a week and another one runs" if version in out_of_use else None


def _close(desk: _Desk, decision: Decision) -> None:
    alert = decision.alert
    _keep(desk, alert)
    if decision.left is not None:
        window = Window(alert.window_end - desk.loaded.contract.drift.window, alert.window_end)
        _tell(desk, decision, window, farewell(alert, desk.loaded.hash))
