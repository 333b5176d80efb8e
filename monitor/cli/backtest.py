"""`monitor backtest`: what a rule or the lanes would have told people, before they are switched on."""

from __future__ import annotations

import argparse
import csv
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitor.cli.contracts import contract_of
from monitor.cli.moments import moment
from monitor.cli.written import write_text
from monitor.drift import ordinary, past
from monitor.drift.watch import lanes_of
from monitor.errors import UsageError
from monitor.records import Baseline, Measurement, Window
from monitor.replay import backtest
from monitor.replay.backtest import Labelled, Page, Watched
from monitor.replay.compare import Setting, document, table, told
from monitor.settings import Settings
from monitor.spec.load import LoadedContract
from monitor.spec.rules import AlertRule
from monitor.store import frames, measurements, migrate, reviews
from monitor.store.database import Connection, open_database
from monitor.watch import ALL_LANES, APART, LANES, Lane

EPILOG = """\
examples:
  monitor backtest --model packaging-line                                   the lanes, with the contract's budget
  monitor backtest --model packaging-line --budget 0.05 --against 0.08      two budgets side by side
  monitor backtest --model packaging-line --lane brightness_mean --set floor=0.05 --html floors.html
  monitor backtest --model packaging-line --rule brightness-drift --set above=0.3 --incidents known.csv

The lanes queue_peak and override are not covered; `monitor drift explain` shows what is stored of them.
known.csv names what really happened: camera,start,end,cause (camera empty: every one; end empty: to the end).
Nothing is written to the database and nobody is told anything.
"""

