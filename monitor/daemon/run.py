"""One run of a job: hold, claim, do, write down how it ended.

What a job has to do it asks the database, and whether this turn was taken stands in `job_run`; so a missed tick, a
crash and a run by hand need no code of their own.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import datetime, timedelta

from monitor.daemon.context import Context, Job
from monitor.daemon.jobs import JOBS
from monitor.errors import DependencyAway, FilesLeft, MonitorError, NoRoom, UsageError
from monitor.store import jobs
from monitor.store.database import Connection

_log = logging.getLogger(__name__)


def run_once(context: Context, now: datetime) -> dict[str, int]:
    """Run every job once, in order, with `now` as the clock; returns what each did.

    A job that failed (its sentence is in the log and in `job_run`), or that another process was at, is left out.
    """
    did = {job.name: run_job(context, job, now, now, again=True) for job in JOBS}
    return {name: count for name, count in did.items() if count is not None}


def run_job(context: Context, job: Job, scheduled_for: datetime, now: datetime, *, again: bool = False) -> int | None:
    """One run of a job: hold, claim, do, write down how it ended. Never raises.

    Returns what the job did; None where it failed, was done already or is being done elsewhere. `again` repeats a run
    that was done.
    """
    try:
        # The lock's transaction stays open and idle while the job works in transactions of its own.
        with context.database.begin() as lock:
            if not (job.local or _enter(context, lock, job, scheduled_for, now, again)):
                return None
            did = _do(context, job, scheduled_for, now)
    except DependencyAway as error:
        _note_away(context, job, error)
        return None
    except MonitorError as error:
        _complain(context, job, f"has to wait: {error}")
        return None
    except Exception:  # noqa: BLE001 - logged; the ticker goes on
        _log.exception("job %s could not be entered or closed; it is tried again at its next turn", job.name)
        return None
    if context.away:
        _log.warning("the database is back")
    context.away = False
    context.metrics.database_up(True)
    return did


def _enter(context: Context, lock: Connection, job: Job, scheduled_for: datetime, now: datetime, again: bool) -> bool:
    """Take the turn, unless another process has it or the job has to wait (then the turn is left to others)."""
    if job.needs_contracts and not (context.shelf.contracts or again):
        _complain(
            context, job, "has to wait: no contract is in force; put one TOML a model into the contracts folder"
        )
        return False
    if job.after and (error := jobs.standing(lock, job.after, now).error):
        _complain(context, job, f"has to wait until {job.after} is done, which failed last time: {error}")
        return False
    if not jobs.hold(lock, job.name):
        return False
    with context.database.begin() as conn:
        return jobs.claim(conn, job.name, scheduled_for, now, again=again)


def _do(context: Context, job: Job, scheduled_for: datetime, now: datetime) -> int | None:
    began, did, error = time.monotonic(), 0, ""
    context.running.add(job.name)
    try:
        did = job.function(context, now)
        context.said.pop(job.name, None)
    except FilesLeft as left:
        # The intake did come to its end: one file that can never be read must not hold up what the others say.
        did = left.stored
        _complain(context, job, f"left files behind: {left}")
    except MonitorError as fault:
        if isinstance(fault, DependencyAway) and not isinstance(fault, NoRoom):
            context.cut_off.add(job.name)
        error = str(fault)
        _complain(context, job, f"is not done: {error}")
    except Exception as failure:  # noqa: BLE001 - logged and recorded
        error = f"{type(failure).__name__}: {failure}"
        _log.exception("job %s failed; the others go on and it is tried again at its next turn", job.name)
    finally:
        context.running.discard(job.name)
    context.metrics.job_ended(job.name, "failed" if error else "done")
    ended = now + timedelta(seconds=time.monotonic() - began)
    with context.database.begin() as conn:
        jobs.finish(conn, job.name, scheduled_for, now, ended, every=job.every, did=did, error=error)
    return None if error else did


def _complain(context: Context, job: Job, sentence: str) -> None:
    """Say what keeps a job from its work, once until it is another thing or the job has been done."""
    if context.said.get(job.name) != sentence:
        # A job that an orderly stop cuts off is no reason to warn anybody.
        level = logging.INFO if context.stopping.is_set() else logging.WARNING
        _log.log(level, "job %s %s", job.name, sentence)
    context.said[job.name] = sentence


def _note_away(context: Context, job: Job, error: DependencyAway) -> None:
    """Say once that the database is away, and start the embedded one again if it died."""
    if context.stopping.is_set():
        _log.info("job %s is cut off by the stop; the next start does the rest", job.name)
        return
    context.metrics.database_up(False)
    context.cut_off.add(job.name)
    if not context.away:
        _log.error("job %s has to wait, and so do the others: %s", job.name, error)
    context.away = True
    if context.database.postgres is not None:
        with suppress(DependencyAway, UsageError):
            context.database.postgres.ensure_running()
