"""Overrides by band of confidence: worked odds, scipy's likelihoods, chance, and the bias that bands remove."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from monitor.stats import strata


def test_worked_odds() -> None:
    assert strata.at_odds(0.2, 2) == pytest.approx(1 / 3)
    assert strata.at_odds(0.5, 3) == pytest.approx(0.75)


def test_bands() -> None:
    assert strata.band_of([0.0, 0.29, 0.3, 0.6, 0.85, 1.0]).tolist() == [0, 0, 1, 2, 4, 4]


def test_a_camera_without_reviews_has_the_rate_of_the_fleet() -> None:
    p = strata.rates([[0], [300]], [[0], [3000]])
    assert p[0, 0] == pytest.approx(0.1, abs=1e-4)
    assert p[1, 0] == pytest.approx(0.1, abs=1e-4)
    assert strata.rates([[0, 0]], [[0, 0]])[0].tolist() == [0.5, 0.5]


counts = st.tuples(st.integers(0, 30), st.integers(0, 30))


@settings(derandomize=True, max_examples=60)
@given(st.lists(counts, min_size=5, max_size=5))
def test_an_increment_is_the_log_ratio_of_two_binomials(days: list[tuple[int, int]]) -> None:
    p = np.array([0.3, 0.2, 0.1, 0.05, 0.02])
    x, n = np.array([min(a, b) for a, b in days]), np.array([max(a, b) for a, b in days])
    found = strata.increments(x[None, None], n[None, None], p[None])[0, 0]
    high, low = (binom.logpmf(x, n, odds * p / (1 - p + odds * p)).sum() for odds in (1.8, 1.15))
    if n.sum() == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(high - low, abs=1e-8)


def test_a_path_by_hand_and_its_onset() -> None:
    ratios = np.array([[2.0, 0.25, 3.0, np.nan, 60.0, 0.5]])
    path = strata.shiryaev_roberts(np.log(ratios))
    # R: (1 + 0) 2 = 2; (1 + 2) / 4 = 0.75; 1.75 x 3 = 5.25; held; 6.25 x 60 = 375 > 148.4; from 0 again: 0.5.
    assert np.expm1(path.up[0]).tolist() == pytest.approx([2, 0.75, 5.25, 5.25, 375, 0.5])
    assert path.alarm[0].tolist() == [0, 0, 0, 0, 1, 0]
    # From the third day on the ratios multiply to 180; from the first to 90, from the fifth to 60.
    assert strata.onset(path.up[0], 4) == 2
    later = strata.shiryaev_roberts(np.log(ratios[:, 2:]), start=path.up[:, 1])
    assert later.up[0].tolist() == pytest.approx(path.up[0, 2:].tolist())


def test_no_change_alarms_no_more_often_than_the_limit_says() -> None:
    """At the tolerated odds the mean wait is at least exp(5) days; scipy draws the days."""
    p0, p1 = 1.15 * 0.2 / (0.8 + 1.15 * 0.2), 1.8 * 0.2 / (0.8 + 1.8 * 0.2)
    x = binom.rvs(10, p0, size=(40, 4_000), random_state=6)
    steps = binom.logpmf(x, 10, p1) - binom.logpmf(x, 10, p0)
    alarms = int(strata.shiryaev_roberts(steps).alarm.sum())
    assert 40 * 4_000 / 300 < alarms < 40 * 4_000 / 148.4


def plant(seed: int, odds: float, review: tuple[float, float] = (0.5, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """Reviews and overrides [50 cameras, 60 days, 2 bands] of a model that is right in 70 % and 95 %; from day 28 on
    the odds of an override are multiplied, and the shares of the bands that are reviewed are `review`."""
    rng = np.random.default_rng(seed)
    later = (np.arange(60) >= 28)[:, None]
    share = np.where(later, review, (0.1, 0.5))
    n = rng.binomial(20, np.broadcast_to(share, (50, 60, 2)))
    p = np.array([0.3, 0.05])
    return n, rng.binomial(n, np.where(later, strata.at_odds(p, odds), p))


def alarmed(n: np.ndarray, x: np.ndarray) -> float:
    p = strata.rates(x[:, :28].sum(axis=1), n[:, :28].sum(axis=1))
    spread = strata.dispersion(x[:, :28], n[:, :28], p)
    return float(strata.shiryaev_roberts(strata.increments(x, n, p, spread)[:, 28:]).alarm.any(axis=1).mean())


def test_more_errors_are_found_and_more_reviews_are_not() -> None:
    assert alarmed(*plant(1, odds=2.2)) > 0.95
    # Five times as many reviews of the uncertain band: the raw rate triples, and nothing has happened.
    n, x = plant(2, odds=1.0)
    assert x[:, 28:].sum() / n[:, 28:].sum() > 1.5 * x[:, :28].sum() / n[:, :28].sum()
    assert alarmed(n, x) < 0.15


def test_dispersion_is_one_of_binomials_and_more_of_clusters() -> None:
    n, x = plant(3, odds=1.0, review=(0.1, 0.5))
    p = np.broadcast_to([0.3, 0.05], (50, 2))
    assert strata.dispersion(x, n, p) == pytest.approx(1, abs=0.1)
    assert strata.dispersion(4 * x, 4 * n, p) == pytest.approx(4, abs=0.4)
    assert strata.dispersion(x * 0, n * 0, p) == 1
