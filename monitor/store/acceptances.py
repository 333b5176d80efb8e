"""Who accepted which baseline in the place of which, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from monitor.store.database import Connection

_COLUMNS = (
    "model, version, accepted_at, accepted_by, reason, old_baseline_id, baseline_id, learn_from, learn_days,"
    " acceptance_id AS id"
)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A person's word that things are as they shall be. `baseline_id` is None while `learn_days` days from
    `learn_from` on are still awaited: until then nothing is judged."""

    model: str
    version: str
    accepted_at: datetime
    accepted_by: str
    reason: str
    old_baseline_id: int | None
    baseline_id: int | None
    learn_from: datetime | None = None
    learn_days: int | None = None
    id: int = 0
    """Given by the store; ascending."""

    def __str__(self) -> str:
        by = f"accepted {self.accepted_at:%Y-%m-%d %H:%M} UTC by {self.accepted_by}: {self.reason}"
        if self.baseline_id is not None or self.learn_from is None:
            return by
        return (
            f"learning {self.learn_days} days from {self.learn_from:%Y-%m-%d} on, nothing is judged until then, {by}"
        )


def record(conn: Connection, accepted: Acceptance) -> None:
    """Write an acceptance down; one that still waits for its days gives way to it."""
    withdraw(conn, accepted.model, accepted.version)
    conn.execute(
        text(
            "INSERT INTO baseline_acceptance (model, version, accepted_at, accepted_by, reason, old_baseline_id,"
            " baseline_id, learn_from, learn_days) VALUES (:model, :version, :accepted_at, :accepted_by, :reason,"
            " :old_baseline_id, :baseline_id, :learn_from, :learn_days)"
        ),
        {name: getattr(accepted, name) for name in Acceptance.__dataclass_fields__ if name != "id"},
    )


def withdraw(conn: Connection, model: str, version: str) -> Acceptance | None:
    """Forget the acceptance of a version whose days are still awaited; returns it, None: there is none."""
    waiting = pending(conn, model, version)
    if waiting is not None:
        conn.execute(
            text("DELETE FROM baseline_acceptance WHERE acceptance_id = :id AND baseline_id IS NULL"),
            {"id": waiting.id},
        )
    return waiting


def pending(conn: Connection, model: str, version: str) -> Acceptance | None:
    """The acceptance of a version whose days are still awaited."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM baseline_acceptance"  # noqa: S608 - constants
            " WHERE model = :model AND version = :version AND baseline_id IS NULL"
        ),
        {"model": model, "version": version},
    )
    found = rows.mappings().one_or_none()
    return None if found is None else Acceptance(**found)


def settle(conn: Connection, acceptance_id: int, baseline_id: int) -> None:
    """The days are there and frozen."""
    conn.execute(
        text("UPDATE baseline_acceptance SET baseline_id = :baseline WHERE acceptance_id = :id"),
        {"id": acceptance_id, "baseline": baseline_id},
    )


def listing(conn: Connection, model: str | None = None) -> list[Acceptance]:
    """Every acceptance (of a model), oldest first."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM baseline_acceptance"  # noqa: S608 - constants
            " WHERE CAST(:model AS text) IS NULL OR model = :model ORDER BY acceptance_id"
        ),
        {"model": model},
    )
    return [Acceptance(**row) for row in rows.mappings()]
