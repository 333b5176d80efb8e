"""The lease: which process leads, and the fence that keeps everyone else's writes out.

One row holds an epoch, which only grows. Each transaction of the leader first locks the row of its epoch FOR KEY
SHARE; a take-over changes the epoch, so it waits for those transactions, and each one that begins after it finds its
epoch gone. A stale leader therefore writes nothing, whenever it wakes. So that one which is stopped in the middle
holds nobody up, whoever takes over first ends its sessions; they are known by the name that the fence gives them.
All times are the server's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.errors import NotLeading
from monitor.store.database import Connection

_SESSION = "monitor leader "
_PATIENCE = "2s"
"""How long a take-over waits for transactions of the leader before; their sessions are being ended."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, or led last. `in_force`: `until` is still to come."""

    epoch: int
    holder: str
    since: datetime
    until: datetime
    in_force: bool


def standing(conn: Connection) -> Leader | None:
    """Who has the lease; None: nobody ever had it."""
    row = conn.execute(
        text("SELECT epoch, holder, since, until, until > clock_timestamp() FROM leader")
    ).one_or_none()
    return None if row is None else Leader(*row)


def renew(conn: Connection, epoch: int, length: timedelta) -> bool:
    """Let the lease of `epoch` last for `length` from now; False: another process has taken over."""
    statement = text("UPDATE leader SET until = clock_timestamp() + :length WHERE epoch = :epoch")
    return conn.execute(statement, {"epoch": epoch, "length": length}).rowcount == 1


def end_sessions(conn: Connection) -> int:
    """End what the leader before still has open, if its lease has run out; returns how many sessions that were."""
    statement = text(
        "SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM leader l JOIN pg_stat_activity a"
        " ON a.application_name = :name || l.epoch WHERE l.until < clock_timestamp()"
        " AND a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()"
    )
    return int(conn.execute(statement, {"name": _SESSION}).scalar_one())


def take(conn: Connection, holder: str, length: timedelta) -> int | None:
    """Take the lease if nobody has it; returns the new epoch, None where somebody has it.

    Raises:
        TryAgain: a transaction of the leader before is still open.
    """
    values = {"holder": holder, "length": length}
    first = text(
        "INSERT INTO leader (epoch, holder, since, until)"
        " VALUES (1, :holder, clock_timestamp(), clock_timestamp() + :length) ON CONFLICT (alone) DO NOTHING"
        " RETURNING epoch"
    )
    after = text(
        "UPDATE leader SET epoch = epoch + 1, holder = :holder, since = clock_timestamp(),"
        " until = clock_timestamp() + :length WHERE until < clock_timestamp() RETURNING epoch"
    )
    conn.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
    taken: int | None = conn.execute(first, values).scalar()
    return taken if taken is not None else conn.execute(after, values).scalar()


def release(conn: Connection, epoch: int) -> None:
    """Give the lease back; whoever looks next takes it."""
    conn.execute(text("UPDATE leader SET until = clock_timestamp() WHERE epoch = :epoch"), {"epoch": epoch})


def fence(conn: Connection, epoch: int) -> None:
    """Let the transaction of `conn` go on only while `epoch` leads; nobody takes over until it has ended.

    Raises:
        NotLeading: another process has taken over.
    """
    _enter(conn, epoch, "FOR KEY SHARE")


def mark(conn: Connection, epoch: int) -> None:
    """Mark the transaction of `conn` as one of `epoch`, so that whoever takes over ends it; it must write nothing.

    For one that stays open as long as a job works: with a lock on a row it would keep vacuum from its work as long.

    Raises:
        NotLeading: another process has taken over.
    """
    _enter(conn, epoch, "")


def _enter(conn: Connection, epoch: int, lock: str) -> None:
    statement = text(
        f"SELECT set_config('application_name', :name || epoch, true) FROM leader WHERE epoch = :epoch {lock}"  # noqa: S608
    )
    if conn.execute(statement, {"epoch": epoch, "name": _SESSION}).scalar() is None:
        now = standing(conn)
        raise NotLeading(
            f"this process led in epoch {epoch} and does not any more"
            + (f": {now.holder} leads in epoch {now.epoch}" if now is not None else "")
            + "; nothing of this was kept, and the leader does it"
        )
