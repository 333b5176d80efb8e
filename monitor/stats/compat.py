"""Other tools' numbers: divergences of raw windows, bins and zero rules as evidently 0.7 and nannyml 0.13 have them.

For people who must set a number of ours beside one of theirs; nothing in the product decides by these. Both tools
draw bins from the samples, so their values depend on what they are compared with and do not add up over windows,
which is why the product's own measures stand on fixed edges. Formulas are read off evidently 0.7.23
(`legacy/calculations/stattests`, after the cleaning of `calculations/data_drift`) and nannyml 0.13.1
(`drift/univariate/methods`, default computation). Each function takes the values of the window and of the baseline,
in this order and of any length: a column of numbers (NaN is missing) or of texts (None or NaN is missing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Column = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]

FEW_VALUES = 20
"""evidently: up to as many different values in the baseline, numbers are compared value by value."""
ZERO_SHARE = 0.0001
"""evidently: what an empty bin counts as, unless a bin is nearly that small itself."""
SMALLEST_SCALE = 0.001
"""evidently: the least standard deviation that a distance is divided by."""
LARGE = 10_000
"""nannyml: rows of baseline from which two measures are estimated on as many bins instead of computed."""


def _column(values: npt.ArrayLike) -> Column:
    """The values that are there, as numbers or as texts.

    Raises:
        ValueError: not one-dimensional.
    """
    column = np.asarray(values)
    if column.ndim != 1:
        raise ValueError(f"a column of values is compared, not an array of shape {column.shape}")
    if column.dtype.kind == "O":
        column = column[[value is not None and value == value for value in column]]
        texts = any(isinstance(value, str) for value in column)
        column = column.astype(np.str_ if texts else np.float64)
    return column[~np.isnan(column)] if column.dtype.kind == "f" else column


def _pair(window: npt.ArrayLike, baseline: npt.ArrayLike, *, numbers: bool = False) -> tuple[Column, Column]:
    now, before = _column(window), _column(baseline)
    if now.size == 0 or before.size == 0:
        raise ValueError("nothing to compare: window and baseline need at least one value each")
    kinds = {column.dtype.kind in "US" for column in (now, before)}
    if len(kinds) > 1:
        raise ValueError("one side holds numbers and the other texts; give both as the same")
    if numbers and kinds == {True}:
        raise ValueError("this measure is for numbers alone, and these are texts")
    return now, before


def _samples() -> Any:
    """scipy.stats, loaded when it is asked for: every other command would pay half a second for it at its start."""
    return import_module("scipy.stats")


def _jensen_shannon(p: Floats, q: Floats, base: float = np.e) -> float:
    """The root of the Jensen-Shannon divergence of two vectors scaled to 1, as both tools take it from scipy."""
    p, q = p / np.sum(p), q / np.sum(q)
    middle = (p + q) / 2
    total = np.sum(scipy.special.rel_entr(p, middle)) + np.sum(scipy.special.rel_entr(q, middle))
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(total / np.log(base) / 2))


# evidently


def _finite(window: npt.ArrayLike, baseline: npt.ArrayLike, *, numbers: bool = False) -> tuple[Column, Column]:
    """Both columns as evidently sees them: infinite values are missing ones."""
    pair = [c[np.isfinite(c)] if c.dtype.kind == "f" else c for c in _pair(window, baseline, numbers=numbers)]
    return _pair(*pair, numbers=numbers)


def _shares(now: Column, before: Column) -> tuple[Floats, Floats]:
    """Shares of both columns by Sturges' bins of the two together, or by value where the baseline has few."""
    if now.dtype.kind not in "US" and np.unique(before).size > FEW_VALUES:
        bins = np.histogram_bin_edges(np.concatenate((before, now)), bins="sturges")
        p, q = (np.histogram(column, bins)[0] / column.size for column in (now, before))
        return p, q
    values = np.unique(np.concatenate((before, now)))
    p, q = (_counted(column, values) / column.size for column in (now, before))
    return p, q


def _counted(column: Column, values: Column) -> Floats:
    """How often each of `values` [n], ascending, stands in the column."""
    place = np.minimum(np.searchsorted(values, column), values.size - 1)
    return np.bincount(place[values[place] == column], minlength=values.size).astype(np.float64)


def _filled(shares: Floats) -> Floats:
    """Empty bins get a ten-thousandth, or a millionth of the smallest bin where that is no larger; no new scaling."""
    smallest = float(shares[shares > 0].min())
    return np.where(shares == 0, smallest / 10**6 if smallest <= ZERO_SHARE else ZERO_SHARE, shares)


