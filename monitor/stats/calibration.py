"""Does a score of 0.8 mean that four in five are right? Calibration of detections, on 25 equal bins of score.

D-ECE is that of Küppers et al. 2020, "Multivariate confidence calibration for object detection", on the score alone;
LaECE asks the score to be precision times overlap (Oksuz, Joy & Dokania 2023, "Towards building self-aware object
detectors"). What is right is what the match table says at overlap 0.5, one detection an object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.boxes import Bools, Floats, Ints, overlap
from monitor.stats.matching import HIT, IGNORED, Table

BINS = 25
FLOOR = 0.05
"""Score from which detections are looked at where production's own threshold is not."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins [lo, hi) of score, the last with its end, each [bins]: how many, their mean score, and how many right.

    `overlap` is the sum of the overlaps of those that are right.
    """

    edges: Floats
    n: Ints
    score: Floats
    right: Ints
    overlap: Floats

    @property
    def precision(self) -> Floats:
        """Share that is right [bins]; 0 where a bin is empty."""
        return np.asarray(self.right / np.maximum(self.n, 1))


def reliability(score: npt.ArrayLike, right: npt.ArrayLike, overlaps: npt.ArrayLike, bins: int = BINS) -> Reliability:
    """Sort detections [n] with their scores (0 to 1), whether each is right, and its overlap if so, into bins."""
    x = np.asarray(score, dtype=np.float64)
    hit = np.asarray(right, dtype=bool)
    epsilon = np.finfo(np.float64).eps
    x = np.clip(x, epsilon, 1 - epsilon)  # 1 belongs to the last bin
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges, x, side="right") - 1
    n = np.bincount(place, minlength=bins)
    total = np.bincount(place, x, bins)
    return Reliability(
        edges,
        n,
        np.divide(total, n, out=np.zeros(bins), where=n > 0),
        np.bincount(place[hit], minlength=bins),
        np.bincount(place, np.where(hit, overlaps, 0.0), bins).astype(np.float64),
    )


def d_ece(table: Reliability) -> float | None:
    """Σ n_b / n · |mean score - precision| over the bins; None of no detection."""
    n = int(table.n.sum())
    return float(np.sum(table.n / n * np.abs(table.precision - table.score))) if n else None


def la_ece(table: Reliability) -> float | None:
    """Σ n_b / n · |mean score - precision · mean overlap of the right ones| of one class; None of no detection."""
    n = int(table.n.sum())
    if not n:
        return None
    located = table.overlap / np.maximum(table.n, 1)
    return float(np.sum(table.n / n * np.abs(located - table.score)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the detections from a score on: D-ECE of all, LaECE as the mean of the classes', and each class's table."""

    n: int
    d_ece: float | None
    la_ece: float | None
    by_class: list[Reliability]


def calibration(table: Table, floor: npt.ArrayLike = FLOOR, among: Bools | None = None) -> Calibration:
    """Calibration of the detections with at least the score `floor`, one number or one for each class.

    Those that found what is ignored count nowhere. `among` [images] picks images.
    """
    state = table.states()
    score, label = table.found.score, table.found.label
    kept = (state != IGNORED) & ~((state != HIT) & table.outside[:, 0])
    kept &= score >= np.broadcast_to(np.asarray(floor, dtype=np.float64), (table.classes,))[label]
    if among is not None:
        kept &= among[table.found.image]
    shares = hit_overlaps(table)
    right = state == HIT
    of_all = reliability(score[kept], right[kept], shares[kept])
    starts = np.searchsorted(label, np.arange(table.classes + 1))
    tables = []
    for k in range(table.classes):
        rows = np.flatnonzero(kept[starts[k] : starts[k + 1]]) + starts[k]
        tables.append(reliability(score[rows], right[rows], shares[rows]))
    each = [value for value in map(la_ece, tables) if value is not None]
    return Calibration(int(kept.sum()), d_ece(of_all), float(np.mean(each)) if each else None, tables)


def hit_overlaps(table: Table, level: int = 0) -> Floats:
    """How far each detection [rows] overlaps the object that it found; 0 where it found none that counts."""
    rows = np.flatnonzero(table.states(level) == HIT)
    shares = np.zeros(table.order.size)
    shares[rows] = overlap(table.found.box[rows], table.truth.box[table.partners(level)[rows]])
    return shares


def drawn_d_ece(
    table: Table, floor: npt.ArrayLike, weights: Iterable[Ints], among: Bools | None = None, label: int | None = None
) -> tuple[float | None, int, int, Floats]:
    """D-ECE of all detections from `floor` on, or of one class, how many they are on how many images, and D-ECE of
    sets drawn anew.

    `weights` [images] say how often each image was drawn, set by set. A drawn set's calibration is on average a
    little worse than the set's own, which makes an upper bound read off them cautious.
    """
    state = table.states()
    limits = np.broadcast_to(np.asarray(floor, dtype=np.float64), (table.classes,))
    kept = (state != IGNORED) & (table.found.score >= limits[table.found.label])
    kept &= ~((state != HIT) & table.outside[:, 0])
    if among is not None:
        kept &= among[table.found.image]
    if label is not None:
        kept &= table.found.label == label
    image, right = table.found.image[kept], state[kept] == HIT
    epsilon = np.finfo(np.float64).eps
    score = np.clip(table.found.score[kept], epsilon, 1 - epsilon)
    place = np.searchsorted(np.linspace(0.0, 1.0, BINS + 1), score, side="right") - 1
    excess = right - score

    def error(weight: Floats) -> float:
        total = weight.sum()
        return float(np.abs(np.bincount(place, excess * weight, BINS)).sum() / total) if total else math.nan

    value = error(np.ones(score.size)) if score.size else None
    drawn = np.array([error(w[image].astype(np.float64)) for w in weights])
    return value, int(score.size), int(np.unique(image).size), drawn
