"""Numbers → the geometry of a report's pictures. No markup here: the template draws (and escapes) what these say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.golden.report import Curve
from monitor.golden.show import KINDS

WIDTH, HEIGHT = 240, 190
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 12, 34
"""Room around the unit square for its axes."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
LARGEST_DOT = 9.0
MOST_CLASSES = 12
"""Classes whose pictures a page shows; of more, those that do worst."""
MOST_IN_MATRIX = 15
"""Classes up to which the confusion is shown as a matrix; of more, its largest entries are listed."""


def x(value: float) -> float:
    """Where a value of 0 to 1 lies from the left."""
    return round(LEFT + value * (WIDTH - LEFT - RIGHT), 1)


def y(value: float) -> float:
    """Where a value of 0 to 1 lies from the top."""
    return round(HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM), 1)


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a picture."""

    x: float
    y: float
    radius: float
    said: str


def curve_path(of: Curve) -> str:
    """Precision over recall as steps; it falls to the ground where the recall is not reached."""
    steps = len(of.precision) - 1
    points = [f"{'L' if i else 'M'}{x(i / steps):g},{y(value):g}" for i, value in enumerate(of.precision)]
    return "".join(points)


def reliability_dots(bins: Sequence[Mapping[str, Any]]) -> tuple[Dot, ...]:
    """A dot for each bin of score that holds detections, its area by how many."""
    largest = max((one["n"] for one in bins), default=1)
    return tuple(
        Dot(
            x(one["score"]),
            y(one["precision"]),
            round(max(1.5, LARGEST_DOT * (one["n"] / largest) ** 0.5), 1),
            f"score {one['score']:.2f}, right {one['precision']:.0%} of {one['n']:,}",
        )
        for one in bins
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A kind of error: how often at production's thresholds and at any score, and both in shares of the longest."""

    name: str
    acted: int
    every: int
    acted_share: float
    every_share: float


def error_bars(taxonomy: Mapping[str, Any]) -> tuple[Bar, ...]:
    """A bar for each kind of error."""
    longest = max((taxonomy[kind] for kind in KINDS), default=0)
    longest = max(1, longest, *(taxonomy["production"][kind] for kind in KINDS))
    return tuple(
        Bar(word, acted, every, acted / longest, every / longest)
        for kind, word in KINDS.items()
        for acted, every in [(taxonomy["production"][kind], taxonomy[kind])]
    )


@dataclass(frozen=True, slots=True)
class Confusion:
    """Objects by detections: the matrix with each row's shares, or, of many classes, the largest mistakes alone."""

    classes: tuple[str, ...]
    rows: tuple[tuple[tuple[int, float], ...], ...]
    largest: tuple[tuple[str, str, int], ...]


def confusion(of: Mapping[str, Any], most: int = 20) -> Confusion:
    """The picture of a confusion: classes and matrix with "background" last, rows the objects'."""
    names, matrix = tuple(of["classes"]), of["matrix"]
    rows = tuple(tuple((n, n / max(1, sum(row))) for n in row) for row in matrix)
    wrong = [
        (names[i], names[k], n)
        for i, row in enumerate(matrix)
        for k, n in enumerate(row)
        if n and i != k and i < len(names) - 1 and k < len(names) - 1
    ]
    largest = tuple(sorted(wrong, key=lambda one: -one[2])[:most])
    return Confusion(names, rows if len(names) <= MOST_IN_MATRIX + 1 else (), largest)


def shown(curves: Sequence[Curve], most: int = MOST_CLASSES) -> list[int]:
    """Places of the classes whose pictures are shown, in their own order: all, or the `most` of lowest AP."""
    known = [k for k, curve in enumerate(curves) if curve.ap50 is not None]
    return sorted(sorted(known, key=lambda k: curves[k].ap50 or 0.0)[:most])
