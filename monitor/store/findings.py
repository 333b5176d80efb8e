"""What the auditor found wrong, and what it asks the database to find that out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.store.database import Connection
from monitor.upkeep import Finding

_HABIT_OF = timedelta(days=14)
# A source is known by the hours in which it sent: at least a day's worth of them.
_SILENT = text("""
    WITH late AS (
        SELECT source, max(last_at) AS last_at FROM intake_total WHERE outcome = 'batch' GROUP BY source
        HAVING max(last_at) < :now - interval '1 hour' AND max(last_at) > :now - CAST(:habit_of AS interval)
    ), hours AS (
        SELECT DISTINCT l.source, l.last_at, date_trunc('hour', b.received_at) AS hour
        FROM late l JOIN batch b ON b.source = l.source AND b.received_at > l.last_at - CAST(:habit_of AS interval)
    ), gaps AS (
        SELECT source, last_at, lead(hour) OVER (PARTITION BY source ORDER BY hour) - hour AS gap FROM hours
    )
    SELECT source, last_at, max(gap) FROM gaps GROUP BY source, last_at
    HAVING count(*) >= 24 AND :now - last_at > 1.5 * max(gap) ORDER BY last_at LIMIT 100
""")
_UNTAKEN = text("""
    SELECT channel, count(*), min(due), max(last_error)
    FROM (SELECT o.channel, o.last_error, coalesce(o.due_at, e.decided_at) AS due
          FROM outbox o JOIN alert_event e USING (event_id) WHERE o.sent_at IS NULL AND o.given_up_at IS NULL) open
    WHERE due < :due_before GROUP BY channel ORDER BY channel
""")
_GOLDEN = text("""
    SELECT * FROM (
        SELECT DISTINCT ON (model, kind, version) model, kind, version, status, reason, started_at FROM golden_run
        WHERE status <> 'running' ORDER BY model, kind, version, run_id DESC) newest
    WHERE status <> 'done'
""")


@dataclass(frozen=True, slots=True)
class Silent:
    """A source that sends no more: when it did last, and its longest pause in the two weeks before."""

    source: str
    last_at: datetime
    longest_pause: timedelta


@dataclass(frozen=True, slots=True)
class Untaken:
    """Messages that a channel has not taken for a while: how many, due since when, and what it says."""

    channel: str
    messages: int
    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class GoldenTrouble:
    """The newest run of a version's golden or challenge set, which did not come off as it should."""

    model: str
    kind: str
    version: str
    status: str
    reason: str
    at: datetime


def replace(conn: Connection, checks: Iterable[str], found: Iterable[Finding], now: datetime) -> None:
    """Let `found` be all that the `checks` find now; what was found before keeps its beginning."""
    kept = list(found)
    for one in kept:
        conn.execute(
            text(
                "INSERT INTO finding (check_name, subject, sentence, since, seen_at)"
                " VALUES (:check, :subject, :sentence, :now, :now) ON CONFLICT (check_name, subject)"
                " DO UPDATE SET sentence = excluded.sentence, seen_at = excluded.seen_at"
            ),
            {"check": one.check, "subject": one.subject, "sentence": one.sentence, "now": now},
        )
    conn.execute(
        text(
            "DELETE FROM finding WHERE check_name = ANY(:checks) AND (check_name, subject) NOT IN"
            " (SELECT * FROM unnest(CAST(:kept_checks AS text[]), CAST(:kept_subjects AS text[])))"
        ),
        {
            "checks": list(checks),
            "kept_checks": [one.check for one in kept],
            "kept_subjects": [one.subject for one in kept],
        },
    )


def standing(conn: Connection, check: str | None = None) -> list[Finding]:
    """What stands, the oldest first; of one check alone if one is named."""
    rows = conn.execute(
        text(
            "SELECT check_name, subject, sentence, since FROM finding"
            " WHERE CAST(:check AS text) IS NULL OR check_name = :check ORDER BY since, check_name, subject"
        ),
        {"check": check},
    )
    return [Finding(*row) for row in rows]


def silent(conn: Connection, now: datetime) -> list[Silent]:
    """Sources that have been silent for half as long again as they ever are, and for more than an hour.

    One that has not sent on 24 different hours has no habit yet; after two weeks of silence it is taken to be gone.
    """
    return [Silent(*row) for row in conn.execute(_SILENT, {"now": now, "habit_of": _HABIT_OF})]


def untaken(conn: Connection, due_before: datetime) -> list[Untaken]:
    """Messages that could have been sent before a moment and were not; one that a silence holds back could not."""
    return [Untaken(*row) for row in conn.execute(_UNTAKEN, {"due_before": due_before})]


def golden_trouble(conn: Connection) -> list[GoldenTrouble]:
    """Versions whose newest run of a golden or challenge set ended in an error, or not on the provider it should."""
    return [GoldenTrouble(*row) for row in conn.execute(_GOLDEN)]
