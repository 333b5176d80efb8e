"""`monitor db`: the database's schema, and a shell on it."""

from __future__ import annotations

import argparse

from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import open_database
from monitor.store.shell import run_psql

EPILOG = """\
examples:
  monitor db upgrade                      make or bring up to date the tables
  monitor db check                        exit 1 unless the schema is the one this release works with
  monitor db shell                        psql on the database
  monitor db shell -- -c 'TABLE batch'    one statement
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor db` and its verbs."""
    noun = subparsers.add_parser(
        "db",
        help="the schema of the database, and psql on it",
        description="The database is the embedded Postgres, or the server that MONITOR_DATABASE_URL names.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    upgrade = verbs.add_parser("upgrade", help="bring the schema to this release's")
    upgrade.set_defaults(run=run_upgrade)
    check = verbs.add_parser("check", help="say how the schema stands; exit 1 unless it is current")
    check.set_defaults(run=run_check)
    shell = verbs.add_parser("shell", help="psql on the database")
    shell.add_argument("words", nargs="*", metavar="WORD", help="handed on to psql (after --)")
    shell.set_defaults(run=run_shell)


def run_upgrade(args: argparse.Namespace, settings: Settings) -> int:
    """Migrate, then say where the schema stands."""
    with open_database(settings) as database:
        print(migrate.upgrade(database.engine))
    return 0


def run_check(args: argparse.Namespace, settings: Settings) -> int:
    """Say where the schema stands."""
    with open_database(settings) as database:
        schema = migrate.check(database.engine)
    print(schema)
    return 0 if schema.state is migrate.State.CURRENT else 1


def run_shell(args: argparse.Namespace, settings: Settings) -> int:
    """Hand the terminal to psql."""
    return run_psql(settings, args.words)
