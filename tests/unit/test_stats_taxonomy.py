"""Kinds of error, LRP and calibration: beside fixed answers of other tools, and worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_worlds import scene, written

from monitor.stats import calibration, lrp, matching, taxonomy
from monitor.stats.matching import Table

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("golden_vectors.json").read_text(encoding="utf-8"))
A = [0.0, 0.0, 100.0, 100.0]


def table(
    objects: list[tuple[int, int, list[float]]],
    said: list[tuple[int, int, float, list[float]]],
    crowds: tuple[int, ...] = (),
) -> Table:
    """Of objects (image, class, box) and detections (image, class, score, box), all from 0."""
    box = np.array([row[2] for row in objects], dtype=float).reshape(-1, 4)
    crowd = np.isin(np.arange(len(objects)), crowds)
    truth = matching.Truth(
        np.array([row[0] for row in objects], dtype=np.int64),
        np.array([row[1] for row in objects], dtype=np.int64),
        box,
        box[:, 2] * box[:, 3],
        crowd,
        crowd,
    )
    found = matching.Found(
        np.array([row[0] for row in said], dtype=np.int64),
        np.array([row[1] for row in said], dtype=np.int64),
        np.array([row[3] for row in said], dtype=float).reshape(-1, 4),
        np.array([row[2] for row in said], dtype=float),
    )
    images = 1 + max(int(side.max(initial=0)) for side in (truth.image, found.image))
    classes = 1 + max(int(side.max(initial=0)) for side in (truth.label, found.label))
    return matching.match(truth, found, images, classes)


def of_kinds(of: Table) -> dict[str, int]:
    return {kind: int(counts.sum()) for kind, counts in taxonomy.taxonomy(of).items()}


def test_the_kinds_are_counted_as_by_tidecv() -> None:
    tide = VECTORS["tide"]
    objects = [(int(i) - 1, int(k) - 1, box) for i, k, *box in tide["objects"]]
    said = [(int(i) - 1, int(k) - 1, score, box) for i, k, score, *box in tide["detections"]]
    assert min(tide["counts"].values()) >= 3
    assert of_kinds(table(objects, said)) == tide["counts"]


@pytest.mark.parametrize(
    ("said", "kind", "missed"),
    [
        ((0, 0, 0.9, [0.0, 0.0, 100.0, 40.0]), "Loc", 0),  # 0.4 with its own class
        ((0, 1, 0.9, A), "Cls", 0),
        ((0, 1, 0.9, [0.0, 0.0, 100.0, 40.0]), "Both", 1),
        ((0, 0, 0.9, [200.0, 0.0, 9.0, 9.0]), "Bkg", 1),
        ((0, 0, 0.9, [0.0, 0.0, 100.0, 50.0]), None, 0),  # 0.5 is a hit
        ((0, 0, 0.9, [0.0, 0.0, 100.0, 10.0]), "Loc", 0),  # 0.1 belongs to its own class first
        ((0, 1, 0.9, [0.0, 0.0, 100.0, 10.0]), "Bkg", 1),
    ],
)
def test_each_kind_at_its_limits(said: tuple[int, int, float, list[float]], kind: str | None, missed: int) -> None:
    expected = dict.fromkeys(taxonomy.KINDS, 0) | {"Miss": missed} | ({kind: 1} if kind else {})
    assert of_kinds(table([(0, 0, A)], [said])) == expected


def test_a_second_hit_is_a_duplicate_and_what_lies_in_a_crowd_is_nothing() -> None:
    twice = [(0, 0, 0.9, A), (0, 0, 0.8, A)]
    assert of_kinds(table([(0, 0, A)], twice))["Dupe"] == 1
    assert of_kinds(table([(0, 0, A)], twice, crowds=(0,))) == dict.fromkeys(taxonomy.KINDS, 0)


def test_only_the_kept_are_judged() -> None:
    of = table([(0, 0, A)], [(0, 0, 0.9, A), (0, 0, 0.2, [300.0, 0.0, 5.0, 5.0])])
    kept = of.found.score >= 0.5
    assert {kind: int(counts.sum()) for kind, counts in taxonomy.taxonomy(of, kept).items()} == dict.fromkeys(
        taxonomy.KINDS, 0
    )
    assert taxonomy.first_of_image(of, most=1).tolist() == [True, False]


def test_calibration_is_netcals() -> None:
    vector = VECTORS["netcal"]
    for bins, expected in vector["ece"].items():
        of = calibration.reliability(vector["score"], vector["right"], np.zeros(60), int(bins))
        assert calibration.d_ece(of) == pytest.approx(expected, abs=1e-12)
        assert int(of.n.sum()) == 60


def test_calibration_worked_by_hand() -> None:
    # Four at 0.9, three right with overlap 0.8: |0.9 - 0.75| and |0.9 - 0.75 * 0.8|; one at 0.3, wrong.
    of = calibration.reliability([0.9] * 4 + [0.3], [1, 1, 1, 0, 0], [0.8, 0.8, 0.8, 0, 0])
    assert calibration.d_ece(of) == pytest.approx(0.8 * 0.15 + 0.2 * 0.3, abs=1e-12)
    assert calibration.la_ece(of) == pytest.approx(0.8 * 0.3 + 0.2 * 0.3, abs=1e-12)
    assert calibration.d_ece(calibration.reliability([], [], [])) is None


def test_the_table_tells_who_is_right_and_the_floor_who_counts() -> None:
    of = table([(0, 0, A), (1, 0, A)], [(0, 0, 0.9, A), (0, 0, 0.4, A), (1, 0, 0.8, A), (1, 0, 0.02, A)], crowds=(1,))
    told = calibration.calibration(of)
    assert told.n == 2  # not the one that found the crowd, not the one under the floor
    assert told.d_ece == pytest.approx((0.1 + 0.4) / 2, abs=1e-12)
    value, n, images, drawn = calibration.drawn_d_ece(of, 0.05, [np.array([1, 1]), np.array([2, 0])])
    assert (value, n, images) == (pytest.approx(told.d_ece, abs=1e-12), 2, 1)
    assert drawn == pytest.approx([told.d_ece, told.d_ece], abs=1e-12)


def test_optimal_lrp_is_the_least_over_all_thresholds(tmp_path: Path) -> None:
    golden, found = written(tmp_path, *scene(8, 30, 3, 4.0, crowd=0.1))
    of = matching.match(golden.truth, found, len(golden.images), len(golden.classes))
    state, partner = of.states(), of.partners()
    for k, told in enumerate(lrp.optimal_lrp(of)):
        objects = int(((golden.truth.label == k) & ~golden.truth.crowd).sum())
        best = 1.0
        for threshold in np.unique(of.found.score):
            rows = [
                i
                for i in np.flatnonzero((of.found.label == k) & (of.found.score >= threshold))
                if state[i] != matching.IGNORED
            ]
            right = [i for i in rows if state[i] == matching.HIT]
            lost = 0.0
            for i in right:
                (x, y, w, h), (u, v, p, q) = of.found.box[i], golden.truth.box[partner[i]]
                shared = (min(x + w, u + p) - max(x, u)) * (min(y + h, v + q) - max(y, v))
                lost += (1 - shared / (w * h + p * q - shared)) / 0.5
            wrong, missed = len(rows) - len(right), objects - len(right)
            best = min(best, (lost + wrong + missed) / (len(right) + wrong + missed))
        assert told is not None
        assert told.error == pytest.approx(best, abs=1e-12)


def test_lrp_of_nothing_found_is_1_and_without_truth_not_computed() -> None:
    of = table([(0, 0, A)], [(0, 1, 0.9, A)])
    nothing, absent = lrp.optimal_lrp(of)
    assert nothing == lrp.Lrp(1.0, None, None, None, 1.0)
    assert absent is None
