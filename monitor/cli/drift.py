"""`monitor drift`: measure the windows that are due, and show what was measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from monitor.cli import compat, explain
from monitor.cli.contracts import in_force
from monitor.cli.moments import moment, time_taken
from monitor.cli.words import so_many
from monitor.drift import stage, watch
from monitor.errors import UsageError
from monitor.measures import MEASURES
from monitor.records import ALL, Measurement
from monitor.settings import Settings
from monitor.store import baselines, measurements, migrate
from monitor.store.database import open_database
from monitor.watch import WATCH_MEASURES

EPILOG = """\
examples:
  monitor drift run                                    measure what is closed, settled and undone
  monitor drift run --at 2026-03-01                    as if it were midnight of that day, UTC
  monitor drift show --model packaging-line            the newest windows of all cameras together
  monitor drift show --model packaging-line --camera cam-2 --signal brightness --last 14
  monitor drift show --model packaging-line --camera cam-2 --signal brightness_mean --measure z --last 14
  monitor drift lanes --model packaging-line           which limits the budget of false alarms buys, camera by camera
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor drift` and its verbs."""
    noun = subparsers.add_parser(
        "drift",
        help="how far production is from the baseline",
        description="Compares windows of production with the frozen baseline: PSI, KL and JS of every signal.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    run = verbs.add_parser("run", help="measure every window that is closed, settled and undone")
    run.add_argument("--at", type=moment, metavar="TIME", help="the time to take as now (default: the clock)")
    run.set_defaults(run=run_run)
    lanes = verbs.add_parser(
        "lanes",
        help="how the calibrated lanes stand: judged by which limit, or still learnt",
        description="The limit of a camera is what the contract's budget of false alarms buys with the number of its"
        " streams and the days of their baseline.",
    )
    lanes.add_argument("--model", required=True)
    lanes.set_defaults(run=run_lanes)
    show = verbs.add_parser("show", help="a table of measurements")
    show.add_argument("--model", required=True)
    show.add_argument("--version", help="one model version (default: all)")
    show.add_argument("--camera", default=ALL, help="one camera (default: all cameras together)")
    show.add_argument("--slice", default="", metavar="NAME=VALUE", help="one operating condition (default: whole)")
    show.add_argument("--signal", help="one signal (default: all)")
    show.add_argument("--class", dest="class_name", default=ALL, metavar="CLASS", help="one class (default: whole)")
    measures = [*MEASURES, *WATCH_MEASURES]
    show.add_argument(
        "--measure",
        choices=measures,
        default="psi",
        metavar="MEASURE",
        help=f"one of {', '.join(measures)} (default: psi)",
    )
    show.add_argument("--last", type=so_many, default=1, metavar="N", help="newest windows to show (default: 1)")
    show.set_defaults(run=run_show)
    explain.register(verbs)
    compat.register(verbs)


def run_run(args: argparse.Namespace, settings: Settings) -> int:
    """Measure for every contract of the folder."""
    now = time_taken(args.at)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            contracts = in_force(conn, settings)
        for model, loaded in contracts.items():
            did = stage.run(database, loaded, now)
            print(f"{model}: {did} window{'' if did == 1 else 's'} measured")
            if days := watch.run(database, loaded, now):
                print(f"{model}: {days} day{'' if days == 1 else 's'} watched")
    return 0


def run_lanes(args: argparse.Namespace, settings: Settings) -> int:
    """One line a camera and group; the lanes themselves with their floors."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            loaded = in_force(conn, settings).get(args.model)
            if loaded is None:
                raise UsageError(f"no contract of {args.model} is in force; put one into the contracts folder")
            versions = baselines.versions(conn, args.model)
            said = {version: watch.standing(conn, loaded, version) for version in versions}
    drift = loaded.contract.drift
    print(
        f"{args.model}: at most {drift.false_alarms_per_camera_month:g} false alarms a camera-month and"
        f" {drift.false_alarms_per_group_month:g} a group-month, over all lanes"
    )
    for lane in watch.lanes_of(loaded):
        least = f"from {lane.floor:g} {lane.unit} on" if lane.floor else "however small"
        print(f"  {lane.name:<17} {lane.help}; told {least}")
    for version, sentences in said.items():
        print(f"{version}:")
        for sentence in sentences:
            print(f"  {sentence}")
    if not said:
        print("no baseline from logs yet; `monitor baseline freeze` makes one")
    return 0


def run_show(args: argparse.Namespace, settings: Settings) -> int:
    """Print the table; exit 1 if there is nothing to show."""
    name, equals, value = args.slice.partition("=")
    if args.slice and not (name and equals):
        raise UsageError(f"--slice is {args.slice!r}; write the condition and its value, such as lighting=evening")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = measurements.read(
                conn,
                args.model,
                version=args.version,
                camera=args.camera,
                slice_name=name,
                slice_value=value,
                signal=args.signal,
                class_name=args.class_name,
                measure=args.measure,
                last=args.last,
            )
    if not found:
        print(
            f"nothing was measured of {args.model} that answers to this; `monitor baseline list` says whether it "
            "has a baseline, `monitor drift run` measures what is due",
            file=sys.stderr,
        )
        return 1
    print(table(found))
    return 0


def table(found: Sequence[Measurement]) -> str:
    """Measurements as aligned columns, a line each, with a heading for each scope and window."""
    lines: list[str] = []
    heading = ""
    for m in found:
        this = f"{m.key.scope}, {m.window.start:%Y-%m-%d %H:%M} to {m.window.end:%Y-%m-%d %H:%M} UTC"
        if this != heading:
            heading = this
            titles = f"{'chance':>8} {'frames':>8} {'baseline':>8} {'mean':>11} {'was':>11}  state"
            lines += ([""] if lines else []) + [heading, f"  {'signal':<26} {m.measure:>8} " + titles]
        lines.append(_line(m))
    return "\n".join(lines)


def _line(m: Measurement) -> str:
    signal = m.key.signal + (f" of {m.key.class_name}" if m.key.class_name else "")
    numbers = f"{_number(m.value, '.3f'):>8} {_number(m.noise, '.3f'):>8} {m.n:>8,} {m.baseline_n:>8,}"
    means = f"{_number(m.now_mean, '.5g'):>11} {_number(m.baseline_mean, '.5g'):>11}"
    return f"  {signal:<26} {numbers} {means}  {m.standing}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
