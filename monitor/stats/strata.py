"""Do people correct the model more often? Likelihood ratios of overrides, band of confidence by band, added up.

Uncertain frames are reviewed more often and overridden more often, so the raw rate of overrides follows whoever
chooses what is reviewed. Within a band of confidence that choice has no say: each band is compared with its own past.
The days' log likelihood ratios are those of risk-adjusted charts of surgical outcomes (Steiner, Cook, Farewell &
Treasure 2000, "Monitoring surgical performance using risk-adjusted cumulative sum charts"). They are added up by the
Shiryaev-Roberts procedure (Roberts 1966, "A comparison of some control chart procedures"; Pollak 1985, "Optimal
detection of a change in distribution"), which sums over every day on which the change may have begun where Page's
CUSUM takes the best one: a rise that comes gradually is found more often at the same rate of false alarms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.shrinkage import fleet_rates, weight_of

Floats = npt.NDArray[np.float64]

EDGES = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)
"""Bands of confidence."""
PRIOR = (40.0, 400.0)
"""Reviews that the fleet's rate of a band weighs as, beside a camera's own: where cameras differ much, and where they
cannot be told apart."""
TOLERATED = 1.15
"""Odds, as a multiple of the past, that are still nothing worth telling."""
FEARED = 1.8
"""Odds, as a multiple of the past, that the sum is quickest to find."""
LIMIT = 5.0
"""ln A: at the tolerated odds there are at least A = 148 days between two false alarms, for R - days is a martingale;
at the odds of the past there are many more."""


def band_of(confidence: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The band of each confidence, 0 to 4."""
    return np.searchsorted(EDGES[1:-1], np.asarray(confidence, dtype=np.float64), side="right").astype(np.int64)


def rates(overridden: npt.ArrayLike, reviewed: npt.ArrayLike) -> Floats:
    """The past rate of each camera and band [cameras, bands], drawn to the fleet's: (x + w p_fleet) / (n + w).

    Both are totals over the baseline [cameras, bands]; w grows from 40 to 400 with how alike the cameras are.
    """
    x, n = np.asarray(overridden, dtype=np.float64), np.asarray(reviewed, dtype=np.float64)
    fleet = fleet_rates(x, n)
    weight = weight_of(x, n, fleet, *PRIOR)
    return np.asarray((x + weight * fleet) / (n + weight))


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

    p₀ and p₁ are the rates at 1.15 and 1.8 times the odds of p [cameras, bands]; a day without reviews is NaN.
    """
    x, n = np.asarray(overridden, dtype=np.float64), np.asarray(reviewed, dtype=np.float64)
    low, high = (at_odds(p, multiple)[:, None, :] for multiple in (TOLERATED, FEARED))
    gained = (x * np.log(high / low) + (n - x) * np.log((1 - high) / (1 - low))).sum(axis=-1) / spread
    return np.where(n.sum(axis=-1) > 0, gained, np.nan)


@dataclass(frozen=True, slots=True)
class Path:
    """The sum by the day, ln(1 + R) [..., days], before the reset that follows an alarm; `alarm` is 1 or 0 a day."""

    up: Floats
    alarm: npt.NDArray[np.int8]


def shiryaev_roberts(steps: npt.ArrayLike, limit: float = LIMIT, start: npt.ArrayLike = 0.0) -> Path:
    """R = (1 + R) exp(step) along the last axis, an alarm and a new start at 0 above exp(limit); a NaN step holds.

    `start` is ln(1 + R) after the day before the first.
    """
    x = np.asarray(steps, dtype=np.float64)
    sums, alarm = np.empty_like(x), np.zeros(x.shape, dtype=np.int8)
    now = np.broadcast_to(np.asarray(start, dtype=np.float64), x.shape[:-1]).copy()
    for t in range(x.shape[-1]):
        known = ~np.isnan(x[..., t])
        now = np.where(known, np.logaddexp(0.0, now + np.where(known, x[..., t], 0.0)), now)
        sums[..., t] = now
        over = now > np.logaddexp(0.0, limit)
        alarm[..., t] = over
        now = np.where(over, 0.0, now)
    return Path(sums, alarm)


def onset(sums: npt.ArrayLike, alarm_day: int) -> int:
    """The first day of the change that alarmed on `alarm_day`, from the path `up` of one camera [days].

    The maximum-likelihood change point: of all days since the last alarm the one from which on the steps add up to
    most. The steps are read off the path: step = ln R - ln(1 + R of the day before).
    """
    s = np.asarray(sums, dtype=np.float64)[: alarm_day + 1]
    over = np.flatnonzero(s[:-1] > np.logaddexp(0.0, LIMIT))
    first = int(over[-1]) + 1 if over.size else 0
    before = np.concatenate(([0.0], s[first:-1]))
    held = s[first:] == before  # a day that held
    steps = np.where(held, 0.0, np.log(np.expm1(np.where(held, 1.0, s[first:]))) - before)
    back = int(np.argmax(np.cumsum(steps[::-1])))
    return first + len(steps) - 1 - back
