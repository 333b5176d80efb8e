"""What an incident says for itself: plain data, and one sentence that a person can act on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from monitor.alerts.advice import advice_in_words, told
from monitor.alerts.causes import Likely, Moved
from monitor.alerts.incidents import RESTLESS_DAYS, WORSE, Alarm
from monitor.alerts.wording import figure, per_cent, unit
from monitor.records import Measurement
from monitor.watch import ALARM, ALL_LANES, DOWN, EFFECT, FAST, Incident, Path, Z, label

MOST = 12
"""Streams that are told with an incident, the clearest first."""
_MONTH = 30
_WITH_LIGHT = 1.5
"""Up to so many times what the light explains, sharpness is taken to have gone with it."""


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

    @property
    def up(self) -> bool:
        """Whether the watched number rose."""
        return (self.told.value or 0.0) > 0 if self.told.measure in (FAST, ALARM) else self.told.measure != DOWN

    @property
    def size(self) -> float:
        """How far the day lies off, as a multiple of the smallest change worth telling; 1 where that is not known."""
        if self.effect is None or self.effect.value is None or not self.effect.noise:
            return 1.0
        return abs(self.effect.value) / self.effect.noise


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose incident it is, and who answers for the model."""

    model: str
    version: str
    stage: str
    owner: str
    budget: float
    """False alarms that its cameras (or groups) may raise in a month of 30 days, each."""


@dataclass(frozen=True, slots=True)
class Story:
    """Signals that moved, and those that only went with the light and tell nothing of their own."""

    moved: tuple[Moved, ...]
    with_light: frozenset[str]


def story(witnesses: Sequence[Witness], day: date) -> Story:
    """What the streams tell on a day, each signal as its clearest stream says it.

    A change of mere shape goes neither up nor down. Sharpness is the logarithm of a variance of pixel differences,
    which goes with the square of the light: what 2 ln(light) explains is told by the brightness already.
    """
    clearest: dict[str, Witness] = {}
    for one in sorted(witnesses, key=lambda one: (not one.alarm.group, -one.excess)):
        if ALL_LANES[one.alarm.lane].probe != "shape":
            clearest.setdefault(one.alarm.signal, one)
    with_light = {"sharpness"} if _goes_with_light(clearest.get("sharpness"), clearest.get("brightness")) else set()
    moved = [_moved(one, day) for signal, one in clearest.items() if signal not in with_light]
    return Story(tuple(moved), frozenset(with_light))


def _moved(one: Witness, day: date) -> Moved:
    # The more values lie below a mark, the lower the signal.
    up = one.up != (ALL_LANES[one.alarm.lane].probe == "below")
    return Moved(one.alarm.signal, up, one.shape == "step", one.size, (day - one.alarm.onset).days + 1)


def _goes_with_light(sharpness: Witness | None, brightness: Witness | None) -> bool:
    if sharpness is None or brightness is None or sharpness.effect is None or brightness.effect is None:
        return False
    fell, light = sharpness.effect.value, brightness.effect.value
    if fell is None or not light or light <= -1:
        return False
    return 0 < fell / (2 * math.log1p(light)) <= _WITH_LIGHT


def opened(
    incident: Incident,
    whose: Whose,
    witnesses: Sequence[Witness],
    baseline: dict[str, Any],
    likely: Sequence[Likely],
    surroundings: Mapping[str, Any] | None = None,
    after: Incident | None = None,
) -> dict[str, Any]:
    """The evidence of an incident that has opened, as JSON takes it; days are ISO 8601.

    `finding` is what happened, where, since when and how sure that is; `sentence` adds the likely causes and what to
    do first. Of `likely` the first few are kept that a signal speaks for. `surroundings` are the last deployment,
    frames, what moved most, panel, runbook and the contract's failure modes that fit. `after`: the one before, where
    it ended a short while ago; where that was because this one is worse, `worse_since` says when.
    """
    ordered = sorted(witnesses, key=lambda one: (not one.alarm.group, -one.excess))
    finding = _finding(incident, whose, ordered)
    anew = after is not None and after.closed_because.startswith(WORSE)
    if after is not None:
        finding += f" Told anew, for it is {after.closed_because}." if anew else ""
        finding += f" It goes to and fro: it is over once {RESTLESS_DAYS} days in a row are quiet."
    causes, around = told(likely), surroundings or {}
    return {
        "sentence": " ".join([finding, *_background(around), *advice_in_words(causes)]),
        "finding": finding,
        "causes": causes,
        "reason": f"{len(ordered)} stream{'' if len(ordered) == 1 else 's'} alarmed on {incident.opened_on}",
        **_subject(incident, whose),
        **({"worse_since": incident.opened_on.isoformat()} if anew else {}),
        "baseline": baseline,
        "streams": [_stream(one) for one in ordered[:MOST]],
        **around,
    }


