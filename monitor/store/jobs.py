"""Job runs: what ran, when, and how it ended. The scheduler only ticks; the truth stands here.

Every turn of a job has one row, which comes to one final state and keeps it: `done`, `failed`, or `skipped` with the
reason. A run is `hold` (one process at a time), `claim` (each turn once), the work, `finish`. The lock of `hold`
lives and dies with its transaction, so whoever gets it knows that a run still marked `running` was cut off. What
every process does for itself is neither held nor claimed, only noted; the first to end a turn has the word. There,
turns one after the other in which nothing was to do share a row for up to an hour: it bears the first one's time, and
`started_at` and `finished_at` of the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.records import EPOCH
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
# Turns between the newest one that has a row and `at`. A day's turn has its row even where the job's own `every` was
# another then: the turns are counted anew from the epoch. A noted run begins in its turn, and the last one of those
# that share a row says up to where it reaches; a claimed one may make up for a turn of long ago.
_SKIP = text("""
    INSERT INTO job_run (job, scheduled_for, started_at, finished_at, state, error)
    SELECT :job, turn, :now, :now, 'skipped', CASE WHEN turn < last.finished_at THEN :busy ELSE :missed END
    FROM (SELECT CASE WHEN :noted THEN greatest(scheduled_for, started_at) ELSE scheduled_for END AS at, finished_at
          FROM job_run WHERE job = :job AND scheduled_for < :at ORDER BY scheduled_for DESC LIMIT 1) last,
        generate_series(date_bin(:every, greatest(last.at, :oldest), :epoch) + :every,
                        CAST(:at AS timestamptz) - :every, :every) turn
    ON CONFLICT (job, scheduled_for) DO NOTHING
""")
# Not what keys the row: Postgres then writes it anew in its place, and no index.
_GO_ON = text("""
    UPDATE job_run SET started_at = greatest(started_at, :began), finished_at = greatest(finished_at, :ended)
    WHERE job = :job AND state = 'done' AND did = 0 AND scheduled_for > :at - :longest AND scheduled_for = (
        SELECT max(scheduled_for) FROM job_run WHERE job = :job AND scheduled_for <= :at)
