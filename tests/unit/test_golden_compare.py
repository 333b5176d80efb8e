"""How often a version is called worse: never more than the level when it is not, nearly always when it is."""

from __future__ import annotations

import numpy as np
import pytest
from golden_worlds import Plant

from monitor.golden import compare
from monitor.golden.sets import GoldenSet
from monitor.stats import bootstrap, matching
from monitor.stats.detection import curves, stats

CLASSES = 4
GOOD, WORSE = 0.05, 0.055
"""Errors of boxes as shares of their size; between them lie 0.03 of AP, and next to nothing of AP50."""


def versions(seed: int, images: int, *spreads: float) -> tuple[GoldenSet, list[matching.Table]]:
    rng = np.random.default_rng(seed)
    plant = Plant.drawn(rng, images, CLASSES)
    names = tuple(f"class {k}" for k in range(CLASSES))
    golden = GoldenSet("plant", tuple(range(images)), tuple(range(CLASSES)), names, plant.truth, {})
    found = [plant.version(rng, spread) for spread in spreads]
    return golden, [matching.match(plant.truth, one, images, CLASSES) for one in found]


def judged(seed: int, *spreads: float) -> compare.Comparison:
    golden, tables = versions(seed, 300, *spreads)
    return compare.compare(golden, tables[0], tables[1], margin=0.005, times=50, seed=seed)


def test_the_worse_model_of_these_tests_has_lost_3_points() -> None:
    _, tables = versions(0, 8000, GOOD, WORSE)
    good, worse = (stats(curves(table)) for table in tables)
    assert good["AP"] - worse["AP"] == pytest.approx(0.03, abs=0.003)
    assert abs(good["AP50"] - worse["AP50"]) < 0.005


def test_an_unchanged_model_is_hardly_ever_called_worse() -> None:
    # 200 golden sets; at a level of 5 % ten are nominal.
    assert sum(judged(1000 + i, GOOD, GOOD).verdict == compare.DROP for i in range(200)) <= 10


def test_a_drop_of_3_points_on_300_images_is_called() -> None:
    assert sum(judged(5000 + i, GOOD, WORSE).verdict == compare.DROP for i in range(60)) >= 57


def test_under_300_images_nothing_is_held() -> None:
    golden, tables = versions(3, 120, GOOD, GOOD)
    said = compare.compare(golden, tables[0], tables[0], times=20)
    assert said.verdict == "insufficient"
    assert said.rows[0].difference is not None
    assert said.rows[0].difference.value == 0.0
    assert said.rows[0].settles_at == bootstrap.FEWEST_IMAGES
    assert {row.verdict for row in said.rows} == {"insufficient"}


def test_a_class_without_truth_is_not_compared() -> None:
    golden, tables = versions(4, 50, GOOD, WORSE)
    none = golden.truth.label == 3
    hidden = matching.Truth(
        golden.truth.image, golden.truth.label, golden.truth.box, golden.truth.area, golden.truth.crowd, none
    )
    other = [matching.match(hidden, table.found, 50, CLASSES) for table in tables]
    said = compare.compare(golden, other[0], other[1], times=20)
    last = said.rows[-1]
    assert (last.before, last.after, last.difference, last.verdict) == (None, None, None, "insufficient")
