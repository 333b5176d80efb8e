"""Do people correct the model more often? A likelihood-ratio CUSUM of overrides, band of confidence by band.

Uncertain frames are reviewed more often and overridden more often, so the raw rate of overrides follows whoever
chooses what is reviewed. Within a band of confidence that choice has no say: each band is compared with its own past.
The sum of log likelihood ratios is Page's CUSUM for a change of distribution (Lorden 1971, "Procedures for reacting
to a change in distribution"), over binomial counts as in risk-adjusted charts of surgical outcomes (Steiner, Cook,
Farewell & Treasure 2000, "Monitoring surgical performance using risk-adjusted cumulative sum charts").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EDGES = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)
"""Bands of confidence."""
PRIOR = 40.0
"""Reviews that the fleet's rate of a band weighs as, beside a camera's own."""
TOLERATED = 1.15
"""Odds, as a multiple of the past, that are still nothing worth telling."""
FEARED = 2.0
"""Odds, as a multiple of the past, that the sum is quickest to find."""
LIMIT = 4.0


def band_of(confidence: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The band of each confidence, 0 to 4."""
    return np.searchsorted(EDGES[1:-1], np.asarray(confidence, dtype=np.float64), side="right").astype(np.int64)


def rates(overridden: npt.ArrayLike, reviewed: npt.ArrayLike) -> Floats:
    """The past rate of each camera and band [cameras, bands], drawn to the fleet's: (x + 40 p_fleet) / (n + 40).

    Both are totals over the baseline [cameras, bands]. A band that nobody has ever reviewed has the rate of all bands
    together, and that is 1/2 out of (0 + ½) / (0 + 1) where there is no review at all.
    """
    x, n = np.asarray(overridden, dtype=np.float64), np.asarray(reviewed, dtype=np.float64)
    all_bands = (x.sum() + 0.5) / (n.sum() + 1)
    fleet = (x.sum(axis=0) + all_bands) / (n.sum(axis=0) + 1)
    return np.asarray((x + PRIOR * fleet) / (n + PRIOR))


def at_odds(p: npt.ArrayLike, multiple: float) -> Floats:
    """The probability whose odds are a multiple of those of p: 2 x the odds of 0.2 is 1/3."""
    odds = multiple * np.asarray(p, dtype=np.float64)
    return np.asarray(odds / (1 - np.asarray(p, dtype=np.float64) + odds))


def dispersion(overridden: npt.ArrayLike, reviewed: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """How much more than binomial the counts of the baseline spread: Pearson's χ² over its terms, at least 1.

    Counts are [cameras, days, bands] (only days with reviews have a term, summed over bands), p is [cameras, bands].
    """
    x, n = np.asarray(overridden, dtype=np.float64), np.asarray(reviewed, dtype=np.float64)
    expected = n * np.asarray(p, dtype=np.float64)[:, None, :]
    spread = (expected * (1 - np.asarray(p, dtype=np.float64)[:, None, :])).sum(axis=-1)
    off = (x - expected).sum(axis=-1)
    told = spread > 0
    return max(1.0, float(np.mean(off[told] ** 2 / spread[told]))) if told.any() else 1.0


def increments(overridden: npt.ArrayLike, reviewed: npt.ArrayLike, p: npt.ArrayLike, spread: float = 1.0) -> Floats:
    """What a day adds to the sum, [cameras, days]: Σ over bands [x ln(p₁/p₀) + (n - x) ln((1-p₁)/(1-p₀))] / spread.

    p₀ and p₁ are the rates at 1.15 and 2.0 times the odds of p [cameras, bands]; a day without reviews is NaN.
    """
    x, n = np.asarray(overridden, dtype=np.float64), np.asarray(reviewed, dtype=np.float64)
    low, high = (at_odds(p, multiple)[:, None, :] for multiple in (TOLERATED, FEARED))
    gained = (x * np.log(high / low) + (n - x) * np.log((1 - high) / (1 - low))).sum(axis=-1) / spread
    return np.where(n.sum(axis=-1) > 0, gained, np.nan)


@dataclass(frozen=True, slots=True)
class Path:
    """The sum by the day, [..., days] before the reset that follows an alarm; `alarm` is 1 or 0 a day."""

    up: Floats
    alarm: npt.NDArray[np.int8]


def cusum(steps: npt.ArrayLike, limit: float = LIMIT, start: npt.ArrayLike = 0.0) -> Path:
    """S = max(0, S + step) along the last axis, an alarm and a new start above the limit; a NaN step holds.

    `start` is the sum after the day before the first.
    """
    x = np.asarray(steps, dtype=np.float64)
    sums, alarm = np.empty_like(x), np.zeros(x.shape, dtype=np.int8)
    now = np.broadcast_to(np.asarray(start, dtype=np.float64), x.shape[:-1]).copy()
    for t in range(x.shape[-1]):
        now = np.maximum(0.0, now + np.nan_to_num(x[..., t]))
        sums[..., t] = now
        alarm[..., t] = now > limit
        now = np.where(now > limit, 0.0, now)
    return Path(sums, alarm)


def onset(sums: npt.ArrayLike, alarm_day: int) -> int:
    """The first day of the change that alarmed on `alarm_day`, from the sums of one camera [days].

    The day after the sum last was 0 (or fell from an earlier alarm): for a sum of log likelihood ratios that is the
    maximum-likelihood change point itself, since every later start explains less and every earlier one too.
    """
    s = np.asarray(sums, dtype=np.float64)[:alarm_day]
    rest = np.flatnonzero((s <= 0) | (s > LIMIT))
    return int(rest[-1]) + 1 if rest.size else 0
