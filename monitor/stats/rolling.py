"""Sudden and large: the last four hours against the season, and a queue against its own history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.seasonal import Hourly, expected, weights

Floats = npt.NDArray[np.float64]

HOURS = 4
LIMIT = 7.5
TAIL = 3.3
"""The 99.9 % point of |z| of a normal deviate is 3.29: heavier tails than that widen the scale."""
SMALLEST_WEIGHT = 1.0
"""Weight, in full hours, under which four hours have no verdict."""
QUEUE_SDS = 4.5
QUEUE_QUANTILE = 0.9999


def trailing(values: npt.ArrayLike, hours: int = HOURS) -> Floats:
    """Sum of each entry of [..., time] and the `hours` - 1 before it; NaN counts as 0.

    Added up entry by entry, so that it is the same to the last bit wherever the array begins.
    """
    x = np.nan_to_num(np.asarray(values, dtype=np.float64))
    total = x.copy()
    for back in range(1, hours):
        total[..., back:] += x[..., :-back]
    return total


@dataclass(frozen=True, slots=True)
class Fast:
    """Four hours at a time, each at its last hour, [..., days, 24], NaN where they weigh too little: what they moved,
    the season's level there, and the move as a multiple of its ordinary size."""

    moved: Floats
    level: Floats
    score: Floats


def fast(hourly: Hourly, weekend: npt.ArrayLike, baseline: int) -> Fast:
    """Four hours' weighted distance from the season over its ordinary size.

    The scale is max(sd, q / 3.3) of the same quantity in the baseline (leave one day out), q being the 99.9 %
    quantile of its absolute value: hours are neither normal nor independent. Hours of fewer frames than their cell is
    used to are the less sure of it: their distance is scored at √(n / n of the season), or a camera that sends less
    would alarm by chance alone.
    """
    w = weights(hourly.n)
    cell = expected(hourly.x, w, weekend, baseline)
    usual = np.where(w > 0, np.nan_to_num(expected(hourly.n, w, weekend, baseline)), 0.0)
    w = np.where(np.isfinite(cell), w, 0.0)
    flat = (*w.shape[:-2], w.shape[-2] * w.shape[-1])
    off, level = (np.where(w > 0, w * part, 0.0).reshape(flat) for part in (hourly.x - cell, cell))
    weight = trailing(w.reshape(flat))
    with np.errstate(invalid="ignore", divide="ignore"):
        moved, level = (np.where(weight >= SMALLEST_WEIGHT, trailing(v) / weight, np.nan) for v in (off, level))
    frames, season = (trailing(part.reshape(flat)) for part in (np.where(w > 0, hourly.n, 0.0), usual))
    sure = moved * np.sqrt(np.minimum(1.0, frames / np.maximum(season, 1.0)))
    past = sure[..., : baseline * w.shape[-1]].reshape(-1, baseline * w.shape[-1])
    scale = np.array([_scale(row[np.isfinite(row)]) for row in past]).reshape((*moved.shape[:-1], 1))
    return Fast(*(part.reshape(w.shape) for part in (moved, level, sure / scale)))


def _scale(past: Floats) -> float:
    """NaN with less than a week of verdicts: nothing alarms."""
    if past.size < 7 * 24 / 2:
        return float("nan")
    return float(max(past.std(), np.quantile(np.abs(past), 0.999) / TAIL, 1e-12))


def queue_limit(history: npt.ArrayLike) -> float:
    """What a 15-minute mean of the queue's depth must exceed to be news: max(99.99 % quantile, mean + 4.5 sd).

    `history` [quarters] are the same means in the baseline, NaN where unknown; infinite with less than a day of them.
    Slopes are not tested: over correlated quarters such tests fire in a quarter of ordinary hours.
    """
    x = np.asarray(history, dtype=np.float64)
    x = x[np.isfinite(x)]
    if x.size < 96:
        return float("inf")
    return float(max(np.quantile(x, QUEUE_QUANTILE), x.mean() + QUEUE_SDS * x.std(ddof=1)))
