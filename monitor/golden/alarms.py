"""What a run has people told of: it did not count, the answer moved, accuracy fell, production's inputs differ.

Each is an alert like any other, with its own short life: it fires with the first run that shows it (a night is long
enough to wait once, and a paired comparison has its error already) and is resolved by the first that does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor.records import Alert, AlertState, Scope, SeriesKey, Window
from monitor.scoring import (
    ACCURACY_RULE,
    ANSWER_CHANGED,
    ANSWER_RULE,
    FIRST,
    INPUT_DIFFERS,
    INPUT_RULE,
    NOT_SCORED,
    NOT_SCORED_RULE,
    ScoringRun,
)

RUNBOOKS = "dashboards/runbooks"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule of the product's own and whether a run breaks it."""

    rule: str
    measure: str
    severity: str
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Turn:
    """An alert's next row, the state that it left where people are to be told, and the evidence."""

    alert: Alert
    left: str | None
    evidence: dict[str, Any]


def alarms(run: ScoringRun, ruling: Mapping[str, Any] | None) -> Iterator[Alarm]:
    """Every alarm that a finished run speaks of."""
    subject = f"{run.kind} set {run.set_name} {run.set_version}".strip() + f" ({run.model} {run.version})"
    counted = run.status == "done"
    said = "was scored" if counted else f"was not scored as asked for: {run.reason}"
    yield Alarm(
        NOT_SCORED_RULE.format(run.kind),
        NOT_SCORED,
        "warning",
        not counted,
        f"The {subject} {said}",
    )
    if not counted:
        return
    if run.sameness:
        because = "; changed since: " + ", ".join(run.changed) if run.changed else "; nothing recorded has changed"
        moved = run.sameness == "other"
        said = (
            f"gave another answer for the same images than the run before{because}" if moved else "answered as before"
        )
        yield Alarm(ANSWER_RULE.format(run.kind), ANSWER_CHANGED, "warning", moved, f"The {subject} {said}")
    if ruling is None:
        return
    failed = list(ruling["failed"])
    last = ruling["comparisons"].get("last run", {})
    failed += [_fell(row) for row in last.get("rows", ()) if row["verdict"] == "drop"]
    yield Alarm(
        ACCURACY_RULE.format(run.kind),
        "map50_95",
        "critical",
        bool(failed),
        f"The {subject} "
        + (f"fails in run {run.id}: {', '.join(failed)}" if failed else "meets what is asked of it"),
    )


def _fell(row: Mapping[str, Any]) -> str:
    """`map50_95 fell from 0.679 to 0.177`, of a row of a comparison."""
    of_class = f" of {row['class_name']}" if row["class_name"] else ""
    return f"{row['measure']}{of_class} fell from {row['before']:.3f} to {row['after']:.3f}"


def input_alarm(run: ScoringRun, differences: Sequence[str]) -> Alarm:
    """Whether production makes the inputs that scoring makes; `differences` name the fields."""
    said = f"other than in scoring: {'; '.join(differences[:5])}" if differences else "the same as in scoring"
    return Alarm(
        INPUT_RULE,
        INPUT_DIFFERS,
        "critical",
        bool(differences),
        f"Production's inputs of {run.model} {run.version} are {said}",
    )


def key_of(run: ScoringRun, rule: str) -> str:
    """The alert's name, as all alerts are named: model/rule/version/camera/slice/class."""
    return f"{run.model}/{rule}/{run.version}/-/-/-"


def turn(
    run: ScoringRun, before: Alert | None, alarm: Alarm, window: Window, value: float, n: int, owner: str = ""
) -> Turn:
    """What an alarm does to its alert; `owner` answers for the model."""
    old = before or _unseen(run, alarm, window)
    state = _next(old.state, alarm.holds)
    opened = state == "firing" and old.state != "firing"
    after = replace(
        old,
        state=state,
        severity=alarm.severity,
        episode=old.episode + opened,
        breaches=old.breaches + 1 if alarm.holds else 0,
        clears=0 if alarm.holds else old.clears + 1,
        since=window.start if opened else old.since,
        window_end=window.end,
        value=value,
        n=n,
        reason=alarm.sentence,
    )
    told = state != old.state and state in ("firing", "resolved")
    return Turn(after, old.state if told else None, _evidence(run, after, alarm.sentence, window, owner))


def _next(state: AlertState, holds: bool) -> AlertState:
    if holds:
        return "firing"
    return "resolved" if state == "firing" else "ok"


def _unseen(run: ScoringRun, alarm: Alarm, window: Window) -> Alert:
    series = SeriesKey(Scope(run.model, run.version), run.kind)
    return Alert(
        key_of(run, alarm.rule),
        series,
        alarm.rule,
        alarm.measure,
        alarm.severity,
        "ok",
        0,
        0,
        0,
        None,
        window.start,
        None,
        0.0,
        0,
        "",
    )


def _evidence(run: ScoringRun, alert: Alert, sentence: str, window: Window, owner: str) -> dict[str, Any]:
    """What the decision rests on, under the names that every alert's evidence has."""
    first = FIRST[alert.rule] if alert.state == "firing" else ""
    return {
        "sentence": f"{sentence}." + (f" First: {first}" if first else ""),
        "reason": sentence,
        "rule": alert.rule,
        "severity": alert.severity,
        "signal": run.kind,
        "measure": alert.measure,
        "scope": {
            "model": run.model,
            "version": run.version,
            "stage": "",
            "camera": "",
            "slice_name": "",
            "slice_value": "",
            "class": "",
        },
        "pillar": "golden",
        "owner": owner,
        "unit": "share",
        "value": alert.value,
        "n": alert.n,
        "since": alert.since.isoformat() if alert.since else None,
        "threshold": {"value": 0.0, "contract_hash": run.contract_hash, "rule": alert.rule},
        "current": {"window": [window.start.isoformat(), window.end.isoformat()], "n": alert.n},
        "first": first,
        "runbook": f"{RUNBOOKS}/{alert.rule}.md",
        "run": run.id,
        "digest": run.digest,
        "changed": list(run.changed),
    }
