"""Did two runs on the same images say the same? To the bit, within rounding, or not; and what else was different.

Same model, same images, same runtime: same answer. Where the answer moves and none of these did, the machine is at
fault; where one of them did, it is named before anybody looks at the plant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.stats.boxes import Floats, Ints
from monitor.stats.matching import Found

SAME, ROUNDING, OTHER = "same", "rounding", "other"
SCORE, BOX = 1e-4, 0.05
"""Differences in score, and in pixels, that rounding explains."""


@dataclass(frozen=True, slots=True)
class Sameness:
    """The tier that two runs agree in, how many detections have no counterpart, and how far the others are apart."""

    tier: str
    unmatched: int
    score: float
    box: float


def digest_of(found: Found) -> str:
    """SHA-256 of detections, in one order: image, class, score downwards, box."""
    rows = _ordered(found)
    label = found.label[rows].astype("<i8")
    parts = (found.image[rows].astype("<i8"), label, found.score[rows].astype("<f8"), found.box[rows].astype("<f8"))
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def sameness(before: Found, after: Found, floor: float) -> Sameness:
    """Compare two runs. Detections within rounding of the score floor may come and go."""
    if digest_of(before) == digest_of(after):
        return Sameness(SAME, 0, 0.0, 0.0)
    one, other = (_taken(found, _ordered(found)) for found in (before, after))
    groups, unmatched, score, box = _groups(one, other), 0, 0.0, 0.0
    for left, right in groups:
        pairs, alone = _paired(one, other, left, right, floor)
        unmatched += alone
        for i, j in pairs:
            score = max(score, abs(float(one.score[i] - other.score[j])))
            box = max(box, float(np.abs(one.box[i] - other.box[j]).max()))
    return Sameness(OTHER if unmatched else ROUNDING, unmatched, score, box)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The fields of the environment that differ, each with both values."""
    return [
        f"{name}: {before.get(name) or 'unknown'} → {after.get(name) or 'unknown'}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name, "") != after.get(name, "")
    ]


def _ordered(found: Found) -> Ints:
    return np.lexsort((*found.box.T[::-1], -found.score, found.label, found.image))


def _taken(found: Found, rows: Ints) -> Found:
    return Found(found.image[rows], found.label[rows], found.box[rows], found.score[rows])


def _groups(one: Found, other: Found) -> list[tuple[Ints, Ints]]:
    """The rows of each image and class in both."""
    keys = [list(zip(of.image.tolist(), of.label.tolist(), strict=True)) for of in (one, other)]
    rows: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for side, of in enumerate(keys):
        for i, key in enumerate(of):
            rows.setdefault(key, ([], []))[side].append(i)
    return [(np.array(left, dtype=np.int64), np.array(right, dtype=np.int64)) for left, right in rows.values()]


def _paired(one: Found, other: Found, left: Ints, right: Ints, floor: float) -> tuple[list[tuple[int, int]], int]:
    """Counterparts within rounding, and how many detections above the floor have none."""
    pairs: list[tuple[int, int]] = []
    free = np.ones(right.size, dtype=bool)
    alone: list[float] = []
    for i in left.tolist():
        near = _near(one.score[i], one.box[i], other.score[right], other.box[right]) & free
        if near.any():
            j = int(near.argmax())
            free[j] = False
            pairs.append((i, int(right[j])))
        else:
            alone.append(float(one.score[i]))
    alone += other.score[right[free]].tolist()
    return pairs, sum(score > floor + SCORE for score in alone)


def _near(score: float, box: Floats, scores: Floats, boxes: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    close: np.ndarray[tuple[int], np.dtype[np.bool_]] = (np.abs(scores - score) <= SCORE) & (
        np.abs(boxes - box).max(axis=1, initial=0.0) <= BOX
    )
    return close
