"""What divergences are when nothing has changed: the law of chance, were the samples independent.

For n and m independent samples of one distribution over B groups, PSI is distributed as (1/n + 1/m) χ²(B - 1); to
second order KL is half of that and JS an eighth (Yurdakul & Naranjo 2020, "Statistical properties of the population
stability index"; KL and JS by the same expansion of an f-divergence, f''(1) being 2, 1 and 1/4). Frames of one camera
resemble their neighbours, so for live streams this is the least that chance does and not the most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

SMALLEST_DAYS = 8
"""Days of baseline under which nothing is known of an ordinary day's divergence."""
SMALLEST_FRAMES = 30
"""Frames under which a day's divergence has no verdict."""


def _spread(groups: int, n: float, m: float) -> float:
    if groups < 1 or not n > 0 or not m > 0:
        raise ValueError(f"{groups} groups, {n} and {m} samples: each is at least one")
    return 1 / n + 1 / m


@cache
def _chi2(freedom: int, level: float) -> float:
    return float(scipy.special.chdtri(freedom, 1 - level))


def expected(groups: int, n: float, m: float, scale: float = 1.0) -> float:
    """Mean of the divergence under no change: scale · (groups - 1) · (1/n + 1/m).

    `n` and `m` count independent samples in window and baseline (`math.inf` for a baseline known exactly); `scale` is
    1 for PSI, 1/2 for KL, 1/8 for JS.

    Raises:
        ValueError: no group or no sample.
    """
    return scale * (groups - 1) * _spread(groups, n, m)


def quantile(groups: int, n: float, m: float, scale: float = 1.0, level: float = 0.999) -> float:
    """What the divergence exceeds under no change with probability 1 - level.

    That is scale · (1/n + 1/m) · the `level` quantile of χ²(groups - 1), arguments as for `expected`. One group alone
    never differs from itself: 0.

    Raises:
        ValueError: no group or no sample, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"a quantile's level lies between 0 and 1, not at {level}")
    spread = _spread(groups, n, m)
    return scale * spread * _chi2(groups - 1, level) if groups > 1 else 0.0


def enough(groups: int, m: float, limit: float, scale: float = 1.0, level: float = 0.999) -> float:
    """The smallest n at which `quantile` is no more than `limit`: a real number, `math.inf` where no n is enough.

    Raises:
        ValueError: as `quantile`.
    """
    at_best = quantile(groups, float("inf"), m, scale, level)
    if limit <= at_best:
        return float("inf") if groups > 1 else 1.0
    return max(1.0, scale * _chi2(groups - 1, level) / (limit - at_best)) if groups > 1 else 1.0


# What an ordinary day does, learnt from the baseline's own days: the law for live streams, whose frames resemble
# their neighbours so much that the law above would call nearly every day extraordinary.


@dataclass(frozen=True, slots=True)
class Usual:
    """What the baseline's days say of a stream, each [...]: mean and standard deviation of m days."""

    mean: Floats
    sd: Floats
    m: Floats


def usual(values: npt.ArrayLike, baseline: int, smallest: int = 3) -> Usual:
    """Mean, standard deviation (m - 1) and number of the known days among the first `baseline` of [..., days].

    NaN days are unknown ones; under `smallest` of them mean and sd are NaN.
    """
    x = np.asarray(values, dtype=np.float64)[..., :baseline]
    known = np.isfinite(x)
    m = known.sum(axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(m >= smallest, np.where(known, x, 0.0).sum(axis=-1) / m, np.nan)
        squares = np.where(known, (x - mean[..., None]) ** 2, 0.0).sum(axis=-1)
        sd = np.sqrt(squares / (m - 1))
    return Usual(mean, np.where(np.isfinite(mean), np.maximum(sd, 1e-12), np.nan), m)


def normal_score(t: npt.ArrayLike, freedom: npt.ArrayLike) -> Floats:
    """Student's t as the standard normal score with the same tail: ±Φ⁻¹(F(-|t|)); NaN stays NaN."""
    x, nu = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(freedom, dtype=np.float64))
    known = np.isfinite(x) & (nu >= 1)
    tail = scipy.special.stdtr(np.where(known, nu, 1.0), np.where(known, -np.abs(x), 0.0))
    return np.where(known, -np.sign(x) * scipy.special.ndtri(np.maximum(tail, 1e-300)), np.nan)


def scores(values: npt.ArrayLike, known: Usual, centre: bool = True) -> Floats:
    """Each day of [..., days] as a normal score against the baseline's: (x - mean) / (sd √(1 + 1/m)) by t(m - 1).

    The law of one further normal observation after m (the prediction interval); without `centre` the mean is 0, which
    is what distances from a season have by themselves.
    """
    x = np.asarray(values, dtype=np.float64)
    mean = known.mean[..., None] if centre else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (x - mean) / (known.sd * np.sqrt(1 + 1 / known.m))[..., None]
    return normal_score(t, known.m[..., None] - 1)


def divergence_scores(values: npt.ArrayLike, n: npt.ArrayLike, baseline: int) -> Floats:
    """The PSI of each day as a normal score, [..., days]: what is ordinary is what the baseline's own days did.

    Each day of the baseline has been compared with the others (leave one day out). The logarithm makes them nearly
    normal; a day of fewer frames than the baseline's median day is expected to be larger by ln(median / n). Days
    under 30 frames have no score, and no day has one under 8 known days of baseline.
    """
    x, frames = np.asarray(values, dtype=np.float64), np.asarray(n, dtype=np.float64)
    known = np.isfinite(x) & (frames >= SMALLEST_FRAMES)
    middle = nanmedian(np.where(known, frames, np.nan)[..., :baseline])[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        log = np.log(np.maximum(x, 1e-12)) - np.maximum(0.0, np.log(middle / frames))
    log = np.where(known, log, np.nan)
    return scores(log, usual(log, baseline, SMALLEST_DAYS))


def nanmedian(values: Floats) -> Floats:
    """Median along the last axis of what is known; NaN, without a warning, where nothing is."""
    empty = np.isnan(values).all(axis=-1)
    median = np.nanmedian(np.where(np.expand_dims(empty, -1), 0.0, values), axis=-1)
    return np.where(empty, np.nan, median)


@dataclass(frozen=True, slots=True)
class Band:
    """Where an ordinary day lies: the median, and the ends that 99 % of further such days stay within."""

    median: float
    low: float
    high: float


def band(values: npt.ArrayLike, *, log: bool = False, level: float = 0.99) -> Band:
    """The band of an ordinary day from the baseline's days [days], NaN being unknown ones.

    Mean ± t(m - 1) · sd · √(1 + 1/m): the prediction interval of one further normal day. With `log` (a divergence)
    the logarithm is what is normal and only the upper end bounds anything: low is 0. NaN with fewer than 3 days.

    Raises:
        ValueError: a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"a band's level lies between 0 and 1, not at {level}")
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x) & ((x > 0) | (not log))]
    if x.size < 3:
        return Band(float("nan"), float("nan"), float("nan"))
    scale = np.log(x) if log else x
    tail = 1 - level if log else (1 - level) / 2
    reach = float(scipy.special.stdtrit(x.size - 1, 1 - tail) * scale.std(ddof=1) * np.sqrt(1 + 1 / x.size))
    if log:
        return Band(float(np.median(x)), 0.0, float(np.exp(scale.mean() + reach)))
    return Band(float(np.median(x)), float(scale.mean() - reach), float(scale.mean() + reach))
