"""A stream against its own season: what each hour of an ordinary day is like, and how far a day lies from that.

A stream is one number an hour (a mean, or a share after `arcsine`) with the n frames behind it, on arrays
[..., days, 24]. Its season has 48 cells, weekend or not by hour of the day, learnt from the baseline's days. A day of
the baseline is never compared with a season that it helped to make (leave one day out), so that an ordinary day of
the baseline looks like an ordinary day later on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.stats.null import nanmedian

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HALF_WEIGHT = 20.0
"""Frames at which an hour weighs half: neighbouring frames resemble each other, so many more tell little more."""
SHRINK = 1.0
"""Full hours of one day that a cell's own mean must outweigh before it is believed over the hour's mean."""
SMALLEST_N = 20
"""Frames under which a day has no verdict."""
SMALLEST_HOURS = 3.0
"""Effective hours under which a day has no verdict."""


@dataclass(frozen=True, slots=True)
class Hourly:
    """One stream by the hour: n frames and their mean x, both [..., days, 24]; x is ignored where n is 0."""

    n: Floats
    x: Floats


@dataclass(frozen=True, slots=True)
class Days:
    """A stream by the day, each [..., days]; NaN in `deviation` and `level` where a day has no verdict.

    `deviation` is the weighted mean of the hours' distances from their cells; `steady` the same, drawn to 0 where the
    day carries less weight than the baseline's median day; `level` what the season expects of the very hours of the
    day; `weight` Σ w.
    """

    deviation: Floats
    steady: Floats
    level: Floats
    weight: Floats


def means(counts: npt.ArrayLike, values: npt.ArrayLike) -> Hourly:
    """The mean of `values` [bins] over histograms [..., bins], with n; values that are not finite must be empty.

    Raises:
        ValueError: counts and values that do not fit.
    """
    c, v = np.asarray(counts), np.asarray(values, dtype=np.float64)
    if v.ndim != 1 or c.ndim < 1 or c.shape[-1] != v.size:
        raise ValueError(f"one value for each bin is needed, not {v.shape} values for counts of shape {c.shape}")
    n = c.sum(axis=-1, dtype=np.float64)
    return Hourly(n, (c @ v) / np.maximum(n, 1))


def arcsine(hits: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """A share on the scale where chance has one size whatever the share: asin √((c + 3/8) / (n + 3/4)).

    Anscombe 1948, "The transformation of Poisson, binomial and negative-binomial data"; the variance is about
    1 / (4 n + 2). Without it a rare class moves less on its quiet days than on its busy ones, and a band of one width
    is wrong on both.
    """
    c, total = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.asarray(np.arcsin(np.sqrt((c + 0.375) / (total + 0.75))))


def shares(hits: npt.ArrayLike, n: npt.ArrayLike) -> Hourly:
    """The stream of a share: `hits` of `n`, both [..., days, 24], on the `arcsine` scale."""
    total = np.asarray(n, dtype=np.float64)
    return Hourly(total, arcsine(hits, total))


def arcsine_mean(share: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """The mean `arcsine` of a share among n, to second order: 3 % of 5 lie at 0.30, of 500 at 0.17.

    That is f(u) + f''(u) n p (1 - p) / 2 (n + 3/4)² with f = asin √ and u = (n p + 3/8) / (n + 3/4).
    """
    p, frames = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    u = (frames * p + 0.375) / (frames + 0.75)
    bend = -(1 - 2 * u) / (4 * (u * (1 - u)) ** 1.5)
    return np.asarray(np.arcsin(np.sqrt(u)) + bend * frames * p * (1 - p) / (2 * (frames + 0.75) ** 2))


def share_moved(level: npt.ArrayLike, deviation: npt.ArrayLike) -> Floats:
    """What a deviation on the `arcsine` scale is as a change of the share itself, 0.03 being three points."""
    start = np.asarray(level, dtype=np.float64)
    end = np.clip(start + np.asarray(deviation, dtype=np.float64), 0, np.pi / 2)
    return np.asarray(np.sin(end) ** 2 - np.sin(start) ** 2)


def weights(n: npt.ArrayLike, half: float = HALF_WEIGHT) -> Floats:
    """What an hour of n frames weighs: n / (n + half), 0 to 1."""
    frames = np.asarray(n, dtype=np.float64)
    return np.asarray(frames / (frames + half))


def _without_own(sums: Floats, own: Floats, group: npt.NDArray[Any], baseline: int) -> Floats:
    """Sums by group [..., groups, 24] spread over the days of each group, a baseline day's own part taken out."""
    spread = sums[..., group, :].copy()
    spread[..., :baseline, :] -= own[..., :baseline, :]
    return spread


