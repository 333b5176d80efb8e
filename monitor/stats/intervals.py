"""How sure a share is when its cases come in images, and what a demand on it may conclude.

Detections of one image resemble each other, so n of them are worth fewer: n over the design effect (Kish 1965,
"Survey sampling"). The interval is Wilson's (1927, "Probable inference, the law of succession, and statistical
inference") at that number. A demand passes, fails, or cannot be told yet ("insufficient"): 95 % precision takes 59
independent detections without an error before it can pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

PASS, FAIL, INSUFFICIENT = "pass", "fail", "insufficient"


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper bound of a share, each one-sided at this confidence; 0 and 1 where there is no case.

    `successes` and `n` may be effective, and so need not be whole.

    Raises:
        ValueError: successes outside 0 to n, or a confidence outside 0.5 to 1.
    """
    if not 0 <= successes <= n or not 0.5 < confidence < 1:
        raise ValueError(f"{successes} of {n} at confidence {confidence}: 0 to n, and a confidence of 0.5 to 1")
    if n == 0:
        return 0.0, 1.0
    z2 = float(scipy.special.ndtri(confidence)) ** 2
    p = successes / n
    centre, half = p + z2 / (2 * n), math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (0.0 if successes == 0 else max(0.0, low)), (1.0 if successes == n else min(1.0, high))


