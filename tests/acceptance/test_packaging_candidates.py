"""The shipped candidates on the drawn golden set: the better one passes, the other is stopped in the right cell."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monitor.cli.main import main
from monitor.golden import score
from monitor.golden.dataset import read_coco, read_results

pytest.importorskip("onnxruntime", reason="the example's detector needs the extra 'cpu'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "packaging-line"
VERSIONS = ("detector", "candidate", "mislabelled")
CELL = "precision of carton where lighting=low"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The golden set with what each version finds in it."""
    sys.path.insert(0, str(EXAMPLE))
    import golden_sets

    folder = tmp_path_factory.mktemp("packaging") / "golden"
    for name in golden_sets.SETS:
        golden_sets.write(name, folder.parent / name)
    for version in VERSIONS:
        golden_sets.detect(EXAMPLE / f"{version}.onnx", folder)
    golden_sets.declare(folder.parent)
    yield folder
    sys.path.remove(str(EXAMPLE))
    for name in ("golden_sets", "plant", "detector"):
        sys.modules.pop(name, None)


def gate(golden: Path, version: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    words = ["gate", str(golden / "truth.json"), str(golden / f"{version}.json")]
    code = main(["golden", *words, "--criteria", str(EXAMPLE / "contract.toml"), "--bootstrap", "200", "--json"])
    return code, {cell["cell"]: cell for cell in json.loads(capsys.readouterr().out)["criteria"]}


def test_the_better_candidate_passes(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, cells = gate(golden, "candidate", capsys)
    assert code == 0
    assert {cell["verdict"] for cell in cells.values()} == {"pass"}


def test_the_mislabelled_one_is_stopped_in_its_cell_alone(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, cells = gate(golden, "mislabelled", capsys)
    assert code == 1
    assert [name for name, cell in cells.items() if cell["verdict"] != "pass"] == [CELL]
    assert cells[CELL]["n"] >= 200
    assert cells[CELL]["high"] < 0.9
    _, active = gate(golden, "detector", capsys)
    # By the average alone it would have been taken for an advance.
    assert cells["map50"]["value"] > active["map50"]["value"]
    assert cells[CELL]["value"] < active[CELL]["value"]


def test_the_run_of_its_file_comes_to_the_same(golden: Path, tmp_path: Path) -> None:
    words = [
        "--model",
        str(EXAMPLE / "mislabelled.onnx"),
        "--version",
        "v1.1",
        "--no-store",
        "--output",
        str(tmp_path),
    ]
    assert main(["golden", "run", str(golden.parent / "packaging-line.toml"), *words]) == 0
    assert json.loads((tmp_path / "ruling.json").read_text())["failed"] == [CELL]
    # Beside the example's own way of running it: another preprocessing, decoding and suppression.
    truth = read_coco(golden / "truth.json")
    limits = np.full(3, 0.5)
    run, own = (
        score.evaluate(truth, read_results(path, truth), limits, 0)
        for path in (tmp_path / "detections.json", golden / "mislabelled.json")
    )
    assert run["stats"]["AP"] == pytest.approx(own["stats"]["AP"], abs=1e-3)
    counts = [one["operating_points"]["all"] for one in (run, own)]
    assert all(abs(counts[0][name] - counts[1][name]) <= 2 for name in ("tp", "fp", "fn"))


def test_the_report_names_what_fell(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(golden / f"{name}.json") for name in ("truth", "mislabelled")]
    words += ["--before", str(golden / "candidate.json"), "--contract", str(EXAMPLE / "contract.toml")]
    words += [
        "--pictures",
        str(golden / "images"),
        "--html",
        str(tmp_path / "page.html"),
        "--bootstrap",
        "50",
        "--json",
    ]
    assert main(["golden", "report", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert ["cartons in low light are right", "pass", "fail"] in told["changes"]["cells"]
    assert CELL in [one["name"] for one in told["changes"]["fell"]]
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64") == len(told["worst_frames"]) == 12


def test_the_set_is_drawn_alike(golden: Path) -> None:
    import golden_sets

    truth = json.loads((golden / "truth.json").read_text())
    for number, (_, scene, (frame, boxes, _)) in enumerate(islice(golden_sets.frames("golden"), 60), 1):
        image = truth["images"][number - 1]
        with Image.open(golden / image["file_name"]) as opened:
            assert np.array_equal(np.asarray(opened), frame)
        assert image["camera"] == scene.camera
        kept = [one["bbox"] for one in truth["annotations"] if one["image_id"] == number]
        assert [[x, y, x + w, y + h] for x, y, w, h in kept] == boxes.tolist()
    low = {image["id"] for image in truth["images"] if image["slices"]["lighting"] == "low"}
    assert sum(one["image_id"] in low and one["category_id"] == 1 for one in truth["annotations"]) >= 200
