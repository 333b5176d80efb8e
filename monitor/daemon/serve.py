"""Jobs by the clock, and the web beside them, until a signal.

The scheduler is a mere ticker. This is the one place, beside the command line, that reads the clock: whatever runs
below is told what time it is.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor.daemon.context import CatchUp, Context, Job
from monitor.daemon.jobs import JOBS, longest, turn_of, turns
from monitor.daemon.lead import Lead
from monitor.daemon.run import take_turn
from monitor.errors import MonitorError, UsageError
from monitor.web.access import is_loopback
from monitor.web.app import create_app
from monitor.web.server import serving
from monitor.web.view import Site

_log = logging.getLogger(__name__)

_WORKERS = 4
_PROMPT_WORKERS = 2
_PROMPT, _LEASE = "prompt", "lease"
_SOON = timedelta(seconds=1)
"""When a job comes again that the database's absence cut off."""
_GRACE_S = 5.0
"""How long a stop waits for the jobs that are running."""


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set from now on; call it in the main thread."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def serve(context: Context, listener: socket.socket | None) -> bool:
    """Run jobs by the clock, and the web on `listener`, until `context.stopping` is set.

    Returns whether everything came to its end; False: a job was still at work when the grace was over. Cutting it off
    loses nothing: what it left undone is done after the next start.
    """
    # The contracts come first: without them the first turn of the intake would reject what it finds.
    _tick(context, JOBS[0])
    ticker = _ticker(context)
    with _web(context, listener) as web:
        ticker.start()
        context.stopping.wait()
        _log.info("stopping: the jobs at work are finished, no new one is begun")
        ender = threading.Thread(target=_end, args=[context, ticker], daemon=True)
        ender.start()
        ender.join(_GRACE_S)
    if ender.is_alive():
        _log.warning("cut off after %g s: %s; the next start does the rest", _GRACE_S, ", ".join(context.running))
    return not (ender.is_alive() or (web is not None and web.is_alive()))


def _end(context: Context, ticker: BackgroundScheduler) -> None:
    """Wait for the jobs at work, then let another lead."""
    ticker.shutdown()
    if context.lead is not None:
        with suppress(MonitorError):
            context.lead.leave()


class _Turns(BaseTrigger):  # type: ignore[misc] # the library has no types
    """Fires at the beginning of each turn, whenever the last one was run."""

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return turn_of(max(now, previous_fire_time or now), self._every) + self._every


def _tick(context: Context, job: Job, ticker: BackgroundScheduler | None = None) -> None:
    if context.stopping.is_set():
        return
    take_turn(context, job, context.clock())
    if ticker is not None and job.name in context.cut_off and not context.stopping.is_set():
        _bring_forward(ticker, job, context.clock() + min(_SOON, job.every))


def _keep_lead(context: Context, lead: Lead, ticker: BackgroundScheduler) -> None:
    """Keep the lease; having just come to lead, see at once to the turns that the leader before left undone."""
    if context.stopping.is_set():
        return
    try:
        has_come_to_lead = lead.keep()
    except MonitorError as error:
        _log.debug("the lease could not be seen to: %s", error)
        return
    if has_come_to_lead:
        for job in JOBS:
            if not job.local and job.catch_up is not CatchUp.NONE:
                _bring_forward(ticker, job, context.clock())


def _bring_forward(ticker: BackgroundScheduler, job: Job, at: datetime) -> None:
    with suppress(JobLookupError):  # the ticker was shut down meanwhile, and knows no job any more
        ticker.modify_job(job.name, next_run_time=at)


def _ticker(context: Context) -> BackgroundScheduler:
    # The lease has a thread of its own: it must be kept however long the jobs take. So have prompt jobs: whatever
    # else goes on, people are told, and it shows that all is well.
    ticker = BackgroundScheduler(
        timezone=UTC,
        executors={
            "default": ThreadPoolExecutor(_WORKERS),
            _PROMPT: ThreadPoolExecutor(_PROMPT_WORKERS),
            _LEASE: ThreadPoolExecutor(1),
        },
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    # A job that outlasts its turn simply misses the next one: nothing to warn of.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    now = context.clock()
    for job in JOBS:
        begins = now if job.catch_up is not CatchUp.NONE else turn_of(now, job.every) + job.every
        ticker.add_job(
            _tick, _Turns(job.every), [context, job, ticker],
            id=job.name, next_run_time=begins, executor=_PROMPT if job.prompt else "default",
        )  # fmt: skip
    if (lead := context.lead) is not None:
        ticker.add_job(
            _keep_lead, "interval", [context, lead, ticker],
            seconds=lead.look.total_seconds(), next_run_time=now, executor=_LEASE,
        )  # fmt: skip
    return ticker


def listen(host: str, port: int) -> socket.socket:
    """A socket for the web; port 0 takes a free one.

    Raises:
        UsageError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise UsageError(
            f"the page cannot be served on {host} port {port} ({error.strerror or error}); "
            "choose another with --host and --port, or --no-http for none"
        ) from error


@contextmanager
def _web(context: Context, listener: socket.socket | None) -> Iterator[threading.Thread | None]:
    """The web in a thread of its own for the length of the block."""
    if listener is None:
        yield None
        return
    site = Site(
        database=context.database,
        contracts=lambda: context.shelf.contracts,
        jobs=turns(),
        longest=longest(),
        clock=context.clock,
        spool_dir=str(context.settings.spool_dir),
        workers=context.workers,
        leads=lambda: context.leading() is not None,
    )
    app = create_app(site, context.metrics, everywhere=not is_loopback(listener.getsockname()[0]))
    with serving(app, listener) as thread:
        yield thread
