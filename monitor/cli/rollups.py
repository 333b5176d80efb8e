"""`monitor rollups`: are they what the frames say, and if not, make them so."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from monitor.cli.moments import clock, moment
from monitor.cli.progress import Progress
from monitor.errors import UsageError
from monitor.ingest import audit
from monitor.ingest.audit import Audit, Task
from monitor.records import Window
from monitor.review import recount
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.store import migrate, retention
from monitor.store.database import Database, open_database

EPILOG = """\
examples:
  monitor rollups audit                                      recount the last 24 hours; exit 1 if anything differs
  monitor rollups audit --from 2026-03-01 --to 2026-03-08    a week
  monitor rollups audit --from 2026-03-01 --repair           put right what differs; the evidence is kept
  monitor rollups rebuild --signal sharpness                 count one signal anew after its definition changed

Only days whose frames are still there can be recounted; the others are left alone.
"""
_SHOWN = 20
_DAY = timedelta(days=1)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor rollups` and its verbs."""
    noun = subparsers.add_parser(
        "rollups",
        help="recount roll-ups from the frames",
        description="Roll-ups are counted when frames are taken in; here they are counted again, by the same code.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    check = verbs.add_parser("audit", help="compare them with the frames; exit 1 if anything differs")
    _add_period(check, "24 hours ago")
    check.add_argument("--repair", action="store_true", help="put right what differs, and keep what stood there")
    check.set_defaults(run=run_audit)
    rebuild = verbs.add_parser("rebuild", help="count one signal anew")
    rebuild.add_argument("--signal", required=True, choices=list(SIGNALS), metavar="NAME", help="which signal")
    _add_period(rebuild, "the oldest day with frames")
    rebuild.set_defaults(run=run_rebuild)


def _add_period(verb: argparse.ArgumentParser, start: str) -> None:
    verb.add_argument("--from", dest="start", type=moment, metavar="TIME", help=f"start, UTC (default: {start})")
    verb.add_argument("--to", dest="end", type=moment, metavar="TIME", help="end, UTC (default: now)")
    verb.add_argument("--model", help="of one model (default: all)")


def run_audit(args: argparse.Namespace, settings: Settings) -> int:
    """Recount and report; repair if asked to."""
    now = clock()
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        period = _period(args, now - _DAY, now)
        done = audit.run(database, Task(period, args.model, repair=args.repair), now, _told())
        said = recount.run(database, period, args.model, repair=args.repair)
    print("\n".join([*report(done), *report_reviews(said)]))
    whole = done.differing == done.repaired and said.differing == said.repaired and not done.nameless
    return 0 if whole else 1


def run_rebuild(args: argparse.Namespace, settings: Settings) -> int:
    """Count one signal anew, wherever its frames are still there."""
    now = clock()
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        period = _period(args, _oldest(database, now), now + _DAY)
        done = audit.run(database, Task(period, args.model, args.signal, repair=True), now, _told())
    print("\n".join(report(done)))
    if done.repaired:
        print("drift measures those windows again; baselines keep what they froze: freeze new ones if edges changed")
    return 0


def report(done: Audit) -> list[str]:
    """What a recount found, in words."""
    rows = f"{done.compared} roll-up rows over {done.hours} hour{'' if done.hours == 1 else 's'} recounted"
    lines = [f"  {one}" for one in done.shown[:_SHOWN]]
    lines += [f"  ... {done.differing - _SHOWN} more"] if done.differing > _SHOWN else []
    verdict = "nothing differs" if not done.differing else f"{done.differing} differ"
    if done.repaired:
        verdict += ", all put right; table rollup_repair keeps what stood there"
    elif done.differing:
        verdict += "; --repair puts them right"
    lines.insert(0, f"{rows}: {verdict}")
    if done.blind:
        lines.append(
            f"left alone, for frames in them have more detections than are stored: {done.blind} roll-up row"
            f"{'' if done.blind == 1 else 's'}"
        )
    if done.nameless:
        lines.append(
            f"{done.nameless} roll-up row{' is' if done.nameless == 1 else 's are'} of no known series, so nobody"
            " reads them; --repair counts them anew where their frames are still there, the others can be deleted"
        )
    if gone := done.without_frames:
        span = f"{gone[0]}" if len(gone) == 1 else f"{gone[0]} to {gone[-1]}"
        days = f"{len(gone)} day{'' if len(gone) == 1 else 's'}"
        lines.append(f"left alone, for their frames are gone, wholly or in part: {days} ({span})")
    return lines


def report_reviews(done: recount.Recount) -> list[str]:
    """What a recount of reviews found, in words; nothing where there is none."""
    if not done.compared:
        return []
    verdict = "nothing differs" if not done.differing else f"{done.differing} differ"
    verdict += ", all put right" * bool(done.repaired)
    lines = [f"{done.compared} counts of verdicts recounted from the reviews: {verdict}"]
    lines += [f"  {one}" for one in done.shown[:_SHOWN]]
    return lines + ([f"  ... {done.differing - _SHOWN} more"] if done.differing > _SHOWN else [])


def _period(args: argparse.Namespace, start: datetime, end: datetime) -> Window:
    period = Window(args.start or start, args.end or end)
    if period.start >= period.end:
        raise UsageError(f"--from {period.start:%Y-%m-%d %H:%M} is not before --to {period.end:%Y-%m-%d %H:%M}")
    return period


def _oldest(database: Database, now: datetime) -> datetime:
    with database.begin() as conn:
        days = retention.days_with_frames(conn)
    first = min(days, default=now.date())
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


def _told() -> audit.Progress:
    """Says how far it is, and of every hour that differs."""
    progress = Progress("hours recounted")

    def told(hour: Window, differing: int, done: int, total: int) -> None:
        if differing:
            progress.aside(f"{hour.start:%Y-%m-%d %H:%M}: {differing} differ")
        progress.step(done, total, f", up to {hour.end:%Y-%m-%d %H:%M}")

    return told
