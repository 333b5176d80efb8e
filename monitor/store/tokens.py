"""Tokens of access. Of a token only its SHA-256 is kept: nobody can read it back, from here or from a dump."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from monitor.errors import UsageError
from monitor.store.database import Connection

SCOPES = ("ingest", "read", "review", "operate")
"""What a token may be for. None includes another."""
WRITING = ("ingest", "review")
"""The scopes that write, as one source only."""
_PREFIX = "monitor_"
"""So that a token is recognised where it should not stand, by people and by scanners for secrets."""
_USE_NOTED = timedelta(minutes=1)
"""A use is written down again after this long: not every request is to write."""

_COLUMNS = "token_id, name, source, scopes, created_at, expires_at, revoked_at, last_used_at"


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token: everything but the token. `source`: whom it writes as; empty if it cannot write."""

    id: int
    name: str
    source: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None

    def in_force(self, now: datetime) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and now < self.expires_at


def issue(
    conn: Connection, name: str, source: str, scopes: Sequence[str], now: datetime, expires_at: datetime
) -> str:
    """Make a token and return it: the only time that anybody can know it.

    Raises:
        UsageError: a token of this name is there already.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    row = {"name": name, "source": source, "scopes": sorted(set(scopes)), "sha256": digest(token)}
    made = conn.execute(
        text(
            "INSERT INTO access_token (name, source, scopes, sha256, created_at, expires_at)"
            " VALUES (:name, :source, :scopes, :sha256, :now, :expires_at)"
            " ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING token_id"
        ),
        {**row, "now": now, "expires_at": expires_at},
    ).first()
    if made is None:
        raise UsageError(f"there is a token called {name!r} already; choose another name, or revoke that one first")
    return token


def find(conn: Connection, sha256: bytes, now: datetime) -> Token | None:
    """The token with this hash, whether it is in force or not; None: there is none. Its use is noted."""
    row = conn.execute(
        text(f"SELECT sha256, {_COLUMNS} FROM access_token WHERE sha256 = :sha256"),  # noqa: S608
        {"sha256": sha256},
    ).first()
    if row is None or not hmac.compare_digest(bytes(row[0]), sha256):
        return None
    token = _token(row[1:])
    if token.in_force(now) and (token.last_used_at is None or token.last_used_at <= now - _USE_NOTED):
        conn.execute(
            text("UPDATE access_token SET last_used_at = :now WHERE token_id = :id"), {"now": now, "id": token.id}
        )
    return token


def listing(conn: Connection) -> list[Token]:
    """Every token there ever was, the newest first."""
    rows = conn.execute(text(f"SELECT {_COLUMNS} FROM access_token ORDER BY token_id DESC"))  # noqa: S608
    return [_token(row) for row in rows]


def revoke(conn: Connection, name: str, now: datetime) -> bool:
    """End a token at once; returns whether there was one of that name to end."""
    done = conn.execute(
        text("UPDATE access_token SET revoked_at = :now WHERE name = :name AND revoked_at IS NULL"),
        {"name": name, "now": now},
    )
    return bool(done.rowcount)


def digest(token: str) -> bytes:
    """What is kept of a token: 32 bytes of SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _token(row: Sequence[Any]) -> Token:
    number, name, source, scopes, *times = row
    return Token(number, name, source, frozenset(scopes), *times)
