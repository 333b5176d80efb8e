"""`monitor drift compat`: what another tool would say of two windows, for people who must compare its numbers."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monitor.cli.moments import moment
from monitor.errors import UsageError
from monitor.measures import CLASS_SHARE
from monitor.records import ALL, FrameColumns, Window
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.stats.compat import PEER_MEASURES, PeerMeasure
from monitor.store import baselines, frames, migrate
from monitor.store.database import Connection, open_database

EPILOG = """\
examples:
  monitor drift compat --measure evidently-psi march.csv january.csv --column brightness
  monitor drift compat --model packaging-line --version v1.0 --signal brightness --from 2026-03-01 --to 2026-03-08
  monitor drift compat --model packaging-line --version v1.0 --signal class_share --camera cam-2 \\
      --from 2026-03-01 --to 2026-03-08 --baseline-from 2026-01-05 --baseline-to 2026-02-02
"""
RAW = sorted({*SIGNALS, CLASS_SHARE} - {"status", "pixel_brightness"})
"""Signals with one raw value a frame or detection."""

Column = list[float] | list[str]


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor drift compat`."""
    compat = verbs.add_parser(
        "compat",
        help="PSI, KL, JS, Wasserstein and KS of raw windows as evidently and nannyml define them",
        description="What another tool says of two raw windows, computed here: of two CSV files, or of stored frames "
        "against the baseline's period. Nothing in the product decides by these numbers.",
        epilog=EPILOG,
    )
    compat.add_argument("files", nargs="*", type=Path, metavar="CSV", help="the window's file, then the baseline's")
    compat.add_argument("--column", help="the files' column (default: the only one)")
    compat.add_argument(
        "--measure",
        choices=list(PEER_MEASURES),
        metavar="MEASURE",
        help=f"one of {', '.join(PEER_MEASURES)} (default: all that fit)",
    )
    compat.add_argument("--model", help="of stored frames instead of files")
    compat.add_argument("--version", help="model version (stored frames)")
    compat.add_argument("--camera", default=ALL, help="one camera (default: all together)")
    compat.add_argument(
        "--signal", choices=RAW, metavar="SIGNAL", help=f"which values of the frames: {', '.join(RAW)}"
    )
    compat.add_argument("--from", dest="start", type=moment, metavar="TIME", help="start of the window")
    compat.add_argument("--to", dest="end", type=moment, metavar="TIME", help="end of the window")
    compat.add_argument("--baseline-from", type=moment, metavar="TIME", help="default: the active baseline's period")
    compat.add_argument("--baseline-to", type=moment, metavar="TIME")
    compat.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print a line a measure."""
    stored = args.model is not None
    if stored == bool(args.files) or (args.files and len(args.files) != 2):
        raise UsageError("give two CSV files, the window's and the baseline's, or --model with --signal")
    window, baseline = _of_frames(args, settings) if stored else _of_files(args.files, args.column)
    texts = bool(window) and isinstance(window[0], str)
    chosen = (
        [PEER_MEASURES[args.measure]] if args.measure else [m for m in PEER_MEASURES.values() if m.texts or not texts]
    )
    print(f"window: {len(window):,} values; baseline: {len(baseline):,} values")
    for measure in chosen:
        print(_line(measure, window, baseline))
    return 0


def _line(measure: PeerMeasure, window: Column, baseline: Column) -> str:
    try:
        value = measure.function(window, baseline)
    except ValueError as error:
        raise UsageError(f"{measure.name}: {error}") from error
    return f"{measure.name:<24} {value:>14.9g}  {measure.unit} (`{measure.theirs}` of {measure.peer})"


def _of_files(files: Sequence[Path], column: str | None) -> tuple[Column, Column]:
    window, baseline = (_read(path, column) for path in files)
    try:
        return [_number(cell) for cell in window], [_number(cell) for cell in baseline]
    except ValueError:
        return window, baseline


def _number(cell: str) -> float:
    return float(cell) if cell else float("nan")


def _read(path: Path, column: str | None) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = list(rows.fieldnames or ())
            if column is None and len(names) != 1:
                raise UsageError(
                    f"{path} has {len(names)} columns; name one of them with --column: {', '.join(names)}"
                )
            name = column if column is not None else names[0]
            if name not in names:
                raise UsageError(f"{path} has no column {name!r}; it has {', '.join(names) or 'none'}")
            return [row[name] or "" for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from error


def _of_frames(args: argparse.Namespace, settings: Settings) -> tuple[Column, Column]:
    if None in (args.version, args.signal, args.start, args.end) or args.start >= args.end:
        raise UsageError("stored frames are chosen by --version, --signal, --from and a later --to")
    if (args.baseline_from is None) != (args.baseline_to is None):
        raise UsageError("--baseline-from and --baseline-to go together")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            period = _baseline_period(conn, args)
            window = _values(conn, args, Window(args.start, args.end))
            return window, _values(conn, args, period)


def _baseline_period(conn: Connection, args: argparse.Namespace) -> Window:
    if args.baseline_from is not None:
        return Window(args.baseline_from, args.baseline_to)
    known = baselines.active(conn, args.model, args.version)
    if known is None or known.period_start is None or known.period_end is None:
        raise UsageError(
            f"{args.model} {args.version} has no baseline from logs; "
            "name a period with --baseline-from and --baseline-to"
        )
    return Window(known.period_start, known.period_end)


def _values(conn: Connection, args: argparse.Namespace, period: Window) -> Column:
    """The raw values of the live frames; a busy period is read in parts."""
    found: list[np.ndarray] = []
    texts: list[str] = []
    for part in frames.read_frames(conn, period.start, period.end, model=args.model):
        kept = _chosen(part, args.version, args.camera)
        if args.signal == CLASS_SHARE:
            texts += kept.det_class
        else:
            found.append(SIGNALS[args.signal].reader(kept))
    values: Column = texts if args.signal == CLASS_SHARE else np.concatenate(found or [np.array([])]).tolist()
    if not values:
        raise UsageError(
            f"no stored frame of {args.model} {args.version} from {period.start:%Y-%m-%d %H:%M} to "
            f"{period.end:%Y-%m-%d %H:%M} UTC gives {args.signal}; raw frames go when their retention ends"
        )
    return values


def _chosen(part: FrameColumns, version: str, camera: str) -> FrameColumns:
    said = zip(part.version, part.camera, part.shadow.tolist(), strict=True)
    rows = [i for i, (v, c, shadow) in enumerate(said) if v == version and not shadow and camera in (ALL, c)]
    return part.take(np.array(rows, dtype=np.int64))
