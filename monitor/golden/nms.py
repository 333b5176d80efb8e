"""Many boxes on one object become one: suppression of a whole batch at once, as the contract says.

Greedy suppression keeps a box unless a better one that is kept overlaps it too much. Who is better is known
beforehand, so all images and classes go on together: in each round the boxes that wait for no better one are kept,
and those that they overlap are out. Rounds are as many as the longest chain of such boxes, not as many as the boxes.
"""

from __future__ import annotations

import numpy as np

from monitor.stats.boxes import Bools, Floats, Ints, pairs
from monitor.stats.matching import ranks

KINDS = ("class", "all", "soft", "none")
"""Within a class, across classes, within a class by fading scores, or not at all."""
AT_ONCE = 8
"""So many best boxes of a group meet each other; the next, twice as many each time, first meet those kept."""


def suppressed(
    image: Ints, label: Ints, box: Floats, score: Floats, kind: str, iou: float, sigma: float, floor: float
) -> tuple[Ints, Floats]:
    """Which of a batch's boxes stay, and their scores: best first within an image, images ascending.

    Takes images and classes as numbers [n], boxes x1, y1, x2, y2 [n, 4] and scores [n]. A box that a better one
    overlaps by more than `iou` is out ("class": of its class; "all": of any). With "soft" it fades by
    exp(-overlap² / sigma) instead, with every better one of its class, and is out below `floor` (Bodla et al. 2017,
    "Soft-NMS: improving object detection with one line of code"). Equal scores keep the order of input.
    """
    order = np.lexsort((-score, image))
    low, high = label.min(initial=0), label.max(initial=0)
    group = image if kind == "all" else image * (high - low + 1) + label - low
    group, size = group[order], np.concatenate((box[:, :2], box[:, 2:] - box[:, :2]), axis=1)[order]
    if kind == "soft":
        last = faded(size, score[order], group, sigma, floor)
        kept = np.flatnonzero(last >= floor)
        kept = kept[np.lexsort((-last[kept], image[order[kept]]))]
        return order[kept], last[kept]
    kept = np.arange(order.size) if kind == "none" else np.flatnonzero(unsuppressed(size, group, iou))
    return order[kept], score[order[kept]]


def unsuppressed(box: Floats, group: Ints, iou: float) -> Bools:
    """Which boxes x, y, width, height [n, 4] stay, best first in their `group` [n], if none better may overlap."""
    stays, out = np.zeros((2, len(box)), dtype=bool)
    turn = np.log2(ranks(group) // AT_ONCE + 1).astype(np.int64)
    order = np.argsort(turn, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(turn[order])) + 1):
        _, worse = _close(box, group, np.flatnonzero(stays), rows, iou)
        out[worse] = True
        rows = rows[~out[rows]]
        better, worse = _close(box, group, rows, rows, iou)
        later = better < worse
        _settle(rows, better[later], worse[later], stays, out)
    return stays


def _close(box: Floats, group: Ints, left: Ints, right: Ints, iou: float) -> tuple[Ints, Ints]:
    """The pairs of rows, one of `left` and one of `right`, of one group that overlap by more than `iou`."""
    near = pairs(box[left], group[left], box[right], group[right], np.zeros(right.size, dtype=bool), iou)
    over = near.overlap > iou
    return left[near.left[over]], right[near.right[over]]


def _settle(rows: Ints, better: Ints, worse: Ints, stays: Bools, out: Bools) -> None:
    """Decide on `rows`: each of the pairs' `better` ones that stays puts its `worse` one out."""
    waits = np.zeros(stays.size, dtype=bool)
    while rows.size:
        waits[rows] = False
        waits[worse] = True
        stays[rows[~waits[rows]]] = True
        out[worse[stays[better]]] = True
        open_ = ~(stays[better] | out[better] | out[worse])
        better, worse = better[open_], worse[open_]
        rows = rows[~(stays[rows] | out[rows])]


def faded(box: Floats, score: Floats, group: Ints, sigma: float, floor: float) -> Floats:
    """Scores [n] of boxes x, y, width, height [n, 4] after each group's best fade its others, one after the other."""
    by_group = np.argsort(group, kind="stable")
    box, last, group = box[by_group], score[by_group].astype(np.float64), group[by_group]
    near = pairs(box, group, box, group, np.zeros(group.size, dtype=bool), None)
    first = np.searchsorted(near.left, np.arange(group.size + 1))
    factor = np.exp(-(near.overlap**2) / sigma)
    waits = last >= floor
    while waits.any():
        rows = np.flatnonzero(waits)
        starts = np.flatnonzero(np.diff(group[rows], prepend=-1))
        best = rows[_first_of_best(last[rows], starts)]
        waits[best] = False
        many = first[best + 1] - first[best]
        pair = np.repeat(first[best] - np.cumsum(many) + many, many) + np.arange(many.sum())
        meets = pair[waits[near.right[pair]]]
        last[near.right[meets]] *= factor[meets]
        waits &= last >= floor
    scores = np.empty_like(last)
    scores[by_group] = last
    return scores


def _first_of_best(values: Floats, starts: Ints) -> Ints:
    """The place of the greatest of each run of `values` [n], the first of equals; runs begin at `starts`."""
    highest = np.repeat(np.maximum.reduceat(values, starts), np.diff(np.append(starts, values.size)))
    places = np.flatnonzero(values == highest)
    return places[np.unique(np.searchsorted(starts, places, side="right"), return_index=True)[1]]