def poisson(events: int, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper bound of the expectation of a count, each one-sided at this confidence.

    Exact where events come independently (Garwood 1936, "Fiducial limits for the Poisson distribution"); those that
    come in clusters have wider ones.
    """
    low = float(scipy.special.gammaincinv(events, 1 - confidence)) if events else 0.0
    return low, float(scipy.special.gammaincinv(events + 1, confidence))


def average(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of values and its bounds by Student's t, each one-sided; of fewer than two the bounds are infinite.

    Raises:
        ValueError: no value.
    """
    x = np.asarray(values, dtype=np.float64)
    if not x.size:
        raise ValueError("the mean of no values is asked for; ask from one value on")
    mean = float(x.mean())
    if x.size < 2:
        return mean, -math.inf, math.inf
    reach = float(scipy.special.stdtrit(x.size - 1, confidence)) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return mean, mean - reach, mean + reach


def ordinary_reach(values: Sequence[float], confidence: float = 0.95) -> float:
    """How far one more value like these lies from their mean at most, one-sided at this confidence.

    The prediction interval of a normal sample, t sd sqrt(1 + 1/m) (Hahn and Meeker 1991, "Statistical intervals"): it
    holds what sampling explains and what one day differs from the next.

    Raises:
        ValueError: fewer than two values.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        raise ValueError(f"{x.size} values say nothing of their spread; give two or more")
    t = float(scipy.special.stdtrit(x.size - 1, confidence))
    return t * float(x.std(ddof=1)) * math.sqrt(1 + 1 / x.size)


USUAL_LIKENESS, USUAL_WEIGHT = 0.3, 30
"""How alike the detections of an image are before any is seen, and how many cases that weighs as much as."""


def likeness(cluster: npt.ArrayLike, success: npt.ArrayLike) -> float:
    """How alike cases [n] of one cluster are, 0 to 1: the intraclass correlation, drawn to 0.3 as if by 30 cases.

    `success` is whether each is one, or how far it lies from what was expected of it. The analysis-of-variance
    estimate (for shares: Fleiss 1981, "Statistical methods for rates and proportions"). By
    itself it is mostly noise on few cases and then often 0, which would make an interval far too short: drawn, bounds
    at 14 detections cover nine times in ten or more where they would cover seven or eight.
    """
    x = np.asarray(success, dtype=np.float64)
    return (USUAL_WEIGHT * USUAL_LIKENESS + x.size * _correlation(np.asarray(cluster), x)) / (USUAL_WEIGHT + x.size)


def _correlation(cluster: npt.NDArray[np.int64], x: Floats) -> float:
    _, place, size = np.unique(cluster, return_inverse=True, return_counts=True)
    groups, n = size.size, x.size
    if groups < 2 or n <= groups:
        return 0.0
    within = np.bincount(place, x)
    between = float(np.sum(within**2 / size) - x.sum() ** 2 / n) / (groups - 1)
    inside = float(x @ x - np.sum(within**2 / size)) / (n - groups)
    typical = (n - float(np.sum(size**2)) / n) / (groups - 1)
    total = between + (typical - 1) * inside
    return min(1.0, max(0.0, (between - inside) / total)) if total > 0 else 0.0


def design_effect(cluster: npt.ArrayLike, alike: float) -> float:
    """By how much cases [n] in these clusters are worth less than n: 1 + (Σ m² / n - 1) · likeness, m cases each."""
    _, size = np.unique(np.asarray(cluster), return_counts=True)
    if not size.size:
        return 1.0
    return 1 + (float(np.sum(size**2)) / float(size.sum()) - 1) * alike


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its one-sided bounds: `n` cases, `effective` of them independent, in `clusters` images."""

    value: float | None
    low: float
    high: float
    n: int
    effective: float
    clusters: int


def share(cluster: npt.ArrayLike, success: npt.ArrayLike, alike: float, confidence: float = 0.95) -> Estimate:
    """The share of successes among cases [n] that come in clusters [n], with bounds at the effective number."""
    x = np.asarray(success, dtype=bool)
    n = int(x.size)
    if not n:
        return Estimate(None, 0.0, 1.0, 0, 0.0, 0)
    effective = n / design_effect(cluster, alike)
    p = float(x.mean())
    low, high = wilson(p * effective, effective, confidence)
    return Estimate(p, low, high, n, effective, int(np.unique(np.asarray(cluster)).size))


def fewest(bound: float, at_least: bool, confidence: float = 0.95) -> float:
    """The independent cases under which not even a flawless share is certain to meet a bound.

    Without a single failure in n, a true share of `bound` still has probability bound ** n: 59 cases for 0.95 at 95
    %.
    """
    likely = bound if at_least else 1 - bound
    if likely <= 0:
        return 1.0
    return math.inf if likely >= 1 else math.log(1 - confidence) / math.log(likely)


def settles(value: float, bound: float, at_least: bool, confidence: float = 0.95) -> float:
    """The independent cases from which this share, if it stays as it is, meets the bound; infinite on the bound."""
    gap = value - bound if at_least else bound - value
    if gap <= 0:
        return math.inf
    # Wilson's bound is where (value - bound)² = z² bound (1 - bound) / n.
    z2 = float(scipy.special.ndtri(confidence)) ** 2
    return max(z2 * bound * (1 - bound) / gap**2, fewest(bound, at_least, confidence))


def verdict(value: float | None, low: float, high: float, bound: float, at_least: bool) -> str:
    """What an estimate says of a bound: pass, fail or insufficient.

    Pass: the near end of the interval meets it. Fail: the estimate itself misses it. Insufficient: the estimate meets
    it and the interval does not, or there is no estimate.
    """
    if value is None or math.isnan(value):
        return INSUFFICIENT
    if (value < bound) if at_least else (value > bound):
        return FAIL
    return PASS if ((low >= bound) if at_least else (high <= bound)) else INSUFFICIENT


def judge_share(of: Estimate, bound: float, at_least: bool, confidence: float = 0.95) -> tuple[str, int | None]:
    """The verdict on a share, and the number of cases like these that would settle it (None: it is, or never is)."""
    said = verdict(of.value, of.low, of.high, bound, at_least)
    if said == PASS and of.effective < fewest(bound, at_least, confidence) - 1e-9:
        said = INSUFFICIENT
    if said != INSUFFICIENT:
        return said, None
    worth = of.n / of.effective if of.n else 1.0
    best = 1.0 if at_least else 0.0
    wanted = worth * settles(best if of.value is None else of.value, bound, at_least, confidence)
    return said, math.ceil(wanted - 1e-9) if math.isfinite(wanted) else None


def holm(p: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """p-values adjusted so that the chance of any false claim among them stays at the level that each is held to.

    Holm 1979, "A simple sequentially rejective multiple test procedure"; with `weights` (above 0) a claim of twice
    the weight gets twice the share of that level.
    """
    values = np.asarray(p, dtype=np.float64)
    w = np.ones(values.size) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(values / w, kind="stable")
    left = np.cumsum(w[order][::-1])[::-1]
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * left / w[order]))
    return [float(value) for value in adjusted]


@dataclass(frozen=True, slots=True)
class Difference:
    """A number of one version less that of another on the same images: its one-sided bounds, and two p-values.

    `p_drop` is that of the claim "it fell by more than the margin", `p_held` of "it did not fall by the margin".
    """

    value: float
    low: float
    high: float
    spread: float
    p_drop: float
    p_held: float


def difference(value: float, drawn: npt.ArrayLike, margin: float, confidence: float = 0.95) -> Difference:
    """Judge a difference by those of paired resamples [times]; resamples without a value are left out.

    Bounds are percentiles; the p-values take the resamples' spread as normal, so that they reach below one in so many
    resamples. No spread, no claim: both are 1.
    """
    x = np.asarray(drawn, dtype=np.float64)
    x = x[np.isfinite(x)]
    spread = float(x.std(ddof=1)) if x.size > 1 else 0.0
    if spread <= 1e-12:
        return Difference(value, value, value, 0.0, float(value >= -margin), float(value < -margin))
    low, high = (float(end) for end in np.quantile(x, (1 - confidence, confidence)))
    z = (value + margin) / spread
    return Difference(value, low, high, spread, float(scipy.special.ndtr(z)), float(scipy.special.ndtr(-z)))
