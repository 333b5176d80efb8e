"""Tiers of sameness: to the bit, within rounding, or another answer; and what else has changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.golden.digest import BOX, OTHER, ROUNDING, SAME, SCORE, changed, digest_of, sameness
from monitor.stats.matching import Found

FLOOR = 0.01


def drawn(seed: int, n: int = 60) -> Found:
    rng = np.random.default_rng(seed)
    box = rng.uniform(0, 400, (n, 4))
    return Found(rng.integers(6, size=n), rng.integers(3, size=n), box, rng.uniform(0.05, 1, n))


def moved(of: Found, score: float = 0.0, box: float = 0.0) -> Found:
    return Found(of.image, of.label, of.box + box, of.score + score)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing(seed: int, shuffle: int) -> None:
    one = drawn(seed)
    order = np.random.default_rng(shuffle).permutation(one.score.size)
    other = Found(one.image[order], one.label[order], one.box[order], one.score[order])
    assert digest_of(one) == digest_of(other)
    assert sameness(one, other, FLOOR).tier == SAME


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_small_movements_are_rounding_and_known_by_size(seed: int, score: float, box: float) -> None:
    one = drawn(seed)
    found = sameness(one, moved(one, score * SCORE, box * BOX), FLOOR)
    if (score, box) != (0.0, 0.0) and found.tier != SAME:
        assert found.tier == ROUNDING
        assert found.score == pytest.approx(abs(score) * SCORE, abs=1e-12)
        assert found.box == pytest.approx(abs(box) * BOX, abs=1e-9)


@pytest.mark.parametrize(("score", "box"), [(2 * SCORE, 0.0), (0.0, 2 * BOX)])
def test_larger_movements_are_another_answer(score: float, box: float) -> None:
    one = drawn(1)
    assert sameness(one, moved(one, score, box), FLOOR).tier == OTHER
    assert sameness(moved(one, score, box), one, FLOOR).tier == OTHER


def test_a_detection_more_is_another_answer_unless_it_lies_at_the_floor() -> None:
    one = drawn(2)

    def more(score: float) -> Found:
        return Found(
            np.append(one.image, 1),
            np.append(one.label, 1),
            np.vstack((one.box, [[1, 2, 3, 4]])),
            np.append(one.score, score),
        )

    assert sameness(one, more(0.5), FLOOR).unmatched == 1
    assert sameness(one, more(0.5), FLOOR).tier == OTHER
    assert sameness(more(0.5), one, FLOOR).tier == OTHER
    assert sameness(one, more(FLOOR + SCORE / 2), FLOOR).tier == ROUNDING


def test_what_changed_is_named_with_both_values() -> None:
    before = {"runtime": "onnxruntime 1.30", "driver": "580", "gpu": "H100"}
    after = {"runtime": "onnxruntime 1.31", "driver": "580", "decoder": "pillow 13"}
    assert changed(before, after) == [
        "decoder: unknown → pillow 13",
        "gpu: H100 → unknown",
        "runtime: onnxruntime 1.30 → onnxruntime 1.31",
    ]
