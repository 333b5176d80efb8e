"""How often is the model wrong? An honest rate of errors from reviews of frames that were not chosen evenly.

Uncertain frames are reviewed more often and corrected more often, so the raw rate among reviews says little about the
model: in a simulated plant it is 2.4 times the true one. Within a band of confidence the choice is even. The bands'
rates, drawn a little to the fleet's, are therefore weighed by how many detections each band has (post-stratification:
Holt & Smith 1979, "Post stratification"), and what reviewers themselves get wrong is taken out (Rogan & Gladen 1978,
"Estimating prevalence from the results of a screening test").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from monitor.stats.shrinkage import fleet_rates

Floats = npt.NDArray[np.float64]

PRIOR = 10.0
"""Reviews that the fleet's rate of a band weighs as, beside a cell's own. Fixed and small: cameras go wrong in all
bands together, which a weight taken from how alike they look would miss (its intervals covered 79 to 100 %, these 92
to 100 %)."""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """What people who review get right, from items that were reviewed twice and settled: hits of `wrong` detections
    that were truly wrong, and slips of `right` ones that were truly right and corrected all the same."""

    hits: int = 0
    wrong: int = 0
    slips: int = 0
    right: int = 0

    @property
    def sensitivity(self) -> float:
        """Share of truly wrong detections that are corrected; 1 where nothing is known."""
        return self.hits / self.wrong if self.wrong else 1.0

    @property
    def false_positives(self) -> float:
        """Share of truly right detections that are corrected; 0 where nothing is known."""
        return self.slips / self.right if self.right else 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Rates of errors [...]; NaN where nothing was reviewed, or where no detection is there to be judged."""

    raw: Floats
    """Corrected ÷ reviewed, whatever was reviewed."""
    rate: Floats
    """The honest estimate."""
    low: Floats
    high: Floats
    """Its interval, within 0 and 1."""
    reviewed: Floats


@dataclass(frozen=True, slots=True)
class Fleet:
    """What all cells together say: the rate by band [bands], and out of how many reviews."""

    rate: Floats
    reviewed: Floats


def fleet_of(reviewed: npt.ArrayLike, overridden: npt.ArrayLike) -> Fleet:
    """The fleet of some cells [..., bands]."""
    n = np.asarray(reviewed, dtype=np.float64)
    return Fleet(fleet_rates(overridden, n), n.reshape(-1, n.shape[-1]).sum(axis=0))


def estimate(
    detections: npt.ArrayLike,
    reviewed: npt.ArrayLike,
    overridden: npt.ArrayLike,
    fleet: Fleet,
    reviewer: Reviewer | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The share of detections that are wrong, by cell.

    Counts are [..., bands]: all detections, those reviewed, those of them that were corrected. By the fleet's rate p
    and w = 10: θ = Σ_b (N_b / N) (x_b + w p_b) / (n_b + w), of the variance Σ_b (N_b / N)² [θ_b (1 - θ_b) / (n_b +
    w + 1) + (w / (n_b + w))² p_b (1 - p_b) / n_fleet]; then (θ - f) / (s - f) with the reviewers' sensitivity s and
    share of slips f, whose own chance (delta method) widens the interval. The interval is the normal one.

    Raises:
        ValueError: the reviewers correct what is right as often as what is wrong, so nothing follows from them.
    """
    count, n, x = (np.asarray(given, dtype=np.float64) for given in (detections, reviewed, overridden))
    total, seen = count.sum(axis=-1), n.sum(axis=-1)
    known = (total > 0) & (seen > 0)
    share = count / np.where(total > 0, total, 1.0)[..., None]
    p = (x + PRIOR * fleet.rate) / (n + PRIOR)
    own = p * (1 - p) / (n + PRIOR + 1)
    theirs = (PRIOR / (n + PRIOR)) ** 2 * fleet.rate * (1 - fleet.rate) / (fleet.reviewed + 1)
    theta, variance = (share * p).sum(axis=-1), (share**2 * (own + theirs)).sum(axis=-1)
    rate, variance = _corrected(theta, variance, reviewer or Reviewer())
    half = float(scipy.special.ndtri((1 + confidence) / 2)) * np.sqrt(variance)
    raw = x.sum(axis=-1) / np.where(seen > 0, seen, 1.0)
    low, high = np.clip(rate - half, 0, 1), np.clip(rate + half, 0, 1)
    raw, rate, low, high = (np.where(known, values, np.nan) for values in (raw, np.clip(rate, 0, 1), low, high))
    return Estimate(raw, rate, low, high, seen)


def _corrected(theta: Floats, variance: Floats, reviewer: Reviewer) -> tuple[Floats, Floats]:
    s, f = reviewer.sensitivity, reviewer.false_positives
    if s <= f:
        raise ValueError(f"reviewers correct {f:.0%} of what is right and {s:.0%} of what is wrong: nothing follows")
    rate = (theta - f) / (s - f)
    # d rate / d s = -rate / (s - f) and d rate / d f = (rate - 1) / (s - f).
    of_s = _uncertainty(reviewer.hits, reviewer.wrong)
    of_f = _uncertainty(reviewer.slips, reviewer.right)
    return rate, (variance + rate**2 * of_s + (1 - rate) ** 2 * of_f) / (s - f) ** 2


def _uncertainty(hits: int, n: int) -> float:
    """The variance of a share of n, one hit and one miss added: none among twenty is no proof of never (Lang &
    Reiczigel 2014, "Confidence limits for prevalence of disease adjusted for estimated sensitivity and
    specificity"). 0 where nothing is known, and so nothing corrected."""
    p = (hits + 1) / (n + 2)
    return p * (1 - p) / (n + 2) if n else 0.0
