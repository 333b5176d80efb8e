"""Silences: which alerts nobody is to be told of for a while, by whom and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from monitor.store.database import Connection

_COLUMNS = "silence_id, matchers, author, reason, starts_at, ends_at, lifted_at"


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that fit all `matchers` (`name=value`, `name!=value`) are told to nobody from `starts_at` to its end."""

    id: int
    matchers: tuple[str, ...]
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    lifted_at: datetime | None = None

    @property
    def over_at(self) -> datetime:
        """When it ends, or was ended."""
        return self.ends_at if self.lifted_at is None else min(self.lifted_at, self.ends_at)

    def in_force(self, now: datetime) -> bool:
        """Whether it silences anything at `now`."""
        return self.starts_at <= now < self.over_at


def add(conn: Connection, silence: Silence) -> int:
    """Store a new silence; returns its number."""
    statement = text(
        "INSERT INTO silence (matchers, author, reason, starts_at, ends_at)"
        " VALUES (:matchers, :author, :reason, :starts_at, :ends_at) RETURNING silence_id"
    )
    values = {
        "matchers": list(silence.matchers),
        "author": silence.author,
        "reason": silence.reason,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
    }
    return int(conn.execute(statement, values).scalar_one())


def lift(conn: Connection, silence_id: int, now: datetime) -> Silence | None:
    """End a silence that is in force; None: there is none of that number in force.

    What it held back is due at once.
    """
    row = conn.execute(
        text(
            f"UPDATE silence SET lifted_at = :now WHERE silence_id = :id"  # noqa: S608 - constants
            f" AND lifted_at IS NULL AND ends_at > :now RETURNING {_COLUMNS}"
        ),
        {"id": silence_id, "now": now},
    ).one_or_none()
    if row is None:
        return None
    conn.execute(
        text(
            "UPDATE outbox SET not_before = :now, due_at = :now"
            " WHERE held_by = :id AND sent_at IS NULL AND given_up_at IS NULL"
        ),
        {"id": silence_id, "now": now},
    )
    return _silence(row)


def read(conn: Connection, at: datetime | None = None, limit: int = 1000, *, hold: bool = False) -> list[Silence]:
    """Silences, the newest first; with `at` those alone that are in force then. `hold`: nobody ends them early until
    the transaction does."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM silence"  # noqa: S608 - constants
            " WHERE CAST(:at AS timestamptz) IS NULL"
            " OR (starts_at <= :at AND ends_at > :at AND (lifted_at IS NULL OR lifted_at > :at))"
            f" ORDER BY silence_id DESC LIMIT :limit {'FOR SHARE' if hold else ''}"
        ),
        {"at": at, "limit": limit},
    )
    return [_silence(row) for row in rows]


def _silence(row: Row[Any]) -> Silence:
    number, matchers, *rest = tuple(row)
    return Silence(number, tuple(matchers), *rest)
