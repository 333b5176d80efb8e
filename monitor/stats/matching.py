"""The match table: which detection found which object, once, for every number that is said of a golden set.

The rules are COCO's (Lin et al. 2014, "Microsoft COCO: Common objects in context"; its evaluator). Within an image
and a class the detections choose in the order of their scores, ties in the order of input; each takes the free object
that it overlaps most, the later of two equals. Objects that are ignored (crowds, or outside a range of sizes) are
taken only where no other is left; a crowd may be taken many times. Every overlap from which a match counts, and every
range of sizes, is a match of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.boxes import Bools, Floats, Ints, Pairs, pairs

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""Overlaps from which a match counts: 0.50 to 0.95 in steps of 0.05."""
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of object area in square pixels, both ends included, as COCO names them."""
UNMATCHED, HIT, IGNORED = 0, 1, 2
"""What became of a detection: it found nothing, an object that counts, or one that is ignored."""

States = npt.NDArray[np.uint8]
Partners = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is there, a row an object: image and class as numbers from 0 [n], box [n, 4], area in square pixels [n].

    `ignored` objects neither count as missed nor make a detection wrong; `crowd` is an ignored region of many
    objects.
    """

    image: Ints
    label: Ints
    box: Floats
    area: Floats
    crowd: Bools
    ignored: Bools


@dataclass(frozen=True, slots=True)
class Found:
    """What a model says, a row a detection: image and class as numbers from 0 [n], box [n, 4], score [n]."""

    image: Ints
    label: Ints
    box: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Table:
    """The matches. Rows are the detections by class, then score downwards; ties by image, then input.

    `order` [rows] is a row's place in the input, `rank` [rows] its place among its image's detections of its class.
    `outside` [rows, sizes] says whether its own area lies outside a range. Only `near` [near] rows overlap an object
    enough to match at all: `state` and `partner` [near, sizes, overlaps] say what they found, `partner` being a row
    of the truth or -1. `skipped` [objects, sizes] are the objects that are ignored at a size, `positives` [classes,
    sizes] counts the others.
    """

    images: int
    classes: int
    overlaps: Floats
    truth: Truth
    found: Found
    order: Ints
    rank: Ints
    outside: Bools
    near: Ints
    state: States
    partner: Partners
    skipped: Bools
    positives: Ints

    def states(self, overlap: int = 0, size: int = 0) -> States:
        """What became of every detection [rows] at one of the overlaps and sizes."""
        states = np.zeros(self.order.size, dtype=np.uint8)
        states[self.near] = self.state[:, size, overlap]
        return states

    def partners(self, overlap: int = 0, size: int = 0) -> Ints:
        """The object that every detection found [rows], or -1, at one of the overlaps and sizes."""
        partners = np.full(self.order.size, -1, dtype=np.int64)
        partners[self.near] = self.partner[:, size, overlap]
        return partners


def _sorted_by(order: Ints, keys: Ints) -> Ints:
    """`order` sorted by its `keys`, stable; numbers under 65,536 sort several times faster as such."""
    chosen = keys[order]
    if chosen.size and chosen.max() < 1 << 16:
        chosen = chosen.astype(np.uint16)
    return order[np.argsort(chosen, kind="stable")]


def rows(found: Found) -> Ints:
    """The order of the table's rows: class, score downwards, image, input."""
    by_image = _sorted_by(np.arange(found.score.size), found.image)
    by_score = by_image[np.argsort(-found.score[by_image], kind="stable")]
    return _sorted_by(by_score, found.label)


def ranks(*keys: Ints) -> Ints:
    """The place of each row [n] among the rows that agree with it in all `keys`, from 0."""
    order = np.arange(keys[0].size)
    for key in keys:
        order = _sorted_by(order, key)
    new = np.ones(order.size, dtype=bool)
    if order.size:
        new[1:] = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    starts = np.flatnonzero(new)
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size) - np.repeat(starts, np.diff(np.append(starts, order.size)))
    return rank


