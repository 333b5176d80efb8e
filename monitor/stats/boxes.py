"""Boxes [n, 4] as x, y, width, height in pixels: how far two of them overlap, and which of many overlap at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK = 1 << 16
"""Pairs that are looked at together: few enough to stay in the processor's cache."""


def overlap(left: npt.ArrayLike, right: npt.ArrayLike, crowd: npt.ArrayLike = False) -> Floats:
    """Intersection over union of each box of `left` [n, 4] with the one beside it in `right` [n, 4].

    Where `crowd` [n] is true, `right` is a region that holds many objects, and the intersection is divided by the
    area of `left` alone, as COCO defines it. Boxes that do not meet give 0. The order of the operations is that of
    COCO's own evaluator, so that equal boxes give equal bits.
    """
    a, b = (_columns(np.asarray(side, dtype=np.float64).T) for side in (left, right))
    each = np.arange(a.shape[1])
    shares = np.zeros(each.size)
    met, share = _meeting(a, each, b, each, np.broadcast_to(np.asarray(crowd, dtype=bool), each.shape))
    shares[met] = share
    return shares


def _columns(box: Floats) -> Floats:
    """Rows left, top, right, bottom, area [5, n] of boxes [4, n]."""
    x, y, width, height = box
    return np.stack((x, y, width + x, height + y, width * height))


def _meeting(a: Floats, i: Ints, b: Floats, j: Ints, crowd: Bools) -> tuple[Ints, Floats]:
    """Which of the pairs of columns `a[:, i]` and `b[:, j]` meet, and by how much they overlap."""
    wide = np.minimum(a[2].take(i), b[2].take(j)) - np.maximum(a[0].take(i), b[0].take(j))
    met = np.flatnonzero(wide > 0)
    wide, i, j = wide.take(met), i.take(met), j.take(met)
    high = np.minimum(a[3].take(i), b[3].take(j)) - np.maximum(a[1].take(i), b[1].take(j))
    also = np.flatnonzero(high > 0)
    i, j = i.take(also), j.take(also)
    shared = wide.take(also) * high.take(also)
    own = a[4].take(i)
    return met.take(also), shared / np.where(crowd.take(j), own, own + b[4].take(j) - shared)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which boxes overlap, sparse, each [pairs]: places in `left` (ascending) and in `right`, and by how much."""

    left: Ints
    right: Ints
    overlap: Floats


def pairs(
    left: Floats, left_group: Ints, right: Floats, right_group: Ints, crowd: Bools, least: float | None
) -> Pairs:
    """All pairs of one group that overlap by at least `least` (`None`: by anything at all).

    Boxes are [n, 4] and [m, 4], groups [n] and [m]; `crowd` [m] is as in `overlap`. The pairs of one box of `left`
    follow each other in the order of `right`.
    """
    order = np.argsort(right_group, kind="stable")
    groups = right_group[order]
    first = np.searchsorted(groups, left_group, side="left")
    count = np.searchsorted(groups, left_group, side="right") - first
    some = np.flatnonzero(count)
    ends = np.cumsum(count[some])
    a, b = _columns(left.T), _columns(right[order].T)
    crowded = crowd[order]
    found, start, before = [], 0, 0
    while start < some.size:
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        rows = some[start:stop]
        i = np.repeat(rows, count[rows])
        j = np.arange(i.size) + np.repeat(first[rows] - (ends[start:stop] - count[rows] - before), count[rows])
        met, share = _meeting(a, i, b, j, crowded)
        if least is not None:
            enough = np.flatnonzero(share >= least)
            met, share = met.take(enough), share.take(enough)
        found.append((i.take(met), order.take(j.take(met)), share))
        start, before = stop, int(ends[stop - 1])
    if not found:
        return Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))
