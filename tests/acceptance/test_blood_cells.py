"""The shipped blood cells' detector on the real test split: how good it is, and what 72 images cannot say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.main import main

pytest.importorskip("onnxruntime", reason="the example's detector needs the extra 'cpu'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "blood-cells"
BCCD = Path(os.environ.get("MONITOR_TEST_DATA", "absent")) / "bccd"
LOW_LIGHT = "recall of RBC where lighting=low"
pytestmark = pytest.mark.skipif(not BCCD.is_dir(), reason="MONITOR_TEST_DATA does not name a folder with bccd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real split, its darkened copy, and what the model finds in both."""
    sys.path.insert(0, str(EXAMPLE))
    import golden_sets

    made = tmp_path_factory.mktemp("blood-cells")
    golden_sets.darken(BCCD, golden_sets.copy(BCCD, "test", made), golden_sets.LIGHT)
    words = ["golden", "run", str(golden_sets.contract(made)), "--no-store", "--output"]
    assert main([*words, str(made / "scored")]) == 0
    assert main([*words, str(made / "scored-dark"), "--challenge"]) == 0
    yield made
    sys.path.remove(str(EXAMPLE))
    sys.modules.pop("golden_sets", None)


def cells(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """What the gate says of a set, by its exit code and cells."""
    found = folder / ("scored" if name == "test" else f"scored-{name}") / "detections.json"
    words = [str(folder / f"{name}.json"), str(found), "--criteria", str(folder / "blood-cells.toml")]
    code = main(["golden", "gate", *words, "--bootstrap", "200", "--json"])
    return code, {one["cell"]: one for one in json.loads(capsys.readouterr().out)["criteria"]}


def test_the_model_finds_real_cells(folder: Path) -> None:
    numbers = json.loads((folder / "scored" / "evaluation.json").read_text())
    assert (numbers["images"], numbers["objects"]) == (72, 945)
    assert numbers["stats"]["AP50"] >= 0.75
    assert {one["name"] for one in numbers["per_class"].values() if one["AP50"] > 0.5} == {"Platelets", "RBC", "WBC"}
    assert (EXAMPLE / "detector.onnx").stat().st_size < 1_000_000


def test_what_72_images_cannot_say_is_insufficient(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = cells(folder, "test", capsys)
    assert code == 2
    whole = said["map50"]
    # The average meets its bound, and so does its lower end; under 300 images that end is not to be relied on.
    assert whole["value"] > whole["low"] > whole["at_least"] == 0.75
    assert (whole["verdict"], whole["settles_at"]) == ("insufficient", 300)
    assert said[LOW_LIGHT]["verdict"] == "insufficient"
    assert said[LOW_LIGHT]["note"].startswith("no image has lighting=low")
    assert said["recall of WBC"]["verdict"] == "pass"


def test_the_darkened_copy_fails_in_low_light(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = cells(folder, "dark", capsys)
    assert code == 1
    assert said[LOW_LIGHT]["verdict"] == "fail"
    assert said[LOW_LIGHT]["high"] < said[LOW_LIGHT]["at_least"]
    assert said[LOW_LIGHT]["n"] == 805


def test_the_splits_share_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import golden_sets

    golden_sets.copy(BCCD, "train", folder)
    capsys.readouterr()
    assert main(["golden", "leakage", str(folder / "test.json"), str(folder / "train.json")]) == 0
    assert "nothing shared" in capsys.readouterr().out