def match(
    truth: Truth,
    found: Found,
    images: int,
    classes: int,
    overlaps: npt.ArrayLike = OVERLAPS,
    sizes: tuple[tuple[float, float], ...] = tuple(SIZES.values()),
) -> Table:
    """The table of all detections against all objects.

    `images` and `classes` are how many there are, whether or not anything was seen of them.
    """
    thresholds = np.asarray(overlaps, dtype=np.float64)
    order = rows(found)
    seen = Found(found.image[order], found.label[order], found.box[order], found.score[order])
    group = seen.label * images + seen.image
    close = pairs(
        seen.box, group, truth.box, truth.label * images + truth.image, truth.crowd, float(thresholds.min())
    )
    low, high = np.asarray(sizes, dtype=np.float64).T
    skipped = truth.ignored[:, None] | (truth.area[:, None] < low) | (truth.area[:, None] > high)
    area = (seen.box[:, 2] * seen.box[:, 3])[:, None]
    near, state, partner = assign(close, group, skipped, truth.crowd, thresholds)
    positives = np.stack([np.bincount(truth.label[~column], minlength=classes) for column in skipped.T], axis=1)
    return Table(
        images,
        classes,
        thresholds,
        truth,
        seen,
        order,
        ranks(seen.image, seen.label),
        (area < low) | (area > high),
        near,
        state,
        partner,
        skipped,
        positives,
    )


def assign(
    close: Pairs, group: Ints, skipped: Bools, crowd: Bools, overlaps: Floats
) -> tuple[Ints, States, Partners]:
    """Let the detections of each group choose in the order of their rows.

    `group` [rows]; `skipped` [objects, sizes]; `overlaps` ascend or not, as they like.

    The k-th detections of all groups choose at once: groups share no object, so it is the same as one by one.

    Returns:
        near [near] rows with a pair, state and partner [near, sizes, overlaps].
    """
    near, first, count = np.unique(close.left, return_index=True, return_counts=True)
    turn = ranks(group[near])
    # Within a round the detections with most candidates come first, so that the k-th candidates are a prefix.
    order = np.lexsort((-count, turn))
    ends = np.searchsorted(turn[order], np.arange(turn.max(initial=-1) + 1), side="right")
    shape = (skipped.shape[1], overlaps.size)
    state = np.zeros((near.size, *shape), dtype=np.uint8)
    partner = np.full((near.size, *shape), -1, dtype=np.int32)
    taken = np.zeros((crowd.size, *shape), dtype=bool)
    start = 0
    for end in ends.tolist():
        who = order[start:end]
        chosen, counts = _choose(close, first[who], count[who], skipped, taken, overlaps)
        some = chosen >= 0
        state[who] = np.where(some, np.where(counts, HIT, IGNORED), UNMATCHED)
        partner[who] = chosen
        _, size, level = np.nonzero(some)
        objects = chosen[some]
        alone = ~crowd[objects]
        taken[objects[alone], size[alone], level[alone]] = True
        start = end
    return near, state, partner


def _choose(
    close: Pairs, first: Ints, count: Ints, skipped: Bools, taken: Bools, overlaps: Floats
) -> tuple[Partners, Bools]:
    """The best free object of each detection [n, sizes, overlaps], or -1, and whether it counts.

    A detection's candidates are the pairs from `first` [n] on; `count` [n] of them, descending.
    """
    shape = (first.size, *taken.shape[1:])
    chosen, best = np.full(shape, -1, dtype=np.int32), np.zeros(shape)
    counting = np.zeros(shape, dtype=bool)
    for k in range(int(count[0])):
        n = int(np.searchsorted(-count, -k, side="left"))
        pair = first[:n] + k
        objects, share = close.right[pair], close.overlap[pair][:, None, None]
        counts = ~skipped[objects][:, :, None]
        free = (share >= overlaps) & ~taken[objects]
        if k:
            had = counting[:n]
            free &= (counts & ~had) | ((counts == had) & (share >= best[:n]))
        np.copyto(chosen[:n], objects[:, None, None].astype(np.int32), where=free)
        np.copyto(best[:n], share, where=free)
        np.copyto(counting[:n], counts, where=free)
    return chosen, counting
