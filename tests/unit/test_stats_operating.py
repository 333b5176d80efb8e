"""Counts at thresholds, the choice by cost, and who is taken for whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_worlds import scene, written
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats import matching, operating
from monitor.stats.matching import Table


def table(folder: Path, seed: int, crowd: float = 0.1) -> Table:
    golden, found = written(folder, *scene(seed, 40, 4, 5.0, crowd))
    return matching.match(golden.truth, found, len(golden.images), len(golden.classes))


@pytest.mark.parametrize("seed", range(4))
def test_counts_confusion_and_slices_tell_one_story(tmp_path: Path, seed: int) -> None:
    of = table(tmp_path, seed)
    limits = np.array([0.3, 0.5, 0.6, 0.9])
    counts = operating.counts(of, limits)
    matrix = operating.confusion(of, limits)
    assert np.array_equal(np.diag(matrix)[:-1], counts.right)
    # Every object that counts is in one row; a detection leaves the table only by lying in a crowd of another class.
    assert np.array_equal(matrix[:-1].sum(axis=1), counts.right + counts.missed)
    assert (matrix[:, :-1].sum(axis=0) <= counts.right + counts.wrong).all()
    assert np.array_equal(counts.right + counts.missed, of.positives[:, 0])
    even = np.arange(40) % 2 == 0
    parts = [operating.counts(of, limits, among=among) for among in (even, ~even)]
    for name in ("right", "wrong", "missed"):
        assert np.array_equal(sum(getattr(part, name) for part in parts), getattr(counts, name))


def test_without_a_crowd_every_detection_stands_in_the_confusion(tmp_path: Path) -> None:
    of = table(tmp_path, 7, crowd=0.0)
    matrix = operating.confusion(of, 0.4)
    assert matrix[:, :-1].sum() == int((of.found.score >= 0.4).sum())
    assert matrix[-1, -1] == 0


def test_confusion_worked_by_hand() -> None:
    a, b, far = [0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 100.0, 100.0], [400.0, 400.0, 50.0, 50.0]
    box = np.array([a, b, b])
    no = np.zeros(3, dtype=bool)
    truth = matching.Truth(np.zeros(3, dtype=np.int64), np.array([0, 0, 1]), box, box[:, 2] * box[:, 3], no, no)
    # Class 1 on a is taken for class 0's object; class 1 on b prefers its own class over the other one there.
    said = matching.Found(
        np.zeros(4, dtype=np.int64), np.array([1, 1, 0, 0]), np.array([a, b, far, a]), np.array([0.9, 0.8, 0.7, 0.1])
    )
    matrix = operating.confusion(matching.match(truth, said, 1, 2), 0.5)
    assert matrix.tolist() == [[0, 1, 1], [0, 1, 0], [1, 0, 0]]


def test_the_threshold_table_is_the_counts_at_each_step(tmp_path: Path) -> None:
    of = table(tmp_path, 3)
    steps = operating.threshold_table(of)
    assert operating.GRID.tolist() == [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    said = int(((of.found.score >= 0.65) & (of.states() != matching.IGNORED)).sum())
    assert int((steps.right + steps.wrong)[7].sum()) == said
    assert (np.diff(steps.right, axis=0) <= 0).all()
    assert (np.diff(steps.missed, axis=0) >= 0).all()


def test_shares_of_nothing_are_not_numbers() -> None:
    # Nothing said of two objects; four said of three, one of them wrong; one said where there is none.
    of = operating.Counts(np.array([0, 3, 0]), np.array([0, 1, 1]), np.array([2, 0, 0]))
    assert of.precision.tolist() == pytest.approx([np.nan, 0.75, 0.0], nan_ok=True)
    assert of.recall.tolist() == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)
    assert of.f1.tolist() == pytest.approx([0.0, 6 / 7, np.nan], nan_ok=True)


def test_the_cheapest_threshold_lies_in_the_middle_of_equals() -> None:
    costs = np.array([[5, 1, 1, 1, 4, 1], [2, 2, 9, 9, 9, 9]], dtype=float).T
    assert operating.cheapest(costs).tolist() == [2, 0]


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=13))
def test_nothing_is_cheaper_than_the_cheapest(rows: list[list[int]]) -> None:
    costs = np.array(rows, dtype=float)
    assert np.array_equal(costs[operating.cheapest(costs), np.arange(3)], costs.min(axis=0))


def test_a_dear_miss_asks_for_a_lower_threshold(tmp_path: Path) -> None:
    steps = operating.threshold_table(table(tmp_path, 5))
    low, high = (operating.cheapest(operating.cost(steps, *costs)) for costs in ((20.0, 1.0), (1.0, 20.0)))
    assert (low <= high).all()
    assert (low < high).any()