_COLUMNS = ("camera", "start", "end", "cause")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor backtest`."""
    noun = subparsers.add_parser(
        "backtest",
        help="what a rule or the lanes would have told people over stored history",
        description="Runs a static rule or the calibrated lanes over what is stored: how often people would have "
        "been told, when, of which cameras and frames; and two settings side by side.",
        epilog=EPILOG,
    )
    noun.add_argument("--model", required=True)
    noun.add_argument("--version", help="model version (default: the one with the newest frames)")
    noun.add_argument("--stage", help="stage of the pipeline (default: the first)")
    noun.add_argument("--rule", help="a static rule of the contract (default: the lanes)")
    noun.add_argument(
        "--lane",
        action="append",
        choices=list(ALL_LANES),
        metavar="LANE",
        help=f"only this lane; may be repeated: {', '.join(ALL_LANES)}",
    )
    noun.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="the second setting: a key of the rule, or floor of the lanes",
    )
    noun.add_argument("--budget", type=float, help="false alarms a camera-month (default: the contract's)")
    noun.add_argument("--against", type=float, metavar="BUDGET", help="a second budget")
    noun.add_argument("--baseline", type=int, metavar="ID", help="compare with this one (default: the active one)")
    noun.add_argument("--from", dest="start", type=moment, metavar="TIME", help="count pages from here on")
    noun.add_argument("--to", dest="end", type=moment, metavar="TIME", help="and up to here (default: all of them)")
    noun.add_argument(
        "--incidents", type=Path, metavar="CSV", help="what really happened: delay, misses, false pages"
    )
    noun.add_argument("--last", type=int, default=20, metavar="N", help="newest pages to print (default: 20)")
    noun.add_argument("--frames", type=int, default=3, metavar="N", help="frames to name a page (default: 3)")
    noun.add_argument("--html", type=Path, metavar="FILE", help="also write table, timeline and pages as one file")
    noun.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the table and the newest pages."""
    if args.last < 0:
        raise UsageError(f"--last is {args.last}; it is how many pages to print, 0 or more")
    labelled = read_incidents(args.incidents) if args.incidents else []
    loaded = contract_of(args.model, settings)
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            version = past.version_of(conn, args.model, args.version)
            known = past.baseline_of(conn, args.model, version, args.baseline)
            judge = _of_rule if args.rule else _of_lanes
            period, settled = judge(conn, args, loaded, known, labelled)
            shown = _shown(settled, args.last, everything=args.html is not None)
            named = {page: _frames(conn, args.model, version, page, args.frames) for page in shown}
    title = f"{args.model} {version}: {args.rule or 'lanes'} over {period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"
    print(title, f"baseline {known.id}, nothing was written", "", table(settled), sep="\n")
    for setting in settled:
        newest = setting.score.pages[-args.last :] if args.last else ()
        print(f"\n{setting.name}: the last {len(newest)} of {len(setting.score.pages)} pages" if newest else "")
        for page in newest:
            print(told(page, [event_id for event_id, _ in named[page]]))
    if args.html:
        write_text(args.html, document(title, settled, labelled, period, named))
    return 0


def _shown(settled: Sequence[Setting], last: int, everything: bool) -> set[Page]:
    return (
        {page for one in settled for page in one.score.pages[0 if everything else -last :]}
        if last or everything
        else set()
    )


def _frames(conn: Connection, model: str, version: str, page: Page, most: int) -> list[tuple[str, str]]:
    return frames.behind(conn, model, version, page.cameras, page.window, most) if most > 0 else []


def _of_rule(
    conn: Connection, args: argparse.Namespace, loaded: LoadedContract, known: Baseline, labelled: Sequence[Labelled]
) -> tuple[Window, list[Setting]]:
    if args.lane or args.budget or args.against:
        raise UsageError("--lane, --budget and --against are for the lanes; a --rule is changed by --set")
    contract_rule = next((rule for rule in loaded.contract.rules if rule.name == args.rule), None)
    changed = dict(_pair(text) for text in args.set)
    if contract_rule is None and not {"signal", "measure", "above"} <= changed.keys():
        names = ", ".join(rule.name for rule in loaded.contract.rules) or "none"
        raise UsageError(
            f"the contract of {args.model} has no rule {args.rule!r} (it has {names}); name one of them, or say what "
            "a new one would be: --set signal=brightness --set measure=psi --set above=0.3"
        )
    rules = [] if contract_rule is None else [("contract", contract_rule)]
    if changed:
        rules.append((" ".join(args.set), _changed(contract_rule, args.rule, changed)))
    settled, period = [], None
    for name, rule in rules:
        history = _measured(conn, args, known, rule)
        ordinary = measurements.read(
            conn,
            args.model,
            version=known.version,
            signal=rule.signal,
            measure=rule.measure,
            start=known.period_start,
            end=known.period_end,
        )
        period = period or _period(args, history[0].window.start, history[-1].window.end)
        cameras = len({m.key.scope.camera for m in history if m.key.scope.camera}) if rule.scope == "camera" else 1
        pages = backtest.of_rule(rule, history, loaded.hash, ordinary if known.period_start else ())
        settled.append(Setting(name, backtest.score(pages, labelled, cameras, period)))
    assert period is not None
    return period, settled


def _measured(conn: Connection, args: argparse.Namespace, known: Baseline, rule: AlertRule) -> list[Measurement]:
    found = measurements.read(
        conn, args.model, version=known.version, signal=rule.signal, measure=rule.measure, start=known.period_end
    )
    found = [m for m in found if args.stage is None or m.key.scope.stage == args.stage]
    if not found:
        raise UsageError(
            f"no {rule.measure} of {rule.signal} was measured after baseline {known.id}; a rule is judged on stored "
            "measurements: watch the signal in the contract, then `monitor drift run`"
        )
    return found


def _changed(rule: AlertRule | None, name: str, changed: dict[str, Any]) -> AlertRule:
    said = rule.model_dump(exclude_unset=True, exclude={"on"}) | {"name": name} if rule else {"name": name}
    try:
        return AlertRule.model_validate({**said, **changed})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"--set does not make a rule: {faults}") from error


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"--set is {text!r}; write a key and its value, such as above=0.3")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


@dataclass(frozen=True, slots=True)
class _Choice:
    """One setting of the lanes."""

    name: str
    lanes: Sequence[Lane]
    budget: float


def _of_lanes(
    conn: Connection, args: argparse.Namespace, loaded: LoadedContract, known: Baseline, labelled: Sequence[Labelled]
) -> tuple[Window, list[Setting]]:
    choices = _choices(args, loaded)
    end = args.end.date() if args.end else None
    read = past.read(conn, loaded, known, end, choices[0].lanes, args.stage)
    first = datetime.combine(read.later.first, datetime.min.time(), UTC)
    period = _period(args, first, first + read.later.days * timedelta(days=1))
    settled = []
    group_budget = loaded.contract.drift.false_alarms_per_group_month
    streams: dict[tuple[Lane, ...], Watched] = {}
    for choice in choices:
        key = tuple(choice.lanes)
        if key not in streams:
            streams[key] = _watched(read, loaded, choice.lanes)
        pages = backtest.of_lanes(streams[key], choice.budget, group_budget, reviews.come(conn, loaded.model))
        settled.append(Setting(choice.name, backtest.score(pages, labelled, len(streams[key].cameras), period)))
    return period, settled


def _watched(read: past.Past, loaded: LoadedContract, chosen: Sequence[Lane]) -> Watched:
    cameras, streams = ordinary.streams(read.usual, read.seen, read.days, read.later, chosen)
    paths = {camera: loaded.contract.cameras.path_of(camera) for camera in cameras}
    return Watched(cameras, streams, paths, read.later.first, read.days.days)


def _choices(args: argparse.Namespace, loaded: LoadedContract) -> list[_Choice]:
    if apart := [name for name in args.lane or () if name in APART]:
        raise UsageError(
            f"backtest does not cover {' and '.join(apart)}: it has no season to look back over; `monitor drift "
            f"explain --lane {apart[0]}` shows what the watch stored of it"
        )
    chosen = [lane for lane in lanes_of(loaded) if lane.name in (args.lane or LANES)]
    if not chosen:
        raise UsageError(f"the contract of {args.model} watches no signal that these lanes need; see [drift] signals")
    budget = args.budget if args.budget is not None else loaded.contract.drift.false_alarms_per_camera_month
    if not all(0 < one < math.inf for one in (budget, budget if args.against is None else args.against)):
        raise UsageError("a budget of false alarms a camera-month is a finite number above 0, such as 0.08")
    choices = [_Choice(f"budget {budget:g}", chosen, budget)]
    if args.against is not None:
        choices.append(_Choice(f"budget {args.against:g}", chosen, args.against))
    changed = dict(_pair(text) for text in args.set)
    if changed:
        floor = changed.pop("floor", None)
        if changed or isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor < math.inf:
            raise UsageError("of the lanes --set changes the floor alone, to a number of 0 or more: --set floor=0.05")
        floored = [replace(lane, floor=float(floor)) for lane in chosen]
        choices.append(_Choice(f"floor {floor:g}, budget {budget:g}", floored, budget))
    return choices


