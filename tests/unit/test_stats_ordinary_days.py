"""What an ordinary day does: scores against scipy and against chance, the fleet's stream, four hours, a queue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t

from monitor.stats import fleet, null, rolling
from monitor.stats.seasonal import Hourly


def test_a_normal_score_has_the_tail_of_its_t() -> None:
    assert null.normal_score(2.365, 7) == pytest.approx(1.96, abs=1e-3)  # the printed 97.5 % points of t(7) and Φ
    assert null.normal_score(0.0, 27) == 0
    assert np.isfinite(null.normal_score(1e9, 27))
    assert np.isnan(null.normal_score(np.nan, 27))


@settings(derandomize=True, max_examples=60)
@given(st.floats(-12, 12), st.integers(2, 200))
def test_a_normal_score_against_scipy(x: float, freedom: int) -> None:
    assert null.normal_score(x, freedom) == pytest.approx(np.sign(x) * norm.isf(t.sf(abs(x), freedom)), abs=1e-9)


def test_a_worked_score() -> None:
    # Baseline 1 to 9: mean 5, sd √7.5; 14 lies (14 - 5) / (√7.5 · √(10/9)) = 3.118 out, and t(8) makes that 2.44.
    x = np.r_[np.arange(1.0, 10), 14.0]
    known = null.usual(x, 9)
    assert (known.mean, known.sd, known.m) == (5, pytest.approx(7.5**0.5), 9)
    assert null.scores(x, known)[-1] == pytest.approx(norm.isf(t.sf(9 / (7.5 * 10 / 9) ** 0.5, 8)))


def test_scores_of_chance_are_standard_normal() -> None:
    x = np.random.default_rng(0).normal(7, 3, (4000, 20))
    z = null.scores(x, null.usual(x, 14))[:, 14:]
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.05, abs=0.005)


def test_a_divergence_ten_times_the_ordinary_stands_out_and_a_thin_day_does_not() -> None:
    rng = np.random.default_rng(1)
    value = np.exp(rng.normal(-4, 0.4, 31))
    n = np.full(31, 1000.0)
    value[28], value[29], n[29], n[30] = 10 * np.exp(-4), 10 * np.exp(-4), 100, 29
    z = null.divergence_scores(value, n, 28)
    assert z[28] > 3.5
    assert abs(z[29]) < 1
    assert np.isnan(z[30])
    assert np.isnan(null.divergence_scores(value[:12], n[:12], 7)).all()


def test_the_fleet_moves_with_the_majority_alone() -> None:
    z = np.random.default_rng(2).standard_normal((20, 60))
    few, most = z.copy(), z.copy()
    few[:6, 40:] += 8
    most[:15, 40:] += 2
    assert np.abs(fleet.stream(few, 28)[40:]).mean() < 2.5
    assert fleet.stream(most, 28)[40:].mean() > 3.5
    assert np.std(fleet.stream(z, 28)[28:]) == pytest.approx(1, abs=0.35)


def test_a_fleet_of_two_or_a_day_of_a_minority_is_unknown() -> None:
    z = np.random.default_rng(3).standard_normal((10, 40))
    assert np.isnan(fleet.stream(z[:2], 28)).all()
    z[:6, 35] = np.nan
    assert np.isnan(fleet.stream(z, 28)[35])


@settings(derandomize=True, max_examples=25)
@given(st.permutations(range(7)))
def test_a_fleet_has_no_order(order: list[int]) -> None:
    z = np.random.default_rng(4).standard_normal((7, 40))
    np.testing.assert_array_equal(fleet.stream(z, 28), fleet.stream(z[order], 28))


def test_trailing_sums() -> None:
    assert rolling.trailing([1.0, 2, 3, 4, 5, np.nan]).tolist() == [1, 3, 6, 10, 14, 12]


def test_four_hours_far_off_are_seen_within_hours_and_ordinary_ones_never() -> None:
    rng = np.random.default_rng(5)
    x = 100 + rng.standard_normal((8, 40, 24))
    x[0, 35, 10:] -= 15
    hours = rolling.fast(Hourly(np.full(x.shape, 60.0), x), np.arange(40) % 7 >= 5, 28)
    assert np.flatnonzero(np.abs(hours.score[0, 35]) > rolling.LIMIT)[0] <= 12
    assert np.nanmax(np.abs(hours.score[1:])) < rolling.LIMIT
    assert hours.moved[0, 35, 14] == pytest.approx(-15, abs=2)
    assert hours.level[0, 35, 14] == pytest.approx(100, abs=1)


def test_a_queue_is_judged_by_its_own_history() -> None:
    rng = np.random.default_rng(6)
    history = rng.poisson(3, 96 * 28).astype(float)
    limit = rolling.queue_limit(history)
    assert limit == pytest.approx(3 + 4.5 * 3**0.5, rel=0.1)
    spiky = np.where(np.arange(history.size) % 500 == 0, 80.0, history)
    assert rolling.queue_limit(spiky) >= 80
    assert rolling.queue_limit(history[:90]) == float("inf")
