"""`monitor baseline`: freeze what production is compared with, and say what it can support."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monitor.cli.contracts import contract_of
from monitor.cli.images import chosen_images, read_images, step
from monitor.cli.moments import clock, moment
from monitor.cli.words import words
from monitor.drift import baseline as freezing
from monitor.drift.baseline import Frozen
from monitor.drift.readiness import Readiness, readiness
from monitor.errors import UsageError
from monitor.records import Baseline, BaselineHistogram, SeriesKey, Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import acceptances, baselines, migrate
from monitor.store.database import Database, open_database

EPILOG = """\
examples:
  monitor baseline freeze --model packaging-line --version v1 --from 2026-01-01 --to 2026-01-29
  monitor baseline freeze --contract contracts/cells.toml --images training/images --note "split of March"
  monitor baseline accept --model packaging-line --version v1 --from 2026-04-01 --to 2026-04-29 --by "A. Roe" \\
      --reason "new lamps since March"
  monitor baseline accept --model packaging-line --version v1 --from-now 28 --by "A. Roe" --reason "lens swapped"
  monitor baseline withdraw --model packaging-line --version v1
  monitor baseline list
  monitor baseline report 3
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor baseline` and its verbs."""
    noun = subparsers.add_parser(
        "baseline",
        help="freeze what production is compared with",
        description="A baseline is frozen once, hashed, and never changed; a newer one takes its place.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    _register_freeze(verbs)
    _register_accept(verbs)
    withdraw = verbs.add_parser(
        "withdraw",
        help="take back an acceptance whose days are still awaited: the old baseline judges on",
        epilog="example: monitor baseline withdraw --model packaging-line --version v1",
    )
    withdraw.add_argument("--model", required=True, help="the model")
    withdraw.add_argument("--version", required=True, help="the model version, as it was accepted")
    withdraw.set_defaults(run=run_withdraw)
    listing = verbs.add_parser("list", help="every baseline, oldest first")
    listing.add_argument("--model", help="of one model")
    listing.set_defaults(run=run_list)
    report = verbs.add_parser("report", help="how big and how broad a baseline is, and what it can support")
    report.add_argument("id", nargs="?", type=int, metavar="ID", help="its number (default: the newest)")
    report.add_argument("--contract", type=Path, metavar="PATH", help="judge it by this contract, not the folder's")
    report.set_defaults(run=run_report)


def _register_freeze(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    freeze = verbs.add_parser(
        "freeze",
        help="from ingested logs of a period, or from images",
        description="From logs: --version, --from and --to. From images: --images or --list.",
    )
    whose = freeze.add_mutually_exclusive_group(required=True)
    whose.add_argument("--contract", type=Path, metavar="PATH", help="the model's contract")
    whose.add_argument("--model", help="the model, whose contract lies in the contracts folder")
    freeze.add_argument("--version", help="the model version whose logs are frozen")
    freeze.add_argument("--from", dest="start", type=moment, metavar="TIME", help="start of the period, UTC")
    freeze.add_argument("--to", dest="end", type=moment, metavar="TIME", help="its end: the first moment after it")
    freeze.add_argument("--images", type=Path, metavar="DIR", help="a folder of images")
    freeze.add_argument(
        "--list", type=Path, metavar="FILE", help="a text file that names one image a line, in --images"
    )
    freeze.add_argument(
        "--step", type=step, default=1, metavar="N", help="read every Nth row and column, as production"
    )
    freeze.add_argument("--note", default="", help="what a person should know about it")
    freeze.set_defaults(run=run_freeze)


def _register_accept(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    accept = verbs.add_parser(
        "accept",
        help="say that things are as they shall be: a new baseline, on record",
        description="Freezes a new baseline in the old one's place and writes down who accepted it and why. The lanes"
        " start again from it, and open incidents close. Nothing is ever accepted by itself.",
    )
    accept.add_argument("--model", required=True, help="the model, whose contract lies in the contracts folder")
    accept.add_argument("--version", required=True, help="the model version")
    accept.add_argument("--from", dest="start", type=moment, metavar="TIME", help="start of the period, UTC")
    accept.add_argument("--to", dest="end", type=moment, metavar="TIME", help="its end: the first moment after it")
    accept.add_argument(
        "--from-now", type=int, metavar="DAYS", help="learn anew from the next midnight on, for so many days"
    )
    accept.add_argument("--by", required=True, type=words, metavar="NAME", help="who accepts it")
    accept.add_argument("--reason", required=True, type=words, help="why")
    accept.set_defaults(run=run_accept)


def run_accept(args: argparse.Namespace, settings: Settings) -> int:
    """Accept, and say what takes whose place."""
    loaded = contract_of(args.model, settings)
    given = [one is not None for one in (args.start, args.end)]
    if any(given) if args.from_now is not None else not all(given):
        raise UsageError("give --from and --to, or --from-now with a number of days")
    period = None if args.from_now is not None else Window(args.start, args.end)
    days = freezing.LEARN_DAYS if args.from_now is None else args.from_now
    now = clock()
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        frozen = freezing.accept(database, loaded, args.version, period, now, args.by, args.reason, days)
        with database.begin() as conn:
            record = acceptances.listing(conn, loaded.model)[-1]
    old = f"baseline {record.old_baseline_id}" if record.old_baseline_id else "no baseline"
    if frozen is None:
        print(
            f"learning {args.model} {args.version} for {days} days from {record.learn_from:%Y-%m-%d %H:%M} UTC on, in"
            f" the place of {old}; nothing is judged until then, and open incidents close"
        )
        return 0
    print(f"accepted in the place of {old} by {args.by}: {args.reason}")
    _print_frozen(frozen)
    _print_report(loaded, readiness(loaded.contract, frozen.baseline, frozen.rows))
    return 0


def run_withdraw(args: argparse.Namespace, settings: Settings) -> int:
    """Take back an acceptance that has not come to a baseline yet."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            taken_back = acceptances.withdraw(conn, args.model, args.version)
    if taken_back is None:
        raise UsageError(
            f"no acceptance of {args.model} {args.version} awaits its days; what has become a baseline is replaced by"
            " another one: `monitor baseline accept`"
        )
    old = taken_back.old_baseline_id
    then = f"baseline {old} judges on" if old else "there is no baseline that judges"
    print(f"withdrawn: {args.model} {args.version} {taken_back}; {then}")
    return 0


def run_freeze(args: argparse.Namespace, settings: Settings) -> int:
    """Freeze, then report."""
    loaded = load_contract(args.contract) if args.contract else contract_of(args.model, settings)
    logs = (args.version, args.start, args.end)
    from_images = bool(args.images or args.list)
    if from_images == any(logs) or (any(logs) and not all(logs)):
        raise UsageError(
            "a baseline comes from logs or from images: give --version, --from and --to, or --images or --list"
        )
    now = clock()
    images = []
    if from_images:
        paths = chosen_images([args.images] if args.images else [], args.list)
        images = [found.stats for found in read_images(paths, args.step)]
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        if from_images:
            frozen = freezing.from_images(database, loaded, images, now, args.note)
        else:
            period = Window(args.start, args.end)
            frozen = freezing.from_logs(database, loaded, args.version, period, now, args.note)
    _print_frozen(frozen)
    _print_report(loaded, readiness(loaded.contract, frozen.baseline, frozen.rows))
    return 0


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """One line a baseline."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = baselines.listing(conn, args.model)
            accepted = {one.baseline_id: one for one in acceptances.listing(conn, args.model)}
    for baseline in found:
        print(_line(baseline))
        if (one := accepted.pop(baseline.id, None)) is not None:
            print(f"  {one}")
    for one in accepted.values():
        print(f"{one.model} {one.version}: {one}")
    if not found:
        print("no baseline yet; `monitor baseline freeze` makes one", file=sys.stderr)
    return 0


def run_report(args: argparse.Namespace, settings: Settings) -> int:
    """The readiness report of one baseline."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        baseline, rows = _chosen(database, args.id)
    loaded = load_contract(args.contract) if args.contract else contract_of(baseline.model, settings)
    print(_line(baseline))
    _print_report(loaded, readiness(loaded.contract, baseline, rows))
    return 0


def _chosen(database: Database, number: int | None) -> tuple[Baseline, dict[SeriesKey, BaselineHistogram]]:
    with database.begin() as conn:
        found = [b for b in baselines.listing(conn) if number in (None, b.id)]
        if not found:
            raise UsageError("there is no such baseline; `monitor baseline list` names them all")
        return found[-1], baselines.histograms(conn, found[-1].id)


def _line(baseline: Baseline) -> str:
    """A baseline on one line."""
    start, end = baseline.period_start, baseline.period_end
    whence = f"logs of {baseline.version}" if baseline.source == "logs" else "images, for every version"
    period = f", {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC" if start and end else ""
    note = f": {baseline.note}" if baseline.note else ""
    return (
        f"baseline {baseline.id} of {baseline.model} from {whence}{period}, {baseline.frames:,} frames, "
        f"sha256 {baseline.sha256[:16]}, contract {baseline.contract_hash}, "
        f"frozen {baseline.created_at:%Y-%m-%d %H:%M} UTC{note}"
    )


def _print_frozen(frozen: Frozen) -> None:
    print(_line(frozen.baseline) if frozen.fresh else f"frozen before, unchanged: {_line(frozen.baseline)}")


def _print_report(loaded: LoadedContract, ready: Readiness) -> None:
    print(f"\nhow big and how broad, by contract {loaded.hash}:")
    print(f"  frames      {ready.frames:,}" + (f" in {ready.days:g} days" if ready.days is not None else ""))
    for title, said in (
        ("cameras", [f"{name} {frames:,}" for name, frames in sorted(ready.cameras.items())]),
        ("slices", [f"{name} = {value} {frames:,}" for (name, value), frames in sorted(ready.slices.items())]),
        ("classes", [f"{name} {n:,} on {frames:,} frames" for name, (frames, n) in sorted(ready.classes.items())]),
    ):
        if said:
            print(f"  {title:<11} {', '.join(said)}")
    print("\nwhat it lacks:")
    for sentence in ready.lacks or ("nothing that the contract asks for",):
        print(f"  - {sentence}")
    print("\nwhat it can support, rule by rule:")
    for rule in ready.rules:
        print(f"  {'✓' if rule.sharp else '!'} {rule}")
    for name in ready.blind:
        print(f"  ✗ {name}: this baseline has nothing to compare with")
    for one in ready.carried:
        print(f"  {'✓' if one.carried else '✗'} {one}")
    if not (ready.rules or ready.blind or ready.carried):
        print("  the contract has no alert rule")
