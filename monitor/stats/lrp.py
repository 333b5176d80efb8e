"""Localisation-recall-precision error: how far a detector is from perfect, where it sits best, and why.

Oksuz et al. 2018, "Localization recall precision (LRP): a new performance metric for object detection". At a
threshold LRP is the mean over right, wrong and missed of (1 - overlap) / (1 - 0.5) for the right ones and 1 for the
others: 0 is perfect, 1 is nothing found. The optimal LRP is the least over all thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.stats.boxes import Bools
from monitor.stats.calibration import hit_overlaps
from monitor.stats.matching import HIT, IGNORED, Table


@dataclass(frozen=True, slots=True)
class Lrp:
    """Of one class: the optimal error, the score to cut at for it, and its parts there.

    `localisation` is the mean of 1 - overlap of what is right, `false` is 1 - precision, `missed` 1 - recall; None
    where nothing is said at that threshold.
    """

    error: float
    threshold: float | None
    localisation: float | None
    false: float | None
    missed: float


def optimal_lrp(table: Table, level: int = 0, among: Bools | None = None) -> list[Lrp | None]:
    """The optimal LRP of each class at one of the table's overlaps; None without truth to find.

    Detections with one score stand or fall together, as they do under a threshold. `among` [images] picks images.
    """
    state = table.states(level)
    counts = (state != IGNORED) & ~((state != HIT) & table.outside[:, 0])
    kept = ~table.skipped[:, 0]
    if among is not None:
        counts &= among[table.found.image]
        kept &= among[table.truth.image]
    positives = np.bincount(table.truth.label[kept], minlength=table.classes)
    lost = (1 - hit_overlaps(table, level)) * (state == HIT)
    least = float(table.overlaps[level])
    starts = np.searchsorted(table.found.label, np.arange(table.classes + 1))
    found: list[Lrp | None] = []
    for k, n in enumerate(positives.tolist()):
        rows = np.flatnonzero(counts[starts[k] : starts[k + 1]]) + starts[k]
        score = table.found.score[rows]
        hit, loss = np.cumsum(state[rows] == HIT), np.cumsum(lost[rows])
        ends = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if rows.size else rows
        tp, said = hit[ends], ends + 1
        error = (loss[ends] / (1 - least) + (said - tp) + (n - tp)) / np.maximum(said + n - tp, 1)
        if not n:
            found.append(None)
        elif not ends.size or error.min() >= 1:
            found.append(Lrp(1.0, None, None, None, 1.0))
        else:
            at = int(error.argmin())
            right = int(tp[at])
            place = float(loss[ends[at]] / right)
            found.append(
                Lrp(float(error[at]), float(score[ends[at]]), place, 1 - right / int(said[at]), 1 - right / n)
            )
    return found
