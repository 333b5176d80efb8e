"""How far average precision could have come out otherwise: images drawn again, as weights.

A drawn set is the same match table with each image counting as often as it was drawn, so the order of scores is
sorted once and never again. Two versions are drawn together (paired): what makes an image hard is hard for both, and
drops out of their difference (Efron & Tibshirani 1993, "An introduction to the bootstrap").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.stats.boxes import Bools, Floats, Ints
from monitor.stats.detection import EPSILON, RECALLS, envelope, needed
from monitor.stats.matching import HIT, IGNORED, Table

FEWEST_IMAGES = 300
"""Images with objects of it under which the interval of an average precision is not to be relied on."""
MOST = 100


def draws(images: int, times: int, seed: int, among: Bools | None = None) -> Iterator[Ints]:
    """How often each image is drawn [images], `times` times over, with replacement; the same for the same seed.

    `among` [images] picks those that are drawn from.
    """
    rng = np.random.default_rng(seed)
    there = np.arange(images) if among is None else np.flatnonzero(among)
    for _ in range(times):
        drawn = there[rng.integers(there.size, size=there.size)] if there.size else there
        yield np.bincount(drawn, minlength=images)


def images_with_truth(table: Table, among: Bools | None = None, size: int = 0, label: int | None = None) -> int:
    """How many images, of `among` [images], hold an object that counts, of a range of sizes and a class (None: any).

    An image without one says next to nothing of how well such objects are found: three scratches that are all found
    draw an average precision of 1 every time, however many images without a scratch stand beside them.
    """
    there = ~table.skipped[:, size]
    if among is not None:
        there = there & among[table.truth.image]
    if label is not None:
        there = there & (table.truth.label == label)
    return int(np.unique(table.truth.image[there]).size)


@dataclass(frozen=True, slots=True)
class Weighable:
    """What a weighted average precision needs of a match table, at one range of sizes.

    Hits lie by segment (overlap, class), score downwards: `hit_image` [hits], segments begin at `starts` [segments +
    1]. Detections up to a hit are counted as those of `image` [detections] up to `upto` [hits] less those up to
    `since` [segments]; `odd_*` puts right those whose own size or match is an exception.
    """

    classes: int
    overlaps: int
    hit_image: Ints
    starts: Ints
    image: Ints
    upto: Ints
    since: Ints
    odd_image: Ints
    odd_sign: Ints
    odd_upto: Ints
    odd_since: Ints
    truth_image: Ints
    truth_label: Ints


def weighable(table: Table, size: int = 0) -> Weighable:
    """Prepare a table, once, for any number of weights; `size` is the range of sizes (0: all)."""
    near = np.flatnonzero(table.rank[table.near] < MOST)
    rows = table.near[near]
    own = table.found.label[rows]
    state = table.state[near, size].T
    outside = table.outside[rows, size]
    level, who = np.nonzero(state == HIT)
    odd = np.flatnonzero(((state == HIT) & outside) | ((state == IGNORED) & ~outside))
    segment = level * table.classes + own[who]
    counts = np.bincount(segment, minlength=table.overlaps.size * table.classes)
    inside = ~table.outside[:, size] & (table.rank < MOST)
    before = np.concatenate(([0], np.cumsum(inside)))
    since = before[np.searchsorted(table.found.label, np.arange(table.classes))]
    firsts = np.searchsorted(own, np.arange(table.classes))
    begins = (np.arange(table.overlaps.size)[:, None] * near.size + firsts).ravel()
    kept = ~table.skipped[:, size]
    return Weighable(
        table.classes,
        table.overlaps.size,
        table.found.image[rows[who]],
        np.concatenate(([0], np.cumsum(counts))),
        table.found.image[inside],
        before[rows[who] + 1],
        np.tile(since, table.overlaps.size),
        table.found.image[rows[odd % max(near.size, 1)]],
        np.where(state.ravel()[odd] == HIT, 1, -1),
        np.searchsorted(odd, level * near.size + who, side="right"),
        np.searchsorted(odd, begins),
        table.truth.image[kept],
        table.truth.label[kept],
    )


def _sums(weights: Ints) -> Ints:
    return np.concatenate(([0], np.cumsum(weights)))


def weighted_ap(of: Weighable, weights: Ints) -> Floats:
    """Average precision [overlaps, classes] with each image counting `weights` [images] times, whole numbers.

    At most 100 detections of an image and class; NaN for a class without truth among the weighted images.
    """
    counts = np.diff(of.starts)
    gained = weights[of.hit_image]
    tp = _sums(gained)
    said, odd = _sums(weights[of.image]), _sums(weights[of.odd_image] * of.odd_sign)
    starts = tp[of.starts[:-1]]
    ranked = tp[1:] - np.repeat(starts, counts)
    everything = said[of.upto] + odd[of.odd_upto] - np.repeat(said[of.since] + odd[of.odd_since], counts)
    positives = np.bincount(of.truth_label, weights[of.truth_image], of.classes).astype(np.int64)
    wanted = np.tile(np.maximum(needed(positives) - 1, 0), (of.overlaps, 1))
    reached = wanted < (tp[of.starts[1:]] - starts)[:, None]
    # The hit that brings the n-th unit of weight, for every n: a look-up in place of a search.
    unit = np.append(np.repeat(np.arange(gained.size), gained), gained.size)
    first = unit[np.where(reached, starts[:, None] + wanted, unit.size - 1)]
    first = np.where(reached, first, of.starts[1:, None])
    best = envelope(ranked / (everything + EPSILON), first, reached)
    values = (best.sum(axis=1) / RECALLS.size).reshape(of.overlaps, of.classes)
    return np.where(positives > 0, values, np.nan)


def resampled(
    tables: Sequence[Table], times: int = 1000, seed: int = 0, among: Bools | None = None, size: int = 0
) -> Floats:
    """Average precision [tables, times, overlaps, classes] of sets drawn anew, the same draw for every table.

    The tables are of the same images; `among` [images] picks those that are drawn from, `size` a range of sizes.
    """
    prepared = [weighable(table, size) for table in tables]
    shape = (len(prepared), times, tables[0].overlaps.size, tables[0].classes)
    values = np.empty(shape)
    for i, weights in enumerate(draws(tables[0].images, times, seed, among)):
        for j, one in enumerate(prepared):
            values[j, i] = weighted_ap(one, weights)
    return values


def over_classes(values: Floats) -> Floats:
    """The mean [...] over overlaps and those classes that have truth, of [..., overlaps, classes]; NaN of none."""
    flat = values.reshape(*values.shape[:-2], -1)
    known = np.isfinite(flat)
    count = known.sum(axis=-1)
    total = np.where(known, flat, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))
