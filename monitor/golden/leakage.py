"""Leakage: does a set that is to judge a model hold images that the model was trained on, or all but?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from monitor.golden.sets import Manifest
from monitor.imaging.likeness import NEAR, distances

SAME, ALIKE, MOMENT = "same file", "near-duplicate", "same moment"
WITHIN = timedelta(minutes=5)
"""Frames of one camera that lie this close together show the same things."""
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Leak:
    """A pair of images of two sets that a judge must not share with what was learnt from; `detail` says how close."""

    kind: str
    one: str
    other: str
    detail: str


@dataclass(frozen=True, slots=True)
class Leakage:
    """What two sets share, each pair once under its strongest reason; `untold` images have no camera or time."""

    one: str
    other: str
    leaks: tuple[Leak, ...]
    untold: int


def leakage(one: Manifest, other: Manifest, within: timedelta = WITHIN, near: int = NEAR) -> Leakage:
    """Compare two manifests by hash, by what the images show, and by camera and time.

    `near` is the number of bits, of 512, within which two images count as one; `within` the time between two frames
    of one camera.
    """
    found: dict[tuple[str, str], Leak] = {}
    for leak in (*_same(one, other), *_alike(one, other, near), *_moments(one, other, within)):
        found.setdefault((leak.one, leak.other), leak)
    untold = sum(not (image.camera and image.captured_at) for of in (one, other) for image in of.images)
    return Leakage(named(one), named(other), tuple(found.values()), untold)


def named(of: Manifest) -> str:
    """A set as it is called: kind, name, version."""
    return f"{of.kind} {of.name} {of.version}"


def _same(one: Manifest, other: Manifest) -> Iterator[Leak]:
    there: dict[str, list[str]] = {}
    for image in other.images:
        there.setdefault(image.sha256, []).append(image.file)
    for image in one.images:
        for file in there.get(image.sha256, ()):
            yield Leak(SAME, image.file, file, f"SHA-256 {image.sha256[:16]}")


def _alike(one: Manifest, other: Manifest, near: int) -> Iterator[Leak]:
    some, others = ([image for image in of.images if image.dhash] for of in (one, other))
    for start in range(0, len(some), _AT_ONCE):
        part = some[start : start + _AT_ONCE]
        for place in range(0, len(others), _AT_ONCE):
            against = others[place : place + _AT_ONCE]
            apart = distances([i.dhash for i in part], [i.dhash for i in against])
            for i, j in zip(*np.nonzero(apart <= near), strict=True):
                yield Leak(ALIKE, part[i].file, against[j].file, f"{apart[i, j]} of 512 bits differ")


def _moments(one: Manifest, other: Manifest, within: timedelta) -> Iterator[Leak]:
    some, others = _by_camera(one), _by_camera(other)
    for camera in sorted(some.keys() & others.keys()):
        times = [at for at, _ in others[camera]]
        for at, file in some[camera]:
            for then, against in others[camera][bisect_left(times, at - within) : bisect_right(times, at + within)]:
                yield Leak(MOMENT, file, against, f"{camera}, {abs(at - then).total_seconds():g} s apart")


def _by_camera(of: Manifest) -> dict[str, list[tuple[datetime, str]]]:
    """When each camera took which file, in the order of time."""
    found: dict[str, list[tuple[datetime, str]]] = {}
    for image in of.images:
        if image.camera and image.captured_at:
            found.setdefault(image.camera, []).append((image.captured_at, image.file))
    return {camera: sorted(rows) for camera, rows in found.items()}
