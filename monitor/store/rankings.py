"""What was said of an incident as it went on: its likely causes and how it looked, day by day.

A row is a run of days on which the causes stood in one order: the next day goes on with it, another order begins a
new one. So what was said when is there to be read, and an incident of a year is a few rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import text

from monitor.store.database import Connection
from monitor.store.incidents import Kept


@dataclass(frozen=True, slots=True)
class Said:
    """What was said from `since` to `day`: likely causes, the likeliest first, and a sentence, both as of `day`."""

    since: date
    day: date
    causes: Sequence[dict[str, Any]]
    finding: str


def say(conn: Connection, kept: Kept, said: Said) -> None:
    """Write down what is said of an incident on a day that comes after those that were; without causes the last ones
    go on."""
    before = next(iter(of(conn, kept)[-1:]), None)
    causes = said.causes or (before.causes if before else [])
    goes_on = before is not None and [c["name"] for c in before.causes] == [c["name"] for c in causes]
    conn.execute(
        text(
            "INSERT INTO incident_said (incident_key, episode, since, day, causes, finding)"
            " VALUES (:key, :episode, :since, :day, cast(:causes AS jsonb), :finding)"
            " ON CONFLICT (incident_key, episode, since) DO UPDATE SET day = :day, causes = cast(:causes AS jsonb),"
            " finding = :finding"
        ),
        {
            "key": kept.key,
            "episode": kept.episode,
            "since": before.since if before is not None and goes_on else said.since,
            "day": said.day,
            "causes": json.dumps(causes, allow_nan=False),
            "finding": said.finding,
        },
    )


def latest(conn: Connection, keys: Sequence[str]) -> dict[tuple[str, int], Said]:
    """What was said last of these incidents, by key and episode."""
    rows = conn.execute(
        text(
            "SELECT DISTINCT ON (incident_key, episode) incident_key, episode, since, day, causes, finding"
            " FROM incident_said WHERE incident_key = ANY(:keys) ORDER BY incident_key, episode, since DESC"
        ),
        {"keys": list(keys)},
    )
    return {(row[0], row[1]): Said(*row[2:]) for row in rows}


def of(conn: Connection, kept: Kept) -> list[Said]:
    """Everything that was said of an incident after it had opened, oldest first."""
    rows = conn.execute(
        text(
            "SELECT since, day, causes, finding FROM incident_said WHERE incident_key = :key AND episode = :episode"
            " ORDER BY since"
        ),
        {"key": kept.key, "episode": kept.episode},
    )
    return [Said(*row) for row in rows]
