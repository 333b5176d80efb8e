"""Average precision of a match table, as COCO defines it: 101 points of recall, sizes, at most 1, 10 and 100.

Between two hits precision only falls, so its envelope is settled at the hits alone: the work grows with what was
found and not with how much was said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.stats.boxes import Bools, Floats, Ints
from monitor.stats.matching import HIT, IGNORED, SIZES, Table

RECALLS = np.linspace(0.0, 1.0, 101)
"""Points of recall that precision is read at."""
MOST = (1, 10, 100)
"""Detections that count, of an image and class."""
EPSILON = float(np.spacing(1))
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The twelve numbers in the order of COCO's own summary."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Axes as in COCO's evaluator: overlaps T, recalls R, classes K, sizes A, most detections M.

    `precision` and `scores` [T, R, K, A, M]: the best precision at that recall or more, and the score from which on
    it is reached; 0 where it never is. `recall` [T, K, A, M] is the highest. -1 where there is no truth to find.
    """

    precision: Floats
    recall: Floats
    scores: Floats


def needed(positives: Ints, recalls: Floats = RECALLS) -> Ints:
    """The hits from which on each recall is reached [..., R]: the least n with n / positives >= recall, in floats."""
    total = np.maximum(positives, 1)[..., None]
    n = np.ceil(recalls * total).astype(np.int64)
    n -= (n - 1) / total >= recalls
    return n + (n / total < recalls)


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of a table by segment (size, overlap, class) and score downwards.

    `near` [hits] is each one's place among the table's near rows, `said` [hits] how many detections count up to and
    with it, `starts` [segments + 1] where each segment begins.
    """

    near: Ints
    said: Ints
    starts: Ints


def hits(table: Table, most: tuple[int, ...] = MOST) -> list[Hits]:
    """The hits among the first so many detections of every image and class, for each of `most`."""
    near, sizes, levels = table.near.size, table.outside.shape[1], table.overlaps.size
    own, rank = table.found.label[table.near], table.rank[table.near]
    state = np.ascontiguousarray(table.state.transpose(1, 2, 0))
    places = np.flatnonzero(state == HIT)
    combination, who = np.divmod(places, max(near, 1))
    segment = combination * table.classes + own[who]
    # A hit counts although its own size is out of range, and one that found what is ignored does not: where those
    # lie, the number of detections within the range is put right.
    outside = table.outside[table.near].T[:, None, :]
    odd = np.flatnonzero(((state == HIT) & outside) | ((state == IGNORED) & ~outside))
    odd_rank, odd_sign = rank[odd % max(near, 1)], np.where(state.ravel()[odd] == HIT, 1, -1)
    firsts = np.searchsorted(own, np.arange(table.classes))
    begins = (np.arange(sizes * levels)[:, None] * near + firsts).ravel()
    label_starts = np.searchsorted(table.found.label, np.arange(table.classes))[own]
    found = []
    for limit in most:
        kept = np.flatnonzero(rank[who] < limit)
        some = odd_rank < limit
        sums = np.concatenate(([0], np.cumsum(odd_sign[some])))
        inside = ~table.outside & (table.rank < limit)[:, None]
        running: Ints = np.concatenate((np.zeros((1, sizes), dtype=np.int64), np.cumsum(inside, axis=0)))
        said = (running[table.near + 1] - running[label_starts])[who[kept], combination[kept] // levels]
        said += sums[np.searchsorted(odd[some], places[kept], side="right")]
        said -= sums[np.searchsorted(odd[some], begins)][segment[kept]]
        counts = np.bincount(segment[kept], minlength=begins.size)
        found.append(Hits(who[kept], said, np.concatenate(([0], np.cumsum(counts)))))
    return found


def curves(table: Table, most: tuple[int, ...] = MOST) -> Curves:
    """Precision, recall and scores of all classes, overlaps and sizes."""
    sizes, levels = table.outside.shape[1], table.overlaps.size
    shape = (sizes, levels, table.classes)
    precision, scores = np.empty((2, len(most), *shape, RECALLS.size))
    recall = np.empty((len(most), *shape))
    positives = np.broadcast_to(table.positives.T[:, None, :], shape)
    wanted = np.maximum(needed(table.positives.T)[:, None] - 1, 0)
    some = positives > 0
    label = table.found.label
    starts = np.searchsorted(label, np.arange(table.classes + 1))
    top = np.append(table.found.score, 0.0)[np.where(starts[1:] > starts[:-1], starts[:-1], label.size)]
    for i, found in enumerate(hits(table, most)):
        counts = np.diff(found.starts).reshape(shape)
        there = found.starts[:-1].reshape(shape)
        reached = wanted < counts[..., None]
        first = np.minimum(wanted, counts[..., None]) + there[..., None]
        ranked = np.arange(found.near.size) - np.repeat(found.starts[:-1], counts.ravel()) + 1
        precision[i] = envelope(ranked / (found.said + EPSILON), first, reached)
        score = np.append(table.found.score[table.near[found.near]], 0.0)
        scores[i] = np.where(reached, score[first], 0.0)
        scores[i, ..., 0] = top
        recall[i] = counts / np.maximum(positives, 1)
    for values in (precision, scores):
        values[:, ~some] = -1
    recall[:, ~some] = -1
    return Curves(precision.transpose(2, 4, 3, 1, 0), recall.transpose(2, 3, 1, 0), scores.transpose(2, 4, 3, 1, 0))


def envelope(precision: Floats, first: Ints, reached: Bools) -> Floats:
    """The best precision from `first` [..., R] to the end of its segment, 0 where the recall is not `reached`.

    `precision` [hits] lies segment by segment; the first of R points to the segment's start, and a point that is not
    reached to its end.
    """
    ends = np.append(precision, 0.0)
    best = np.maximum.reduceat(ends, first.ravel()).reshape(first.shape)
    best = np.where(reached, best, 0.0)
    return np.maximum.accumulate(best[..., ::-1], axis=-1)[..., ::-1]


def mean(values: Floats) -> float | None:
    """The mean of what was computed (-1 is not), or None."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def stats(found: Curves) -> dict[str, float | None]:
    """COCO's twelve numbers; None where there is no truth to find."""
    precision, recall = found.precision, found.recall
    last = precision.shape[-1] - 1
    sizes = {name[0]: i for i, name in enumerate(SIZES) if i}
    values = {"AP": precision[:, :, :, 0, last], "AP50": precision[0, :, :, 0, last]}
    values |= {"AP75": precision[5, :, :, 0, last]}
    values |= {f"AP{letter}": precision[:, :, :, i, last] for letter, i in sizes.items()}
    values |= {f"AR{limit}": recall[:, :, 0, i] for i, limit in enumerate(MOST)}
    values |= {f"AR{letter}": recall[:, :, i, last] for letter, i in sizes.items()}
    return {name: mean(values[name]) for name in STATS}


def by_class(found: Curves) -> list[dict[str, float | None]]:
    """AP, AP50 and AR (at most 100) of each class; None without truth."""
    precision, recall = found.precision[:, :, :, 0, -1], found.recall[:, :, 0, -1]
    return [
        {"AP": mean(precision[:, :, k]), "AP50": mean(precision[0, :, k]), "AR": mean(recall[:, k])}
        for k in range(recall.shape[1])
    ]
