"""Job runs: what ran, when, and how it ended. The scheduler only ticks; the truth stands here.

A run is `hold` (one process at a time), `claim` (each scheduled time once), the work, `finish`. The lock of `hold`
lives and dies with its transaction, so whoever gets it knows that a run still marked `running` was cut off.
What every process does for itself is neither held nor claimed, only finished; the last to finish a turn has the word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.store.database import Connection

_HEALTH = text("""
    SELECT j.job, done.finished_at, coalesce(done.did, 0), failed.finished_at, coalesce(failed.error, ''),
        running.started_at
    FROM unnest(cast(:jobs AS text[])) WITH ORDINALITY j (job, place)
    LEFT JOIN LATERAL (
        SELECT * FROM job_run r WHERE r.job = j.job AND r.state = 'done'
        ORDER BY scheduled_for DESC LIMIT 1) done ON true
    LEFT JOIN LATERAL (
        SELECT * FROM job_run r WHERE r.job = j.job AND r.state = 'failed'
        ORDER BY scheduled_for DESC LIMIT 1) failed ON true
    LEFT JOIN LATERAL (
        SELECT * FROM job_run r WHERE r.job = j.job AND r.state = 'running'
        ORDER BY scheduled_for DESC LIMIT 1) running ON true
    ORDER BY j.place
""")
_HISTORY_RUNS = 100
_HISTORY_AT_LEAST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class JobHealth:
    """How one job has fared; times are None where nothing of the kind has happened."""

    job: str
    done_at: datetime | None
    did: int
    failed_at: datetime | None
    error: str
    started_at: datetime | None
    """Start of a run that is under way (or was cut off and not yet noticed)."""

    def overdue(self, every: timedelta, now: datetime) -> bool:
        """Whether three turns and a minute have gone by without a good run; a job that never ran is not overdue."""
        return self.done_at is not None and now - self.done_at > 3 * every + timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a job has come."""

    through: datetime | None
    """Start of its newest good run: what there was to do by then is done. None: it never had one."""
    error: str
    """What its newest run failed of; empty where that was a good one, or is still under way."""


def hold(conn: Connection, job: str) -> bool:
    """Take `job` for as long as the transaction of `conn` stays open; False: another process is at it."""
    statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended('monitor.job.' || :job, 0))")
    return bool(conn.execute(statement, {"job": job}).scalar_one())


def claim(conn: Connection, job: str, scheduled_for: datetime, now: datetime, *, again: bool = False) -> bool:
    """Enter the run; False: this scheduled time has been done already. Call it under `hold`.

    Runs of the job that a kill left `running` are closed as failed; one of this very time is taken over. `again`
    repeats a run that was done, which a person who asks for it may.
    """
    cut_off = text(
        "UPDATE job_run SET state = 'failed', finished_at = :now, error = 'the process ended before the run did'"
        " WHERE job = :job AND state = 'running' AND scheduled_for <> :at"
    )
    enter = text(
        "INSERT INTO job_run (job, scheduled_for, started_at, state) VALUES (:job, :at, :now, 'running')"
        " ON CONFLICT (job, scheduled_for) DO UPDATE"
        " SET started_at = :now, finished_at = NULL, state = 'running', did = 0, error = ''"
        " WHERE job_run.state <> 'done' OR :again RETURNING 1"
    )
    values = {"job": job, "at": scheduled_for, "now": now, "again": again}
    conn.execute(cut_off, values)
    return conn.execute(enter, values).scalar() is not None


def finish(
    conn: Connection,
    job: str,
    scheduled_for: datetime,
    began: datetime,
    ended: datetime,
    *,
    every: timedelta,
    did: int,
    error: str,
) -> None:
    """Write how the run ended (`error` empty: done) and drop runs older than 100 turns and a day."""
    conn.execute(
        text(
            "INSERT INTO job_run (job, scheduled_for, started_at, finished_at, state, did, error)"
            " VALUES (:job, :at, :began, :ended, :state, :did, :error) ON CONFLICT (job, scheduled_for) DO UPDATE"
            " SET started_at = :began, finished_at = :ended, state = :state, did = :did, error = :error"
        ),
        {
            "job": job,
            "at": scheduled_for,
            "began": began,
            "ended": ended,
            "state": "failed" if error else "done",
            "did": did,
            "error": error[:2000],
        },
    )
    oldest = scheduled_for - max(_HISTORY_AT_LEAST, _HISTORY_RUNS * every)
    conn.execute(
        text("DELETE FROM job_run WHERE job = :job AND scheduled_for < :oldest"), {"job": job, "oldest": oldest}
    )


def standing(conn: Connection, job: str, now: datetime) -> Standing:
    """How far `job` had come by `now`; runs of later turns, which another clock may have left, do not count."""
    statement = text(
        "SELECT (SELECT started_at FROM job_run WHERE job = :job AND scheduled_for <= :now AND state = 'done'"
        " ORDER BY scheduled_for DESC LIMIT 1),"
        " coalesce((SELECT error FROM job_run WHERE job = :job AND scheduled_for <= :now"
        " ORDER BY scheduled_for DESC LIMIT 1), '')"
    )
    return Standing(*conn.execute(statement, {"job": job, "now": now}).one())


def health(conn: Connection, jobs: Sequence[str]) -> list[JobHealth]:
    """How each of `jobs` has fared, in the order given."""
    return [JobHealth(*row) for row in conn.execute(_HEALTH, {"jobs": list(jobs)})]
