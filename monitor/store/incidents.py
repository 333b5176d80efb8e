"""Incidents: what people were told of the watch over cameras, and how far its alarms have been gathered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import RowMapping, text

from monitor.store.database import Connection
from monitor.watch import Incident, label

_COLUMNS = (
    "incident_key, episode, model, version, stage, scope, cause, opened_on, onset, signals, members, last_alarm_on,"
    " closed_on, closed_because, baseline_id"
)
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Watch:
    """One version's stage, whose alarms are gathered together."""

    model: str
    version: str
    stage: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An incident as it is stored: the `episode`-th of its scope and cause."""

    key: str
    episode: int
    watch: Watch
    baseline_id: int
    incident: Incident

    @property
    def name(self) -> str:
        """What people call it by: the key, and the episode where it is not the first."""
        return self.key if self.episode == 1 else f"{self.key}#{self.episode}"


@dataclass(frozen=True, slots=True)
class Ungathered:
    """A day that was watched and whose alarms nobody has gathered yet."""

    watch: Watch
    day: date
    baseline_id: int


def key_of(watch: Watch, incident: Incident) -> str:
    """`line/incident/v1/north / line-2 / cam-1/optics`: the same for each episode."""
    version = f"{watch.version}@{watch.stage}" if watch.stage else watch.version
    return f"{watch.model}/incident/{version}/{label(incident.scope) or 'all cameras'}/{incident.cause}"


def ungathered(conn: Connection, model: str) -> list[Ungathered]:
    """The days that are over and watched, after the last one that was gathered, oldest first.

    A day that has to be watched again holds up those after it.
    """
    rows = conn.execute(
        text(
            "SELECT w.version, h.stage, w.day, w.baseline_id FROM watched_day w"
            " JOIN (SELECT DISTINCT baseline_id, stage FROM baseline_hour) h USING (baseline_id)"
            " LEFT JOIN gathered_day g ON g.model = w.model AND g.version = w.version AND g.stage = h.stage"
            " WHERE w.model = :model AND w.hours = 24 AND (g.day IS NULL OR w.day > g.day) AND NOT EXISTS ("
            " SELECT FROM watched_day e WHERE e.model = w.model AND e.version = w.version AND e.frames < 0"
            " AND e.baseline_id = w.baseline_id AND e.day <= w.day) ORDER BY w.day, w.version, h.stage"
        ),
        {"model": model},
    )
    return [Ungathered(Watch(model, version, stage), day, baseline) for version, stage, day, baseline in rows]


def running(conn: Connection, model: str) -> list[Ungathered]:
    """The days that are not over and were looked at, after the last one that was gathered."""
    rows = conn.execute(
        text(
            "SELECT w.version, h.stage, w.day, w.baseline_id FROM watched_day w"
            " JOIN (SELECT DISTINCT baseline_id, stage FROM baseline_hour) h USING (baseline_id)"
            " LEFT JOIN gathered_day g ON g.model = w.model AND g.version = w.version AND g.stage = h.stage"
            " WHERE w.model = :model AND w.hours < 24 AND w.frames >= 0 AND (g.day IS NULL OR w.day > g.day)"
            " ORDER BY w.day, w.version, h.stage"
        ),
        {"model": model},
    )
    return [Ungathered(Watch(model, version, stage), day, baseline) for version, stage, day, baseline in rows]


def advance(conn: Connection, watch: Watch, day: date) -> bool:
    """Take a day for this transaction to gather; False: it, or a later one, has been gathered already."""
    statement = text(
        "INSERT INTO gathered_day (model, version, stage, day) VALUES (:model, :version, :stage, :day)"
        " ON CONFLICT (model, version, stage) DO UPDATE SET day = :day WHERE gathered_day.day < :day RETURNING 1"
    )
    values = {"model": watch.model, "version": watch.version, "stage": watch.stage, "day": day}
    return conn.execute(statement, values).scalar() is not None


def last_days(conn: Connection, model: str) -> dict[str, date]:
    """The last day that was gathered of each version."""
    rows = conn.execute(
        text("SELECT version, max(day) AS day FROM gathered_day WHERE model = :model GROUP BY version"),
        {"model": model},
    )
    return {row.version: row.day for row in rows}


def read(
    conn: Connection, model: str | None = None, *, open_only: bool = False, key: str = "", limit: int = 1000
) -> list[Kept]:
    """Incidents, the newest first, narrowed by whatever is given; `key` is the beginning of one."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM incident"  # noqa: S608 - constants
            " WHERE (CAST(:model AS text) IS NULL OR model = :model) AND (NOT :open OR closed_on IS NULL)"
            " AND starts_with(incident_key, :key)"
            " ORDER BY closed_on IS NOT NULL, opened_on DESC, incident_key, episode DESC LIMIT :limit"
        ),
        {"model": model, "open": open_only, "key": key, "limit": limit},
    )
    return [_kept(row) for row in rows.mappings()]


