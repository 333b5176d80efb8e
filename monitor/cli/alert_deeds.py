"""The verbs of `monitor alerts` by which people do something about an alert, and see what was done."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar

from monitor.alerts import life, matchers, trial
from monitor.alerts.channels import WAYS, configured, paging_path
from monitor.alerts.life import Entry, Standing, Who
from monitor.cli.moments import clock, moment
from monitor.cli.words import so_many, words
from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.store import migrate, silences
from monitor.store.database import Connection, open_database
from monitor.store.silences import Silence

T = TypeVar("T")
VIA = "command line"
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to those of `monitor alerts`."""
    _register_deeds(verbs)
    _register_silences(verbs)
    _register_history(verbs)


def _register_deeds(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ack = verbs.add_parser(
        "ack",
        help="say that you have taken an alert or incident on",
        epilog='example: monitor alerts ack packaging-line/brightness-drift/v1/cam-1/-/- --by "A. Roe"',
    )
    _add_person(ack, "--note", "what you are going to do", required=False)
    ack.add_argument("key", metavar="KEY_OR_PREFIX", help="of one alert or incident")
    ack.set_defaults(run=run_ack)
    resolve = verbs.add_parser(
        "resolve",
        help="end an alert or incident by hand with a note, or add the note to one that is over",
        epilog='example: monitor alerts resolve packaging-line/incident/v1/cam-2 --by "A. Roe" --note "refocused"',
    )
    _add_person(resolve, "--note", "what it was, and what was done")
    resolve.add_argument("key", metavar="KEY_OR_PREFIX", help="of one alert or incident")
    resolve.set_defaults(run=run_resolve)
    test = verbs.add_parser(
        "test",
        help="send a test message through each channel and say what came back",
        epilog="example: monitor alerts test",
    )
    test.set_defaults(run=run_test)


def _register_silences(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    quiet = verbs.add_parser(
        "silence",
        help="tell nobody of some alerts for a while, seven days at most; they are judged as ever",
        epilog='example: monitor alerts silence camera=cam-3 "rule!=late*" --for 8h --by "A. Roe" --reason "lens"',
    )
    names = ", ".join(matchers.NAMES)
    quiet.add_argument(
        "matchers",
        nargs="+",
        metavar="NAME=VALUE",
        help=f"all must fit, and one says what goes quiet; NAME!=VALUE leaves out of that. * and ? as in file names. "
        f"Names: {names}. Or an alert's whole key",
    )
    until = quiet.add_mutually_exclusive_group(required=True)
    until.add_argument("--for", dest="length", type=_length, metavar="TIME", help="such as 30m, 8h or 2d")
    until.add_argument("--until", type=moment, metavar="TIME", help="its end (UTC)")
    _add_person(quiet, "--reason", "why")
    quiet.set_defaults(run=run_silence)
    loud = verbs.add_parser(
        "unsilence",
        help="end a silence; what it held back and is still on is told",
        epilog='example: monitor alerts unsilence 3 --by "A. Roe"',
    )
    loud.add_argument("number", type=int, metavar="NUMBER", help="as `monitor alerts silences` prints it")
    _add_person(loud, "--reason", "why", required=False)
    loud.set_defaults(run=run_unsilence)
    listing = verbs.add_parser("silences", help="silences in force", epilog="example: monitor alerts silences --all")
    listing.add_argument("--all", action="store_true", help="those that are over too")
    listing.add_argument("--json", action="store_true", help="as a JSON array")
    listing.set_defaults(run=run_silences)


def _register_history(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    history = verbs.add_parser(
        "history", help="what happened and who did what, the newest first", epilog="example: monitor alerts history"
    )
    history.add_argument("key", nargs="?", metavar="KEY_OR_PREFIX", help="of one alert or incident (default: all)")
    history.add_argument("--last", type=so_many, default=50, metavar="N", help="so many lines (default: 50)")
    history.add_argument("--json", action="store_true", help="as a JSON array")
    history.set_defaults(run=run_history)


def run_ack(args: argparse.Namespace, settings: Settings) -> int:
    """Acknowledge one alert."""
    now, who = clock(), Who(args.by, VIA)
    one = _do(settings, lambda conn: life.acknowledge(conn, _key(conn, args.key, now), who, args.note or "", now))
    print(f"{one.key}: {handling(one)}")
    return 0


def run_resolve(args: argparse.Namespace, settings: Settings) -> int:
    """Resolve one alert by hand."""
    now, who = clock(), Who(args.by, VIA)
    one = _do(settings, lambda conn: life.resolve(conn, _key(conn, args.key, now), who, args.note, now))
    print(f"{one.key} is {one.state}; the note is on record")
    return 0


def run_silence(args: argparse.Namespace, settings: Settings) -> int:
    """Begin a silence."""
    now, who = clock(), Who(args.by, VIA)
    ends_at = args.until or now + args.length

    def begin(conn: Connection) -> tuple[int, int]:
        wanted = [_matcher(conn, said, now) for said in args.matchers]
        number = life.silence(conn, wanted, who, args.reason, ends_at, now)
        return number, sum(matchers.fits(wanted, one.facts) for one in life.standing(conn, now))

    number, fitting = _do(settings, begin)
    print(f"silence {number} until {ends_at:%Y-%m-%d %H:%M} UTC; of what is open now {fitting} fit it")
    return 0


def run_unsilence(args: argparse.Namespace, settings: Settings) -> int:
    """End a silence."""
    now, who = clock(), Who(args.by, VIA)
    ended = _do(settings, lambda conn: life.unsilence(conn, args.number, who, args.reason or "", now))
    print(f"silence {ended.id} ({', '.join(ended.matchers)}) is over")
    return 0


def run_silences(args: argparse.Namespace, settings: Settings) -> int:
    """Print silences."""
    now = clock()
    found = _do(settings, lambda conn: silences.read(conn, None if args.all else now))
    if args.json:
        print(json.dumps([plain_silence(one, now) for one in found], indent=2))
        return 0
    for one in found:
        over = "" if one.in_force(now) else " (over)"
        span = f"{one.starts_at:%Y-%m-%d %H:%M} to {one.over_at:%Y-%m-%d %H:%M} UTC{over}"
        print(f"{one.id}  {span}  {', '.join(one.matchers)}  {one.author}: {one.reason}")
    if not found:
        print("there has been no silence" if args.all else "no silence is in force")
    return 0


def run_history(args: argparse.Namespace, settings: Settings) -> int:
    """Print what happened and who did what."""
    now = clock()

    def read(conn: Connection) -> list[Entry]:
        return life.history(conn, now, args.key and _key(conn, args.key, now), args.last)

    entries = _do(settings, read)
    if args.json:
        print(json.dumps([plain_entry(entry) for entry in entries], indent=2))
        return 0
    print("\n".join(lines("", entries, with_subject=args.key is None)) or "nothing has happened yet")
    return 0


def run_test(args: argparse.Namespace, settings: Settings) -> int:
    """Send a test message through each channel; 1 if one was not taken."""
    channels = configured(settings)
    outcomes = trial.run(channels, clock())
    path = paging_path(settings)
    print(f"paging path: {path}{f'; nobody is paged, set {WAYS}' if path == 'log' else ''}")
    width = max(len(outcome.channel) for outcome in outcomes)
    for outcome in outcomes:
        print(f"{outcome.channel:<{width}}  {'taken' if outcome.taken else 'NOT TAKEN'}: {outcome.said}")
    return 0 if all(outcome.taken for outcome in outcomes) else 1


def handling(one: Standing | None) -> str:
    """What people have done about an alert, as a phrase; empty: nothing."""
    said = []
    if one is not None and one.acknowledged is not None:
        said.append(f"acknowledged by {one.acknowledged.author}")
    if one is not None and one.silence is not None:
        said.append(f"silenced until {one.silence.ends_at:%Y-%m-%d %H:%M} ({one.silence.id})")
    return ", ".join(said)


def lines(title: str, entries: Sequence[Entry], *, with_subject: bool = False) -> list[str]:
    """A history as lines, under its title where there is one."""
    told = [
        f"{'  ' if title else ''}{e.at:%Y-%m-%d %H:%M}  {e.what:<12}  "
        + (f"{e.subject}: " if with_subject and e.who != "monitor" else "")
        + (f"{e.who}: {e.said}" if e.who != "monitor" else e.said)
        for e in entries
    ]
    return ["", title, *told] if title and told else told


def plain_figures(one: Standing | None) -> dict[str, Any]:
    """How an alert was told when it fired and how it is by now, as JSON takes it."""
    found = {"fired": None if one is None else one.fired, "now": None if one is None else one.now}
    return {
        name: None if figure is None else {**asdict(figure), "as_of": figure.as_of.isoformat()}
        for name, figure in found.items()
    }


def plain(one: Standing | None) -> dict[str, Any]:
    """What was done about an alert, as JSON takes it."""
    ack, silence = (one.acknowledged, one.silence) if one is not None else (None, None)
    taken_on = None if ack is None else {"by": ack.author, "at": ack.at.isoformat(), "note": ack.note}
    quiet = None if silence is None else {"id": silence.id, "ends_at": silence.ends_at.isoformat()}
    return {"acknowledged": taken_on, "silenced": quiet}


def plain_entry(entry: Entry) -> dict[str, str]:
    """A line of a history as JSON takes it."""
    told = {"what": entry.what, "who": entry.who, "said": entry.said, "subject": entry.subject}
    return {"at": entry.at.isoformat(), **told}


def plain_silence(one: Silence, now: datetime) -> dict[str, Any]:
    """A silence as JSON takes it."""
    times = {"starts_at": one.starts_at.isoformat(), "ends_at": one.over_at.isoformat()}
    said = {"id": one.id, "matchers": list(one.matchers), "by": one.author, "reason": one.reason}
    return {**said, **times, "in_force": one.in_force(now)}


def _add_person(parser: argparse.ArgumentParser, why: str, help_of_why: str, *, required: bool = True) -> None:
    parser.add_argument("--by", required=True, type=words, metavar="NAME", help="who you are; it stays on record")
    parser.add_argument(why, required=required, type=words, metavar="TEXT", help=help_of_why)


def _do(settings: Settings, deed: Callable[[Connection], T]) -> T:
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            return deed(conn)


def _key(conn: Connection, wanted: str, now: datetime) -> str:
    """The whole key of the one alert or incident that `wanted` begins; open ones come first.

    Raises:
        UsageError: none begins so, or several do.
    """
    for open_only in (True, False):
        keys = sorted({one.key for one in life.standing(conn, now, open_only=open_only, prefix=wanted)})
        if wanted in keys or len(keys) == 1:
            return wanted if wanted in keys else keys[0]
        if keys:
            first = "".join(f"\n  {key}" for key in keys[:10])
            raise UsageError(f"{len(keys)} keys begin with {wanted!r}; give more of the key:{first}")
    return life.find(conn, wanted, now).key


def _matcher(conn: Connection, said: str, now: datetime) -> str:
    """A matcher as it is, or the one that fits the alert whose key was given."""
    named = re.match(r"[a-z_]+!?=", said)
    return said if named or "/" not in said else matchers.of_alert(life.find(conn, said, now).key)


def _length(said: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([mhd])", said)
    if found is None:
        raise argparse.ArgumentTypeError(f"{said!r} is no length of time; write 30m, 8h or 2d")
    return int(found[1]) * _UNITS[found[2]]
