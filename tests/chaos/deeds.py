"""What a child of the nursery does: the product's own doors, opened from its settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module
from itertools import count
from pathlib import Path

from chaos import witness
from chaos.plant import BATCH_LINES
from light import LOADED
from sqlalchemy import text

from monitor.alerts import deliver
from monitor.alerts import stage as alerts
from monitor.alerts.webhook import WebhookChannel
from monitor.alerts.wire import Guard, Wire, trust
from monitor.daemon import jobs, run, serve
from monitor.daemon.context import Context, Job
from monitor.errors import DependencyAway, FilesLeft, MonitorError, TryAgain
from monitor.ingest import lines, stage
from monitor.ingest.workers import Workers
from monitor.settings import Settings
from monitor.spec.load import load_contract
from monitor.store import jobs as job_runs
from monitor.store import lease, migrate
from monitor.store.database import Database, open_database
from monitor.web.pages import templates

GAVE_UP = 3
"""Exit code of a deed that ended with an error of the product's own."""

STORED = "stored"
"""What `press` says of each row that was committed."""
LEDGER_ROW = (
    "INSERT INTO batch (source, name, file_name, sha256, lines, stored, duplicate, rejected, blank,"
    " detections_rejected, received_at) VALUES ('press', :name, 'f', 'x', 2, 1, 0, 1, 0, 0, '2026-03-01Z')"
)
"""As the first release wrote it: every schema since has to take it."""

LATE = ("numpy.ma", "pydantic.v1", "uvicorn.lifespan.off", "uvicorn.loops.auto")
"""What the product's libraries import when they are used first."""


def warm_up() -> None:
    """Do once what every child would do again at its first batch, message or page."""
    for name in LATE:
        import_module(name)
    trust()
    templates()


def drain(url: str, folder: str, contract: str, now: str, batch_lines: int = BATCH_LINES) -> int:
    """Take in what waits in the spool `folder`, once."""
    lines.BATCH_LINES = batch_lines
    try:
        contracts = {"line": load_contract(Path(contract))}
        with open_database(Settings(database_url=url)) as database, Workers() as workers:
            stage.drain(database, Path(folder), contracts, datetime.fromisoformat(now), workers=workers)
    except MonitorError as error:
        print(f"{type(error).__name__}: {error}")
        return GAVE_UP
    return 0


def drain_whatever_comes(url: str, folder: str, contract: str, now: str) -> int:
    """Drain the spool again and again until a drain comes to its end, as the daemon's turns do."""
    lines.BATCH_LINES = BATCH_LINES
    contracts = {"line": load_contract(Path(contract))}
    while True:
        try:
            with open_database(Settings(database_url=url)) as database:
                while not drained(database, Path(folder), contracts, datetime.fromisoformat(now)):
                    pass
        except DependencyAway as error:
            print(f"{type(error).__name__}: {error}")
        else:
            return 0


def drained(database: Database, folder: Path, contracts: stage.Contracts, now: datetime) -> bool:
    """Whether this drain came to its end."""
    try:
        stage.drain(database, folder, contracts, now)
    except (DependencyAway, TryAgain, FilesLeft) as error:
        print(f"{type(error).__name__}: {error}")
        return False
    return True


def upgrade(url: str) -> int:
    """Bring the schema to the newest."""
    try:
        with open_database(Settings(database_url=url)) as database:
            migrate.upgrade(database.engine)
    except MonitorError as error:
        print(f"{type(error).__name__}: {error}")
        return GAVE_UP
    return 0


def press(url: str) -> int:
    """Write to the ledger and read frames without end, a short transaction after the other; says what is stored."""
    with open_database(Settings(database_url=url)) as database:
        for number in count(1):
            with database.begin() as conn:
                conn.execute(text(LEDGER_ROW), {"name": f"press {number}"})
                conn.execute(text("SELECT count(*) FROM frame")).scalar_one()
            print(STORED, flush=True)
    return 0


def lead(env: dict[str, str], fenced: bool) -> int:
    """A daemon whose leader writes without pause, a short transaction after the other, beside its own jobs.

    `fenced` False: a broken build, in which nothing keeps a stale leader out.
    """
    os.environ.update(env, MONITOR_DATABASE_URL=witness.signed(env["MONITOR_DATABASE_URL"]))
    with_probe = (*jobs.JOBS, Job("probe", timedelta(seconds=0.5), write_on, "writes"))
    for module in (jobs, run, serve):
        module.JOBS = with_probe
    if not fenced:
        lease.fence = lambda conn, epoch: None
        lease.end_sessions = lambda conn: 0
    return monitor({}, ["daemon", "--no-http"])


def write_on(context: Context, now: datetime) -> int:
    """Write twenty rows, each in a transaction of its own that takes a while."""
    pause = threading.Event()
    for number in range(20):
        with context.database.begin() as conn:
            conn.execute(text("INSERT INTO work VALUES (:number)"), {"number": number})
            pause.wait(0.01)
        pause.wait(0.01)
    return 20


def monitor(env: dict[str, str], words: list[str]) -> int:
    """Run a command of the command line."""
    os.environ.update(env)
    lines.BATCH_LINES = BATCH_LINES
    code: int = import_module("monitor.cli.main").main(words)
    return code


def signal(env: dict[str, str], folder: str) -> int:
    """A daemon with short turns, whose jobs hang while a file of their name lies in `folder`."""
    os.environ.update(env)
    quick = {"intake": 0.5, "deliver": 0.5, "audit": 1.0}
    table = tuple(
        replace(job, every=timedelta(seconds=quick.get(job.name, 5.0)), function=hanging(job, Path(folder)))
        for job in jobs.JOBS
    )
    for module in (jobs, run, serve):
        module.JOBS = table
    job_runs.SLACK = timedelta(seconds=2)
    return monitor({}, ["daemon", "--no-http"])


def hanging(job: Job, folder: Path) -> Callable[[Context, datetime], int]:
    """The job's own work, before which it waits until there is no file of its name."""
    pause = threading.Event()

    def work(context: Context, now: datetime) -> int:
        while (folder / job.name).exists() and not context.stopping.is_set():
            pause.wait(0.05)
        return job.function(context, now)

    return work


def tell(url: str, hook: str, now: str, judge: bool = False) -> int:
    """Send what the outbox holds to the webhook at `hook`, once; `judge`: judge what was measured before."""
    channel = WebhookChannel(hook, None, Wire(Guard.of("127.0.0.1"), timeout_s=0.3))
    at = datetime.fromisoformat(now)
    try:
        with open_database(Settings(database_url=url)) as database:
            if judge:
                alerts.run(database, LOADED, at, channels=["webhook"])
            deliver.run(database, [channel], at)
    except MonitorError as error:
        print(error)
        return GAVE_UP
    return 0
