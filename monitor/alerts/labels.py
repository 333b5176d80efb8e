"""What an alert is called where others sort by it: labels and annotations in the sense of Prometheus' Alertmanager.

Labels say which alert it is and never what was measured: the same episode has the same labels from its first push to
its end, whatever the contract has become meanwhile, so they are always read off the event that opened it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitor.records import Alert, AlertEvent
from monitor.spec.rules import pillar_of
from monitor.watch import Incident, label

LONGEST = 2000
"""Characters of one annotation."""
_BULKY = frozenset({"windows", "streams", "sentence", "scope", "rule", "severity", "pillar"})
"""What stands in the labels, in the summary, or is too much for a message."""
_PILLARS = {"optics": "input", "content": "prediction", "model": "prediction", "service": "inference"}
"""The pillar of each cause of an incident; one that is not listed is named for its signal."""
_OWN = ("rule", "severity", "pillar", "model", "camera", "class_name")
_TELLING_APART = ("version", "stage", "slice")


def facts(key: str, evidence: Mapping[str, Any]) -> dict[str, str]:
    """Everything that an alert can be picked by, from its key and the evidence of an event of it."""
    scope = evidence.get("scope") or {}
    path = scope.get("path")
    rule = str(evidence.get("rule") or evidence.get("cause") or "")
    slice_name = scope.get("slice_name") or ""
    found = {
        "alert": key,
        "alertname": alert_name(f"{rule} incident" if path is not None else rule),
        "rule": rule,
        "severity": evidence.get("severity"),
        "pillar": evidence.get("pillar") or _PILLARS.get(rule) or pillar_of(rule),
        "model": scope.get("model"),
        "version": scope.get("version"),
        "stage": scope.get("stage"),
        "camera": label(tuple(path)) if path is not None else scope.get("camera"),
        "slice": f"{slice_name}={scope.get('slice_value')}" if slice_name else "",
        "class_name": scope.get("class"),
        "signal": evidence.get("signal"),
        "measure": evidence.get("measure"),
    }
    return {name: str(value or "") for name, value in found.items()}


def facts_of_alert(alert: Alert) -> dict[str, str]:
    """The same of an alert as it stands, told or not."""
    scope, series = alert.series.scope, alert.series
    place = {name: getattr(scope, name) for name in ("model", "version", "stage", "camera")}
    sliced = {"slice_name": scope.slice_name, "slice_value": scope.slice_value, "class": series.class_name}
    said = {"rule": alert.rule, "severity": alert.severity, "signal": series.signal, "measure": alert.measure}
    return facts(alert.key, {**said, "pillar": pillar_of(series.signal), "scope": {**place, **sliced}})


def facts_of_incident(key: str, model: str, version: str, stage: str, incident: Incident) -> dict[str, str]:
    """The same of an incident as it stands."""
    scope = {"model": model, "version": version, "stage": stage, "path": list(incident.scope)}
    return facts(key, {"cause": incident.cause, "severity": "warning", "scope": scope})


def labels_of(opening: AlertEvent) -> dict[str, str]:
    """The labels of an episode; empty ones are left out, for Alertmanager does so too.

    Beside alertname, rule, severity, pillar, model, camera and class_name there are version, stage and slice where
    they are set: two alerts that differ in nothing else would be one, and the end of the first the end of both. For
    the same reason an incident that is told anew because it is worse has the day of that, `worse_since`.
    """
    found = facts(opening.alert_key, opening.evidence)
    wanted = {name: found[name] for name in ("alertname", *_OWN, *_TELLING_APART)}
    wanted["worse_since"] = str(opening.evidence.get("worse_since") or "")
    return {name: value for name, value in wanted.items() if value}


def annotations_of(event: AlertEvent) -> dict[str, str]:
    """All else that is known, as text; what is no text as compact JSON, none longer than `LONGEST`."""
    said = {name: value for name, value in event.evidence.items() if name not in _BULKY and value not in (None, "")}
    known = {
        "summary": event.evidence.get("sentence", ""),
        "alert": event.alert_key,
        "episode": event.episode,
        "state": event.to_state,
        "value": event.value,
        "threshold": event.threshold,
        "n": event.n,
        "window": [event.window.start.isoformat(), event.window.end.isoformat()],
    } | said
    return {name: _text(value) for name, value in known.items() if value not in (None, "")}


def posted(event: AlertEvent, opening: AlertEvent, ends_at: datetime | None) -> dict[str, Any]:
    """An event as Alertmanager takes it in and hands it on; without `ends_at` it has no end yet."""
    known = labels_of(opening)
    return {
        "status": "resolved" if event.to_state == "resolved" else "firing",
        "labels": known,
        "annotations": annotations_of(event),
        "startsAt": opening.decided_at.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z" if ends_at is None else ends_at.isoformat(),
        "fingerprint": fingerprint(known),
    }


def fingerprint(known: Mapping[str, str]) -> str:
    """16 hex digits that stand for a label set."""
    text = "\x1e".join(f"{name}\x1f{value}" for name, value in sorted(known.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def alert_name(rule: str) -> str:
    """`brightness-drift` → `BrightnessDrift`, as Prometheus' alerts are commonly named."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", rule))


def _text(value: object) -> str:
    said = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
