"""`monitor drift explain`: why a lane alarmed on a camera, or did not, in words and as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from monitor.cli import past
from monitor.cli.contracts import contract_of
from monitor.cli.moments import moment
from monitor.drift import history, lanes, ordinary
from monitor.drift.explain import Explanation, bin_names, explain, in_words
from monitor.drift.portrait import portrait
from monitor.drift.watch import lanes_of
from monitor.errors import UsageError
from monitor.records import Ints
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract
from monitor.stats.groups import equal_mass_cuts
from monitor.store import migrate
from monitor.store.database import Connection, open_database
from monitor.watch import LANES, HourColumns

EPILOG = """\
examples:
  monitor drift explain --model packaging-line --camera cam-2 --lane brightness_mean
  monitor drift explain --model packaging-line --camera cam-2 --lane class_share --class pouch --day 2026-04-14
  monitor drift explain --model packaging-line --camera cam-2 --lane brightness_mean --svg why.svg

Without --day: the last alarm, or else the last day.
"""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor drift explain`."""
    verb = verbs.add_parser(
        "explain",
        help="why a lane alarmed on a camera, or did not",
        description="The stream against its ordinary days, its sums against their limit, when the change began and "
        "what moved in the histogram.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--model", required=True)
    verb.add_argument("--version", help="model version (default: the one with the newest frames)")
    verb.add_argument("--stage", help="stage of the pipeline (default: the first)")
    verb.add_argument("--camera", required=True)
    verb.add_argument("--lane", required=True, choices=list(LANES))
    verb.add_argument("--class", dest="class_name", default="", metavar="CLASS", help="of class_share: which class")
    verb.add_argument("--day", type=moment, metavar="DATE", help="default: the last alarm, or else the last day")
    verb.add_argument("--baseline", type=int, metavar="ID", help="compare with this one (default: the active one)")
    verb.add_argument("--svg", type=Path, metavar="FILE", help="also draw it")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the explanation."""
    loaded = contract_of(args.model, settings)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            said = _explained(conn, args, loaded)
    print(in_words(said))
    if args.svg:
        args.svg.write_text(portrait(said), encoding="utf-8")
    return 0


@dataclass(frozen=True, slots=True)
class _Stream:
    """One camera's verdict; `row` is the camera's place in it."""

    verdict: lanes.Verdict
    row: int
    calendar: lanes.Calendar
    read: past.Past


def _explained(conn: Connection, args: argparse.Namespace, loaded: LoadedContract) -> Explanation:
    version = past.version_of(conn, args.model, args.version)
    known = past.baseline_of(conn, args.model, version, args.baseline)
    found = _judged(past.read(conn, loaded, known, None, lanes_of(loaded), args.stage), args, loaded)
    day = _day(found, args.day.date() if args.day else None)
    groups, names = _groups(conn, found, args.lane, args.camera)
    first = found.read.later.first - timedelta(days=found.calendar.baseline)
    return explain(found.verdict, found.row, args.camera, first, found.calendar, day, groups, names)


def _judged(read: past.Past, args: argparse.Namespace, loaded: LoadedContract) -> _Stream:
    """Every lane is read, for the limit is what the budget buys for all of a camera's lanes together."""
    cameras, streams = ordinary.streams(read.usual, read.seen, read.days, read.later, lanes_of(loaded))
    if args.camera not in cameras:
        raise UsageError(f"the baseline knows no camera {args.camera!r}; it knows {', '.join(cameras)}")
    own = [s for s in streams if s.lane.name == args.lane]
    stream = next((s for s in own if s.class_name == args.class_name), None)
    if stream is None:
        classes = ", ".join(s.class_name for s in own if s.class_name)
        hint = f"name one of its classes with --class: {classes}" if classes else "its signal gave no value"
        raise UsageError(f"the baseline has no stream {args.lane} {args.class_name}".rstrip() + f"; {hint}")
    limit = lanes.limits(streams, loaded.contract.drift.false_alarms_per_camera_month, with_override=False)
    weekend = [history.calendar(span.first, span.days, 0).weekend for span in (read.days, read.later)]
    calendar = lanes.Calendar(np.concatenate(weekend), read.days.days)
    return _Stream(lanes.decide(stream, limit, read.days.days), cameras.index(args.camera), calendar, read)


def _day(found: _Stream, asked: date | None) -> int:
    """Place of the day among the stream's days."""
    baseline, later = found.calendar.baseline, found.read.later
    if asked is not None:
        place = (asked - later.first).days
        if not 0 <= place < later.days:
            last = later.first + timedelta(days=later.days - 1)
            raise UsageError(f"{asked} is not among the days after the baseline, {later.first} to {last}")
        return baseline + place
    verdict = found.verdict
    alarms = np.flatnonzero((verdict.alarm[found.row] != 0) | (verdict.fast[found.row] != 0))
    known = np.flatnonzero(np.isfinite(verdict.stream.z[found.row]))
    newest = int(known[-1]) if known.size else baseline + later.days - 1
    return max(int(alarms[-1]) if alarms.size else newest, baseline)


def _groups(conn: Connection, found: _Stream, lane: str, camera: str) -> tuple[Ints, Sequence[str]]:
    """The camera's counts by group of bins, or by class, over the baseline's days and the later ones, with names.

    Where the roll-ups of the baseline's own days are gone its part is empty, and what moved cannot be told.
    """
    read, signal = found.read, LANES[lane].signal
    reading = next(one.reading for one in read.usual if one.reading.lane == lane and one.reading.camera == camera)
    before = past.baseline_hours(conn, read.baseline, [history.stored(signal)], read.stage, [camera])
    recipes = {camera: reading.recipe}
    names = sorted({one.reading.class_name for one in read.usual if one.reading.lane == lane} - {""})

    def hours(columns: HourColumns, span: ordinary.Span) -> history.Hours:
        return history.hours(columns, signal, span.first, span.days, recipes, names)

    both = [hours(before, read.days), hours(read.found, read.later)]
    if names:
        mixes = [part.classes[:, 0] for part in both if part.classes is not None]
        return np.moveaxis(np.concatenate(mixes, axis=1), 0, -1), names
    cuts = equal_mass_cuts(history.past(both[0])[0]).tolist()
    counts = [history.groups(part, [cuts])[0] for part in both]
    return np.concatenate(counts), bin_names(SIGNALS[signal].edges, cuts)
