"""The frames where a version does worst at production's thresholds, and what it says and misses in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.golden.sets import GoldenSet, Id
from monitor.stats.boxes import Floats, Ints
from monitor.stats.matching import HIT, UNMATCHED, Table
from monitor.stats.operating import acted_on

RIGHT, WRONG, MISSED = "right", "wrong", "missed"


@dataclass(frozen=True, slots=True)
class Mark:
    """A box x, y, width, height in pixels: a detection that is right or wrong, or an object that was missed."""

    kind: str
    class_name: str
    score: float | None
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """An image, what its errors cost, and its marks: missed, wrong, right."""

    image: Id
    file: str
    cost: float
    missed: int
    wrong: int
    marks: tuple[Mark, ...]


def outcomes(table: Table, thresholds: Floats) -> tuple[Ints, Ints, Ints]:
    """Rows of the table that are right and that are wrong at the thresholds, and objects that nobody found."""
    acted, state = acted_on(table, thresholds), table.states()
    right = np.flatnonzero(acted & (state == HIT))
    wrong = np.flatnonzero(acted & (state == UNMATCHED) & ~table.outside[:, 0])
    free = ~table.skipped[:, 0]
    free[table.partners()[right]] = False
    return right, wrong, np.flatnonzero(free)


def worst(
    golden: GoldenSet, table: Table, thresholds: Floats, costs: tuple[Floats, Floats], most: int = 12
) -> list[Frame]:
    """The images whose misses and false alarms cost most, dearest first; none without an error.

    `thresholds` [classes] are production's, `costs` those of a miss and of a false alarm, each [classes].
    """
    right, wrong, missed = outcomes(table, thresholds)
    found, truth = table.found, table.truth
    cost = np.bincount(truth.image[missed], costs[0][truth.label[missed]], table.images)
    cost = cost + np.bincount(found.image[wrong], costs[1][found.label[wrong]], table.images)
    order = np.argsort(-cost, kind="stable")[:most]
    frames = []
    for i in order[cost[order] > 0].tolist():
        lost, false, hits = (
            missed[truth.image[missed] == i],
            wrong[found.image[wrong] == i],
            right[found.image[right] == i],
        )
        marks = [Mark(MISSED, golden.class_names[truth.label[row]], None, _box(truth.box[row])) for row in lost]
        for kind, rows in ((WRONG, false), (RIGHT, hits)):
            for row in rows[np.argsort(-found.score[rows], kind="stable")]:
                name, score = golden.class_names[found.label[row]], float(found.score[row])
                marks.append(Mark(kind, name, score, _box(found.box[row])))
        file = golden.files[i] if golden.files else ""
        frames.append(Frame(golden.images[i], file, float(cost[i]), lost.size, false.size, tuple(marks)))
    return frames


def _box(row: Floats) -> tuple[float, float, float, float]:
    x, y, width, height = row.tolist()
    return x, y, width, height
