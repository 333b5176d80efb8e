"""Rates by cell drawn to the fleet's, as far as the cells are alike: the empirical Bayes of beta-binomial counts.

Source: Kleinman 1973, "Proportions with extraneous variance: single and independent samples" (moments of the beta
prior), Efron & Morris 1975, "Data analysis using Stein's estimator and its generalizations".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def fleet_rates(overridden: npt.ArrayLike, reviewed: npt.ArrayLike) -> Floats:
    """The rate by band [bands] over all cells [..., bands]: (x + p) / (n + 1), p being the rate of all bands.

    A band without reviews so has the rate of all, which is 1/2 out of (0 + ½) / (0 + 1) without any review.
    """
    x, n = _cells(overridden), _cells(reviewed)
    whole = (x.sum() + 0.5) / (n.sum() + 1)
    return np.asarray((x.sum(axis=0) + whole) / (n.sum(axis=0) + 1))


def weight_of(
    overridden: npt.ArrayLike, reviewed: npt.ArrayLike, fleet: npt.ArrayLike, least: float, most: float
) -> float:
    """Reviews that the fleet's rate weighs as: the size of the beta prior whose spread is that between the cells.

    By moments: a beta-binomial count has the variance n p (1-p) (1 + (n-1) ρ) with ρ = 1 / (w + 1), so ρ is what
    Pearson's χ² has beyond its degrees of freedom, over Σ (n - 1). Counts are [..., bands], `fleet` a rate by band.
    `most` where the cells cannot be told apart, `least` where there is too little to say.
    """
    x, n, p = _cells(overridden), _cells(reviewed), np.asarray(fleet, dtype=np.float64)
    told = (n > 0) & (p > 0) & (p < 1)
    spread = np.where(told, n * p * (1 - p), 1.0)
    beyond = ((x - n * p) ** 2 / spread)[told].sum() - (told.sum() - told.any(axis=0).sum())
    pairs = (n - 1)[told].sum()
    rho = beyond / pairs if pairs > 0 else 1.0
    return float(np.clip(1 / rho - 1, least, most)) if rho > 0 else most


def _cells(counts: npt.ArrayLike) -> Floats:
    found = np.asarray(counts, dtype=np.float64)
    return found.reshape(-1, found.shape[-1])
