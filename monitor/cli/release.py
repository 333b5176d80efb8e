"""`monitor release`: which version went live when, and what changed with it."""

from __future__ import annotations

import argparse
from hashlib import blake2b

from monitor.cli.contracts import in_force
from monitor.cli.moments import clock, moment, time_taken
from monitor.cli.words import words
from monitor.errors import UsageError
from monitor.feedback import EventRecord
from monitor.records import EPOCH
from monitor.settings import Settings
from monitor.store import business, migrate
from monitor.store.database import open_database

EPILOG = """\
examples:
  monitor release note v1.4 --text "new threshold for dents"                 it went live now
  monitor release note v1.4 --model presses --at 2026-03-01T06:00 --text "new lamp on line 7, retrained"
  monitor release list                                                       what went live when

Noted again with the same time and text, it is noted once.
"""
LONGEST = 128
"""Characters of a version's name, as in records."""
SOURCE = "monitor"
"""Who says so, where it was said on this command line."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor release` and its verbs."""
    noun = subparsers.add_parser(
        "release",
        help="which version went live when, and what changed",
        description="Deployments are events: they stand beside what is measured, so that a change has a known cause.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    note = verbs.add_parser("note", help="write down that a version went live")
    note.add_argument("version", type=words, metavar="VERSION")
    note.add_argument("--text", required=True, type=words, help="what changed")
    note.add_argument("--model", help="of which model; needed where there are several contracts")
    note.add_argument("--at", type=moment, metavar="TIME", help="when, UTC (default: the clock)")
    note.set_defaults(run=run_note)
    listing = verbs.add_parser("list", help="what went live when")
    listing.add_argument("--model", help="of one model (default: all)")
    listing.set_defaults(run=run_list)


def run_note(args: argparse.Namespace, settings: Settings) -> int:
    """Write a deployment down."""
    at = time_taken(args.at)
    if len(args.version) > LONGEST:
        raise UsageError(f"a version's name has at most {LONGEST} characters; write it as it stands in the records")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            models = sorted(in_force(conn, settings))
            model = args.model or (models[0] if len(models) == 1 else "")
            if model not in models:
                known = ", ".join(models) or "there is none"
                raise UsageError(
                    f"--model names the model of a contract that is in force ({known}); write one of them"
                )
            said = f"{model}\0{args.version}\0{at.isoformat()}\0{args.text}"
            digest = blake2b(said.encode(), digest_size=16).digest()
            record = EventRecord(digest.hex(), "deployment", at, model, version=args.version, note=args.text)
            business.insert(conn, None, SOURCE, [record], [digest])
    print(f"{model} {args.version} went live at {at:%Y-%m-%d %H:%M} UTC: {args.text}")
    return 0


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print deployments, oldest first."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            models = [args.model] if args.model else business.models(conn)
            found = [one for model in models for one in business.deployments(conn, model, EPOCH, clock())]
    for one in sorted(found, key=lambda one: one.at):
        print(f"{one.at:%Y-%m-%d %H:%M}  {one.model} {one.version}: {one.text}")
    if not found:
        print("no deployment is noted")
    return 0