def evidently_psi(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """evidently's `psi`: Σ (q - p) ln(q / p) over its bins, empty ones filled and the rest left alone.

    Raises:
        ValueError: no value on one side, or numbers against texts.
    """
    p, q = (_filled(shares) for shares in _shares(*_finite(window, baseline)))
    return float(np.sum((q - p) * np.log(q / p)))


def evidently_kl(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """evidently's `kl_div`: KL(baseline ‖ window) in nats, of its filled shares scaled to 1 again.

    The other way round than the product's `kl`, which is KL(window ‖ baseline).

    Raises:
        ValueError: as `evidently_psi`.
    """
    p, q = (_filled(shares) for shares in _shares(*_finite(window, baseline)))
    return float(np.sum(scipy.special.rel_entr(q / q.sum(), p / p.sum())))


def evidently_jensen_shannon(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """evidently's `jensenshannon`: the distance (root of the divergence in nats) on its bins, empty ones left so.

    Raises:
        ValueError: as `evidently_psi`.
    """
    p, q = _shares(*_finite(window, baseline))
    return _jensen_shannon(q, p)


def evidently_wasserstein(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """evidently's `wasserstein`: the first Wasserstein distance over the baseline's standard deviation (n), at least
    0.001.

    Raises:
        ValueError: as `evidently_psi`, or texts.
    """
    now, before = _finite(window, baseline, numbers=True)
    return float(_samples().wasserstein_distance(before, now)) / max(
        float(before.astype(np.float64).std()), SMALLEST_SCALE
    )


def evidently_ks(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """evidently's `ks`: the two-sided p-value of the two-sample Kolmogorov-Smirnov test; small means far apart.

    Raises:
        ValueError: as `evidently_wasserstein`.
    """
    now, before = _finite(window, baseline, numbers=True)
    return float(_samples().ks_2samp(before, now).pvalue)


# nannyml


def nannyml_jensen_shannon(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """nannyml's `jensen_shannon`: the distance with logarithms to base 2, 0 to 1.

    Numbers are binned by Doane's rule on the baseline alone, texts by the baseline's values; what of the window lies
    outside all of them is one more bin, in which the baseline has nothing.

    Raises:
        ValueError: no value on one side, or numbers against texts.
    """
    now, before = _pair(window, baseline)
    if now.dtype.kind in "US":
        values = np.unique(before)
        p, q = (_counted(column, values) / column.size for column in (now, before))
    else:
        bins = np.histogram_bin_edges(before.astype(np.float64), bins="doane")
        p, q = (np.histogram(column, bins)[0] / column.size for column in (now, before))
    # Rounding may leave a rest of 1e-16 here, and so does theirs: its root is what two equal columns then differ by.
    rest = 1 - np.sum(p)
    if rest > 0:
        p, q = np.append(p, rest), np.append(q, 0)
    return _jensen_shannon(q, p, 2)


def nannyml_kolmogorov_smirnov(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """nannyml's `kolmogorov_smirnov`: the largest gap between the two distribution functions, 0 to 1.

    From 10,000 rows of baseline on it is looked for at the ends of 10,000 equal bins over the baseline's range.

    Raises:
        ValueError: no value on one side, or texts.
    """
    now, before = _pair(window, baseline, numbers=True)
    if before.size < LARGE:
        return float(_samples().ks_2samp(before, now).statistic)
    known, bins = np.histogram(before, np.linspace(before.min(), before.max(), LARGE + 1))
    found = np.histogram(now, bins)[0] / now.size
    below = np.count_nonzero(now < bins[0]) / now.size
    return float(np.max(np.abs(np.cumsum(known / before.size) - (below + np.cumsum(found)))))


def nannyml_wasserstein(window: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """nannyml's `wasserstein`: the first Wasserstein distance in the column's unit.

    From 10,000 rows of baseline on it is summed over 10,000 equal bins of the baseline's range, and over what of the
    window lies outside them; a window with k values below the range counts k + 1 of them, as theirs does.

    Raises:
        ValueError: no value on one side, or texts.
    """
    now, before = _pair(window, baseline, numbers=True)
    if before.size < LARGE:
        return float(_samples().wasserstein_distance(before, now))
    known, bins = np.histogram(before, bins=LARGE)
    below, beyond = now[now < bins[0]], now[now > bins[-1]]
    outside = share_below = 0.0
    if below.size:
        share_below = (below.size + 1) / now.size
        x, y = _steps(np.append(below, bins[0]))
        outside += float(np.sum(y[:-1] * np.diff(x))) * share_below
    if beyond.size:
        x, y = _steps(np.append(beyond, bins[-1]))
        outside += float(np.sum((1 - y)[:-1] * np.diff(x))) * (beyond.size + 1) / now.size
    found = np.cumsum(np.histogram(now, bins)[0] / now.size) + share_below
    inside = np.sum(np.abs(np.cumsum(known / before.size) - found) * (bins[1] - bins[0]))
    return float(inside) + outside


def _steps(column: Column) -> tuple[Floats, Floats]:
    """The different values and the distribution function at them."""
    values, counts = np.unique(column, return_counts=True)
    return values.astype(np.float64), np.cumsum(counts) / column.size


@dataclass(frozen=True, slots=True)
class PeerMeasure:
    """One measure of another tool: `theirs` is its name there, `texts` says whether it takes texts too."""

    name: str
    peer: str
    theirs: str
    unit: str
    texts: bool
    function: Callable[[npt.ArrayLike, npt.ArrayLike], float]


PEER_MEASURES: dict[str, PeerMeasure] = {
    measure.name: measure
    for measure in (
        PeerMeasure("evidently-psi", "evidently", "psi", "nats", True, evidently_psi),
        PeerMeasure("evidently-kl", "evidently", "kl_div", "nats", True, evidently_kl),
        PeerMeasure("evidently-js", "evidently", "jensenshannon", "root of nats", True, evidently_jensen_shannon),
        PeerMeasure("evidently-wasserstein", "evidently", "wasserstein", "sd", False, evidently_wasserstein),
        PeerMeasure("evidently-ks", "evidently", "ks", "p-value", False, evidently_ks),
        PeerMeasure("nannyml-js", "nannyml", "jensen_shannon", "root of bits", True, nannyml_jensen_shannon),
        PeerMeasure("nannyml-ks", "nannyml", "kolmogorov_smirnov", "0-1", False, nannyml_kolmogorov_smirnov),
        PeerMeasure("nannyml-wasserstein", "nannyml", "wasserstein", "value", False, nannyml_wasserstein),
    )
}
"""Every measure of another tool by name."""
