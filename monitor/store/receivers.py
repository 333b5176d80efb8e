"""How each receiver of messages fares: failures in a row, until when it is left alone, when it was told again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlalchemy import text

from monitor.store.database import Connection


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver. Nothing is tried before `closed_until`; `refreshed_at`: when it was told what is still on."""

    channel: str
    failures: int = 0
    closed_until: datetime | None = None
    last_sent_at: datetime | None = None
    last_failed_at: datetime | None = None
    last_error: str = ""
    refreshed_at: datetime | None = None

    def is_closed(self, now: datetime) -> bool:
        """Whether it is left alone at `now`."""
        return self.closed_until is not None and now < self.closed_until


_NAMES = [field.name for field in fields(Receiver)]


def read(conn: Connection) -> dict[str, Receiver]:
    """Every receiver that anything was ever sent to, by channel."""
    rows = conn.execute(text(f"SELECT {', '.join(_NAMES)} FROM receiver ORDER BY channel"))  # noqa: S608 - constants
    return {row.channel: Receiver(*row) for row in rows}


def save(conn: Connection, receiver: Receiver) -> None:
    """Store how a receiver fares, but for its `refreshed_at`."""
    names = [name for name in _NAMES if name != "refreshed_at"]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    conn.execute(
        text(
            f"INSERT INTO receiver ({', '.join(names)})"  # noqa: S608 - constants
            f" VALUES ({', '.join(f':{name}' for name in names)})"
            f" ON CONFLICT (channel) DO UPDATE SET {changes}"
        ),
        asdict(receiver),
    )


def take_turn(conn: Connection, channel: str, now: datetime, before: datetime) -> bool:
    """Whether it is this worker's turn to tell a receiver what is still on: nobody did since `before`."""
    statement = text(
        "INSERT INTO receiver (channel, refreshed_at) VALUES (:channel, :now)"
        " ON CONFLICT (channel) DO UPDATE SET refreshed_at = :now"
        " WHERE receiver.refreshed_at IS NULL OR receiver.refreshed_at <= :before RETURNING 1"
    )
    return conn.execute(statement, {"channel": channel, "now": now, "before": before}).scalar() is not None
