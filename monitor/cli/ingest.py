"""`monitor ingest`: take logs in, from files anywhere or from the spool."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monitor.cli.contracts import in_force
from monitor.cli.moments import clock, moment, time_taken
from monitor.errors import UsageError
from monitor.ingest.batch import Summary
from monitor.ingest.names import named
from monitor.ingest.spool import DEFAULT_SOURCE, Waiting, find_files
from monitor.ingest.stage import drain, load
from monitor.ingest.workers import Workers
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import open_database

EPILOG = """\
examples:
  monitor ingest run                              take in what waits in the spool, once
  monitor ingest run --at 2026-03-01              as if it were midnight of that day, UTC
  monitor ingest logs old-logs/ --source line-7   load files where they lie; they are not moved
  monitor ingest logs 2025.parquet                or .jsonl, .jsonl.gz, .jsonl.zst: the name says which

A file that was loaded before changes nothing; of one with rejected lines, those are tried again.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor ingest` and its verbs."""
    noun = subparsers.add_parser(
        "ingest",
        help="take in logs of frames",
        description="Logs are files of JSON lines, one frame a line (`monitor spec record-schema`), also packed by "
        "gzip or zstd, and Parquet files with a column a field.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    logs = verbs.add_parser("logs", help="load files or folders where they lie")
    logs.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, or a folder with files of records")
    logs.add_argument(
        "--source",
        default=DEFAULT_SOURCE,
        metavar="NAME",
        help=f"who wrote them; an event id is unique within its source (default {DEFAULT_SOURCE})",
    )
    logs.set_defaults(run=run_logs)
    once = verbs.add_parser("run", help="take in what waits in the spool, once")
    once.add_argument("--at", type=moment, metavar="TIME", help="the time to take as now (default: the clock)")
    once.set_defaults(run=run_spool)


def run_logs(args: argparse.Namespace, settings: Settings) -> int:
    """Load files where they lie."""
    if not args.source or not args.source.isprintable():
        raise UsageError("--source needs a name of printable characters, such as line-7")
    files = [file for path in args.paths for file in _files(path, args.source)]
    now = clock()
    with open_database(settings) as database, Workers() as workers:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            contracts = in_force(conn, settings)
        print(report(load(database, files, contracts, now, _progress, workers=workers)))
    return 0


def run_spool(args: argparse.Namespace, settings: Settings) -> int:
    """Take in what waits in the spool, once."""
    now = time_taken(args.at)
    with open_database(settings) as database, Workers() as workers:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            contracts = in_force(conn, settings)
        print(report(drain(database, settings.spool_dir, contracts, now, _progress, workers)))
    return 0


def report(summary: Summary) -> str:
    """The summary in words; its first line adds up to the lines."""
    s = summary
    said = [
        f"{s.files} file{'' if s.files == 1 else 's'}, {_lines(s.lines)}: {s.stored} stored, "
        f"{s.duplicate} duplicate, {s.rejected} rejected, {s.blank} blank, {s.repeated} taken in before"
    ]
    if s.quarantined:
        said.append(f"{s.quarantined} in quarantine, each with its reason beside it")
    if s.detections_rejected:
        said.append(f"{s.detections_rejected} detections set aside, their frames kept")
    for (model, condition), count in sorted(s.others.items()):
        said.append(f"{count} frames count under __other__: too many new {named(model, condition)} in a day")
    said += [f"  {reason}: {count}" for reason, count in s.reasons.most_common()]
    return "\n".join(said)


def _files(path: Path, source: str) -> list[Waiting]:
    if path.is_dir():
        return find_files(path, source)
    if not path.exists():
        raise UsageError(f"{path} does not exist; name a file of records or a folder with some")
    # A link that is named outright is meant; only those found on the way are left alone.
    return [Waiting(path.resolve(), source, path.name)]


def _progress(name: str, batch: Summary) -> None:
    print(f"{name}: {_lines(batch.lines)}, {batch.stored} stored, {batch.rejected} rejected", file=sys.stderr)


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"
