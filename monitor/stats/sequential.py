"""Slow changes add up: a two-sided CUSUM with a dead band, the limit that a budget of false alarms buys, the onset.

Page 1954, "Continuous inspection schemes". The dead band is k = 1 and not the textbook's 0.5, because the mean that
the scores are centred at is itself estimated from a few correlated days: what is left of its error must not add up.
A stream that moves by s sd a day is found after about k/s + √(2 h/s) days, a step of δ sd after 1 + h / (δ - k).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DEAD_BAND = 1.0
CLIP = 4.0
"""No single day counts for more than this many sd."""
SMALLEST_BASELINE = 14
"""Days of baseline under which a stream is only learnt, and never alarms."""
LAGS = 2

LIMITS = (4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0)
DAYS = (7, 14, 21, 28, 42, 56)
FALSE_ALARMS = (
    (0.0433, 0.0332, 0.0260, 0.0223, 0.0179, 0.0131, 0.0108, 0.0065),
    (0.0252, 0.0179, 0.0130, 0.0097, 0.0073, 0.0047, 0.0027, 0.0013),
    (0.0197, 0.0117, 0.0076, 0.0054, 0.0038, 0.0017, 0.0008, 0.0004),
    (0.0154, 0.0089, 0.0055, 0.0032, 0.0021, 0.0009, 0.0006, 0.0001),
    (0.0112, 0.0060, 0.0034, 0.0018, 0.0009, 0.0005, 0.0001),
    (0.0098, 0.0042, 0.0024, 0.0011, 0.0007, 0.0002),
)
"""False alarms of one stream in 30 days, two-sided, k = 1: a row for each of `DAYS` of baseline, a column for each of
`LIMITS`; by simulation of independent normal days whose mean and sd were estimated from the baseline. Counted is a
stream's first alarm: one that repeats itself because its baseline was unlucky meets its own open incident. What is
missing at the end of a row was too rare to count."""


def long_run_variance(values: npt.ArrayLike, baseline: int) -> float:
    """How much more the sum of many days spreads than that of independent ones, pooled over streams; 1 to 9.

    V = 1 + 2 (ρ₁ + ρ₂), the autocorrelations of the first `baseline` days of [..., days] at one and two days. Each
    stream is centred and scaled by itself; a pair counts where both days are known. A stream centred at its own mean
    of m days has every ρ too small by about V / m, whence V = (1 + 2 Σ ρ) / (1 - 4 / m). Two lags and not one: a slow
    cause under each day's own noise shows a small ρ₁ that hardly falls. Not more: each adds the same error of
    estimation, and what they miss the dead band takes. One stream alone knows its ρ badly, so pool cameras where
    there are any. 9 is what a first-order autoregression with φ = 0.8 has.
    """
    x = np.asarray(values, dtype=np.float64)[..., :baseline].reshape(-1, baseline)
    x = x[np.isfinite(x).sum(axis=1) > 2 * LAGS]
    if x.shape[0] == 0:
        return 1.0
    x = x - np.nanmean(x, axis=1, keepdims=True)
    x = x / np.maximum(np.nanstd(x, axis=1, keepdims=True), 1e-12)
    m = float(np.isfinite(x).sum(axis=1).mean())
    products = [x[:, lag:] * x[:, :-lag] for lag in range(1, LAGS + 1)]
    rho = sum(float(np.nanmean(p)) for p in products if np.isfinite(p).any())
    return float(np.clip((1 + 2 * rho) / (1 - 2 * LAGS / m), 1.0, 9.0))


def long_run(z: npt.ArrayLike, variance: float, m: npt.ArrayLike) -> Floats:
    """Scores [..., days] of correlated days on the scale where their sums spread as those of independent days.

    They are divided by √V. The mean of m correlated days is uncertain by V / m in place of 1 / m, and their standard
    deviation comes out too small by 1 - (V - 1) / (m - 1), which the scores have not allowed for either. `m` [...].
    """
    x, days = np.asarray(z, dtype=np.float64), np.maximum(np.asarray(m, dtype=np.float64), 2.0)
    small = np.maximum(1 - (variance - 1) / (days - 1), 0.1)
    return np.asarray(x * np.sqrt((1 + 1 / days) * small / (1 + variance / days) / variance)[..., None])


@dataclass(frozen=True, slots=True)
class Sums:
    """Where a stream stands after a day, each [...]: both sums, and the change that their runs have seen.

    A run is the known days since its sum was last 0: `moved` is the sum of their effects, `days` their number, of the
    upward and the downward run, [..., 2].
    """

    up: Floats
    down: Floats
    moved: Floats
    days: Floats


def fresh(shape: tuple[int, ...]) -> Sums:
    """Streams of this shape before their first day."""
    return Sums(np.zeros(shape), np.zeros(shape), np.zeros((*shape, 2)), np.zeros((*shape, 2)))


@dataclass(frozen=True, slots=True)
class Path:
    """Both sums by the day, [..., days] before the reset that follows an alarm; `alarm` is +1, -1 or 0 a day.

    `over` marks the days on which a sum lay above its limit, whether or not the floor let it alarm. `mean` is
    the mean effect of the upward and the downward run up to the day, which the floor is held against, and `run` the
    days that they have, [..., days, 2]. `last` is where the next day goes on from.
    """

    up: Floats
    down: Floats
    alarm: npt.NDArray[np.int8]
    over: Bools
    mean: Floats
    run: Floats
    last: Sums


def cusum(
    z: npt.ArrayLike,
    limit: npt.ArrayLike,
    *,
    effect: npt.ArrayLike | None = None,
    floor: float = 0.0,
    one_sided: bool = False,
    start: Sums | None = None,
    k: float = DEAD_BAND,
) -> Path:
    """C⁺ = max(0, C⁺ + clip(z, ±4) - k), C⁻ likewise of -z, along the last axis of z [..., days].

    Above `limit` [...] a sum alarms and starts again at 0. A day without a score (NaN) holds both sums. With `effect`
    [..., days], the change in units that people know, the mean of it over the run must be at least `floor` in the
    direction of the sum: the evidence says that something changed, the floor that it matters. A sum above the limit
    that the floor holds back waits there (never above twice its limit, so it can come down again). A path continued
    from the `last` of another is the path computed at once.
    """
    x = np.clip(np.asarray(z, dtype=np.float64), -CLIP, CLIP)
    h = np.broadcast_to(np.asarray(limit, dtype=np.float64), x.shape[:-1])
    e = np.zeros(x.shape) if effect is None else np.nan_to_num(np.broadcast_to(effect, x.shape))
    now = fresh(x.shape[:-1]) if start is None else start
    ups, downs = np.empty_like(x), np.empty_like(x)
    alarm, over = np.zeros(x.shape, dtype=np.int8), np.zeros(x.shape, dtype=bool)
    mean, run = np.empty((*x.shape, 2)), np.empty((*x.shape, 2))
    signs = np.array([1.0, 0.0 if one_sided else -1.0])
    for t in range(x.shape[-1]):
        known = np.isfinite(x[..., t])[..., None]
        before = np.stack((now.up, now.down), axis=-1)
        grown = np.clip(before + signs * np.nan_to_num(x[..., t])[..., None] - k, 0.0, 2 * h[..., None])
        both = np.where(known, grown, before)
        goes_on = (before > 0) | ~known
        moved = np.where(goes_on, now.moved, 0.0) + known * e[..., t, None]
        days = np.where(goes_on, now.days, 0.0) + known
        above = known & (both > h[..., None])
        enough = True if effect is None else signs * moved >= floor * np.maximum(days, 1.0)
        told = above & enough
        mean[..., t, :], run[..., t, :] = moved / np.maximum(days, 1.0), days
        ups[..., t], downs[..., t], over[..., t] = both[..., 0], both[..., 1], above.any(axis=-1)
        alarm[..., t] = np.where(told[..., 0], 1, np.where(told[..., 1], -1, 0))
        both = np.where(told, 0.0, both)
        now = Sums(both[..., 0], both[..., 1], moved, days)
    return Path(ups, downs, alarm, over, mean, run, now)


def _log_rates(days: float) -> Floats:
    """ln false alarms at each limit for a baseline of `days`: straight in ln m between rows, and beyond them."""
    rows = np.full((len(DAYS), len(LIMITS)), np.nan)
    for i, row in enumerate(FALSE_ALARMS):
        rows[i, : len(row)] = np.log(row)
        for j in range(len(row), len(LIMITS)):
            slope = (rows[i, j - 1] - rows[i, j - 2]) / (LIMITS[j - 1] - LIMITS[j - 2])
            rows[i, j] = rows[i, j - 1] + slope * (LIMITS[j] - LIMITS[j - 1])
    at = np.log(DAYS)
    i = int(np.clip(np.searchsorted(DAYS, days) - 1, 0, len(DAYS) - 2))
    share = (np.log(days) - at[i]) / (at[i + 1] - at[i])
    return np.asarray(rows[i] + share * (rows[i + 1] - rows[i]))


def false_alarms(days: float, limit: float) -> float:
    """False alarms of one two-sided stream in 30 days with `days` of baseline and this limit, k = 1.

    The table's logarithm is interpolated in ln m and in the limit, and continued straight beyond its ends.

    Raises:
        ValueError: no day, or a limit that is not above 0.
    """
    if not days > 0 or not limit > 0:
        raise ValueError(f"{days} days of baseline and limit {limit}: both are above 0")
    logs = _log_rates(float(days))
    j = int(np.clip(np.searchsorted(LIMITS, limit) - 1, 0, len(LIMITS) - 2))
    slope = (logs[j + 1] - logs[j]) / (LIMITS[j + 1] - LIMITS[j])
    return float(np.exp(logs[j] + slope * (limit - LIMITS[j])))


def limit_for(budget: float, baselines: Iterable[float], fixed: float = 0.0) -> float:
    """The smallest limit h at which streams with these days of baseline stay within a budget of false alarms.

    `budget` is false alarms in 30 days, over all streams together; `fixed` is what other lanes take of it. Expected
    numbers add up whether or not the streams are independent. Never under 4, where the table begins; at 20 the budget
    counts as impossible and 20 is the answer. No stream at all: 4.
    """
    streams = tuple(baselines)

    def excess(limit: float) -> float:
        return sum(false_alarms(m, limit) for m in streams) + fixed - budget

    if not streams or excess(LIMITS[0]) <= 0:
        return LIMITS[0]
    return float(scipy.optimize.brentq(excess, LIMITS[0], 20.0, xtol=1e-4)) if excess(20.0) < 0 else 20.0


@dataclass(frozen=True, slots=True)
class Onset:
    """Where a change most likely began: index of its first changed day, and whether a step or a ramp fits better.

    `size` is in sd, of the step, or of the ramp a day.
    """

    day: int
    shape: str
    size: float


def onset(z: npt.ArrayLike, alarm_day: int, sign: int, first: int = 0) -> Onset:
    """The maximum-likelihood start of the change that alarmed on `alarm_day`, from the scores z [days] up to it.

    With independent unit-normal scores a step of free size from day τ explains (Σ z)² / 2n of the log likelihood over
    its n days (Hinkley 1970, "Inference about the change-point in a sequence of random variables"); a ramp 1, 2, …
    from τ is the same least squares with another regressor r and explains (Σ z r)² / (2 Σ r²). The better of all τ
    from `first` and both shapes wins, in the direction `sign` alone. Unknown days count for nothing.
    """
    x = np.asarray(z, dtype=np.float64)[first : alarm_day + 1] * sign
    known = np.isfinite(x)
    best = Onset(alarm_day, "step", 0.0)
    most = -np.inf
    for tau in range(x.size):
        part, there = np.nan_to_num(x[tau:]), known[tau:].astype(np.float64)
        if not known[tau]:
            continue
        for shape, regressor in (("step", there), ("ramp", there * np.arange(1, part.size + 1))):
            size = float(part @ regressor / (regressor @ regressor))
            gain = size * float(part @ regressor) / 2
            if size > 0 and gain > most + 1e-12:
                best, most = Onset(first + tau, shape, sign * size), gain
    return best
