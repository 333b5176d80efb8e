"""What the status page says of the calibrated lanes: the open incidents, and how far the watch is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from monitor.records import Baseline
from monitor.store import acceptances, alerts, incidents, reporting, watched
from monitor.store.database import Connection
from monitor.watch import LANES, Incident, label

MOST_STREAMS = 8
"""Streams of one incident that the page links to."""


@dataclass(frozen=True, slots=True)
class Told:
    """An open incident, with the sentence that people were told."""

    key: str
    cause: str
    where: str
    members: str
    finding: str
    causes: tuple[Mapping[str, Any], ...]
    """The likeliest first: text, share, signals, first (what to do)."""
    onset: date
    opened_on: date
    last_alarm_on: date
    streams: tuple[tuple[str, str], ...]
    """Camera and lane of the streams that can be looked at, a few."""


def incidents_of(conn: Connection, of: reporting.Produced) -> tuple[Told, ...]:
    """The open incidents of a version's stage, the newest first."""
    found = []
    for one in incidents.read(conn, of.model, open_only=True):
        if (one.watch.version, one.watch.stage) == (of.version, of.stage):
            incident = one.incident
            events = [event for event in alerts.events(conn, one.key) if event.episode == one.episode]
            why = events[-1].evidence if events else {}
            said = str(why.get("finding") or why.get("sentence", ""))
            likely = tuple(why.get("causes", ()))
            cameras = sum(1 for member in incident.members if member != incident.scope)
            members = f"{cameras} camera{'' if cameras == 1 else 's'} within" if cameras else "by itself"
            where = label(incident.scope) or "all cameras"
            days = (incident.onset, incident.opened_on, incident.last_alarm_on)
            found.append(Told(one.key, incident.cause, where, members, said, likely, *days, _streams(incident)))
    return tuple(found)


def _streams(incident: Incident) -> tuple[tuple[str, str], ...]:
    """The cameras that took part (the leaves among its members), each with the lanes of the signals that moved."""
    deepest = max(len(member) for member in incident.members)
    cameras = sorted(member[-1] for member in incident.members if member and len(member) == deepest)
    own = [lane.name for lane in LANES.values() if lane.signal in incident.signals]
    return tuple((camera, lane) for camera in cameras if camera for lane in own)[:MOST_STREAMS]


def watch_of(conn: Connection, of: reporting.Produced, baseline: Baseline | None) -> str:
    """How far the watch over a version is, as a phrase."""
    if (waiting := acceptances.pending(conn, of.model, of.version)) is not None:
        return str(waiting)
    if baseline is None or baseline.period_start is None:
        return "they learn from the logs of production; freeze a baseline of at least 14 days of it"
    said = watched.progress(conn, of.model, of.version)
    return str(said) if said is not None else "no day after the baseline has been watched yet"
