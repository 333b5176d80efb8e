"""The signal that all is well: one row of the outbox, of no event, written again with every signal."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.store.database import Connection

KEY = "deadman"
"""Key and channel of the row. No alert's key looks like it: those are 32 hex digits."""
FRESH_FOR = timedelta(minutes=1)
"""A signal that is older is not sent any more: it says nothing about now."""


def push(conn: Connection, now: datetime) -> None:
    """Say that all is well now; a signal that was not sent yet is written over."""
    conn.execute(
        text(
            "INSERT INTO outbox (delivery_key, event_id, channel, not_before) VALUES (:key, NULL, :key, :now)"
            " ON CONFLICT (delivery_key)"
            " DO UPDATE SET attempts = 0, not_before = :now, sent_at = NULL, last_error = ''"
        ),
        {"key": KEY, "now": now},
    )


def claim(conn: Connection, now: datetime) -> bool:
    """Take the signal, if there is a fresh one that was neither sent nor tried."""
    row = conn.execute(
        text(
            "UPDATE outbox SET attempts = attempts + 1 WHERE delivery_key = :key AND sent_at IS NULL AND attempts = 0"
            " AND not_before BETWEEN :oldest AND :now RETURNING 1"
        ),
        {"key": KEY, "now": now, "oldest": now - FRESH_FOR},
    )
    return row.scalar() is not None


def close(conn: Connection, now: datetime, error: str) -> None:
    """Write how sending it went (`error` empty: well)."""
    conn.execute(
        text(
            "UPDATE outbox SET last_error = :error,"
            " sent_at = CASE WHEN :error = '' THEN CAST(:now AS timestamptz) END"
            " WHERE delivery_key = :key"
        ),
        {"key": KEY, "now": now, "error": error[:500]},
    )