def _period(args: argparse.Namespace, first: datetime, last: datetime) -> Window:
    start, end = max(first, args.start or first), min(last, args.end or last)
    if start >= end:
        raise UsageError(
            f"there is nothing between --from and --to: history goes from {first:%Y-%m-%d} (the end of the baseline) "
            f"to {last:%Y-%m-%d}"
        )
    return Window(start, end)


def read_incidents(path: Path) -> list[Labelled]:
    """The labelled incidents of a CSV file with the columns camera, start, end and cause.

    Raises:
        UsageError: it cannot be read, or a line makes no sense.
    """
    found = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if lacking := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise UsageError(f"{path} has no column {', '.join(lacking)}; its first line is {','.join(_COLUMNS)}")
            for number, row in enumerate(rows, start=2):
                found.append(_incident(row, f"{path}, line {number}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from error
    return found


def _incident(row: dict[str, str | None], where: str) -> Labelled:
    try:
        start, end = moment(row["start"] or ""), moment(row["end"] or "") if row.get("end") else None
    except (KeyError, argparse.ArgumentTypeError) as error:
        raise UsageError(f"{where}: a line has camera, start, end and cause; {error}") from error
    if end is not None and end <= start:
        raise UsageError(f"{where}: it ends at {end:%Y-%m-%d %H:%M}, before it starts; put the later time second")
    return Labelled(row.get("camera") or "", start, end, row.get("cause") or "")
