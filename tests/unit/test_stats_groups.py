"""Groups of equal mass: worked cases, ties, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.groups import equal_mass_cuts, regroup

fine = st.lists(st.integers(0, 400), min_size=4, max_size=120)


def test_an_even_histogram_gives_ten_equal_groups() -> None:
    counts = [0] + [7] * 100 + [0]
    cuts = equal_mass_cuts(counts)
    assert regroup(counts, cuts).tolist() == [70] * 10
    assert cuts.tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90, 101]


def test_a_heavy_tie_gives_fewer_groups() -> None:
    # 60 of 100 in one bin in the middle: it swallows six tenths.
    counts = [0, 10, 10, 60, 10, 10, 0]
    assert regroup(counts, equal_mass_cuts(counts)).tolist() == [10, 10, 60, 10, 10]


def test_one_value_alone_is_seen_to_move_either_way() -> None:
    counts = np.zeros(22, dtype=np.int64)
    counts[7] = 500
    cuts = equal_mass_cuts(counts)
    assert cuts.tolist() == [6, 7, 21]
    for moved in (5, 8):
        window = np.zeros(22, dtype=np.int64)
        window[moved] = 50
        assert regroup(window, cuts)[1] == 0


def test_a_tie_at_an_end_is_told_from_what_lies_beyond_it() -> None:
    # Nine frames in ten have the lowest value: what falls below it must not hide among them.
    counts = [0, 0, 0, 900, 50, 50, 0, 0]
    assert equal_mass_cuts(counts).tolist() == [2, 3, 7]


def test_underflow_alone_is_no_group() -> None:
    # Counts begin at nought, so nothing can lie below the lowest bin.
    assert equal_mass_cuts([0, 70, 20, 10, 0])[0] == 1


def test_nothing_counted_is_one_group() -> None:
    assert equal_mass_cuts([0, 0, 0]).tolist() == [2]


@settings(derandomize=True, max_examples=200)
@given(fine, st.integers(2, 20))
def test_laws(counts: list[int], groups: int) -> None:
    cuts = equal_mass_cuts(counts, groups)
    assert cuts[-1] == len(counts) - 1
    assert (np.diff(cuts) > 0).all()
    assert len(cuts) <= groups + 2
    assert regroup(counts, cuts).sum() == sum(counts)
    assert (equal_mass_cuts([c * 3 for c in counts], groups) == cuts).all()
    if sum(1 for c in counts if c) >= 2:
        assert len(cuts) >= 2


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.integers(1, 5), min_size=200, max_size=200))
def test_without_ties_the_groups_are_equal_to_within_a_bin(counts: list[int]) -> None:
    masses = regroup(counts, equal_mass_cuts(counts))
    assert len(masses) == 10
    assert np.abs(masses - sum(counts) / 10).max() <= 5


@settings(derandomize=True, max_examples=100)
@given(st.integers(2, 60).flatmap(lambda b: st.tuples(*[st.lists(st.integers(0, 99), min_size=b, max_size=b)] * 2)))
def test_grouping_adds(pair: tuple[list[int], list[int]]) -> None:
    a, b = (np.array(side) for side in pair)
    cuts = equal_mass_cuts(a)
    assert (regroup(a, cuts) + regroup(b, cuts) == regroup(a + b, cuts)).all()


@pytest.mark.parametrize("cuts", [[], [1], [2, 1, 3], [1, 1, 3], [-1, 3], [1, 4]])
def test_cuts_that_do_not_fit_are_refused(cuts: list[int]) -> None:
    with pytest.raises(ValueError, match="cuts ascend"):
        regroup([1, 2, 3, 4], cuts)


def test_what_is_no_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="histogram"):
        equal_mass_cuts([1, -1])
    with pytest.raises(ValueError, match="two groups"):
        equal_mass_cuts([1, 1], groups=1)
