"""Why a detection is wrong, and which objects nothing explains: the kinds of error of TIDE.

Bolya et al. 2020, "TIDE: A general toolbox for identifying object detection errors", on the match table at overlap
0.5 and background under 0.1. A wrong detection is the first of: badly placed (0.1 to 0.5 with an object of its
class), of the wrong class (0.5 or more with an object of another), a duplicate (0.5 or more with an object that is
found already), background (at most 0.1 with anything), or both badly placed and of the wrong class. An object that
nobody found is missed unless one of the first two was meant for it. What is ignored counts nowhere.
"""

from __future__ import annotations

import numpy as np

from monitor.stats.boxes import Bools, Floats, Ints, Pairs, pairs
from monitor.stats.matching import HIT, UNMATCHED, Table, ranks

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
"""Wrong class, badly placed, both, duplicate, background, missed: named as the paper's own tool prints them."""
FOREGROUND, BACKGROUND = 0.5, 0.1
MOST = 100
"""Detections of an image that are looked at."""


def first_of_image(table: Table, kept: Bools | None = None, most: int = MOST) -> Bools:
    """Whether each of the `kept` rows is among its image's best `most` of all classes; ties in the order of input."""
    rows = np.arange(table.order.size) if kept is None else np.flatnonzero(kept)
    order = rows[np.lexsort((table.order[rows], -table.found.score[rows]))]
    among = np.zeros(table.order.size, dtype=bool)
    among[order] = ranks(table.found.image[order]) < most
    return among


def _best(close: Pairs, kept: Bools, rows: int) -> tuple[Floats, Ints]:
    """The largest overlap of each row among the `kept` pairs [rows], and the first object that has it, or -1."""
    left, right, share = close.left[kept], close.right[kept], close.overlap[kept]
    order = np.lexsort((right, -share, left))
    who, first = np.unique(left[order], return_index=True)
    best, which = np.zeros(rows), np.full(rows, -1, dtype=np.int64)
    best[who], which[who] = share[order][first], right[order][first]
    return best, which


def taxonomy(table: Table, kept: Bools | None = None) -> dict[str, Ints]:
    """How many errors of each kind [classes], of the detections' class, and of the objects' class for the missed.

    `kept` [rows] picks detections (all): of those, each image's best 100 are judged.
    """
    among = first_of_image(table, kept)
    state, partner = table.states(), table.partners()
    there = np.flatnonzero(~table.truth.ignored)
    truth_label = table.truth.label[there]
    used = np.zeros(table.truth.label.size, dtype=bool)
    used[partner[among & (state == HIT)]] = True
    used = used[there]
    wrong = np.flatnonzero(among & (state == UNMATCHED))
    label = table.found.label[wrong]
    none = np.zeros(there.size, dtype=bool)
    close = pairs(
        table.found.box[wrong],
        table.found.image[wrong],
        table.truth.box[there],
        table.truth.image[there],
        none,
        None,
    )
    same = label[close.left] == truth_label[close.right]
    own, own_object = _best(close, same, wrong.size)
    other, other_object = _best(close, ~same, wrong.size)
    taken, _ = _best(close, same & used[close.right], wrong.size)
    placed = (own >= BACKGROUND) & (own <= FOREGROUND)
    rules = (placed, other >= FOREGROUND, taken >= FOREGROUND, np.maximum(own, other) <= BACKGROUND)
    kind = np.select(rules, [1, 0, 3, 4], default=2)
    meant = none.copy()
    for of_kind, objects in ((kind == 1, own_object), (kind == 0, other_object)):
        meant[objects[of_kind]] = True
    counts = {name: np.bincount(label[kind == i], minlength=table.classes) for i, name in enumerate(KINDS[:-1])}
    return counts | {KINDS[-1]: np.bincount(truth_label[~used & ~meant], minlength=table.classes)}
