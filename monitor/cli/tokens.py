"""`monitor tokens`: who may send frames over HTTP, and who may read from elsewhere."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta

from monitor.cli.moments import clock
from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.store import migrate, tokens
from monitor.store.database import open_database
from monitor.store.tokens import SCOPES, WRITING, Token

EPILOG = """\
examples:
  monitor tokens create line-7 --scope ingest --source line-7    for the cameras' host; writes as that source only
  monitor tokens create desk --scope review --source desk        for the tool in which people review frames
  monitor tokens create on-call --scope operate                  who acknowledges, silences and resolves alerts
  monitor tokens create grafana --scope read --days 90           for the page and /metrics on another address
  monitor tokens list                                            who has one, until when, last used when
  monitor tokens revoke line-7                                   ends it within seconds

A token is shown once, when it is made. The database keeps its SHA-256 and nothing else of it.
"""
_LONGEST = 100


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor tokens` and its verbs."""
    noun = subparsers.add_parser(
        "tokens",
        help="who may send frames over HTTP, read, or see to alerts",
        description="Tokens of access: each with its scopes, and a source of its own if it may send frames.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a token and print it, this once")
    create.add_argument("name", type=_word, metavar="NAME", help="what it is called in lists")
    create.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        choices=SCOPES,
        required=True,
        metavar="SCOPE",
        help="ingest: send frames and events; review: send reviews; read: pages and /metrics; operate: acknowledge, "
        "resolve and silence. None includes another; may be given again",
    )
    create.add_argument("--source", type=_word, help="whom it writes as; with --scope ingest or review")
    create.add_argument("--days", type=_days, default=365, help="how long it is good for (default: 365)")
    create.set_defaults(run=run_create)
    listing = verbs.add_parser("list", help="every token there is or was")
    listing.set_defaults(run=run_list)
    revoke = verbs.add_parser("revoke", help="end a token")
    revoke.add_argument("name", metavar="NAME", help="as `list` prints it")
    revoke.set_defaults(run=run_revoke)


def run_create(args: argparse.Namespace, settings: Settings) -> int:
    """Make a token; it alone goes to standard output."""
    if any(scope in WRITING for scope in args.scopes) != (args.source is not None):
        raise UsageError(
            "--source goes with --scope ingest or review, and they with it: a token writes as one source only"
        )
    now = clock()
    expires_at = now + timedelta(days=args.days)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            token = tokens.issue(conn, args.name, args.source or "", args.scopes, now, expires_at)
    print(token)
    print(f"good until {expires_at:%Y-%m-%d}; it is not shown again, keep it where secrets are kept", file=sys.stderr)
    return 0


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print what is known of each token."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = tokens.listing(conn)
    if not found:
        print("there is no token yet; `monitor tokens create --help` shows how to make one", file=sys.stderr)
        return 0
    now = clock()
    print(f"{'NAME':<20}  {'SOURCE':<16}  {'SCOPES':<14}  {'GOOD UNTIL':<10}  {'LAST USED (UTC)':<16}  STATE")
    for one in found:
        used = "never" if one.last_used_at is None else f"{one.last_used_at:%Y-%m-%d %H:%M}"
        scopes = ",".join(sorted(one.scopes))
        print(
            f"{one.name:<20}  {one.source or '-':<16}  {scopes:<14}  {one.expires_at:%Y-%m-%d}  {used:<16}  "
            f"{state(one, now)}"
        )
    return 0


def run_revoke(args: argparse.Namespace, settings: Settings) -> int:
    """End a token."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            done = tokens.revoke(conn, args.name, clock())
    if not done:
        raise UsageError(f"there is no token called {args.name!r} to revoke; `monitor tokens list` prints them all")
    print(f"{args.name} is revoked; a running daemon knows within seconds")
    return 0


def state(one: Token, now: datetime) -> str:
    """How a token stands, in words."""
    if one.revoked_at is not None:
        return f"revoked {one.revoked_at:%Y-%m-%d %H:%M}"
    return "in force" if one.in_force(now) else "expired"


def _word(said: str) -> str:
    if not said.strip() or said != said.strip() or not said.isprintable() or len(said) > _LONGEST:
        raise argparse.ArgumentTypeError(f"{said!r} is no name of 1 to {_LONGEST} printable characters")
    return said


def _days(said: str) -> int:
    if not said.isdecimal() or not 0 < int(said) <= 3650:
        raise argparse.ArgumentTypeError(f"{said!r} is no number of days from 1 to 3650")
    return int(said)
