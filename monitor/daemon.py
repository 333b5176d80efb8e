"""The daemon: jobs by the clock, and the web beside them.

The scheduler is a mere ticker. What a job has to do it asks the database, and whether this turn was taken stands in
`job_run`; so a missed tick, a crash and a run by hand need no code of their own. This is the one place, beside the
command line, that reads the clock: whatever runs below is told what time it is.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uvicorn
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from monitor.alerts import deliver
from monitor.alerts import stage as alerts
from monitor.alerts.channels import Channel, configured
from monitor.drift import stage as drift
from monitor.errors import DependencyAway, FilesLeft, MonitorError, UsageError
from monitor.ingest import retention
from monitor.ingest import stage as ingest
from monitor.records import EPOCH
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, Shelf
from monitor.store import contracts, frames, jobs
from monitor.store.database import Connection, Database
from monitor.web.app import create_app
from monitor.web.metrics import Metrics
from monitor.web.view import Site

_log = logging.getLogger(__name__)

DAYS_AHEAD = 7
"""Daily partitions are there this long before their day."""
_WORKERS = 4
_GRACE_S = 5.0
"""How long a stop waits for the jobs that are running, and for the web's last answers."""


@dataclass
class Context:
    """What the jobs work with."""

    settings: Settings
    database: Database
    shelf: Shelf
    metrics: Metrics = field(default_factory=Metrics)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    stopping: threading.Event = field(default_factory=threading.Event)
    running: set[str] = field(default_factory=set)
    away: bool = False
    """Whether the database was away when a job last looked."""
    said: dict[str, str] = field(default_factory=dict)
    """What each job complained of last, so that it says the same but once."""
    channels: Sequence[Channel] = field(init=False)
    """Where alerts are told, as the settings say."""

    def __post_init__(self) -> None:
        self.channels = configured(self.settings)


@dataclass(frozen=True, slots=True)
class Job:
    """One thing done again and again: `function(context, now)` does what is undone and returns how much that was."""

    name: str
    every: timedelta
    function: Callable[[Context, datetime], int]
    help: str
    local: bool = False
    """Done by every process for itself; any other job is done once a turn, by whichever process comes first."""
    needs_contracts: bool = False
    """Without contracts it has nothing to do, and must not take the turn from a process that has some."""
    after: str = ""
    """The job that feeds it: while that one fails, it waits."""


def _take_up_contracts(context: Context, now: datetime) -> int:
    shelf = context.shelf
    with context.database.begin() as conn:
        news = shelf.refresh(contracts.in_force(conn))
    wrong = set(shelf.complaints.values())
    for sentence in news:
        _log.log(logging.WARNING if sentence in wrong else logging.INFO, "%s", sentence)
    with context.database.begin() as conn:
        # In one order, so that two daemons do not wait for each other in a circle.
        contracts.take_up(conn, [loaded for _, loaded in sorted(shelf.contracts.items())], now)
    return len(news)


def _make_days(context: Context, now: datetime) -> int:
    with context.database.begin() as conn:
        return frames.make_days(conn, [now.date() + timedelta(days=day) for day in range(-1, DAYS_AHEAD + 1)])


def _take_in(context: Context, now: datetime) -> int:
    return ingest.run(context.database, context.settings.spool_dir, context.shelf.contracts, now)


def _compare(context: Context, now: datetime) -> int:
    # After an outage files lie in the spool whose windows have closed long ago: only what was closed when an intake
    # that has come to its end began is measured, for that intake took in whatever was there.
    with context.database.begin() as conn:
        through = jobs.standing(conn, "intake", now).through
    if through is None:
        return 0
    until = min(now, through)
    return _for_each_model(context, lambda loaded: drift.run(context.database, loaded, until))


def _judge(context: Context, now: datetime) -> int:
    names = [channel.name for channel in context.channels]
    return _for_each_model(context, lambda loaded: alerts.run(context.database, loaded, now, channels=names))


def _deliver(context: Context, now: datetime) -> int:
    return deliver.run(context.database, context.channels, now)


def _refresh_metrics(context: Context, now: datetime) -> int:
    return context.metrics.refresh(context.database, context.shelf.contracts, turns(), now)


