"""Average precision beside COCO's own evaluator, to the bit, on sets that try every rule."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_worlds import Coco, Results, by_pycocotools, scene, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.stats.detection import EPSILON, STATS, by_class, curves, needed, stats
from monitor.stats.matching import match

IMAGE_IDS = (0, 7, 8, 1_000_000_007, 2**53)
CLASS_IDS = (0, 1, 5, 90_000_000_000)
# On a coarse grid overlaps tie; the sizes lie at and around the ends of COCO's ranges.
boxes = st.tuples(
    *[st.integers(0, 6).map(lambda n: n * 16.0)] * 2, *[st.sampled_from((16.0, 31.5, 32.0, 48.0, 96.0))] * 2
)
scores = st.sampled_from((0.0, 0.2, 0.5, 0.5, 0.9, 1.0))
areas = st.sampled_from((None, 0.0, 1024.0, 1024.5, 9216.0, 1e10, 1.1e10))


@st.composite
def sets(draw: st.DrawFn) -> tuple[Coco, Results]:
    images = draw(st.lists(st.sampled_from(IMAGE_IDS), min_size=1, max_size=4, unique=True))
    labels = draw(st.lists(st.sampled_from(CLASS_IDS), min_size=1, max_size=3, unique=True))
    where = {"image_id": st.sampled_from(images), "category_id": st.sampled_from(labels), "bbox": boxes.map(list)}
    objects = draw(
        st.lists(st.fixed_dictionaries({**where, "area": areas, "iscrowd": st.sampled_from((0, 0, 1))}), max_size=14)
    )
    results = draw(st.lists(st.fixed_dictionaries({**where, "score": scores}), max_size=20))
    annotations: list[dict[str, Any]] = []
    for i, one in enumerate(objects):
        area = one["bbox"][2] * one["bbox"][3] if one["area"] is None else one["area"]
        annotations.append({**one, "area": area, "id": i + 1})
    truth = {"images": [{"id": i} for i in images], "annotations": annotations}
    return truth | {"categories": [{"id": k, "name": f"class {k}"} for k in labels]}, results


def judged(truth: Coco, results: Results) -> None:
    theirs = by_pycocotools(truth, results)
    with tempfile.TemporaryDirectory() as folder:
        golden, found = written(Path(folder), truth, results)
    ours = curves(match(golden.truth, found, len(golden.images), len(golden.classes)))
    assert np.array_equal(ours.precision, theirs.eval["precision"])
    assert np.array_equal(ours.recall, theirs.eval["recall"])
    assert np.array_equal(ours.scores, theirs.eval["scores"])
    told = [-1.0 if value is None else value for value in stats(ours).values()]
    assert told == pytest.approx(theirs.stats.tolist(), abs=1e-12)


@settings(derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sets())
def test_any_set_has_the_arrays_of_the_reference(pair: tuple[Coco, Results]) -> None:
    judged(*pair)


@pytest.mark.parametrize(
    ("seed", "images", "classes", "objects"), [(1, 60, 4, 6.0), (2, 4, 1, 150.0), (3, 30, 40, 3.0)]
)
def test_larger_sets_too(seed: int, images: int, classes: int, objects: float) -> None:
    # The second has more than 100 detections of one class in an image.
    judged(*scene(seed, images, classes, objects, crowd=0.05))


def one_class(
    annotations: list[list[float]], detections: list[tuple[list[float], float]], tmp_path: Path, first: int = 1
) -> dict[str, float | None]:
    truth = {
        "images": [{"id": 1}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": box, "id": first + i} for i, box in enumerate(annotations)
        ],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}],
    }
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for box, score in detections]
    golden, found = written(tmp_path, truth, results)
    ours = curves(match(golden.truth, found, 1, 2))
    assert by_class(ours)[1] == {"AP": None, "AP50": None, "AR": None}
    return stats(ours)


def test_worked_by_hand(tmp_path: Path) -> None:
    # Right, wrong, right: precision 1 up to recall 1/2 (51 points of 101), then 2/3 (50 points).
    a, b, far = [0.0, 0.0, 50.0, 50.0], [100.0, 0.0, 50.0, 50.0], [300.0, 300.0, 50.0, 50.0]
    told = one_class([a, b], [(a, 0.9), (far, 0.8), (b, 0.7)], tmp_path)
    assert told["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert told["AR1"] == 0.5
    assert told["AR10"] == 1.0
    assert told["APl"] is None


def test_annotation_id_0_is_an_id_as_any(tmp_path: Path) -> None:
    box = [0.0, 0.0, 50.0, 50.0]
    assert one_class([box], [(box, 0.9)], tmp_path, first=0)["AP"] == pytest.approx(1.0, abs=1e-12)


def test_a_set_without_detections_scores_nothing_and_one_without_truth_has_no_score(tmp_path: Path) -> None:
    box = [0.0, 0.0, 50.0, 50.0]
    assert one_class([box], [], tmp_path)["AP"] == 0.0
    assert set(one_class([], [(box, 0.5)], tmp_path).values()) == {None}
    assert tuple(one_class([], [], tmp_path)) == STATS


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_hits_needed_are_the_first_that_reach_a_recall(positives: list[int]) -> None:
    for n, wanted in zip(positives, needed(np.array(positives)), strict=True):
        reached = np.arange(1, n + 1) / n
        assert np.array_equal(np.maximum(wanted - 1, 0), np.searchsorted(reached, np.linspace(0, 1, 101)))
    assert EPSILON == 2**-52
