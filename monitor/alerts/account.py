"""What an incident says for itself: plain data, and one sentence that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from monitor.alerts.evidence import figure, unit
from monitor.alerts.incidents import Alarm
from monitor.records import Measurement
from monitor.watch import ALL_LANES, EFFECT, FAST, Incident, Path, Z, label

MOST = 12
"""Streams that are told with an incident, the clearest first."""
_MEANS = ("mean", "log_mean", "log1p_mean")


@dataclass(frozen=True, slots=True)
class Witness:
    """A stream that alarmed: the alarm, its sum (or score of four hours) over its limit, its days since the baseline
    as scores, and the day's effect."""

    alarm: Alarm
    shape: str
    told: Measurement
    scores: Sequence[Measurement]
    effect: Measurement | None

    @property
    def excess(self) -> float:
        """How far beyond its limit, as a multiple of it."""
        return abs(self.told.value or 0.0) / (self.told.noise or 1.0)


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose incident it is, and who answers for the model."""

    model: str
    version: str
    stage: str
    owner: str


def opened(
    incident: Incident, whose: Whose, witnesses: Sequence[Witness], baseline: dict[str, Any]
) -> dict[str, Any]:
    """The evidence of an incident that has opened, as JSON takes it; days are ISO 8601."""
    ordered = sorted(witnesses, key=lambda one: (not one.alarm.group, -one.excess))
    return {
        "sentence": _sentence(incident, whose, ordered),
        "reason": f"{len(ordered)} stream{'' if len(ordered) == 1 else 's'} alarmed on {incident.opened_on}",
        **_subject(incident, whose),
        "baseline": baseline,
        "streams": [_stream(one) for one in ordered[:MOST]],
    }


def closed(incident: Incident, whose: Whose) -> dict[str, Any]:
    """The evidence of an incident that is over."""
    over = f"the incident since {incident.onset} is over, {incident.closed_because}"
    said = f"{incident.cause.capitalize()} {_where(incident.scope, whose)}: {over}."
    return {"sentence": said, "reason": incident.closed_because, **_subject(incident, whose)}


def _subject(incident: Incident, whose: Whose) -> dict[str, Any]:
    return {
        "incident": incident.cause,
        "severity": "warning",
        "owner": whose.owner,
        "scope": {"model": whose.model, "version": whose.version, "stage": whose.stage, "path": list(incident.scope)},
        "cause": incident.cause,
        "onset": incident.onset.isoformat(),
        "opened_on": incident.opened_on.isoformat(),
        "closed_on": None if incident.closed_on is None else incident.closed_on.isoformat(),
        "signals": list(incident.signals),
        "members": [label(member) for member in sorted(incident.members)],
    }


def _where(scope: Path, whose: Whose) -> str:
    stage = f" at {whose.stage}" if whose.stage else ""
    named = [name for name in scope if name]
    return f"{'of ' + ' / '.join(named) if named else 'of all cameras'}{stage} ({whose.model} {whose.version})"


def _sentence(incident: Incident, whose: Whose, witnesses: Sequence[Witness]) -> str:
    """`Optics of cam-2 (line v1) moved since 2026-03-12: brightness mean fell from 131.2 to 121.0 (...) ...`"""
    head = f"{incident.cause.capitalize()} {_where(incident.scope, whose)} moved, most likely since {incident.onset}"
    if not witnesses:
        return f"{head}."
    cameras = sum(1 for member in incident.members if member != incident.scope)
    joined = f"; {cameras} cameras with it" if cameras > 1 else ""
    more = len(witnesses) - 1
    others = f"; {more} more stream{'' if more == 1 else 's'} alarmed" if more else ""
    return f"{head}: {_movement(witnesses[0])}{others}{joined}."


def _movement(one: Witness) -> str:
    lane, told = ALL_LANES[one.alarm.lane], one.told
    class_name = f" of class {told.key.class_name}" if told.key.class_name else ""
    what = f"{lane.name.replace('_', ' ')}{class_name}"
    limit = f"{abs(told.value or 0.0):.1f} is above {told.noise or 0.0:.1f}"
    kind = "score of four hours" if told.measure == FAST else "sum of daily scores"
    if lane.probe == "peak":
        kind = "longest quarter of an hour"
    why = f"{kind} {limit}"
    counts = f"n {told.n:,} against {told.baseline_n:,} in the baseline"
    if lane.probe == "shape":
        return f"{what} is no longer that of the baseline ({why}, {counts})"
    return f"{what} {_change(one, lane.unit)} ({why}, {counts})"


def _change(one: Witness, unit_of_effect: str) -> str:
    effect = one.effect
    sign = (one.told.value or 0.0) if one.told.measure == FAST else _side(one)
    way = "rose" if sign > 0 else "fell"
    if effect is None or effect.value is None:
        return way
    by = f"{100 * effect.value:+.1f} %" if unit_of_effect == "relative" else f"{effect.value:+.2g} {unit_of_effect}"
    if effect.now_mean is None or effect.baseline_mean is None:
        return f"{way} ({by} that day)"
    return f"{way}, that day from {figure(effect.baseline_mean)} to {figure(effect.now_mean)} ({by})"


def _side(one: Witness) -> float:
    return -1.0 if one.told.measure.endswith("down") else 1.0


def _stream(one: Witness) -> dict[str, Any]:
    alarm, told, effect = one.alarm, one.told, one.effect
    lane = ALL_LANES[alarm.lane]
    return {
        "lane": alarm.lane,
        "signal": alarm.signal,
        "class": told.key.class_name,
        "scope": label(alarm.scope),
        "group": alarm.group,
        "help": lane.help,
        "unit": unit(lane.signal),
        "measure": told.measure,
        "value": told.value,
        "limit": told.noise,
        "onset": alarm.onset.isoformat(),
        "shape": one.shape,
        "effect": None
        if effect is None
        else {"value": effect.value, "unit": lane.unit, "floor": effect.noise, "of": EFFECT},
        "baseline": {"level": effect.baseline_mean if effect else None, "n": told.baseline_n},
        "current": {"level": effect.now_mean if effect else None, "n": told.n},
        "scores": [
            [_day(m).isoformat(), round(m.value, 3)] for m in one.scores if m.value is not None and m.measure == Z
        ],
    }


def _day(found: Measurement) -> date:
    return found.window.start.date()
