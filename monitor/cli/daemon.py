"""`monitor daemon`: the jobs by the clock, with the status page; or every job once."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from datetime import datetime, timedelta

from monitor.cli.moments import moment, time_taken
from monitor.daemon.context import Context
from monitor.daemon.jobs import JOBS
from monitor.daemon.lead import Lead
from monitor.daemon.run import run_once
from monitor.daemon.serve import listen, serve, stop_on_signals
from monitor.errors import DependencyAway, UsageError
from monitor.ingest.workers import Workers
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store import migrate
from monitor.store.database import Database, open_database
from monitor.web.access import is_loopback
from monitor.web.metrics import Metrics

EPILOG = """\
examples:
  monitor daemon                          until SIGTERM or Ctrl-C
  monitor daemon --port 9000              the page on another port
  monitor daemon --once                   every job once, then the end
  monitor daemon --once --at 2026-05-01T02:00Z

jobs:
"""

_FROM_ELSEWHERE = (
    "other machines reach this address: all but /healthz asks for a token (`monitor tokens create NAME --scope "
    "read`); tokens travel as they are, so put TLS in front"
)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor daemon`."""
    parser = subparsers.add_parser(
        "daemon",
        help="take records in, compare, alert, serve the status page",
        description="Runs every job in its turn; serves the status page, /metrics, /readyz and POST /v1/frames.",
        epilog=EPILOG + "\n".join(f"  {job.name:<12}{job.help}" for job in JOBS),
    )
    parser.add_argument("--host", help="address of the page (MONITOR_HTTP_HOST, default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port of the page, 0 for a free one (MONITOR_HTTP_PORT, default 8080)"
    )
    parser.add_argument("--no-http", action="store_true", help="no page and no metrics")
    parser.add_argument("--once", action="store_true", help="run every job once, in order, and end")
    parser.add_argument("--at", type=moment, metavar="TIME", help="with --once: the time it is taken to be (UTC)")
    parser.set_defaults(run=run_daemon)


def run_daemon(args: argparse.Namespace, settings: Settings) -> int:
    """Open the database, see to its schema, then serve or run once."""
    logging.getLogger("monitor").setLevel(logging.INFO)
    if args.at is not None and not args.once:
        raise UsageError("--at is for --once; without it the daemon goes by the clock")
    now = time_taken(args.at)
    listener = None
    if not (args.once or args.no_http):
        listener = listen(args.host or settings.http_host, settings.http_port if args.port is None else args.port)
    # Before the database is opened: a stop that comes while it starts is then an orderly one too.
    stopping = threading.Event() if args.once else stop_on_signals()
    with open_database(settings) as database, Workers() as workers:
        _see_to_schema(database)
        shelf = Shelf(settings.contracts_dir)
        metrics, lead = Metrics(settings.series_budget), Lead(database, timedelta(seconds=settings.lease_s))
        context = Context(settings, database, shelf, stopping=stopping, workers=workers, metrics=metrics, lead=lead)
        if args.once:
            return _once(context, now)
        if listener is not None:
            host, port = listener.getsockname()[:2]
            print(f"status page: http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
            if not is_loopback(host):
                print(_FROM_ELSEWHERE, flush=True)
        all_ended = serve(context, listener)
    print("stopped", flush=True)
    if not all_ended:
        # A thread that is still at work would keep the interpreter from ending.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _once(context: Context, now: datetime) -> int:
    if context.lead is not None and not context.lead.wait(context.stopping):
        print("a daemon leads: what only the leader does is left to it", flush=True)
    did = run_once(context, now)
    if context.lead is not None:
        context.lead.leave()
    for job in JOBS:
        print(f"{job.name:<12}{did.get(job.name, 'not done; see the log')}")
    if context.away:
        raise DependencyAway("the database went away; see that it runs, then try again")
    return 0 if len(did) == len(JOBS) else 1


def _see_to_schema(database: Database) -> None:
    """Bring the embedded database's schema up to date; somebody else's server is only looked at."""
    if database.postgres is None:
        migrate.require_current(database.engine)
    elif migrate.check(database.engine).state is not migrate.State.CURRENT:
        print(f"{migrate.upgrade(database.engine)}: brought up to date just now", flush=True)