def _take_away(context: Context, now: datetime) -> int:
    return retention.run(context.database, context.shelf.contracts, now).total


def _for_each_model(context: Context, function: Callable[[LoadedContract], int]) -> int:
    """Sum over the models; one that fails does not stop the others, and all failures are raised at the end.

    Raises:
        MonitorError: what failed are things that the product says itself; one line a model.
        ExceptionGroup: something else is among them.
    """
    did = 0
    failures: list[Exception] = []
    for model, loaded in sorted(context.shelf.contracts.items()):
        try:
            did += function(loaded)
        except DependencyAway:
            raise
        except Exception as error:  # noqa: BLE001 - raised below, when every model has had its turn
            error.add_note(f"model {model}")
            failures.append(error)
    if not failures:
        return did
    sentences = [f"{', '.join(one.__notes__)}: {one}" for one in failures]
    if all(isinstance(one, MonitorError) for one in failures):
        raise MonitorError("\n".join(sentences))
    raise ExceptionGroup("; ".join(sentences), failures)


JOBS = (
    Job("contracts", timedelta(seconds=10), _take_up_contracts, "takes up new and changed contracts", local=True),
    Job("partitions", timedelta(hours=1), _make_days, "makes the daily partitions some days ahead"),
    Job("intake", timedelta(seconds=5), _take_in, "takes files in from the spool", needs_contracts=True),
    Job(
        "drift",
        timedelta(seconds=60),
        _compare,
        "measures the windows that are closed and settled",
        needs_contracts=True,
        after="intake",
    ),
    Job(
        "alerts",
        timedelta(seconds=60),
        _judge,
        "judges new measurements by the rules of the contract",
        needs_contracts=True,
        after="intake",
    ),
    Job("deliver", timedelta(seconds=10), _deliver, "sends what is in the outbox"),
    Job("metrics", timedelta(seconds=15), _refresh_metrics, "reads what /metrics shows", local=True),
    Job("retention", timedelta(days=1), _take_away, "takes away what has outlived its period", needs_contracts=True),
)
"""In the order in which one feeds the next."""


def turns() -> dict[str, timedelta]:
    """How often each job has its turn."""
    return {job.name: job.every for job in JOBS}


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
    if not context.away:
        _log.error("job %s has to wait, and so do the others: %s", job.name, error)
    context.away = True
    if context.database.postgres is not None:
        with suppress(DependencyAway, UsageError):
            context.database.postgres.ensure_running()


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
    with _web(context, listener):
        ticker.start()
        context.stopping.wait()
        _log.info("stopping: the jobs at work are finished, no new one is begun")
        ender = threading.Thread(target=ticker.shutdown, daemon=True)
        ender.start()
        ender.join(_GRACE_S)
    if ender.is_alive():
        _log.warning("cut off after %g s: %s; the next start does the rest", _GRACE_S, ", ".join(context.running))
    return not ender.is_alive()


def _tick(context: Context, job: Job) -> None:
    if context.stopping.is_set():
        return
    now = context.clock()
    run_job(context, job, turn_of(now, job.every), now)


def turn_of(now: datetime, every: timedelta) -> datetime:
    """The turn that `now` belongs to: turns are counted from 1970-01-01 UTC."""
    return EPOCH + (now - EPOCH) // every * every


def _ticker(context: Context) -> BackgroundScheduler:
    ticker = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(_WORKERS)},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    # A job that outlasts its turn simply misses the next one: nothing to warn of.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    now = context.clock()
    for job in JOBS:
        ticker.add_job(
            _tick, "interval", [context, job], id=job.name, seconds=job.every.total_seconds(), next_run_time=now
        )
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
def _web(context: Context, listener: socket.socket | None) -> Iterator[None]:
    """The web in a thread of its own for the length of the block."""
    if listener is None:
        yield
        return
    site = Site(
        database=context.database,
        contracts=lambda: context.shelf.contracts,
        jobs=turns(),
        clock=context.clock,
        spool_dir=str(context.settings.spool_dir),
    )
    config = uvicorn.Config(
        create_app(site, context.metrics),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_GRACE_S)
        listener.close()
