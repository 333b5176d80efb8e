"""What the pages say of the calibrated lanes: the incidents, and how far the watch is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from monitor.alerts.advice import turns
from monitor.records import AlertEvent, Baseline
from monitor.spec.load import LoadedContract
from monitor.store import acceptances, alerts, incidents, rankings, reporting, watched
from monitor.store.database import Connection
from monitor.watch import ALL_LANES, Incident, label

MOST_STREAMS = 8
"""Streams of one incident that the page links to."""


@dataclass(frozen=True, slots=True)
class Told:
    """An incident, with what people were told of it."""

    key: str
    episode: int
    cause: str
    where: str
    camera: str
    """The camera, where it is one camera's; else empty."""
    members: str
    finding: str
    """As it was when it opened."""
    causes: tuple[Mapping[str, Any], ...]
    """As they are by now, the likeliest first: text, share, signals, first (what to do)."""
    onset: date
    opened_on: date
    last_alarm_on: date
    closed_on: date | None
    closed_because: str
    streams: tuple[tuple[str, str], ...]
    """Camera and lane of the streams that can be looked at, a few; those of the first signal first."""
    events: tuple[AlertEvent, ...]
    """What was told, oldest first."""
    now: str = ""
    """How it looked on the day `as_of`, the last that was gathered."""
    as_of: date | None = None
    turns: tuple[tuple[str, str], ...] = ()
    """What was held likely when, oldest first: days and causes; empty where that never changed."""

    @property
    def name(self) -> str:
        """What people call it by."""
        return self.key if self.episode == 1 else f"{self.key}#{self.episode}"


def incidents_of(
    conn: Connection, model: str, loaded: LoadedContract | None, of: reporting.Produced | None = None
) -> tuple[Told, ...]:
    """The open incidents of a model, or `of` one version's stage alone, the newest first."""
    found = incidents.read(conn, model, open_only=True)
    mine = [one for one in found if of is None or (one.watch.version, one.watch.stage) == (of.version, of.stage)]
    return tuple(_told(conn, one, loaded) for one in mine)


def incident_named(conn: Connection, name: str, loaded: LoadedContract | None) -> tuple[incidents.Kept, Told] | None:
    """The incident of this name, open or closed; without an episode the newest of that key."""
    # A camera may be called cam#2, so that a sign does not yet tell an episode.
    found = [one for one in incidents.read(conn, key=name) if one.key == name]
    if not found:
        key, _, episode = name.rpartition("#")
        found = [one for one in incidents.read(conn, key=key) if (one.key, str(one.episode)) == (key, episode)]
    newest = max(found, key=lambda one: one.episode, default=None)
    return None if newest is None else (newest, _told(conn, newest, loaded))


def _told(conn: Connection, one: incidents.Kept, loaded: LoadedContract | None) -> Told:
    incident = one.incident
    events = tuple(event for event in alerts.events(conn, one.key) if event.episode == one.episode)
    opened = [event.evidence for event in events if event.to_state == "firing"]
    why = opened[-1] if opened else {}
    cameras = sum(1 for member in incident.members if member != incident.scope)
    course = rankings.of(conn, one)
    last = incident.scope[-1] if incident.scope else ""
    is_camera = loaded is not None and bool(last) and loaded.contract.cameras.path_of(last) == incident.scope
    return Told(
        key=one.key,
        episode=one.episode,
        cause=incident.cause,
        where=label(incident.scope) or "all cameras",
        camera=last if is_camera else "",
        members=f"{cameras} camera{'' if cameras == 1 else 's'} within" if cameras else "by itself",
        finding=str(why.get("finding") or why.get("sentence", "")),
        causes=tuple(course[-1].causes if course else why.get("causes", ())),
        onset=incident.onset,
        opened_on=incident.opened_on,
        last_alarm_on=incident.last_alarm_on,
        closed_on=incident.closed_on,
        closed_because=incident.closed_because,
        streams=_streams(incident),
        events=events,
        now=course[-1].finding if course else "",
        as_of=course[-1].day if course else None,
        turns=tuple(turns(why.get("causes", ()), ((said.since, said.day, said.causes) for said in course))),
    )


def _streams(incident: Incident) -> tuple[tuple[str, str], ...]:
    """The cameras that took part (the leaves among its members), each with the lanes of the signals that moved."""
    deepest = max(len(member) for member in incident.members)
    cameras = sorted(member[-1] for member in incident.members if member and len(member) == deepest)
    own = [lane.name for signal in incident.signals for lane in ALL_LANES.values() if lane.signal == signal]
    return tuple((camera, lane) for lane in own for camera in cameras if camera)[:MOST_STREAMS]


def watch_of(conn: Connection, of: reporting.Produced, baseline: Baseline | None) -> str:
    """How far the watch over a version is, as a phrase."""
    if (waiting := acceptances.pending(conn, of.model, of.version)) is not None:
        return str(waiting)
    if baseline is None or baseline.period_start is None:
        return "they learn from the logs of production; freeze a baseline of at least 14 days of it"
    said = watched.progress(conn, of.model, of.version)
    return str(said) if said is not None else "no day after the baseline has been watched yet"