def expected(
    values: npt.ArrayLike, weight: npt.ArrayLike, weekend: npt.ArrayLike, baseline: int, shrink: float = SHRINK
) -> Floats:
    """The mean of each hour's cell over the baseline, [..., days, 24]: NaN where the baseline knows no such hour.

    A cell (weekend or not, hour of the day) has the weighted mean of its hours in the first `baseline` days, drawn to
    the mean of the hour on any day as by `shrink` further hours of full weight; for a day of the baseline both leave
    that day out. `weekend` is [days].

    Raises:
        ValueError: shapes that do not fit, or a baseline outside the days.
    """
    x, w = np.asarray(values, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    late = np.asarray(weekend, dtype=np.int64)
    if x.shape != w.shape or x.ndim < 2 or late.shape != x.shape[-2:-1] or not 0 < baseline <= late.size:
        raise ValueError(
            f"values {x.shape}, weights {w.shape}, weekend {late.shape}, {baseline} baseline days: unfit"
        )
    wx = np.where(w > 0, w * x, 0.0)
    kind = np.stack([late[:baseline] == 0, late[:baseline] == 1]).astype(np.float64)
    day = np.zeros(late.size, dtype=np.int64)
    cell_w, cell_wx = (
        _without_own(np.einsum("gd,...dh->...gh", kind, part[..., :baseline, :]), part, late, baseline)
        for part in (w, wx)
    )
    hour_w, hour_wx = (
        _without_own(part[..., :baseline, :].sum(axis=-2, keepdims=True), part, day, baseline) for part in (w, wx)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        hour = np.where(hour_w > 1e-9, hour_wx / hour_w, np.nan)
        return np.asarray((cell_wx + shrink * hour) / (cell_w + shrink))


def evened(hourly: Hourly, weekend: npt.ArrayLike, baseline: int) -> Hourly:
    """A stream of `shares` as if each hour had counted as many as its cell is used to.

    One share lies higher among few than among many (`arcsine_mean`), so that a camera that sends less would seem to
    see more of whatever is rare.
    """
    n = np.asarray(hourly.n, dtype=np.float64)
    w = weights(n)
    seen = np.clip((np.sin(hourly.x) ** 2 * (n + 0.75) - 0.375) / np.maximum(n, 1), 0, 1)
    share, usual = (expected(values, w, weekend, baseline) for values in (seen, n))
    moved = arcsine_mean(share, n) - arcsine_mean(share, usual)
    return Hourly(n, hourly.x - np.where(np.isfinite(moved), moved, 0.0))


def deviations(hourly: Hourly, weekend: npt.ArrayLike, baseline: int) -> Days:
    """How far each day lies from its season: Σ w (x - cell) / Σ w, with w = n / (n + 20).

    A day has no verdict under 20 frames or under 3 effective hours (Σ w)² / Σ w² (Kish's effective sample size).

    Raises:
        ValueError: as `expected`.
    """
    n = np.asarray(hourly.n, dtype=np.float64)
    w = weights(n)
    cell = expected(hourly.x, w, weekend, baseline)
    w = np.where(np.isfinite(cell), w, 0.0)
    total = w.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.where(w > 0, w * (hourly.x - cell), 0.0).sum(axis=-1) / total
        level = np.where(w > 0, w * cell, 0.0).sum(axis=-1) / total
        hours = total**2 / (w**2).sum(axis=-1)
        enough = (n.sum(axis=-1) >= SMALLEST_N) & (hours >= SMALLEST_HOURS)
    deviation, level = (np.where(enough, v, np.nan) for v in (deviation, level))
    usual = nanmedian(np.where(enough, total, np.nan)[..., :baseline])
    steady = deviation * np.sqrt(np.minimum(1.0, total / usual[..., None]))
    return Days(deviation, steady, level, total)


def expected_shares(groups: npt.ArrayLike, weekend: npt.ArrayLike, baseline: int) -> Floats:
    """The shares of a histogram's groups that the season expects of the very hours of each day, [..., days, groups].

    `groups` [..., days, 24, groups] are counts. Each hour brings its cell's shares (drawn to the hour's, as in
    `expected`) by the number of its frames; a baseline day is left out of its own expectation. NaN on empty days.
    """
    c = np.asarray(groups, dtype=np.float64)
    n = c.sum(axis=-1)
    w = weights(n)
    inner = [expected(c[..., g] / np.maximum(n, 1), w, weekend, baseline) for g in range(c.shape[-1])]
    cells = np.stack(inner, axis=-1)
    frames = np.where(np.isfinite(cells[..., 0]), n, 0.0)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((frames * np.nan_to_num(cells)).sum(axis=-2) / frames.sum(axis=-2))