def open_ones(conn: Connection, watch: Watch) -> list[Kept]:
    """The open incidents of one version's stage; nobody else changes them until the transaction ends."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM incident WHERE model = :model AND version = :version"  # noqa: S608 - constants
            " AND stage = :stage AND closed_on IS NULL ORDER BY incident_key FOR UPDATE"
        ),
        {"model": watch.model, "version": watch.version, "stage": watch.stage},
    )
    return [_kept(row) for row in rows.mappings()]


def of_watch(conn: Connection, watch: Watch) -> list[Kept]:
    """The incidents of one version's stage, open or closed, the newest first."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM incident WHERE model = :model AND version = :version"  # noqa: S608 - constants
            " AND stage = :stage ORDER BY opened_on DESC, incident_key, episode DESC"
        ),
        {"model": watch.model, "version": watch.version, "stage": watch.stage},
    )
    return [_kept(row) for row in rows.mappings()]


def closed_since(conn: Connection, key: str, day: date, because: str) -> bool:
    """Whether an incident of this key was closed on `day` or later for a reason that begins with `because`."""
    statement = text(
        "SELECT EXISTS (SELECT FROM incident WHERE incident_key = :key AND closed_on >= :day"
        " AND starts_with(closed_because, :because))"
    )
    return bool(conn.execute(statement, {"key": key, "day": day, "because": because}).scalar())


def before(conn: Connection, kept: Kept) -> Incident | None:
    """The episode before, of the same scope and cause; None: it is the first."""
    found = [one for one in read(conn, kept.watch.model, key=kept.key) if one.key == kept.key]
    return next((one.incident for one in found if one.episode == kept.episode - 1), None)


def open_new(conn: Connection, watch: Watch, baseline_id: int, incident: Incident) -> Kept:
    """Store an incident that has opened; the schema keeps it from being the second of its scope and cause."""
    key = key_of(watch, incident)
    count = text("SELECT coalesce(max(episode), 0) + 1 FROM incident WHERE incident_key = :key")
    episode = int(conn.execute(count, {"key": key}).scalar_one())
    kept = Kept(key, episode, watch, baseline_id, incident)
    conn.execute(
        text(
            f"INSERT INTO incident ({_COLUMNS})"  # noqa: S608 - constants
            " VALUES (:key, :episode, :model, :version, :stage, :scope, :cause,"
            " :opened_on, :onset, :signals, :members, :last_alarm_on, :closed_on, :closed_because, :baseline_id)"
        ),
        _values(kept),
    )
    return kept


def save(conn: Connection, kept: Kept) -> None:
    """Store what has become of an incident."""
    conn.execute(
        text(
            "UPDATE incident SET signals = :signals, members = :members, last_alarm_on = :last_alarm_on,"
            " closed_on = :closed_on, closed_because = :closed_because"
            " WHERE incident_key = :key AND episode = :episode"
        ),
        _values(kept),
    )


def _values(kept: Kept) -> dict[str, Any]:
    one = kept.incident
    return {
        "key": kept.key,
        "episode": kept.episode,
        "model": kept.watch.model,
        "version": kept.watch.version,
        "stage": kept.watch.stage,
        "scope": list(one.scope),
        "cause": one.cause,
        "opened_on": one.opened_on,
        "onset": one.onset,
        "signals": list(one.signals),
        "members": sorted(_SEPARATOR.join(member) for member in one.members),
        "last_alarm_on": one.last_alarm_on,
        "closed_on": one.closed_on,
        "closed_because": one.closed_because,
        "baseline_id": kept.baseline_id,
    }


def _kept(row: RowMapping) -> Kept:
    incident = Incident(
        tuple(row["scope"]),
        row["cause"],
        row["opened_on"],
        row["onset"],
        tuple(row["signals"]),
        frozenset(tuple(member.split(_SEPARATOR)) if member else () for member in row["members"]),
        row["last_alarm_on"],
        row["closed_on"],
        row["closed_because"],
    )
    watch = Watch(row["model"], row["version"], row["stage"])
    return Kept(row["incident_key"], row["episode"], watch, row["baseline_id"], incident)
