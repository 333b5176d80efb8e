"""One run of a job: hold, claim, do, write down how it ended.

What a job has to do it asks the database, and whether this turn was taken stands in `job_run`; so a missed tick, a
crash and a run by hand need no code of their own.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import datetime, timedelta

from monitor.daemon.context import CatchUp, Context, Job
from monitor.daemon.jobs import JOBS, turn_of
from monitor.errors import DependencyAway, FilesLeft, MonitorError, NoRoom, NotLeading, UsageError
from monitor.store import jobs, workers
from monitor.store.database import Connection
from monitor.store.jobs import Ended, Turn

_log = logging.getLogger(__name__)

MOST_CAUGHT_UP = 48
"""So many missed turns of a job that makes up for every one are run; what is older is skipped."""
INTAKE = "intake"


def run_once(context: Context, now: datetime) -> dict[str, int]:
    """Run every job once, in order, with `now` as the clock; returns what each did.

    A job that failed (its sentence is in the log and in `job_run`), or that another process was at, is left out.
    """
    did = {}
    for job in JOBS:
        if context.lead is not None:
            context.lead.keep()
        did[job.name] = run_job(context, job, now, now, again=True)
    return {name: count for name, count in did.items() if count is not None}


def take_turn(context: Context, job: Job, now: datetime) -> int | None:
    """Run the turn of a job that `now` belongs to, after those it has to make up for. Never raises.

    Returns what the turn of `now` did; None where it failed, was done already, or is another process's.
    """
    turn = turn_of(now, job.every)
    if job.catch_up is CatchUp.EVERY:
        for missed in _missed(context, job, turn):
            if not context.stopping.is_set():
                run_job(context, job, missed, now)
    return run_job(context, job, turn, now)


def run_job(context: Context, job: Job, scheduled_for: datetime, now: datetime, *, again: bool = False) -> int | None:
    """One run of a job: hold, claim, do, write down how it ended. Never raises.

    Returns what the job did; None where it failed, was done already or is another process's. `again` repeats a run
    that has its final state.
    """
    turn = Turn(job.name, scheduled_for, job.every)
    context.cut_off.discard(job.name)
    try:
        did = _alone(context, job, turn, now, again) if job.local else _led(context, job, turn, now, again)
    except NotLeading as error:
        _log.warning("job %s is left to the leader: %s", job.name, error)
        return None
    except DependencyAway as error:
        _note_away(context, job, error)
        return None
    except MonitorError as error:
        _complain(context, job, f"has to wait: {error}")
        return None
    except Exception:  # noqa: BLE001 - logged; the ticker goes on
        _log.exception("job %s could not be entered or closed; it is tried again at its next turn", job.name)
        return None
    if did is None:
        return None
    if context.away:
        _log.warning("the database is back")
    context.away = False
    context.metrics.database_up(True)
    return did


def _led(context: Context, job: Job, turn: Turn, now: datetime, again: bool) -> int | None:
    """A run of a job that is done once a turn. None: it failed, or is not ours to do."""
    led = context.leading()
    if led is None:
        return None
    # The lock's transaction stays open and idle while the job works in transactions of its own.
    holding = led.database if led.lead is None else led.lead.database_to_hold()
    with holding.begin() as lock:
        if _has_to_wait(led, job, lock, again) or not jobs.hold(lock, job.name):
            return None
        with led.database.begin() as conn:
            if not jobs.claim(conn, turn, now, again=again):
                return None
        as_of = turn.at if job.catch_up is CatchUp.EVERY else now
        ended = _do(led, job, as_of, now)
        with led.database.begin() as conn:
            if job.name in context.cut_off:
                jobs.interrupt(conn, turn, ended.error)
            else:
                jobs.finish(conn, turn, ended)
    return None if ended.error else ended.did


def _alone(context: Context, job: Job, turn: Turn, now: datetime, again: bool) -> int | None:
    """A run of a job that every process does for itself. None: it failed."""
    if _has_to_wait(context, job, None, again):
        return None
    ended = _do(context, job, now, now)
    with context.database.begin() as conn:
        if job.name == INTAKE:
            workers.took_in(conn, context.worker, now, ended.error)
        if job.name not in context.cut_off:
            jobs.note(conn, turn, ended, again=again)
    return None if ended.error else ended.did


def _missed(context: Context, job: Job, turn: datetime) -> list[datetime]:
    led = context.leading()
    if led is None:
        return []
    try:
        with led.database.begin() as conn:
            return jobs.missed(conn, Turn(job.name, turn, job.every), MOST_CAUGHT_UP)
    except MonitorError:
        return []  # said when the turn itself is entered


def _has_to_wait(context: Context, job: Job, lock: Connection | None, again: bool) -> bool:
    """Whether a job cannot begin; its turn is then left to others."""
    if job.needs_contracts and not (context.shelf.contracts or again):
        _complain(
            context, job, "has to wait: no contract is in force; put one TOML a model into the contracts folder"
        )
        return True
    if job.after_intake and lock is not None and (error := workers.intake(lock).error):
        _complain(context, job, f"has to wait until intake is done, which failed last time: {error}")
        return True
    return False


def _do(context: Context, job: Job, as_of: datetime, now: datetime) -> Ended:
    began, did, error = time.monotonic(), 0, ""
    context.running.add(job.name)
    try:
        did = job.function(context, as_of)
        context.said.pop(job.name, None)
    except FilesLeft as left:
        # The intake did come to its end: one file that can never be read must not hold up what the others say.
        did = left.stored
        _complain(context, job, f"left files behind: {left}")
    except NotLeading:
        raise
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
    return Ended(now, now + timedelta(seconds=time.monotonic() - began), did, error)


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
