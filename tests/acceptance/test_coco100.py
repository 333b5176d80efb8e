"""Real COCO truth and results beside the answers of COCO's own evaluator, tidecv and netcal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_worlds import by_pycocotools

from monitor.cli.main import main
from monitor.golden.dataset import read_coco, read_results
from monitor.stats import calibration
from monitor.stats.detection import curves
from monitor.stats.matching import HIT, match

DATA = os.environ.get("MONITOR_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="MONITOR_TEST_DATA does not name a folder with coco100")
FOLDER = Path(DATA or "") / "coco100"
TRUTH, RESULTS = FOLDER / "instances_val2014_100_bbox.json", FOLDER / "instances_val2014_fakebbox100_results.json"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def test_the_command_says_the_sixteen_digit_answers(
    expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["golden", "evaluate", str(TRUTH), str(RESULTS), "--json", "--bootstrap", "10"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["stats"]["AP"] == 0.5045806987249628
    for name, value in expected["stats"].items():
        assert said["stats"][name] == pytest.approx(value, abs=1e-12)
    assert said["per_class"].keys() == expected["per_class"].keys()
    for key, values in expected["per_class"].items():
        for name, value in values.items():
            told = said["per_class"][key][name]
            assert (-1.0 if told is None else told) == pytest.approx(value, abs=1e-12)
    assert said["calibration"]["all"]["d_ece"] == pytest.approx(expected["d_ece_iou50_netcal_1.4.0"]["25"], abs=1e-12)
    assert {kind: said["taxonomy"][kind] for kind in expected["tide_counts"]} == expected["tide_counts"]


def test_the_arrays_are_the_reference_own() -> None:
    golden = read_coco(TRUTH)
    found = read_results(RESULTS, golden)
    table = match(golden.truth, found, len(golden.images), len(golden.classes))
    ours = curves(table)
    theirs = by_pycocotools(json.loads(TRUTH.read_text()), json.loads(RESULTS.read_text())).eval
    for name in ("precision", "recall", "scores"):
        assert np.abs(getattr(ours, name) - theirs[name]).max() <= 1e-12


@pytest.mark.parametrize("bins", ["10", "20", "25"])
def test_d_ece_is_netcals_at_any_number_of_bins(expected: dict[str, Any], bins: str) -> None:
    golden = read_coco(TRUTH)
    found = read_results(RESULTS, golden)
    table = match(golden.truth, found, len(golden.images), len(golden.classes))
    right = table.states() == HIT
    of = calibration.reliability(table.found.score, right, np.zeros(right.size), int(bins))
    assert calibration.d_ece(of) == pytest.approx(expected["d_ece_iou50_netcal_1.4.0"][bins], abs=1e-12)
