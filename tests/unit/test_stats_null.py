"""The law of chance, against scipy's chi-squared and against chance itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from monitor.measures import MEASURES
from monitor.stats import null
from monitor.stats.divergence import smooth


def test_worked_numbers() -> None:
    # 9 · (1/100 + 1/900) = 0.1
    assert null.expected(10, 100, 900) == pytest.approx(0.1)
    assert null.expected(10, 100, 900, 0.125) == pytest.approx(0.0125)
    assert null.expected(10, 90, math.inf) == pytest.approx(0.1)
    # The 99.9 % point of chi-squared with 9 degrees of freedom is 27.877 in every printed table.
    assert null.quantile(10, 100, 900) == pytest.approx(27.877 / 90, abs=1e-5)


@pytest.mark.parametrize("groups", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("level", [0.5, 0.99, 0.999])
def test_the_quantile_is_that_of_chi_squared(groups: int, level: float) -> None:
    wanted = 0.5 * (1 / 60 + 1 / 1000) * chi2.ppf(level, groups - 1)
    assert null.quantile(groups, 60, 1000, 0.5, level) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("measure", [m for m in MEASURES.values() if m.needs_baseline], ids=lambda m: m.name)
def test_chance_obeys_the_law(measure) -> None:
    draw = np.random.default_rng(20260301)
    n, m, groups, times = 400, 4000, 10, 4000
    shares = np.full(groups, 1 / groups)
    windows, baselines = draw.multinomial(n, shares, times), draw.multinomial(m, shares, times)
    values = np.array([measure.function(smooth(w), smooth(b)) for w, b in zip(windows, baselines, strict=True)])
    assert values.mean() == pytest.approx(null.expected(groups, n, m, measure.null_scale), rel=0.03)
    for level, slack in ((0.5, 0.03), (0.95, 0.01), (0.999, 0.002)):
        below = (values <= null.quantile(groups, n, m, measure.null_scale, level)).mean()
        assert below == pytest.approx(level, abs=slack)


def test_enough_is_where_the_quantile_meets_the_limit() -> None:
    n = null.enough(10, 2000, 0.2)
    assert null.quantile(10, n, 2000) == pytest.approx(0.2)
    assert null.enough(10, 100, 0.2) == math.inf  # 27.877 / 100 alone is more
    assert null.enough(1, 100, 0.2) == 1


def test_one_group_never_differs_from_itself() -> None:
    assert null.quantile(1, 10, 10) == null.expected(1, 10, 10) == 0


@pytest.mark.parametrize(("groups", "n", "m"), [(0, 1, 1), (2, 0, 1), (2, 1, 0), (2, -1, 1), (2, math.nan, 1)])
def test_no_samples_no_law(groups: int, n: float, m: float) -> None:
    for law in (null.expected, null.quantile):
        with pytest.raises(ValueError, match="at least one"):
            law(groups, n, m)


def test_a_level_is_a_probability() -> None:
    with pytest.raises(ValueError, match="level"):
        null.quantile(10, 10, 10, level=1)
