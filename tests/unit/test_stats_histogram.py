"""Quantiles from bins, and rows scaled to one weight."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.histogram import quantile, weigh

EDGES = [0.0, 1.0, 2.0, 4.0]


def test_quantile_worked_by_hand() -> None:
    counts = [0, 10, 10, 20, 0]
    assert quantile(counts, EDGES, 0.5) == 2.0
    assert quantile(counts, EDGES, 0.25) == 1.0
    assert quantile(counts, EDGES, 0.75) == 3.0
    assert quantile(counts, EDGES, 0) == 0.0
    assert quantile(counts, EDGES, 1) == 4.0


def test_quantile_beyond_the_edges_is_the_outer_edge() -> None:
    assert quantile([9, 0, 1, 0, 0], EDGES, 0.5) == 0.0
    assert quantile([0, 1, 0, 0, 9], EDGES, 0.5) == 4.0


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([0, 0, 0, 0, 0], EDGES, 0.5) is None


def test_quantile_is_within_a_bin_of_the_sample() -> None:
    values = np.random.default_rng(7).lognormal(3, 0.5, 5000)
    edges = np.geomspace(0.1, 1000, 465)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=466)
    for q in (0.05, 0.5, 0.95, 0.99):
        assert quantile(counts, edges, q) == pytest.approx(np.quantile(values, q), rel=0.021)


@pytest.mark.parametrize(("counts", "q"), [([1, 2], 0.5), ([0, 1, 0, 0, 0], 1.5)])
def test_what_does_not_fit_is_refused(counts: list[int], q: float) -> None:
    with pytest.raises(ValueError, match="q is 0 to 1"):
        quantile(counts, EDGES, q)


def test_weigh_worked_by_hand() -> None:
    # Thirds of 1000: the first of the equal remainders gets the odd one.
    assert weigh([[1, 1, 1], [0, 0, 0], [0, 5, 0]], 1000).tolist() == [[334, 333, 333], [0, 0, 0], [0, 1000, 0]]
    # 5, 3, 1 of 9 are 5.56, 3.33, 1.11 of 10: 5, 3, 1, and the one left over goes to .56.
    assert weigh([[5, 3, 1]], 10).tolist() == [[6, 3, 1]]


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=32))
def test_weighed_shares_are_within_one_count_of_the_exact_ones(row: list[int]) -> None:
    weighed = weigh([row], 1000)[0].tolist()
    assert sum(weighed) == (1000 if sum(row) else 0)
    for whole, count in zip(weighed, row, strict=True):
        assert abs(whole - (Fraction(1000 * count, sum(row)) if sum(row) else 0)) < 1


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="zero or more"):
        weigh([[1, -1]], 1000)
