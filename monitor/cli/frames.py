"""`monitor frames`: what images look like, read by the code that reads production's frames."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import numpy as np

from monitor.client.folder import ImageFault, ImageResult, image_paths, listed_images, read_folder
from monitor.errors import GateRefused, UsageError
from monitor.imaging.stats import ImageStats
from monitor.settings import Settings

EPILOG = """\
examples:
  monitor frames stats training/images/
  monitor frames stats training/images/ --list splits/train.txt --to train-stats.jsonl
  monitor frames stats production/ --json | jq .sharpness
"""
SUMMARISED = ("brightness", "contrast", "sharpness", "red_balance", "blue_balance", "width", "height")
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_TERMINAL_EVERY_S, _FILE_EVERY_S = 0.2, 5.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor frames` and its verbs."""
    noun = subparsers.add_parser("frames", help="statistics of image files")
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    stats = verbs.add_parser(
        "stats",
        help="brightness, contrast, sharpness, colour balance and resolution of images",
        description="Statistics of image files and of all images below folders, as frames in production have them. "
        "Exit code 1 if no image can be read.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stats.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a folder of images, or an image")
    stats.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="only the images that FILE names, one a line, looked for in PATH (default: the list's own folder)",
    )
    stats.add_argument(
        "--step", type=_step, default=1, metavar="N", help="read every Nth row and column: another recipe"
    )
    stats.add_argument("--json", action="store_true", help="print one JSON object an image instead of the summary")
    stats.add_argument("--to", type=Path, metavar="FILE", help="write one JSON object an image to FILE")
    stats.set_defaults(run=run_stats)


def run_stats(args: argparse.Namespace, settings: Settings) -> int:
    """Read every image and summarise; those that cannot be read are named on standard error."""
    paths = chosen_images(args.paths, args.list)
    read: list[ImageStats] = []
    with ExitStack() as stack:
        outputs = [sys.stdout] if args.json else []
        if args.to:
            outputs.append(stack.enter_context(_writing(args.to)))
        for result in read_images(paths, args.step):
            read.append(result.stats)
            for output in outputs:
                print(_as_json(result), file=output)
    if not read:
        raise GateRefused(
            f"none of {len(paths)} images could be read; give a folder with JPEG, PNG, BMP, TIFF or WebP"
        )
    if not args.json:
        print(_summary(read, len(paths)))
    return 0


def chosen_images(paths: Sequence[Path], listing: Path | None = None) -> list[Path]:
    """The images below `paths`, or those of them that `listing` names, in order.

    Raises:
        UsageError: nothing is named, or something named cannot be read.
    """
    try:
        if listing is None:
            if not paths:
                raise UsageError("no images named; give a folder, an image or --list FILE")
            return [image for path in paths for image in image_paths(path)]
        if len(paths) > 1:
            raise UsageError("--list looks for its names in one folder; give one PATH beside it, or none")
        return listed_images(listing, paths[0] if paths else None)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{listing} is not UTF-8 text; give a file that names one image a line") from error


def read_images(paths: Sequence[Path], step: int = 1) -> Iterator[ImageResult]:
    """The images that can be read; the others are named on standard error, and how far it is."""
    for result in _with_progress(read_folder(paths, step), len(paths)):
        if isinstance(result, ImageFault):
            start_of_line = "\r\x1b[K" if sys.stderr.isatty() else ""
            print(f"{start_of_line}monitor: {result.path} {result.reason}", file=sys.stderr)
        else:
            yield result


def _writing(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another file with --to") from error


def _as_json(result: ImageResult) -> str:
    return json.dumps({"path": str(result.path), **asdict(result.stats)}, separators=(",", ":"))


def _summary(read: Sequence[ImageStats], asked: int) -> str:
    """A table: one statistic a line."""
    sizes = Counter((stats.width, stats.height) for stats in read)
    (width, height), most = sizes.most_common(1)[0]
    lines = [
        f"{len(read):,} of {asked:,} images read with recipe {read[0].recipe}; "
        f"{len(sizes):,} resolution{'s' * (len(sizes) > 1)}, most often {width} × {height} ({most:,})",
        "",
        f"{'':14}{'mean':>11}{'min':>11}{'5 %':>11}{'median':>11}{'95 %':>11}{'max':>11}",
    ]
    for name in SUMMARISED:
        values = np.array([getattr(stats, name) for stats in read], dtype=np.float64)
        row = [values.mean(), *np.quantile(values, QUANTILES)]
        lines.append(f"{name:14}" + "".join(f"{value:11.3f}" for value in row))
    return "\n".join(lines)


def _with_progress(results: Iterable[ImageResult | ImageFault], total: int) -> Iterator[ImageResult | ImageFault]:
    """Pass results on; say how far it is on standard error, often on a terminal and now and then elsewhere."""
    terminal = sys.stderr.isatty()
    every_s = _TERMINAL_EVERY_S if terminal else _FILE_EVERY_S
    start = last = time.monotonic()
    for done, result in enumerate(results, start=1):
        yield result
        now = time.monotonic()
        if now - last >= every_s or (terminal and done == total):
            last = now
            said = f"{done:,} of {total:,} images, {done / (now - start):.0f} a second"
            print(
                f"\r{said}\x1b[K" if terminal else said,
                end="\n" if not terminal or done == total else "",
                file=sys.stderr,
            )


def _step(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a step; give 1 for every pixel or a whole number above it")
    return int(text)
