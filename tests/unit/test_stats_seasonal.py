"""A stream against its season: worked days, chance as an oracle, laws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats import seasonal
from monitor.stats.seasonal import Hourly

WEEKEND = np.arange(70) % 7 >= 5


def plant(seed: int, days: int = 42, frames: float = 40) -> Hourly:
    rng = np.random.default_rng(seed)
    level = 100 + 20 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    n = rng.poisson(frames, (2, days, 24)).astype(float)
    return Hourly(n, level + rng.standard_normal((2, days, 24)))


def test_a_mean_read_off_a_histogram() -> None:
    hourly = seasonal.means([[2, 0, 2], [0, 0, 0]], [1.0, 5.0, 4.0])
    assert hourly.n.tolist() == [4, 0]
    assert hourly.x[0] == 2.5


def test_arcsine_makes_chance_of_one_size() -> None:
    rng = np.random.default_rng(1)
    for share in (0.05, 0.3, 0.5):
        scatter = seasonal.arcsine(rng.binomial(200, share, 40_000), 200).var()
        assert scatter == pytest.approx(1 / (4 * 200 + 2), rel=0.04)


def test_what_few_do_to_an_arcsine_is_known() -> None:
    for n in (5, 20, 60, 400):
        for share in (0.0, 0.02, 0.1, 0.5, 0.9):
            c = np.arange(n + 1)
            mean = scipy.stats.binom.pmf(c, n, share) @ seasonal.arcsine(c, n)
            assert seasonal.arcsine_mean(share, n) == pytest.approx(mean, abs=0.008)
    assert seasonal.arcsine_mean(0.0, 5) == pytest.approx(np.arcsin(np.sqrt(3 / 46)))


def test_an_hour_of_the_usual_number_is_left_as_it_is() -> None:
    rng = np.random.default_rng(4)
    n = np.full((42, 24), 20)
    hourly = seasonal.shares(rng.binomial(n, 0.01), n)
    np.testing.assert_allclose(seasonal.evened(hourly, WEEKEND[:42], 28).x, hourly.x, atol=1e-12)


def test_a_rare_share_keeps_its_level_where_fewer_are_counted() -> None:
    # 2 % all along; 300 an hour in the baseline, 6 an hour after it.
    rng = np.random.default_rng(3)
    n = rng.poisson(np.where(np.arange(42) < 28, 300, 6)[:, None], (200, 42, 24))
    hourly = seasonal.shares(rng.binomial(n, 0.02), n)
    plain = seasonal.deviations(hourly, WEEKEND[:42], 28)
    even = seasonal.deviations(seasonal.evened(hourly, WEEKEND[:42], 28), WEEKEND[:42], 28)
    assert float(seasonal.share_moved(plain.level, plain.deviation)[:, 28:].mean()) > 0.03
    assert abs(float(seasonal.share_moved(even.level, even.deviation)[:, 28:].mean())) < 0.004
    assert float(np.sin(even.level[:, 28:].mean()) ** 2) == pytest.approx(0.02, abs=0.002)
    assert abs(float(even.deviation[:, :28].mean())) < 1e-3


def test_a_share_that_moved_is_told_in_points() -> None:
    level, deviation = np.arcsin(np.sqrt(0.2)), np.arcsin(np.sqrt(0.25)) - np.arcsin(np.sqrt(0.2))
    assert seasonal.share_moved(level, deviation) == pytest.approx(0.05)


def test_a_worked_season() -> None:
    # Three working days at 10, 12 and 14, equal weight 1/2, no weekend: an hour of a later day is expected at 12; the
    # first day, left out of its own season, at 13.
    x = np.array([10.0, 12.0, 14.0, 20.0])[:, None] * np.ones((4, 24))
    cell = seasonal.expected(x, np.full((4, 24), 0.5), [0, 0, 0, 0], 3)
    assert cell[:, 5].tolist() == pytest.approx([13, 12, 11, 12])


def test_a_weekend_is_drawn_to_the_hour_of_any_day() -> None:
    # Full weight; weekdays at 10 and 10, one Saturday at 16. Any day: 12. Saturday's cell: (16 + 1 x 12) / (1 + 1).
    x = np.array([10.0, 10.0, 16.0, 0.0])[:, None] * np.ones((4, 24))
    cell = seasonal.expected(x, np.ones((4, 24)), [0, 0, 1, 1], 3)
    assert cell[3, 0] == pytest.approx(14)
    # The Saturday itself is left out: nothing is known of Saturdays, and any other day has 10.
    assert cell[2, 0] == pytest.approx(10)


def test_an_hour_that_the_baseline_never_saw_has_no_season() -> None:
    w = np.ones((5, 24))
    w[:4, 3] = 0
    cell = seasonal.expected(np.ones((5, 24)), w, [0] * 5, 4)
    assert np.isnan(cell[:, 3]).all()
    assert np.isfinite(np.delete(cell, 3, axis=1)).all()


def test_a_day_moves_by_what_was_added_to_it() -> None:
    hourly = plant(2)
    hourly.x[:, 40] += 5
    days = seasonal.deviations(hourly, WEEKEND[:42], 28)
    assert days.deviation[:, 40] == pytest.approx(5, abs=1)
    assert np.abs(days.deviation[:, :40]).max() < 1.5
    assert days.level[:, 40] == pytest.approx(100, abs=1.5)


def test_too_little_is_no_verdict() -> None:
    hourly = plant(3)
    hourly.n[0, 30] = 0
    hourly.n[0, 31] = np.where(np.arange(24) < 19, 1, 0)  # 19 frames
    hourly.n[0, 32] = np.where(np.arange(24) < 2, 500, 0)  # many frames, two hours
    hourly.n[0, 33] = np.where(np.arange(24) < 4, 5, 0)  # 20 frames, four hours
    days = seasonal.deviations(hourly, WEEKEND[:42], 28)
    assert np.isnan(days.deviation[0, 30:33]).all()
    assert np.isfinite(days.deviation[0, 33])
    assert abs(days.steady[0, 33]) < abs(days.deviation[0, 33])


@settings(derandomize=True, max_examples=20)
@given(st.floats(-50, 50), st.floats(0.1, 10), st.integers(0, 99))
def test_shift_and_scale(shift: float, scale: float, seed: int) -> None:
    hourly = plant(seed)
    days = seasonal.deviations(hourly, WEEKEND[:42], 28)
    moved = seasonal.deviations(Hourly(hourly.n, hourly.x * scale + shift), WEEKEND[:42], 28)
    np.testing.assert_allclose(moved.deviation, days.deviation * scale, atol=1e-8)
    np.testing.assert_allclose(moved.level, days.level * scale + shift, rtol=1e-8)


@settings(derandomize=True, max_examples=20)
@given(st.integers(29, 41), st.integers(0, 99))
def test_the_future_has_no_say(until: int, seed: int) -> None:
    hourly = plant(seed)
    whole = seasonal.deviations(hourly, WEEKEND[:42], 28)
    part = seasonal.deviations(Hourly(hourly.n[:, :until], hourly.x[:, :until]), WEEKEND[:until], 28)
    np.testing.assert_array_equal(part.steady, whole.steady[:, :until])


def test_the_shares_expected_of_a_day_are_those_of_its_hours() -> None:
    # Mornings are all of group 0, evenings all of group 1: a day of three mornings' frames to one evening's is 3 : 1.
    groups = np.zeros((20, 24, 2))
    groups[:, 6, 0], groups[:, 20, 1] = 100, 100
    groups[19, 6, 0] = 300
    shares = seasonal.expected_shares(groups, WEEKEND[:20], 15)
    assert shares[18].tolist() == pytest.approx([0.5, 0.5])
    assert shares[19].tolist() == pytest.approx([0.75, 0.25])
