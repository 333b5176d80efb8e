"""Criteria where there is little to judge by: few objects among many images, many detections on few, none at all."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.golden.criteria import Cell, Judge
from monitor.golden.sets import GoldenSet
from monitor.spec.contract import AcceptanceCriterion
from monitor.stats.matching import Found, Truth

NOTHING = Found(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0))


def golden(images: int, image: np.ndarray, label: np.ndarray) -> GoldenSet:
    """Cartons (0) and scratches (1), the objects of an image side by side."""
    n = image.size
    place = np.arange(n) - np.searchsorted(image, image)
    box = np.stack([20.0 * place, np.zeros(n), np.full(n, 10.0), np.full(n, 10.0)], axis=1)
    none = np.zeros(n, dtype=bool)
    truth = Truth(image, label, box, np.full(n, 100.0), none, none)
    return GoldenSet("set", tuple(range(images)), (0, 1), ("carton", "scratch"), truth, {})


def judged(of: GoldenSet, found: Found, measure: str, label: str = "", **bound: float) -> Cell:
    criterion = AcceptanceCriterion.model_validate({"name": "c", "measure": measure, "class": label, **bound})
    return Judge(of, found, np.array([0.5, 0.5]), 50).judge(criterion)


def perfect(of: GoldenSet, score: float = 0.97) -> Found:
    return Found(of.truth.image, of.truth.label, of.truth.box, np.full(of.truth.label.size, score))


@pytest.mark.parametrize(("measure", "label"), [("ap50", "scratch"), ("ap50_95", "scratch"), ("map50", "")])
def test_three_objects_pass_no_average_however_many_images_stand_beside_them(measure: str, label: str) -> None:
    of = golden(1000, np.arange(3), np.full(3, 1))
    cell = judged(of, perfect(of), measure, label, at_least=0.9)
    assert (cell.verdict, cell.value, cell.n, cell.settles_at) == ("insufficient", pytest.approx(1.0), 3, 300)
    enough = golden(1000, np.arange(300), np.full(300, 1))
    assert judged(enough, perfect(enough), measure, label, at_least=0.9).verdict == "pass"


def test_many_detections_on_few_images_pass_no_calibration() -> None:
    few = golden(5, np.repeat(np.arange(5), 100), np.zeros(500, dtype=np.int64))
    cell = judged(few, perfect(few), "calibration_error", at_most=0.05)
    assert (cell.verdict, cell.value, cell.n) == ("insufficient", pytest.approx(0.03), 500)
    assert cell.settles_at == 500 * 300 // 5  # detections, at a hundred an image
    many = golden(300, np.arange(300), np.zeros(300, dtype=np.int64))
    assert judged(many, perfect(many), "calibration_error", at_most=0.05).verdict == "pass"


def test_a_model_that_says_nothing_fails_in_f1_as_it_does_in_recall() -> None:
    of = golden(100, np.arange(100), np.zeros(100, dtype=np.int64))
    recall, f1 = (judged(of, NOTHING, measure, "carton", at_least=0.5) for measure in ("recall", "f1"))
    assert (recall.verdict, recall.value, recall.n) == ("fail", 0.0, 100)
    assert (f1.verdict, f1.value, f1.n) == ("fail", 0.0, 100)
    # Without an object there is nothing to find, and without a detection nothing to be right.
    assert judged(of, NOTHING, "f1", "scratch", at_least=0.5).verdict == "insufficient"
    assert judged(of, NOTHING, "precision", "carton", at_least=0.5).verdict == "insufficient"
