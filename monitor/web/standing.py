"""The four answers that a page begins with: is the model healthy, which camera is worst, since when, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from monitor.feedback import Deployment
from monitor.store.reporting import AlertRow, CameraFrames
from monitor.web.told import Told
from monitor.web.wording import ago, when

WEIGHT = {"critical": 100, "warning": 10, "info": 1}
"""How much a firing alert counts against its camera."""
FIRING = ("firing", "flapping")
SILENT = timedelta(days=1)
"""A camera that was heard before, and longer ago than this, is called silent."""
CLOSE = 0.5
"""A cause at least this likely, measured by the likeliest, is named beside it."""
NEAR = timedelta(days=3)
"""A deployment so shortly before an onset is named with it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, its answer in a few words with a tone, what that rests on, and the page's part that says more."""

    question: str
    said: str
    tone: str
    because: str
    camera: str = ""
    incident: str = ""
    """Name of the incident that it is about."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the answers are made of, as of `at`."""

    at: datetime
    is_live: bool
    incidents: Sequence[Told]
    alerts: Sequence[AlertRow]
    """Those that fire or are about to, the gravest first."""
    cameras: Sequence[CameraFrames]
    deployments: Sequence[Deployment]
    """Oldest first."""
    first_steps: Mapping[str, str]
    """What is to be done first, by rule."""
    watch: str
    has_baseline: bool
    late: Sequence[str]
    """Jobs of the daemon that are overdue."""


def answers(known: Known) -> tuple[Answer, ...]:
    """The four, in their order."""
    firing = [one for one in known.alerts if one.state in FIRING]
    return (_health(known, firing), _worst(known, firing), _since(known, firing), _first_step(known, firing))


def _health(known: Known, firing: Sequence[AlertRow]) -> Answer:
    question = "Is the model healthy?"
    stale = "" if known.is_live else f" Nothing has come in since {when(known.at)} UTC."
    wrong = [_count(len(known.incidents), "open incident"), _count(len(firing), "firing alert")]
    if any(wrong):
        is_grave = bool(known.incidents) or any(one.severity == "critical" for one in firing)
        said, tone = ("No", "bad") if is_grave else ("Not quite", "watch")
        causes = ", ".join(dict.fromkeys(one.cause for one in known.incidents))
        found = " and ".join(part for part in wrong if part)
        return Answer(question, said, tone, f"{found}{f': {causes}' if causes else ''}.{stale}")
    if not known.has_baseline:
        return Answer(question, "Nobody can say yet", "quiet", f"Without a baseline nothing is compared.{stale}")
    if known.late:
        return Answer(question, "Unknown", "watch", f"The monitor itself is late: {', '.join(known.late)}.{stale}")
    if known.alerts:
        pending = _count(len(known.alerts), "alert")
        return Answer(question, "Yes, so far", "watch", f"{pending} will fire if this goes on.{stale}")
    if not known.is_live:
        return Answer(question, "It was", "quiet", f"Nothing fired and no incident was open.{stale}")
    return Answer(question, "Yes", "well", "Nothing fires and no incident is open.")


def _worst(known: Known, firing: Sequence[AlertRow]) -> Answer:
    question = "Which camera is worst?"
    by_camera: dict[str, list[AlertRow]] = {}
    for alert in firing:
        by_camera.setdefault(alert.scope.camera, []).append(alert)
    by_camera.pop("", None)
    if by_camera:
        camera = min(by_camera, key=lambda name: (*_gravity(by_camera[name]), name))
        signals = ", ".join(dict.fromkeys(one.signal.replace("_", " ") for one in by_camera[camera]))
        others = f" {_count(len(by_camera) - 1, 'other camera')} too." if len(by_camera) > 1 else ""
        because = f"{_count(len(by_camera[camera]), 'firing alert')}: {signals}.{others}"
        return Answer(question, camera, "bad", because, camera)
    for told in known.incidents:
        if told.camera:
            return Answer(question, told.camera, "watch", f"Open incident: {told.cause}.", told.camera, told.name)
    heard = [(one.last_at, one.camera) for one in known.cameras if one.last_at is not None]
    silent = min(((at, name) for at, name in heard if known.at - at > SILENT), default=None)
    if silent is not None:
        because = f"Silent: its last frame came {ago(silent[0], known.at)}."
        return Answer(question, silent[1], "watch", because, silent[1])
    return Answer(question, "None", "well", f"Of {_count(len(known.cameras), 'camera')} none stands out.")


def _gravity(alerts: Sequence[AlertRow]) -> tuple[float, float]:
    """Sorts first what is worst: by the weight of what fires, then by how far it went beyond its threshold."""
    excess = max(abs((one.value or 0.0) / one.threshold - 1) if one.threshold else 0.0 for one in alerts)
    return -sum(WEIGHT.get(one.severity, 1) for one in alerts), -excess


def _since(known: Known, firing: Sequence[AlertRow]) -> Answer:
    question = "Since when?"
    chief = _chief(known.incidents)
    if chief is not None:
        start = datetime.combine(chief.onset, time(), UTC)
        because = f"Most likely first day of {chief.cause} of {chief.where}, told on {chief.opened_on}."
        because = f"{because} {_deployed(known.deployments, start)}"
        return Answer(question, f"{chief.onset} ({ago(start, known.at)})", "", because, incident=chief.name)
    oldest = min(((one.since, one.rule) for one in firing if one.since is not None), default=None)
    if oldest is not None:
        start, rule = oldest
        because = f"The oldest alert that fires: {rule}. {_deployed(known.deployments, start)}"
        return Answer(question, f"{when(start)} ({ago(start, known.at)})", "", because)
    return Answer(question, "–", "quiet", f"Nothing is known to be wrong. Calibrated lanes: {known.watch}.")


def _deployed(deployments: Sequence[Deployment], start: datetime) -> str:
    before = [one for one in deployments if one.at <= start + timedelta(days=1)]
    if not before:
        return "No deployment is noted before it."
    last = before[-1]
    hint = "; look at it first" if start - last.at <= NEAR else ""
    return f"The last deployment before it: {last.version}, {when(last.at)}{hint}."


def _first_step(known: Known, firing: Sequence[AlertRow]) -> Answer:
    question = "What to do first?"
    chief = _chief(known.incidents)
    if chief is not None and chief.causes:
        likely, *others = chief.causes
        close = [one for one in others if float(one["share"]) >= CLOSE * float(likely["share"])]
        said = ", or ".join(f"{one['text']} ({100 * float(one['share']):.0f} %)" for one in (likely, *close))
        because = f"Likely of {chief.where}: {said}."
        return Answer(question, str(likely["first"]), "", because, incident=chief.name)
    if firing:
        one = firing[0]
        step = known.first_steps.get(one.rule) or "Look at that camera's newest frames beside those of the baseline."
        where = one.scope.camera or "all cameras"
        return Answer(question, step, "", f"What the rule {one.rule} says, which fires on {where}.")
    if not known.has_baseline:
        because = "From a good period, or from the training images: monitor baseline freeze."
        return Answer(question, "Freeze a baseline", "", because)
    if known.late or not known.is_live:
        return Answer(question, "See that frames come in", "", "monitor doctor says what is well and what is not.")
    return Answer(question, "Nothing", "well", "An alert will say when there is.")


def _chief(incidents: Sequence[Told]) -> Told | None:
    """The incident to look at first: what began first is likely what the others come from."""
    return min(incidents, key=lambda one: (one.onset, one.opened_on, len(one.where)), default=None)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}" if n else ""
