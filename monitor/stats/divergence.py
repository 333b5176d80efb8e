"""How far apart two distributions are: PSI, KL and JS of two probability vectors.

Smoothing is a step of its own, so that on the same probabilities the numbers are those of any other tool.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]


def smooth(counts: npt.ArrayLike) -> Floats:
    """Counts [groups] as probabilities that are never zero: (c + 0.5) / (N + 0.5 B).

    Half a count for each of the B groups (Jeffreys' prior), so that an empty group gives a large divergence and not
    an infinite one.

    Raises:
        ValueError: not one-dimensional, empty, negative or not finite.
    """
    c = np.asarray(counts, dtype=np.float64)
    total = c.sum()
    if c.ndim != 1 or c.size == 0 or not (c.min() >= 0 and total < np.inf):
        raise ValueError("counts are one finite number of zero or more for each group")
    smoothed: Floats = (c + 0.5) / (total + 0.5 * c.size)
    return smoothed


def _checked(window: npt.ArrayLike, baseline: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, q = np.asarray(window, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if p.ndim != 1 or p.shape != q.shape or p.size == 0:
        raise ValueError(f"two probability vectors of one length are compared, not shapes {p.shape} and {q.shape}")
    for vector in (p, q):
        if not (vector.min() >= 0 and abs(vector.sum() - 1) <= 1e-9):
            raise ValueError("a probability vector has no negative entry and sums to 1")
    return p, q


def psi(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """Population stability index, Σ (p - q) ln(p / q): Jeffreys' symmetric divergence, in nats.

    Both are probability vectors [groups]; infinite where only one of them has a zero.

    Raises:
        ValueError: not two probability vectors of one length.
    """
    p, q = _checked(window, baseline)
    return float(np.sum(scipy.special.rel_entr(p, q) + scipy.special.rel_entr(q, p)))


def kl(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """Kullback–Leibler divergence KL(window ‖ baseline) = Σ p ln(p / q), in nats.

    Both are probability vectors [groups]; infinite where the window has mass and the baseline none.

    Raises:
        ValueError: not two probability vectors of one length.
    """
    p, q = _checked(window, baseline)
    return float(np.sum(scipy.special.rel_entr(p, q)))


def js(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """Jensen–Shannon divergence, ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2, in nats: 0 to ln 2.

    The divergence (Lin 1991), not its square root, which is the distance.

    Raises:
        ValueError: not two probability vectors of one length.
    """
    p, q = _checked(window, baseline)
    middle = (p + q) / 2
    return float(np.sum(scipy.special.rel_entr(p, middle) + scipy.special.rel_entr(q, middle)) / 2)
