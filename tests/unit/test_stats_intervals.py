"""Bounds of shares whose cases come in images, and what they let a criterion conclude."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from monitor.stats import intervals
from monitor.stats.intervals import FAIL, INSUFFICIENT, PASS


@settings(derandomize=True, max_examples=100)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case: tuple[int, int]) -> None:
    k, n = case
    expected = binomtest(k, n).proportion_ci(0.90, method="wilson")  # two-sided 90 %: one-sided 95 % each
    assert intervals.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_says_nothing_and_refuses_what_is_no_share() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="0 to n"):
        intervals.wilson(3, 2)


def flawless(n: int) -> intervals.Estimate:
    """n detections on as many images, all right."""
    return intervals.share(np.arange(n), np.ones(n, dtype=bool), 0.3)


def test_59_flawless_detections_certify_95_percent_and_58_do_not() -> None:
    assert 0.95**59 < 0.05 < 0.95**58
    assert intervals.judge_share(flawless(59), 0.95, at_least=True) == (PASS, None)
    assert intervals.judge_share(flawless(58), 0.95, at_least=True) == (INSUFFICIENT, 59)
    assert intervals.judge_share(flawless(14), 0.95, at_least=True) == (INSUFFICIENT, 59)
    assert intervals.judge_share(flawless(0), 0.95, at_least=True) == (INSUFFICIENT, 59)


def test_two_alike_detections_an_image_need_more() -> None:
    # Likeness 0.3 makes two of an image worth 2 / 1.3; ln 0.05 / ln 0.95 = 58.4 independent ones take 75.9.
    image = np.repeat(np.arange(37), 2)
    of = intervals.share(image, np.ones(74, dtype=bool), 0.3)
    assert of.effective == pytest.approx(74 / 1.3)
    assert intervals.judge_share(of, 0.95, at_least=True) == (INSUFFICIENT, 76)


def test_a_share_under_its_bound_fails_and_one_on_it_waits_for_ever() -> None:
    half = intervals.share(np.arange(20), np.arange(20) % 2 == 0, 0.0)
    assert intervals.judge_share(half, 0.6, at_least=True) == (FAIL, None)
    assert intervals.judge_share(half, 0.5, at_least=True) == (INSUFFICIENT, None)
    assert intervals.judge_share(half, 0.4, at_least=False) == (FAIL, None)
    assert intervals.judge_share(half, 0.9, at_least=False) == (PASS, None)


@settings(derandomize=True, max_examples=60)
@given(st.integers(1, 19), st.floats(0.05, 0.9))
def test_what_settles_it_does(right: int, gap: float) -> None:
    value = right / 20
    bound = value * (1 - gap)
    n = math.ceil(intervals.settles(value, bound, at_least=True))
    assert intervals.wilson(value * n, n)[0] >= bound - 1e-9
    assert n <= intervals.fewest(bound, at_least=True) + 1 or intervals.wilson(value * (n - 2), n - 2)[0] < bound


def test_likeness_worked() -> None:
    image = np.repeat(np.arange(100), 4)
    same = np.repeat(np.arange(100) % 2 == 0, 4)
    mixed = np.tile(np.array([True, True, False, False]), 100)
    drawn = intervals.USUAL_WEIGHT * intervals.USUAL_LIKENESS
    assert intervals.likeness(image, same) == pytest.approx((drawn + 400) / 430)
    assert intervals.likeness(image, mixed) == pytest.approx(drawn / 430)
    assert intervals.likeness([], []) == intervals.USUAL_LIKENESS
    assert intervals.design_effect(image, 0.5) == pytest.approx(1 + 3 * 0.5)


@pytest.mark.parametrize("right", [0.7, 0.9, 0.95])
@pytest.mark.parametrize("alike", [0.0, 0.3])
def test_bounds_at_14_detections_cover_nine_times_in_ten(right: float, alike: float) -> None:
    rng = np.random.default_rng(21)
    low = high = 0
    for _ in range(1000):
        image = np.sort(rng.integers(6, size=14))
        a, b = right * (1 - alike) / max(alike, 1e-9), (1 - right) * (1 - alike) / max(alike, 1e-9)
        p = rng.beta(a, b, 6) if alike else np.full(6, right)
        success = rng.random(14) < p[image]
        of = intervals.share(image, success, intervals.likeness(image, success))
        low += of.low <= right
        high += of.high >= right
    assert low >= 900
    assert high >= 900


def test_holm_worked() -> None:
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    # Half of the level to the first: 0.02 / (1/2), then 0.01 * 2 among the two others.
    assert intervals.holm([0.02, 0.01, 0.5], [2, 1, 1]) == pytest.approx([0.04, 0.04, 0.5])
    assert intervals.holm([]) == []


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_p_values_and_bonferroni(p: list[float]) -> None:
    adjusted = intervals.holm(p)
    assert all(one <= raised <= min(1.0, one * len(p)) + 1e-12 for one, raised in zip(p, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, min(p) * len(p)))


def test_a_difference_without_spread_is_what_it_is() -> None:
    same = intervals.difference(0.0, np.zeros(50), 0.005)
    assert (same.low, same.high, same.p_drop, same.p_held) == (0.0, 0.0, 1.0, 0.0)
    lost = intervals.difference(-0.1, np.full(50, -0.1), 0.005)
    assert lost.p_drop == 0.0
