"""Suppression of a batch at once does what one box after the other does, of every kind."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.golden import nms
from monitor.golden.adapters import Settings, decode, stretched


class Box(NamedTuple):
    """A box by its corners, with what is said of it."""

    image: int
    label: int
    score: float
    left: int
    top: int
    right: int
    bottom: int


def shared(one: Box, other: Box) -> float:
    wide = max(0, min(one.right, other.right) - max(one.left, other.left))
    high = max(0, min(one.bottom, other.bottom) - max(one.top, other.top))
    areas = [(b.right - b.left) * (b.bottom - b.top) for b in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def one_by_one(rows: list[Box], kind: str, iou: float, sigma: float, floor: float) -> list[tuple[int, float]]:
    """The rows that stay with their scores, image by image, best first: each best box in turn strikes the others."""
    said: list[tuple[int, float]] = []
    for image in sorted({row.image for row in rows}):
        left = {i: row.score for i, row in enumerate(rows) if row.image == image}
        stays: list[tuple[int, float]] = []
        while left:
            best = max(left, key=lambda i: (left[i], -i))
            stays.append((best, left.pop(best)))
            for i in list(left):
                share = shared(rows[best], rows[i])
                same = kind == "all" or rows[i].label == rows[best].label
                if kind in ("class", "all") and same and share > iou:
                    del left[i]
                if kind == "soft" and same:
                    left[i] *= math.exp(-(share**2) / sigma)
                    if left[i] < floor:
                        del left[i]
        said += sorted(stays, key=lambda pair: (-pair[1], pair[0]))
    return said


@st.composite
def box(draw: st.DrawFn) -> Box:
    left, top, wide, high = (draw(st.integers(low, high)) for low, high in ((0, 12), (0, 12), (1, 12), (1, 12)))
    score = draw(st.sampled_from((0.1, 0.25, 0.5, 0.5, 0.75, 0.9)))
    return Box(draw(st.integers(0, 2)), draw(st.integers(-1, 1)), score, left, top, left + wide, top + high)


def columns(rows: list[Box]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 3:], table[:, 2]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.lists(box(), max_size=60),
    st.sampled_from(nms.KINDS),
    st.sampled_from((0.2, 0.5, 0.7)),
    st.sampled_from((0.3, 0.5)),
)
def test_a_batch_is_suppressed_as_box_by_box(rows: list[Box], kind: str, iou: float, sigma: float) -> None:
    kept, scores = nms.suppressed(*columns(rows), kind, iou, sigma, 0.05)
    wanted = one_by_one(rows, kind, iou, sigma, 0.05)
    assert scores == pytest.approx([score for _, score in wanted], rel=1e-12)
    if kind != "soft":  # faded scores that are equal but for their last bit may stand either way round
        assert kept.tolist() == [row for row, _ in wanted]
    else:
        assert sorted(kept.tolist()) == sorted(row for row, _ in wanted)


def test_a_chain_is_cut_at_every_other_box() -> None:
    # Each box overlaps the next by 8 of 12: the second falls to the first, so that it cannot strike the third.
    rows = [Box(0, 0, 0.9 - 0.01 * i, 2 * i, 0, 2 * i + 10, 10) for i in range(40)]
    kept, _ = nms.suppressed(*columns(rows), "class", 0.5, 0.5, 0.0)
    assert kept.tolist() == list(range(0, 40, 2))


def test_classes_may_lie_on_each_other_or_not() -> None:
    rows = [Box(0, 0, 0.9, 0, 0, 10, 10), Box(0, 1, 0.8, 0, 0, 10, 10), Box(1, 1, 0.7, 0, 0, 10, 10)]
    told = {kind: nms.suppressed(*columns(rows), kind, 0.5, 0.5, 0.1)[0].tolist() for kind in nms.KINDS}
    assert told == {"class": [0, 1, 2], "all": [0, 2], "soft": [0, 1, 2], "none": [0, 1, 2]}


def test_a_soft_score_is_worked_out() -> None:
    # Half of the second lies in the first: 50 of 150. The third, alone, keeps its score and passes the second.
    rows = [Box(0, 0, 0.9, 0, 0, 10, 10), Box(0, 0, 0.8, 5, 0, 15, 10), Box(0, 0, 0.75, 50, 50, 60, 60)]
    kept, scores = nms.suppressed(*columns(rows), "soft", 0.5, 0.5, 0.05)
    assert kept.tolist() == [0, 2, 1]
    assert scores == pytest.approx([0.9, 0.75, 0.8 * math.exp(-(1 / 9) / 0.5)])


def test_the_contract_kind_reaches_the_decoded_batch() -> None:
    rows = np.array([[20, 20, 20, 20], [21, 20, 20, 20], [60, 60, 10, 10]], dtype=np.float32)
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.05, 0.6]], dtype=np.float32)
    batch = np.stack([np.concatenate((rows, scores), axis=1).T] * 2)
    fits = [stretched(100, 100, 100, 100)] * 2
    counts = {
        kind: [
            one.score.size for one in decode("yolov8", {"output": "o"}, {"o": batch}, fits, Settings(0.01, nms=kind))
        ]
        for kind in nms.KINDS
    }
    assert counts == {"class": [3, 3], "all": [2, 2], "soft": [3, 3], "none": [3, 3]}