def standing(incident: Incident, whose: Whose, witnesses: Sequence[Witness], day: date) -> str:
    """What an incident that is open looks like on a day, in a sentence; `witnesses` alarmed within the last week.

    `Optics of north / cam-2 (line v1), 68 days on: brightness mean fell bit by bit, that day from 78.1 to 39.0 ...`
    """
    days = (day - incident.onset).days + 1
    head = f"{incident.cause.capitalize()} {_where(incident.scope, whose)}, {_days(days)} on"
    own = [one for one in witnesses if one.alarm.cause == incident.cause] or list(witnesses)
    if not own:
        return f"{head}: nothing of it has alarmed since {incident.last_alarm_on}."
    others = [one.alarm.lane.replace("_", " ") for one in witnesses if one is not own[0]]
    more = f"; with it {', '.join(dict.fromkeys(others))}" if others else ""
    return f"{head}: {_movement(own[0])}{more}."


def closed(incident: Incident, whose: Whose) -> dict[str, Any]:
    """The evidence of an incident that is over."""
    anew = incident.closed_because.startswith(WORSE)
    end = "goes on as a new one, for it is" if anew else "is over,"
    over = f"the incident since {incident.onset} {end} {incident.closed_because}"
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


def _finding(incident: Incident, whose: Whose, witnesses: Sequence[Witness]) -> str:
    """`Optics of north / cam-2 (line v1) moved, most likely since 2026-03-20 (5 days, bit by bit): brightness ...`"""
    head = f"{incident.cause.capitalize()} {_where(incident.scope, whose)} moved, most likely since {incident.onset}"
    days = (incident.opened_on - incident.onset).days + 1
    if not witnesses:
        return f"{head} ({_days(days)})."
    kind = "at once" if witnesses[0].shape == "step" else "bit by bit"
    cameras = sum(1 for member in incident.members if member != incident.scope)
    joined = f"; {cameras} cameras with it" if cameras > 1 else ""
    more = len(witnesses) - 1
    others = f"; {more} more stream{'' if more == 1 else 's'} alarmed" if more else ""
    said = f"{head} ({_days(days)}, {kind}): {_movement(witnesses[0])}{others}{joined}."
    return f"{said} {_surety(witnesses[0], whose)}"


def _surety(one: Witness, whose: Whose) -> str:
    """What passed which limit, and how rare that is by the budget of false alarms that the contract sets."""
    told = one.told
    kind = "score of four hours" if told.measure == FAST else "sum of daily scores"
    if ALL_LANES[one.alarm.lane].probe == "peak":
        kind = "longest quarter of an hour"
    last = next((m.value for m in reversed(one.scores) if m.measure == Z and m.value is not None), None)
    by_day = f", the last day by itself {last:+.1f} sd" if last is not None and told.measure != FAST else ""
    months = 1 / whose.budget
    every = f"{months:.0f} months" if months >= 2 else _days(round(_MONTH * months))
    who = "a group of cameras" if one.alarm.group else "a camera"
    return (
        f"How sure: {kind} {abs(told.value or 0.0):.1f} is above {told.noise or 0.0:.1f}{by_day};"
        f" by chance {who} alarms about once in {every}."
    )


def _background(around: Mapping[str, Any]) -> list[str]:
    """The part of the distribution that moved most, the last deployment, the failure mode that the plant knows."""
    said = []
    if moved_most := around.get("moved_most"):
        most = moved_most[0]
        said.append(f"Most of it: {most['part']}, {per_cent(most['now'])} instead of {per_cent(most['then'])}.")
    if deployed := around.get("deployment"):
        said.append(f"Last deployment: {deployed['version']} at {deployed['at'][:16].replace('T', ' ')} UTC.")
    modes = [mode for mode in around.get("failure_modes", []) if mode["mitigation"]]
    return [*said, f"Known as {modes[0]['name']}: {modes[0]['mitigation']}"] if modes else said


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _movement(one: Witness) -> str:
    lane, told = ALL_LANES[one.alarm.lane], one.told
    class_name = f" of class {told.key.class_name}" if told.key.class_name else ""
    what = f"{lane.name.replace('_', ' ')}{class_name}"
    counts = f"n {told.n:,} against {told.baseline_n:,} in the baseline"
    how = "is no longer that of the baseline" if lane.probe == "shape" else _change(one, lane.unit)
    return f"{what} {how}, {counts}"


def _change(one: Witness, unit_of_effect: str) -> str:
    effect = one.effect
    way = "rose" if one.up else "fell"
    if effect is None or effect.value is None:
        return way
    by = f"{100 * effect.value:+.1f} %" if unit_of_effect == "relative" else f"{effect.value:+.2g} {unit_of_effect}"
    if effect.now_mean is None or effect.baseline_mean is None:
        return f"{way}, that day by {by}"
    return f"{way}, that day from {figure(effect.baseline_mean)} to {figure(effect.now_mean)} ({by})"


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
