"""Detections of one frame resemble each other: the effective number of values, and chance judged by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from monitor.drift.compare import compare, make_ready
from monitor.measures import CLASS_SHARE, MEASURES
from monitor.records import Baseline, BaselineHistogram, Histogram, Ints, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.stats import null
from monitor.stats.divergence import smooth

GROUPS = 10
EDGES = SIGNALS["confidence"].edges
WINDOW = Window(datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC))
Crowd = Callable[[np.random.Generator, int], Ints]


def one(draw: np.random.Generator, frames: int) -> Ints:
    return np.ones(frames, dtype=np.int64)


def few(draw: np.random.Generator, frames: int) -> Ints:
    return draw.geometric(1 / 3, frames)


def crowds(draw: np.random.Generator, frames: int) -> Ints:
    return np.maximum(1, np.rint(draw.lognormal(1, 1, frames)).astype(np.int64))


def clustered(draw: np.random.Generator, values: Ints) -> Histogram:
    """Frames of so many values, all values of a frame in the same one of ten groups: as alike as they can be."""
    counts = np.bincount(draw.integers(0, GROUPS, len(values)), values, minlength=GROUPS).astype(np.int64)
    return Histogram("ten", counts, int(values.sum()), len(values), 0, squares=int((values**2).sum()))


@pytest.mark.parametrize("crowd", [one, few, crowds])
def test_chance_alone_exceeds_the_noise_no_more_often_than_it_says(crowd: Crowd) -> None:
    """The law is asymptotic: a tail of 1 % is one of 1.2 % at 100 single values against 2,000, hence the slack."""
    draw = np.random.default_rng(23)
    psi, times = MEASURES["psi"].function, 3000
    beyond = {0.99: 0, 0.999: 0}
    by_frames = 0
    for _ in range(times):
        now, before = clustered(draw, crowd(draw, 100)), clustered(draw, crowd(draw, 2000))
        value = psi(smooth(now.counts), smooth(before.counts))  # type: ignore[misc]
        for level in beyond:
            beyond[level] += value > null.quantile(GROUPS, now.effective, before.effective, level=level)
        by_frames += value > null.quantile(GROUPS, now.frames, before.frames)
    assert beyond[0.99] <= 0.015 * times
    assert beyond[0.999] <= 0.003 * times
    # Counting frames alone would not do: that is what the effective number is for.
    assert (by_frames > 0.03 * times) == (crowd is not one)


def test_the_effective_number_worked_by_hand() -> None:
    def of(*values: int) -> Histogram:
        return Histogram("x", np.zeros(3, dtype=np.int64), sum(values), len(values), 0, sum(v * v for v in values))

    assert of(1, 1, 1, 1).effective == 4
    assert of(3, 3, 3, 3).effective == 4  # evenly many are no less independent
    assert of(1, 1, 1, 9).effective == pytest.approx(144 / 84)
    assert of().effective == 0


@settings(derandomize=True, max_examples=80)
@given(st.lists(st.integers(1, 2000), max_size=30), st.integers(0, 30))
def test_parts_merge_into_the_whole(values: list[int], cut: int) -> None:
    def of(part: list[int]) -> Histogram:
        squares = sum(value * value for value in part)
        return Histogram("x", np.array([0, sum(part), 0]), sum(part), len(part), 0, squares)

    merged, whole = of(values[:cut]) + of(values[cut:]), of(values)
    assert merged.squares == whole.squares == sum(value * value for value in values)
    assert merged.effective == whole.effective
    if values:
        assert 1 <= Fraction(whole.n**2, whole.squares) <= whole.frames


def counted(frames: int, each: int, crowd: int, class_name: str = "") -> dict[SeriesKey, Histogram]:
    """Confidences of frames with `each` detections, and one frame more with `crowd` of them."""
    n = frames * each + crowd
    counts = np.zeros(EDGES.count + 2, dtype=np.int64)
    counts[[40, 80]] = n - n // 2, n // 2
    squares = frames * each**2 + crowd**2
    key = SeriesKey(Scope("m", "v1", camera="cam-1"), "confidence", class_name)
    return {key: Histogram(EDGES.id, counts, n, frames + 1, n * 600_000, squares)}


def test_noise_is_judged_by_the_effective_number_and_n_says_frames() -> None:
    def both(*said: int) -> dict[SeriesKey, Histogram]:
        return {**counted(*said), **counted(*said, class_name="carton")}

    cuts = np.array([50, EDGES.count + 1])
    rows = {key: BaselineHistogram(histogram, cuts) for key, histogram in both(399, 2, 2).items()}
    baseline = Baseline(7, "m", "v1", "logs", None, None, 400, "", "", WINDOW.start)
    known = make_ready(baseline, rows, "v1", 30)
    found = compare(both(99, 1, 21), known, WINDOW, ("confidence", CLASS_SHARE), "c0ffee")
    of_psi = [m for m in found if m.measure == "psi" and m.key.scope.camera]
    # The window: 120 values, 99 + 21² = 540 squared; 14,400 / 540. The baseline: 400 frames of two values each.
    assert {(m.n, m.baseline_n, m.state) for m in of_psi} == {(100, 400, "ok")}
    assert [m.noise for m in of_psi] == [pytest.approx((540 / 14_400 + 1 / 400) * chi2.ppf(0.999, 1))] * 3
