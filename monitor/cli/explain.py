"""`monitor drift explain`: why a lane alarmed on a camera, or did not, in words and as a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monitor.cli.contracts import contract_of
from monitor.cli.moments import moment
from monitor.cli.written import write_text
from monitor.drift import aside, past
from monitor.drift.explain import in_words
from monitor.drift.portrait import portrait
from monitor.drift.why import Asked, explained
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import open_database
from monitor.watch import ALL_LANES, APART

EPILOG = """\
examples:
  monitor drift explain --model packaging-line --camera cam-2 --lane brightness_mean
  monitor drift explain --model packaging-line --camera cam-2 --lane class_share --class pouch --day 2026-04-14
  monitor drift explain --model packaging-line --camera cam-2 --lane brightness_mean --svg why.svg

Without --day: the last alarm, or else the last day with data. Of queue_peak and override: what the watch stored.
"""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor drift explain`."""
    verb = verbs.add_parser(
        "explain",
        help="why a lane alarmed on a camera, or did not",
        description="The stream against its ordinary days, its sums against their limit, when the change began and "
        "what moved in the histogram.",
        epilog=EPILOG,
    )
    verb.add_argument("--model", required=True)
    verb.add_argument("--version", help="model version (default: the one with the newest frames)")
    verb.add_argument("--stage", help="stage of the pipeline (default: the first)")
    verb.add_argument("--camera", required=True)
    verb.add_argument(
        "--lane", required=True, choices=list(ALL_LANES), metavar="LANE", help=f"one of {', '.join(ALL_LANES)}"
    )
    verb.add_argument(
        "--class",
        dest="class_name",
        default="",
        metavar="CLASS",
        help="of class_share: which class (default: the one that went furthest)",
    )
    verb.add_argument(
        "--day", type=moment, metavar="DATE", help="default: the last alarm, or else the last day with data"
    )
    verb.add_argument("--baseline", type=int, metavar="ID", help="compare with this one (default: the active one)")
    verb.add_argument("--svg", type=Path, metavar="FILE", help="also draw it")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the explanation."""
    loaded = contract_of(args.model, settings)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            version = past.version_of(conn, args.model, args.version)
            known = past.baseline_of(conn, args.model, version, args.baseline)
            if args.lane in APART:
                day = args.day and args.day.date()
                print(aside.stored(conn, known, args.camera, args.lane, day, args.stage, loaded.stages))
                if args.svg:
                    print(f"{args.lane} has no picture: nothing was written to {args.svg}", file=sys.stderr)
                return 0
            asked = Asked(args.stage, args.camera, args.lane, args.class_name, args.day and args.day.date())
            said = explained(conn, loaded, known, asked)
    print(in_words(said))
    if args.svg:
        write_text(args.svg, portrait(said))
    return 0
