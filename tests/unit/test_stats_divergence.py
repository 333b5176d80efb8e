"""PSI, KL and JS against independent formulas, worked numbers and the laws they must obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from monitor.stats.divergence import js, kl, psi, smooth

counts = st.lists(st.integers(0, 5000), min_size=2, max_size=20)
pairs = (
    st.integers(2, 20)
    .flatmap(lambda b: st.tuples(*[st.lists(st.integers(0, 5000), min_size=b, max_size=b)] * 2))
    .map(lambda pair: (smooth(pair[0]), smooth(pair[1])))
)


def test_worked_numbers() -> None:
    p, q = [0.5, 0.5], [0.25, 0.75]
    # 0.25 ln 2 - 0.25 ln(2/3) = 0.25 ln 3
    assert psi(p, q) == pytest.approx(0.25 * math.log(3), abs=1e-15)
    # 0.5 ln 2 + 0.5 ln(2/3)
    assert kl(p, q) == pytest.approx(0.5 * math.log(4 / 3), abs=1e-15)
    # m = (0.375, 0.625)
    half = 0.5 * (0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5))
    assert js(p, q) == pytest.approx(half + 0.5 * (0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5)), abs=1e-15)


def test_smoothing_worked_by_hand() -> None:
    # (c + 0.5) / (N + 0.5 B) with N = 3 and B = 2
    assert smooth([3, 0]).tolist() == [3.5 / 4, 0.5 / 4]
    assert smooth([0, 0, 0, 0]).tolist() == [0.25] * 4


@settings(derandomize=True, max_examples=100)
@given(pairs)
def test_equal_to_independent_formulas(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    # PSI as evidently writes it: reference and current in percent of their windows.
    by_evidently = float(np.sum((q - p) * np.log(q / p)))
    by_loop = math.fsum((a - b) * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
    assert psi(p, q) == pytest.approx(by_evidently, abs=1e-12)
    assert psi(p, q) == pytest.approx(by_loop, abs=1e-12)
    assert kl(p, q) == pytest.approx(float(entropy(p, q)), abs=1e-12)
    assert js(p, q) == pytest.approx(float(jensenshannon(p, q)) ** 2, abs=1e-12)


@settings(derandomize=True, max_examples=100)
@given(pairs)
def test_laws(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    assert psi(p, p) == kl(p, p) == js(p, p) == 0
    assert psi(p, q) == psi(q, p)
    assert js(p, q) == js(q, p)
    assert psi(p, q) == pytest.approx(kl(p, q) + kl(q, p), abs=1e-12)
    assert kl(p, q) >= -1e-15
    assert -1e-15 <= js(p, q) <= math.log(2) + 1e-15
    # Lin 1991: a quarter of Jeffreys' divergence is never less.
    assert js(p, q) <= psi(p, q) / 4 + 1e-15


@settings(derandomize=True, max_examples=50)
@given(counts)
def test_smoothed_counts_are_probabilities_without_zeros(c: list[int]) -> None:
    p = smooth(c)
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-12)


def test_a_zero_on_one_side_is_infinite_and_never_nan() -> None:
    assert psi([1, 0], [0.5, 0.5]) == math.inf
    assert kl([0.5, 0.5], [1, 0]) == math.inf
    assert kl([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2))
    assert js([1, 0], [0, 1]) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([0.5, 0.5], [0.5, 0.25, 0.25]),
        ([0.5, 0.6], [0.5, 0.5]),
        ([1.5, -0.5], [0.5, 0.5]),
        ([math.nan, 1], [0.5, 0.5]),
        ([[1.0]], [[1.0]]),
        ([], []),
    ],
)
def test_what_is_no_pair_of_probability_vectors_is_refused(p: list[float], q: list[float]) -> None:
    for measure in (psi, kl, js):
        with pytest.raises(ValueError, match="probability vector"):
            measure(p, q)


@pytest.mark.parametrize("bad", [[], [-1, 2], [math.nan], [[1, 2]], [math.inf]])
def test_what_are_no_counts_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="counts"):
        smooth(bad)
