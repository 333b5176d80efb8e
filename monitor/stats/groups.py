"""Few groups of equal mass out of many fine bins: what divergences are computed on.

Groups are described by their cuts: `cuts[g]` is the last fine bin of group g, ascending, and the last cut is the last
bin. They are frozen with a baseline, never taken from a window.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def equal_mass_cuts(counts: npt.ArrayLike, groups: int = 10) -> Ints:
    """Cuts of about `groups` groups that hold equal shares of a fine histogram [bins].

    A bin is never split, so heavy ties give fewer groups. Where the lowest or highest value is such a tie (at least
    two shares in one bin), the empty bins beyond it become a group of their own: a signal that had one value in the
    whole baseline still shows that it moved. The outermost fine bins, under- and overflow, are never such a group by
    themselves.

    Returns:
        cuts, ascending, at most groups + 1 of them; a histogram without counts gives one group.

    Raises:
        ValueError: counts are not [bins] of zero or more, or fewer than two groups are asked for.
    """
    c = np.asarray(counts, dtype=np.int64)
    if c.ndim != 1 or c.size == 0 or (c < 0).any():
        raise ValueError("a histogram is one count of zero or more for each bin")
    if groups < 2:
        raise ValueError(f"at least two groups are needed to compare anything, not {groups}")
    last = c.size - 1
    total = int(c.sum())
    if total == 0:
        return np.array([last], dtype=np.int64)
    filled = np.flatnonzero(c)
    low, high = int(filled[0]), int(filled[-1])
    # Integers throughout (mass × groups against k × total): no rounding decides where a cut falls.
    mass = np.cumsum(c[filled]) * groups
    wanted = np.arange(1, groups, dtype=np.int64) * total
    nearest = np.abs(mass[None, :] - wanted[:, None]).argmin(axis=1)
    cuts = set(filled[nearest].tolist()) - {high}
    tie = 2 * total
    if low > 1 and c[low] * groups >= tie:
        cuts.add(low - 1)
    if high < last - 1 and c[high] * groups >= tie:
        cuts.add(high)
    return np.array(sorted(cuts | {last}), dtype=np.int64)


def regroup(counts: npt.ArrayLike, cuts: npt.ArrayLike) -> Ints:
    """Sum a fine histogram [bins] into the groups of `cuts`; the total stays the same.

    Raises:
        ValueError: the cuts do not ascend or do not end at the last bin.
    """
    c, ends = np.asarray(counts, dtype=np.int64), np.asarray(cuts, dtype=np.int64)
    if ends.size == 0 or ends[-1] != c.size - 1 or ends[0] < 0 or (ends[1:] <= ends[:-1]).any():
        raise ValueError(f"cuts ascend to the last of the {c.size} bins; these do not")
    return np.add.reduceat(c, np.concatenate(([0], ends[:-1] + 1)))
