"""Numbers read off a fine histogram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def quantile(counts: npt.ArrayLike, edges: npt.ArrayLike, q: float) -> float | None:
    """The q-quantile of a histogram, straight within the bin it falls into; None of an empty one.

    `counts` [bins + 2] has underflow first and overflow last, `edges` [bins + 1] ascend. What lies below or above the
    edges is known only to lie there: the answer is then the outer edge itself.

    Raises:
        ValueError: q outside 0 to 1, or counts and edges that do not fit.
    """
    c, e = np.asarray(counts, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if not 0 <= q <= 1 or c.size != e.size + 1:
        raise ValueError(f"q is 0 to 1 and counts are one more than edges, not {q}, {c.size} counts, {e.size} edges")
    mass = np.cumsum(c)
    if not mass[-1] > 0:
        return None
    target = q * mass[-1]
    place = max(int(np.searchsorted(mass, target)), int(np.flatnonzero(c)[0]))
    if place == 0:
        return float(e[0])
    if place == c.size - 1:
        return float(e[-1])
    share = (target - mass[place - 1]) / c[place]
    return float(e[place - 1] + max(0.0, share) * (e[place] - e[place - 1]))


def weigh(counts: npt.ArrayLike, weight: int) -> npt.NDArray[np.int64]:
    """Scale each row of [n, bins] to sum to `weight`, in whole counts; an empty row stays empty.

    Largest remainder (Hamilton's apportionment), ties to the lower bin; in integers, so the same everywhere.

    Raises:
        ValueError: not two-dimensional, or a negative count.
    """
    c = np.asarray(counts, dtype=np.int64)
    if c.ndim != 2 or (c < 0).any():
        raise ValueError("histograms are rows [n, bins] of counts of zero or more")
    total = c.sum(axis=1, keepdims=True)
    whole, rest = np.divmod(c * weight, np.maximum(total, 1))
    missing = np.where(total > 0, weight - whole.sum(axis=1, keepdims=True), 0)
    # The larger the remainder the smaller the key, all of a row's keys differ, and a row's `missing` smallest gain.
    key = (total - rest) * c.shape[1] + np.arange(c.shape[1])
    last = np.take_along_axis(np.sort(key, axis=1), np.maximum(missing - 1, 0), axis=1)
    gains: npt.NDArray[np.bool_] = (key <= last) & (missing > 0)
    return np.asarray(whole + gains, dtype=np.int64)
