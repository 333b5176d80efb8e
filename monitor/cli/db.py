"""`monitor db`: the database's schema, and a shell on it."""

from __future__ import annotations

import argparse
from dataclasses import replace

from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.store import export, migrate
from monitor.store.database import open_database
from monitor.store.shell import run_psql

EPILOG = """\
examples:
  monitor db upgrade                      make or bring up to date the tables
  monitor db check                        exit 1 unless the schema is the one this release works with
  monitor db shell                        psql on the database
  monitor db shell -- -c 'TABLE batch'    one statement
  monitor db export-to-server postgresql://monitor@db.example/monitor
                                          everything in the embedded Postgres, to an empty database; a password is
                                          read from ~/.pgpass, or from the URL, which others here can see meanwhile
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor db` and its verbs."""
    noun = subparsers.add_parser(
        "db",
        help="the schema of the database, and psql on it",
        description="The database is the embedded Postgres, or the server that MONITOR_DATABASE_URL names.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    upgrade = verbs.add_parser("upgrade", help="bring the schema to this release's")
    upgrade.set_defaults(run=run_upgrade)
    check = verbs.add_parser("check", help="say how the schema stands; exit 1 unless it is current")
    check.set_defaults(run=run_check)
    shell = verbs.add_parser("shell", help="psql on the database")
    shell.add_argument("words", nargs="*", metavar="WORD", help="handed on to psql (after --)")
    shell.set_defaults(run=run_shell)
    export_verb = verbs.add_parser(
        "export-to-server",
        help="copy everything from the embedded Postgres to a server of your own",
        description="All or nothing, from one snapshot; counted and hashed on both sides. The source stays as it is.",
    )
    export_verb.add_argument("url", metavar="URL", help="an empty database, as in MONITOR_DATABASE_URL")
    export_verb.set_defaults(run=run_export)


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


def run_export(args: argparse.Namespace, settings: Settings) -> int:
    """Copy the embedded database to a server; print what went over and how to go on there."""
    if settings.database_url is not None:
        raise UsageError("MONITOR_DATABASE_URL is set, so there is no embedded Postgres to export; unset it first")
    if not (settings.state_dir / "postgres").exists():
        raise UsageError(
            f"there is no embedded Postgres in {settings.state_dir}; set MONITOR_STATE_DIR to where it is"
        )
    with open_database(settings) as source, open_database(replace(settings, database_url=args.url)) as target:
        copied = export.export(source, target, _tell)
        where = target.engine.url.set(drivername="postgresql").render_as_string(hide_password=True)
    rows = sum(one.rows for one in copied)
    print(f"{rows:,} rows in {len(copied)} tables, counted and hashed on both sides; the source is as it was")
    print(f"now set MONITOR_DATABASE_URL={where} and start the daemon")
    print(f"when all is well there, {settings.state_dir / 'postgres'} can go")
    return 0


def _tell(table: str, size: int, complete: bool) -> None:
    print(f"{table:<22}{size / 2**20:>10,.1f} MiB{'' if complete else ' ...'}", flush=True)
