"""The processes that take records in, and how far they have come together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.store.database import Connection

GONE_AFTER = timedelta(seconds=10)
"""A process that was not seen for so long is not waited for."""
_FORGOTTEN_AFTER = timedelta(days=1)
# The one that was seen last is asked whatever its age: by hand, a while may pass between two commands.
_ALIVE = "(seen_at > clock_timestamp() - :gone OR seen_at = (SELECT max(seen_at) FROM worker))"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process. `through`: start of its newest intake that came to its end; `error`: what the last failed of."""

    name: str
    seen_at: datetime
    through: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Intake:
    """How far the intake of all that are alive has come."""

    through: datetime | None
    """What there was to take in by then is taken in, at every one. None: no intake ever came to its end."""
    error: str
    """What the newest intake of one of them failed of; empty: of none."""


def see(conn: Connection, name: str) -> None:
    """Note that a process is alive, and forget those that have not been for a day."""
    conn.execute(
        text(
            "INSERT INTO worker (name, seen_at) VALUES (:name, clock_timestamp())"
            " ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp()"
        ),
        {"name": name},
    )
    conn.execute(
        text("DELETE FROM worker WHERE name <> :name AND seen_at < clock_timestamp() - :long"),
        {"name": name, "long": _FORGOTTEN_AFTER},
    )


def took_in(conn: Connection, name: str, began: datetime, error: str) -> None:
    """Note that an intake of a process, which `began` then, has ended (`error` empty: well)."""
    conn.execute(
        text(
            "INSERT INTO worker (name, seen_at, through, error)"
            " VALUES (:name, clock_timestamp(), CASE WHEN :error = '' THEN CAST(:began AS timestamptz) END, :error)"
            " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at,"
            " through = coalesce(excluded.through, worker.through), error = excluded.error"
        ),
        {"name": name, "began": began, "error": error[:2000]},
    )


def leave(conn: Connection, name: str) -> None:
    """A process ends in order: nobody waits for it."""
    conn.execute(text("DELETE FROM worker WHERE name = :name"), {"name": name})


def intake(conn: Connection) -> Intake:
    """How far the processes that are alive have come together."""
    statement = text(f"SELECT min(through), coalesce(max(error), '') FROM worker WHERE {_ALIVE}")  # noqa: S608
    return Intake(*conn.execute(statement, {"gone": GONE_AFTER}).one())


def alive(conn: Connection) -> list[Worker]:
    """The processes that are alive, or the one that was seen last, by name."""
    statement = text(f"SELECT name, seen_at, through, error FROM worker WHERE {_ALIVE} ORDER BY name")  # noqa: S608
    return [Worker(*row) for row in conn.execute(statement, {"gone": GONE_AFTER})]
