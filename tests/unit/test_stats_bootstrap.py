"""Images drawn again: weights of one are the estimate itself, weights of n are n copies of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_worlds import Coco, Results, by_pycocotools, scene, written

from monitor.stats import bootstrap
from monitor.stats.detection import curves, stats
from monitor.stats.matching import Table, match


def table(folder: Path, truth: Coco, results: Results) -> Table:
    golden, found = written(folder, truth, results)
    return match(golden.truth, found, len(golden.images), len(golden.classes))


@pytest.mark.parametrize("crowd", [0.0, 0.2])
def test_weights_of_one_are_the_estimate(tmp_path: Path, crowd: float) -> None:
    of = table(tmp_path, *scene(5, 50, 6, 4.0, crowd))
    values = bootstrap.weighted_ap(bootstrap.weighable(of), np.ones(50, dtype=np.int64))
    told = curves(of)
    expected = np.where(told.precision[:, 0, :, 0, 2] < 0, np.nan, told.precision[:, :, :, 0, 2].mean(axis=1))
    assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert float(bootstrap.over_classes(values)) == pytest.approx(stats(told)["AP"], abs=1e-12)


def copied(truth: Coco, results: Results, weights: list[int]) -> tuple[Coco, Results]:
    """The set with each image as often as it was drawn."""
    images, annotations, detections = [], [], []
    for image, times in zip((one["id"] for one in truth["images"]), weights, strict=True):
        for _ in range(times):
            new = len(images) + 1
            images.append({"id": new})
            annotations += [{**a, "image_id": new} for a in truth["annotations"] if a["image_id"] == image]
            detections += [{**d, "image_id": new} for d in results if d["image_id"] == image]
    annotations = [{**a, "id": i + 1} for i, a in enumerate(annotations)]
    return {**truth, "images": images, "annotations": annotations}, detections


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_set_scores_as_its_copies_do_by_the_reference(tmp_path: Path, seed: int) -> None:
    # Copies of a detection are equal in score; hits and false alarms do not change places among them.
    truth, results = scene(seed, 30, 4, 4.0, crowd=0.1)
    (weights,) = bootstrap.draws(30, 1, seed)
    assert weights.sum() == 30
    values = bootstrap.weighted_ap(bootstrap.weighable(table(tmp_path, truth, results)), weights)
    theirs = by_pycocotools(*copied(truth, results, weights.tolist()))
    assert float(bootstrap.over_classes(values)) == pytest.approx(theirs.stats[0], abs=1e-12)
    assert float(bootstrap.over_classes(values[:1])) == pytest.approx(theirs.stats[1], abs=1e-12)


def test_weights_of_nought_and_one_are_a_slice(tmp_path: Path) -> None:
    truth, results = scene(9, 40, 3, 4.0)
    among = np.arange(40) % 3 == 0
    values = bootstrap.weighted_ap(bootstrap.weighable(table(tmp_path, truth, results)), among.astype(np.int64))
    theirs = by_pycocotools(*copied(truth, results, among.astype(int).tolist()))
    assert float(bootstrap.over_classes(values)) == pytest.approx(theirs.stats[0], abs=1e-12)


def test_the_same_seed_draws_the_same_and_versions_are_drawn_together(tmp_path: Path) -> None:
    of = table(tmp_path, *scene(2, 20, 2))
    once, again = (bootstrap.resampled([of, of], 20, seed=4) for _ in range(2))
    assert np.array_equal(once, again, equal_nan=True)
    assert np.array_equal(once[0], once[1], equal_nan=True)
    assert not np.array_equal(once[0], bootstrap.resampled([of], 20, seed=5)[0], equal_nan=True)


def test_a_class_that_no_drawn_image_has_is_not_computed(tmp_path: Path) -> None:
    of = table(tmp_path, *scene(2, 20, 2))
    values = bootstrap.weighted_ap(bootstrap.weighable(of), np.zeros(20, dtype=np.int64))
    assert np.isnan(values).all()
    assert np.isnan(bootstrap.over_classes(values))


@pytest.mark.parametrize("crowd", [0.0, 0.1])
def test_each_range_of_sizes_is_the_references(tmp_path: Path, crowd: float) -> None:
    truth, results = scene(5, 120, 3, crowd=crowd)
    of = table(tmp_path, truth, results)
    reference = by_pycocotools(truth, results).stats[3:6]
    ones = np.ones(120, dtype=np.int64)
    ours = [
        float(bootstrap.over_classes(bootstrap.weighted_ap(bootstrap.weighable(of, size), ones)))
        for size in (1, 2, 3)
    ]
    assert ours == pytest.approx(reference.tolist(), abs=1e-12)
