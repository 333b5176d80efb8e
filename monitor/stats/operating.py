"""What production acts on: right, wrong and missed at a threshold, the threshold to choose, who is taken for whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.boxes import Bools, Floats, Ints, pairs
from monitor.stats.matching import HIT, IGNORED, UNMATCHED, Table, assign

GRID = np.round(np.arange(0.30, 0.9001, 0.05), 2)
"""Thresholds of the table: 0.30 to 0.90 in steps of 0.05."""


def acted_on(table: Table, thresholds: npt.ArrayLike) -> Bools:
    """Whether each detection [rows] reaches its class's threshold; one number or one for each class."""
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (table.classes,))
    return np.asarray(table.found.score >= limits[table.found.label])


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0))


@dataclass(frozen=True, slots=True)
class Counts:
    """Right and wrong detections and missed objects, each [...]."""

    right: Ints
    wrong: Ints
    missed: Ints

    @property
    def precision(self) -> Floats:
        """Share of the detections that is right; NaN of none."""
        return _ratio(self.right, self.right + self.wrong)

    @property
    def recall(self) -> Floats:
        """Share of the objects that is found; NaN of none."""
        return _ratio(self.right, self.right + self.missed)

    @property
    def f1(self) -> Floats:
        """2 right / (2 right + wrong + missed); NaN where there is no object to find."""
        whole = 2 * self.right + self.wrong + self.missed
        return _ratio(2 * self.right, np.where(self.right + self.missed > 0, whole, 0))

    def total(self) -> Counts:
        """All classes together."""
        return Counts(*(np.asarray(part.sum()) for part in (self.right, self.wrong, self.missed)))


def counts(
    table: Table, thresholds: npt.ArrayLike, level: int = 0, size: int = 0, among: Bools | None = None
) -> Counts:
    """By class [classes], at thresholds as in `acted_on`, one of the table's overlaps and sizes, `among` [images]."""
    return _added(by_image(table, thresholds, level, size, among), table.classes)


@dataclass(frozen=True, slots=True)
class ByImage:
    """Each detection acted on: its class, image, whether it is right; each object that counts, likewise if found."""

    label: Ints
    image: Ints
    right: Bools
    truth_label: Ints
    truth_image: Ints
    truth_found: Bools


def by_image(
    table: Table, thresholds: npt.ArrayLike, level: int = 0, size: int = 0, among: Bools | None = None
) -> ByImage:
    """What `counts` adds up, one by one; arguments as there."""
    state = table.states(level, size)
    kept = acted_on(table, thresholds) & (state != IGNORED) & ~((state == UNMATCHED) & table.outside[:, size])
    there = ~table.skipped[:, size]
    if among is not None:
        kept &= among[table.found.image]
        there &= among[table.truth.image]
    rows = np.flatnonzero(kept)
    right = state[rows] == HIT
    found = np.zeros(table.truth.label.size, dtype=bool)
    found[table.partners(level, size)[rows[right]]] = True
    return ByImage(
        table.found.label[rows],
        table.found.image[rows],
        right,
        table.truth.label[there],
        table.truth.image[there],
        found[there],
    )


def _added(each: ByImage, classes: int) -> Counts:
    right = np.bincount(each.label[each.right], minlength=classes)
    return Counts(
        right,
        np.bincount(each.label, minlength=classes) - right,
        np.bincount(each.truth_label, minlength=classes) - right,
    )


def threshold_table(table: Table, grid: npt.ArrayLike = GRID, level: int = 0, among: Bools | None = None) -> Counts:
    """Counts [thresholds, classes] at each threshold of the grid."""
    steps = [counts(table, step, level, 0, among) for step in np.asarray(grid, dtype=np.float64)]
    return Counts(*(np.stack([getattr(step, part) for step in steps]) for part in ("right", "wrong", "missed")))


def cost(of: Counts, miss: npt.ArrayLike, false_alarm: npt.ArrayLike) -> Floats:
    """missed · miss + wrong · false alarm, in the unit of the two."""
    return np.asarray(of.missed * np.asarray(miss) + of.wrong * np.asarray(false_alarm), dtype=np.float64)


def cheapest(costs: Floats) -> Ints:
    """The place of the least cost [thresholds, classes] for each class; of equals the middle one, the lower of two.

    Where many thresholds cost the same, the middle of the longest run of them is the farthest from a worse one.
    """
    places = np.zeros(costs.shape[1], dtype=np.int64)
    for k, column in enumerate(costs.T):
        equal = np.flatnonzero(column <= column.min())
        runs = np.split(equal, np.flatnonzero(np.diff(equal) > 1) + 1)
        longest = max(runs, key=len)
        places[k] = longest[(len(longest) - 1) // 2]
    return places


def confusion(table: Table, thresholds: npt.ArrayLike, level: int = 0, among: Bools | None = None) -> Ints:
    """Who is taken for whom [classes + 1, classes + 1]: rows are the objects' class, columns the detections'.

    The last row holds detections of nothing, the last column missed objects. The matches of the table stand (they are
    the diagonal, as the counts have it); what they leave over is matched once more whatever its class, one to one, by
    score. Detections that found what is ignored count nowhere, nor do those that lie in a crowd of any class.
    """
    each = acted_on(table, thresholds)
    if among is not None:
        each = each & among[table.found.image]
    state, partner = table.states(level), table.partners(level)
    right = np.flatnonzero(each & (state == HIT))
    left = np.flatnonzero(each & (state == UNMATCHED) & ~table.outside[:, 0])
    left = left[np.lexsort((table.order[left], -table.found.score[left]))]
    free = np.ones(table.truth.label.size, dtype=bool)
    free[partner[right]] = False
    if among is not None:
        free &= among[table.truth.image]
    objects = np.flatnonzero(free)
    limit = table.overlaps[level : level + 1]
    close = pairs(
        table.found.box[left],
        table.found.image[left],
        table.truth.box[objects],
        table.truth.image[objects],
        table.truth.crowd[objects],
        float(limit[0]),
    )
    skipped = table.skipped[objects, :1]
    near, what, whom = assign(close, table.found.image[left], skipped, table.truth.crowd[objects], limit)
    matrix = np.zeros((table.classes + 1, table.classes + 1), dtype=np.int64)
    label = table.found.label
    np.add.at(matrix, (label[right], label[right]), 1)
    met, other = what[:, 0, 0], objects[whom[:, 0, 0]]
    hit = met == HIT
    np.add.at(matrix, (table.truth.label[other[hit]], label[left[near[hit]]]), 1)
    nothing = np.ones(left.size, dtype=bool)
    nothing[near[met != UNMATCHED]] = False
    matrix[-1, :-1] = np.bincount(label[left[nothing]], minlength=table.classes)
    free[other[hit]] = False
    missed = free & ~table.skipped[:, 0]
    matrix[:-1, -1] = np.bincount(table.truth.label[missed], minlength=table.classes)
    return matrix
