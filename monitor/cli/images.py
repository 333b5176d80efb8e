"""Image files on the command line: which are meant, and reading them with a word about how far it is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from monitor.client.folder import ImageFault, ImageResult, image_paths, listed_images, read_folder
from monitor.errors import UsageError

_TERMINAL_EVERY_S, _FILE_EVERY_S = 0.2, 5.0


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


def step(text: str) -> int:
    """Every how many rows and columns are read.

    Raises:
        argparse.ArgumentTypeError: no whole number from 1 on.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a step; give 1 for every pixel or a whole number above it")
    return int(text)


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
