"""`monitor retention`: what has outlived its period."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from datetime import datetime

from monitor.cli.contracts import in_force
from monitor.cli.moments import clock, moment
from monitor.errors import GateRefused, UsageError
from monitor.ingest import retention
from monitor.ingest.retained import Horizons
from monitor.ingest.retention import Plan, Taken
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import open_database
from monitor.upkeep import Hold

EPILOG = """\
examples:
  monitor retention run --dry-run                   what would go, what stays although it is old, and why
  monitor retention run --dry-run --at 2027-01-01   the same, on that day
  monitor retention run                             take it away; the daemon does so once a day

The periods stand in [retention] of each contract. Whatever an open alert, an open
incident or an active baseline refers to stays.
"""
_SHOWN = 40


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor retention` and its verbs."""
    noun = subparsers.add_parser(
        "retention",
        help="take away what has outlived its period",
        description="Frames by whole days, roll-ups, reviews, rejects and rows of the ledger past their period.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    run = verbs.add_parser("run", help="take away what is past its period")
    run.add_argument("--dry-run", action="store_true", help="only say what would go and what stays, and why")
    run.add_argument("--at", type=moment, metavar="TIME", help="with --dry-run: the time to take as now")
    run.set_defaults(run=run_run)


def run_run(args: argparse.Namespace, settings: Settings) -> int:
    """Take away, or say what would be."""
    if args.at and not args.dry_run:
        raise UsageError("--at goes with --dry-run only: what is taken away by a wrong clock does not come back")
    now = args.at or clock()
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            contracts = in_force(conn, settings)
        if args.dry_run:
            print("\n".join(outlook(retention.plan(database, contracts, now))))
            return 0
        taken = retention.run(database, contracts, now)
    if taken.blocked:
        raise GateRefused(taken.blocked)
    print("\n".join(report(taken)))
    return 0


def outlook(plan: Plan) -> list[str]:
    """What would go and what stays, in words."""
    if plan.horizon is None:
        return [plan.blocked]
    going = [verdict for verdict in plan.days if verdict.goes]
    staying = [verdict for verdict in plan.days if not verdict.goes]
    young = len(plan.sizes) - len(plan.days)
    size = sum(plan.sizes[verdict.day] for verdict in going)
    lines = ["would go:", f"  {_days(len(going))} of frames, {size / 1e6:.1f} MB"]
    lines += [f"    {verdict.day}  {verdict.why}" for verdict in going[:_SHOWN]]
    lines += [f"    ... {len(going) - _SHOWN} more"] if len(going) > _SHOWN else []
    for model, rows in plan.rollups.items():
        lines.append(f"  {rows} roll-up rows of {model} from before {plan.horizon.rollups[model]:%Y-%m-%d}")
    for model, count in plan.reviews.items():
        lines.append(f"  {count} reviews of {model} from before {plan.horizon.reviews[model]:%Y-%m-%d}")
    lines.append(f"  {plan.waiting} reviews from before {plan.horizon.waiting:%Y-%m-%d} whose frame never came")
    unsettled = f", {plan.rejects_open} of them still open" if plan.rejects_open else ""
    lines.append(f"  {plan.rejects} rejects from before {plan.horizon.rejects:%Y-%m-%d}{unsettled}")
    lines.append(f"  {plan.batches} rows of the ledger from before {plan.horizon.batches:%Y-%m-%d}")
    lines += ["would stay:", f"  {_days(young)} of frames within the period of {plan.horizon.longest}"]
    lines += [f"    {verdict.day}  because of {verdict.why}" for verdict in staying[:_SHOWN]]
    lines += [f"    ... {len(staying) - _SHOWN} more"] if len(staying) > _SHOWN else []
    held = list(_held(plan.holds, plan.horizon))
    lines += held[:_SHOWN]
    lines += [f"  ... {len(held) - _SHOWN} more"] if len(held) > _SHOWN else []
    return lines


def _held(holds: Iterable[Hold], horizon: Horizons) -> Iterator[str]:
    """The old roll-ups and reviews that stay, a line a span; what many refer to is not said for each of them."""
    old = {model: max(before, horizon.reviews[model]) for model, before in horizon.rollups.items()}
    spans: dict[tuple[str, datetime, datetime], list[str]] = {}
    for hold in holds:
        if hold.model in old and hold.start < old[hold.model]:
            spans.setdefault((hold.model, hold.start, hold.end), []).append(hold.why)
    for (model, start, end), whys in spans.items():
        more = f", and of {len(whys) - 1} more" if len(whys) > 1 else ""
        span = f"from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
        yield f"  roll-ups and reviews of {model} {span}, because of {whys[0]}{more}"


def report(taken: Taken) -> list[str]:
    """What was taken away, in words."""
    lines = [
        f"taken away: {_days(taken.days)} with {taken.frames} frames, {taken.rollups} roll-up rows, "
        f"{taken.reviews} reviews, {taken.rejects} rejects, {taken.batches} rows of the ledger"
    ]
    if taken.in_use:
        days = ", ".join(str(verdict.day) for verdict in taken.in_use[:_SHOWN])
        lines.append(f"still there, for the frames were in use all the while: {days}; the next run tries again")
    return lines


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
