"""Who did what about an alert, and when: a row a deed, never changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text

from monitor.store.database import Connection

Kind = Literal["acknowledged", "resolved", "noted", "silenced", "unsilenced"]


@dataclass(frozen=True, slots=True)
class Deed:
    """`author` did it at `at`, by the command line or with the token named in `via`.

    It is about an episode of an alert (or incident), or about a silence.
    """

    deed: Kind
    author: str
    via: str
    note: str
    at: datetime
    alert_key: str | None = None
    episode: int | None = None
    silence_id: int | None = None


def add(conn: Connection, deed: Deed) -> None:
    """Write a deed down."""
    conn.execute(
        text(
            "INSERT INTO alert_deed (deed, author, via, note, at, alert_key, episode, silence_id)"
            " VALUES (:deed, :author, :via, :note, :at, :alert_key, :episode, :silence_id)"
        ),
        asdict(deed),
    )


def read(
    conn: Connection,
    alert_key: str | None = None,
    *,
    episode: int | None = None,
    silences: Collection[int] = (),
    limit: int = 100,
) -> list[Deed]:
    """Deeds, the newest first: all of them, or those about one alert (one episode of it) and about `silences`."""
    rows = conn.execute(
        text(
            "SELECT deed, author, via, note, at, alert_key, episode, silence_id FROM alert_deed"
            " WHERE CAST(:key AS text) IS NULL OR silence_id = ANY(:silences)"
            " OR (alert_key = :key AND (CAST(:episode AS integer) IS NULL OR episode = :episode))"
            " ORDER BY deed_id DESC LIMIT :limit"
        ),
        {"key": alert_key, "episode": episode, "silences": list(silences), "limit": limit},
    )
    return [Deed(*row) for row in rows]


def acknowledged(conn: Connection, keys: Collection[str]) -> dict[tuple[str, int], Deed]:
    """The first acknowledgement of each episode of `keys` that has one, by (alert key, episode)."""
    rows = conn.execute(
        text(
            "SELECT DISTINCT ON (alert_key, episode) deed, author, via, note, at, alert_key, episode, silence_id"
            " FROM alert_deed WHERE deed = 'acknowledged' AND alert_key = ANY(:keys)"
            " ORDER BY alert_key, episode, deed_id"
        ),
        {"keys": list(keys)},
    )
    return {(row.alert_key, row.episode): Deed(*row) for row in rows}