""")
_IDLE = timedelta(hours=1)
"""How long runs that find nothing to do share a row."""
_HISTORY_RUNS = 3000
_HISTORY_AT_LEAST = timedelta(days=1)
SLACK = timedelta(minutes=1)
"""What is granted beyond three turns before a job is overdue."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a job: every so often, counted from 1970-01-01 UTC. By hand, any time may be given."""

    job: str
    at: datetime
    every: timedelta

    @property
    def oldest(self) -> datetime:
        """Turns before are forgotten: 3,000 are kept, and at least a day of them."""
        return self.at - max(_HISTORY_AT_LEAST, _HISTORY_RUNS * self.every)

    def values(self) -> dict[str, object]:
        """As parameters of a statement."""
        return {"job": self.job, "at": self.at, "every": self.every, "oldest": self.oldest, "epoch": EPOCH}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; `error` empty: well."""

    began: datetime
    at: datetime
    did: int
    error: str


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

    def overdue(self, every: timedelta, now: datetime, may_take: timedelta = timedelta(0)) -> bool:
        """Whether three turns and a minute have gone by without a good run; a job that never ran is not overdue.

        `may_take`: how long a single run may last before that is asked.
        """
        if self.started_at is not None and now - self.started_at <= may_take:
            return False
        return self.done_at is not None and now - self.done_at > 3 * every + SLACK


def hold(conn: Connection, job: str) -> bool:
    """Take `job` for as long as the transaction of `conn` stays open; False: another process is at it."""
    statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended('monitor.job.' || :job, 0))")
    return bool(conn.execute(statement, {"job": job}).scalar_one())


def claim(conn: Connection, turn: Turn, now: datetime, *, again: bool = False) -> bool:
    """Enter the run; False: this turn has its final state already. Call it under `hold`.

    Runs that were cut off are closed as failed; one of this very turn is taken over. The turns since the newest one
    that has a row are entered as skipped. `again` repeats a run whatever became of it, which a person who asks for
    it may, and skips nothing.
    """
    cut_off = text(
        "UPDATE job_run SET state = 'failed', finished_at = :now,"
        " error = CASE WHEN error = '' THEN 'the process ended before the run did' ELSE error END"
        " WHERE job = :job AND state = 'running' AND scheduled_for <> :at"
    )
    enter = text(
        "INSERT INTO job_run (job, scheduled_for, started_at, state) VALUES (:job, :at, :now, 'running')"
        " ON CONFLICT (job, scheduled_for) DO UPDATE"
        " SET started_at = :now, finished_at = NULL, state = 'running', did = 0, error = ''"
        " WHERE job_run.state = 'running' OR :again RETURNING 1"
    )
    conn.execute(cut_off, {"job": turn.job, "at": turn.at, "now": now})
    if not again:
        _skip(conn, turn, now, "no run began in this turn: nobody led, or the job had to wait", noted=False)
    values = {"job": turn.job, "at": turn.at, "now": now, "again": again}
    return conn.execute(enter, values).scalar() is not None


def finish(conn: Connection, turn: Turn, ended: Ended) -> None:
    """Write how a claimed run ended, and forget the oldest."""
    conn.execute(
        text(
            "UPDATE job_run SET finished_at = :ended, state = :state, did = :did, error = :error"
            " WHERE job = :job AND scheduled_for = :at AND state = 'running'"
        ),
        _ending(turn, ended),
    )
    _forget(conn, turn)


def interrupt(conn: Connection, turn: Turn, error: str) -> None:
    """Write what cut a claimed run off: it has no final state yet, for it is tried again in this turn."""
    conn.execute(
        text("UPDATE job_run SET error = :error WHERE job = :job AND scheduled_for = :at AND state = 'running'"),
        {"job": turn.job, "at": turn.at, "error": error[:2000]},
    )


def note(conn: Connection, turn: Turn, ended: Ended, *, again: bool = False) -> None:
    """Write how a run ended that was not claimed; what another process wrote of this turn stands, unless `again`."""
    said = _ending(turn, ended)
    if not again:
        _skip(conn, turn, ended.at, "no run of this turn had ended when one of a later turn did", noted=True)
        idle = not ended.did and not ended.error
        if idle and conn.execute(_GO_ON, {**said, "longest": _IDLE}).rowcount:
            return
    conn.execute(
        text(
            "INSERT INTO job_run (job, scheduled_for, started_at, finished_at, state, did, error)"
            " VALUES (:job, :at, :began, :ended, :state, :did, :error) ON CONFLICT (job, scheduled_for) DO UPDATE"
            " SET started_at = :began, finished_at = :ended, state = :state, did = :did, error = :error WHERE :again"
        ),
        {**said, "again": again},
    )
    _forget(conn, turn)


def missed(conn: Connection, turn: Turn, most: int) -> list[datetime]:
    """Those of the `most` turns before `turn` in which no run began, or whose run was cut off, oldest first.

    Turns before the oldest that has a row were never due.
    """
    # From the first turn that is not before the oldest row, which may be a run by hand at any time.
    statement = text(
        "SELECT due FROM (SELECT min(scheduled_for) AS at FROM job_run WHERE job = :job) first,"
        " generate_series(date_bin(:every, greatest(first.at, :from) + :every - interval '1 microsecond', :epoch),"
        " CAST(:at AS timestamptz) - :every, :every) due"
        " LEFT JOIN job_run r ON r.job = :job AND r.scheduled_for = due"
        " WHERE r.state IS NULL OR r.state = 'running' ORDER BY due"
    )
    return list(conn.execute(statement, {**turn.values(), "from": turn.at - most * turn.every}).scalars())


def health(conn: Connection, jobs: Sequence[str]) -> list[JobHealth]:
    """How each of `jobs` has fared, in the order given."""
    return [JobHealth(*row) for row in conn.execute(_HEALTH, {"jobs": list(jobs)})]


def _skip(conn: Connection, turn: Turn, now: datetime, missed: str, *, noted: bool) -> None:
    said = {"busy": "the run before was still at work", "missed": missed, "noted": noted}
    conn.execute(_SKIP, {**turn.values(), "now": now, **said})


def _ending(turn: Turn, ended: Ended) -> dict[str, object]:
    return {
        "job": turn.job,
        "at": turn.at,
        "began": ended.began,
        "ended": ended.at,
        "state": "failed" if ended.error else "done",
        "did": ended.did,
        "error": ended.error[:2000],
    }


def _forget(conn: Connection, turn: Turn) -> None:
    statement = text("DELETE FROM job_run WHERE job = :job AND scheduled_for < :oldest")
    conn.execute(statement, {"job": turn.job, "oldest": turn.oldest})
