"""What divergences are when nothing has changed: the law of chance, were the samples independent.

For n and m independent samples of one distribution over B groups, PSI is distributed as (1/n + 1/m) χ²(B - 1); to
second order KL is half of that and JS an eighth (Yurdakul & Naranjo 2020, "Statistical properties of the population
stability index"; KL and JS by the same expansion of an f-divergence, f''(1) being 2, 1 and 1/4). Frames of one camera
resemble their neighbours, so for live streams this is the least that chance does and not the most.
"""

from __future__ import annotations

from functools import cache

from scipy.special import chdtri


def _spread(groups: int, n: float, m: float) -> float:
    if groups < 1 or not n > 0 or not m > 0:
        raise ValueError(f"{groups} groups, {n} and {m} samples: each is at least one")
    return 1 / n + 1 / m


@cache
def _chi2(freedom: int, level: float) -> float:
    return float(chdtri(freedom, 1 - level))


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
