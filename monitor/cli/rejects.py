"""`monitor rejects`: what intake set aside, and what to do with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from monitor.cli.contracts import in_force
from monitor.cli.moments import clock, moment
from monitor.errors import UsageError
from monitor.ingest.replay import Replay, replay
from monitor.settings import Settings
from monitor.store import migrate, rejects
from monitor.store.database import open_database
from monitor.store.rejects import Rejected, RejectKey, Tally, Which

EPILOG = """\
examples:
  monitor rejects list --from 2026-03-01                      counts by day, source and reason, and the newest ones
  monitor rejects show 12:7                                   one of them, with the line as it came
  monitor rejects replay --reason unknown_camera              take them in, now that the contract is mended
  monitor rejects drop --source line-7 --because "test rig"   give them up: the bytes go, the reason stays
"""
_SHOWN_BYTES = 2000


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor rejects` and its verbs."""
    noun = subparsers.add_parser(
        "rejects",
        help="what intake set aside, and why",
        description="Lines, and detections of stored frames, that intake set aside with a reason.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="counts by day, source and reason, and the newest ones")
    _add_filters(listing)
    listing.add_argument("--all", action="store_true", help="also those that were replayed or dropped")
    listing.add_argument("--limit", type=_positive, default=20, metavar="N", help="lines of each table (default: 20)")
    listing.set_defaults(run=run_list)
    show = verbs.add_parser("show", help="one reject, with the line as it came")
    show.add_argument("key", type=_key, metavar="BATCH:LINE", help="as `list` prints it")
    show.add_argument("--raw", action="store_true", help="the bytes alone, as they came")
    show.set_defaults(run=run_show)
    again = verbs.add_parser("replay", help="take open ones in, if they can be now")
    _add_choice(again)
    again.set_defaults(run=run_replay)
    drop = verbs.add_parser("drop", help="give open ones up")
    _add_choice(drop)
    drop.add_argument("--because", required=True, metavar="TEXT", help="why nobody will need them; kept with each")
    drop.set_defaults(run=run_drop)


def _add_filters(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--source", help="of one source")
    verb.add_argument("--reason", help="for one reason, such as unknown_camera")
    verb.add_argument("--from", dest="start", type=moment, metavar="TIME", help="that arrived at or after this, UTC")
    verb.add_argument("--to", dest="end", type=moment, metavar="TIME", help="that arrived before this, UTC")


def _add_choice(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("keys", nargs="*", type=_key, metavar="BATCH:LINE", help="these, as `list` prints them")
    _add_filters(verb)
    verb.add_argument("--all", action="store_true", help="all that are open")


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print counts, then the newest ones."""
    which = Which(args.source, args.reason, args.start, args.end, None if args.all else rejects.OPEN)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            counts = rejects.tally(conn, which, args.limit + 1)
            newest = rejects.listing(conn, which, args.limit)
            total = rejects.count(conn, which)
    if not total:
        print("nothing is set aside" if args.all else "nothing that was set aside is open", file=sys.stderr)
        return 0
    print("\n".join([*_counts(counts[: args.limit]), *(["..."] if len(counts) > args.limit else []), ""]))
    print("\n".join(_newest(newest)))
    if total > len(newest):
        print(f"... {total - len(newest)} more; narrow by --source, --reason, --from, --to, or raise --limit")
    return 0


def run_show(args: argparse.Namespace, settings: Settings) -> int:
    """Print one reject."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = rejects.read(conn, [args.key])
    if not found:
        raise UsageError(f"there is no reject {args.key}; `monitor rejects list --all` prints the newest ones")
    if args.raw:
        sys.stdout.buffer.write(found[0].raw)
        return 0
    print("\n".join(portrait(found[0])))
    return 0


def run_replay(args: argparse.Namespace, settings: Settings) -> int:
    """Take in what can be taken in now."""
    which = _chosen(args)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            contracts = in_force(conn, settings)
        print(report(replay(database, contracts, which, clock())))
    return 0


def run_drop(args: argparse.Namespace, settings: Settings) -> int:
    """Give rejects up."""
    which = _chosen(args)
    if not args.because.strip() or not args.because.isprintable():
        raise UsageError("--because needs a sentence of printable characters: it is what remains of these rejects")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            dropped = rejects.drop(conn, which, args.because.strip(), clock())
    print(f"{dropped} dropped; their reasons stay: `monitor rejects list --all`")
    return 0


def report(done: Replay) -> str:
    """What became of the rejects that were chosen."""
    said = [
        f"{done.chosen} chosen: {done.stored} stored, {done.duplicate} stored before, {done.blank} blank, "
        f"{done.refused} refused again"
    ]
    said += [f"  {reason}: {count}" for reason, count in done.reasons.most_common()]
    if done.cut:
        said.append(f"{done.cut} longer than what is kept of a line; send them again from where they came")
    if done.parts:
        said.append(f"{done.parts} detections of frames that are stored without them; they can only be dropped")
    if done.gone:
        said.append(f"{done.gone} settled by somebody else meanwhile")
    return "\n".join(said)


def portrait(one: Rejected) -> list[str]:
    """The lines of `monitor rejects show`; what a record says is printed so that no terminal acts on it."""
    settled = f" on {one.settled_at:%Y-%m-%d %H:%M} UTC" if one.settled_at else ""
    batch = f" by batch {one.replay_batch_id}" if one.replay_batch_id else ""
    facts = {
        "state": f"{one.state}{settled}{batch}",
        "because": one.note,
        "reason": f"{one.reason}: {one.detail}",
        "where": f"line {one.key.line_number} of {_printable(one.file_name)}, source {_printable(one.source)}",
        "arrived": f"{one.received_at:%Y-%m-%d %H:%M:%S} UTC",
        "what": "the whole line" if one.whole_line else "a detection; its frame is stored",
    }
    said = one.raw[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    more = f" (the first {_SHOWN_BYTES} of {one.size} bytes; --raw prints all)" if one.size > _SHOWN_BYTES else ""
    lines = [str(one.key), *(f"  {name:<8} {fact}" for name, fact in facts.items() if fact)]
    return [*lines, f"  as it came{more}:", f"  {_printable(said)}"] if one.size else lines


def _chosen(args: argparse.Namespace) -> Which:
    filters = (args.source, args.reason, args.start, args.end)
    named = any(one is not None for one in filters)
    if bool(args.keys) + named + args.all != 1:
        raise UsageError("say which: BATCH:LINE, or --source, --reason, --from, --to, or --all for everything open")
    return Which(*filters, keys=tuple(args.keys) or None)


def _counts(counts: Sequence[Tally]) -> list[str]:
    lines = [f"{'DAY (UTC)':<10}  {'LINES':>7}  {'PARTS':>7}  {'REASON':<18}  SOURCE"]
    for one in counts:
        lines.append(f"{one.day}  {one.lines:>7}  {one.parts:>7}  {one.reason:<18}  {_printable(one.source)}")
    return lines


def _newest(found: Sequence[Rejected]) -> list[str]:
    lines = [f"{'REJECT':<12}  {'ARRIVED (UTC)':<16}  {'STATE':<8}  {'REASON':<18}  FILE"]
    for one in found:
        said = f"{one.received_at:%Y-%m-%d %H:%M}  {one.state:<8}  {one.reason:<18}  {_printable(one.file_name)}"
        lines.append(f"{one.key!s:<12}  {said}")
    return lines


def _printable(said: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)


def _key(said: str) -> RejectKey:
    try:
        return RejectKey.parse(said)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(said: str) -> int:
    if not said.isdecimal() or not 0 < int(said) <= 10_000:
        raise argparse.ArgumentTypeError(f"{said!r} is no number from 1 to 10000")
    return int(said)
