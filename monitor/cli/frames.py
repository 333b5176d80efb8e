"""`monitor frames`: what images look like, read by the code that reads production's frames."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import numpy as np

from monitor.cli.images import chosen_images, read_images, step
from monitor.client.folder import ImageResult
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
    )
    stats.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a folder of images, or an image")
    stats.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="only the images that FILE names, one a line, looked for in PATH (default: the list's own folder)",
    )
    stats.add_argument(
        "--step", type=step, default=1, metavar="N", help="read every Nth row and column: another recipe"
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
