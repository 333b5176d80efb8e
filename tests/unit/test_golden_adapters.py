"""Conventions by name: what does not fit is said, what is suppressed is what must be, batches keep their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitor.errors import UsageError
from monitor.golden import adapters
from monitor.golden.adapters import CONVENTIONS, Settings, decode, faults, letterboxed, stretched
from monitor.golden.child import known
from monitor.golden.session import ModelRefused
from monitor.stats.matching import Found


def test_two_outputs_of_one_shape_are_told_apart_by_name() -> None:
    shapes = {"dets": (1, 300, 4), "labels": (1, 300, 4)}
    assert faults("rf-detr", {"boxes": "dets", "logits": "labels"}, shapes, classes=3) == []
    (said,) = faults("rf-detr", {"boxes": "dets", "logits": "labels"}, shapes, classes=4)
    assert said == "labels has the shape [1, 300, 4], and logits of rf-detr has [n, m, 1+classes] with 4 classes"


def test_what_a_session_lacks_is_said() -> None:
    assert faults("yolov8", {"output": "output0"}, {"output0": ("batch", 84, None)}, classes=80) == []
    assert "is not among the model's: out" in faults("yolov8", {"output": "output0"}, {"out": (1, 84, 9)}, 80)[0]
    assert "is no output convention" in faults("yolov99", {}, {}, 1)[0]
    assert "has the shape [1, 84]" in faults("yolov8", {"output": "a"}, {"a": (1, 84)}, 80)[0]
    with pytest.raises(UsageError, match="is no output convention"):
        decode("yolov99", {}, {}, [])
    with pytest.raises(UsageError, match="needs outputs for output"):
        decode("yolov8", {}, {}, [])


def test_a_batch_is_read_image_by_image() -> None:
    fits = [
        stretched(100, 50, 200, 200),
        letterboxed(100, 50, 200, 200),
        letterboxed(100, 50, 200, 200, centred=False),
    ]
    rows = np.zeros((3, 1, 6), dtype=np.float32)
    rows[:, 0] = [[40, 80, 60, 120, 0.9, 2]] * 3
    found = decode("end-to-end", {"output": "o"}, {"o": rows}, fits)
    # Ratios 2 and 4; then 2 with 50 above; then 2 with the padding at the end.
    assert [one.box[0].tolist() for one in found] == [[20, 20, 30, 30], [20, 15, 30, 35], [20, 40, 30, 50]]
    flat = np.array([[1, 0, 0, 20, 20, 0.8, 1], [0, 0, 0, 40, 40, 0.7, 0]], dtype=np.float32)
    found = decode("yolo-nas-flat", {"output": "o"}, {"o": flat}, fits[:2])
    assert [one.label.tolist() for one in found] == [[0], [1]]
    rows = np.array([[2, 0.9, 0, 0, 9, 9], [1, 0.8, 0, 0, 9, 9], [0, 0.7, 0, 0, 9, 9]], dtype=np.float32)
    found = decode("paddle", {"output": "o", "count": "c"}, {"o": rows, "c": np.array([1, 0, 2])}, fits)
    assert [one.label.tolist() for one in found] == [[2], [], [1, 0]]


def test_an_image_without_detections_is_empty() -> None:
    fit = stretched(100, 50, 200, 200)
    nothing = {"b": np.zeros((0, 4)), "s": np.zeros(0), "l": np.zeros(0, dtype=np.int64)}
    roles = {"boxes": "b", "scores": "s", "labels": "l"}
    (found,) = decode("torchvision", roles, nothing, [fit])
    assert found.box.shape == (0, 4)
    low = np.zeros((1, 5, 8), dtype=np.float32)
    (found,) = decode("yolov8", {"output": "o"}, {"o": low}, [fit], Settings(0.01))
    assert found.score.size == 0


def test_the_floor_and_the_most_hold() -> None:
    rows = np.zeros((1, 9, 6), dtype=np.float32)
    rows[0, :, 4] = np.linspace(0.1, 0.9, 9)
    (found,) = decode("end-to-end", {"output": "o"}, {"o": rows}, [stretched(9, 9, 9, 9)], Settings(0.35, most=3))
    assert found.score == pytest.approx([0.9, 0.8, 0.7], abs=1e-6)
    (found,) = decode("end-to-end", {"output": "o"}, {"o": rows}, [stretched(9, 9, 9, 9)], Settings(0.35))
    assert found.score.size == 6


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([40, 80, 60, 120, np.nan, 2], "scores that are no numbers"),
        ([40, np.nan, 60, 120, 0.9, 2], "boxes that are no numbers"),
        ([40, 80, 60, 120, 7.3, 2], r"scores up to 7\.3"),
    ],
)
def test_numbers_that_are_none_are_refused_and_not_taken_for_silence(row: list[float], said: str) -> None:
    rows = np.array([[row, [0, 0, 9, 9, 0.5, 1]]], dtype=np.float32)
    with pytest.raises(UsageError, match=said):
        decode("end-to-end", {"output": "o"}, {"o": rows}, [stretched(100, 50, 200, 200)])


def test_a_score_above_one_by_rounding_is_one() -> None:
    rows = np.array([[[0, 0, 9, 9, 1.00001, 1]]], dtype=np.float32)
    (found,) = decode("end-to-end", {"output": "o"}, {"o": rows}, [stretched(100, 50, 200, 200)])
    assert found.score.tolist() == [1.0]


def test_a_class_before_the_first_is_refused_and_not_the_last_one() -> None:
    # A model that counts from 0 under a convention that counts from 1.
    roles = {"boxes": "b", "scores": "s", "labels": "l"}
    outputs = {"b": np.array([[0, 0, 9, 9.0]]), "s": np.array([0.9]), "l": np.array([0])}
    (found,) = decode("torchvision", roles, outputs, [stretched(100, 50, 100, 50)])
    rows = Found(np.array([0]), found.label, found.box, found.score)
    with pytest.raises(ModelRefused, match="speaks of class -1"):
        known(rows, np.array([0, 1]))
    shifted = replace(rows, label=rows.label + 1)
    assert known(shifted, np.array([1, -1])).label.tolist() == [1]


def test_every_convention_says_what_its_boxes_are_in() -> None:
    assert {one.scale for one in CONVENTIONS.values()} == {"input", "unit", "original"}
    assert adapters.TOP == 300
