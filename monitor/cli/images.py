"""Image files on the command line: which are meant, and reading them with a word about how far it is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from monitor.cli.progress import Progress
from monitor.client.folder import ImageFault, ImageResult, image_paths, listed_images, read_folder
from monitor.errors import UsageError


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
    progress = Progress("images")
    for done, result in enumerate(read_folder(paths, step), start=1):
        if isinstance(result, ImageFault):
            progress.aside(f"monitor: {result.path} {result.reason}")
        else:
            yield result
        progress.step(done, len(paths))


def step(text: str) -> int:
    """Every how many rows and columns are read.

    Raises:
        argparse.ArgumentTypeError: no whole number from 1 on.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a step; give 1 for every pixel or a whole number above it")
    return int(text)
