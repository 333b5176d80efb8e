"""`monitor golden`: every number, comparisons, thresholds and the gate, with their exit codes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from golden_worlds import scene

from monitor.cli.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set by day and night with a good model's results, and those of one that fails on class 2 at night."""
    folder = tmp_path_factory.mktemp("golden")
    truth, results = scene(4, 360, 2, 2.0)
    for image in truth["images"]:
        image["slices"] = {"lighting": "night" if image["id"] % 2 else "day"}
    worse = [one | {"category_id": 1} if one["category_id"] == 2 and one["image_id"] % 2 else one for one in results]
    for name, content in {"truth": truth, "results": results, "worse": worse}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def asked(files: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["golden", *[str(files / word) if word.endswith((".json", ".toml")) else word for word in words]])
    return code, capsys.readouterr().out


def test_evaluate_says_every_number(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("evaluate", "truth.json", "results.json", "--bootstrap", "20", "--thresholds", "0.4", "class 2=0.6")
    code, text = asked(files, capsys, *words)
    assert code == 0
    assert "lighting=night" in text
    code, out = asked(files, capsys, *words, "--json")
    numbers: dict[str, Any] = json.loads(out)
    assert code == 0
    assert " ".join(numbers["stats"]) == "AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl"
    assert {"AP", "AP50", "AR"} <= set(numbers["per_class"]["1"])
    points = numbers["operating_points"]
    assert [points["per_class"][key]["threshold"] for key in "12"] == [0.4, 0.6]
    assert [step["threshold"] for step in points["table"]][::12] == [0.3, 0.9]
    assert points["all"]["tp"] == sum(points["per_class"][key]["tp"] for key in "12")
    assert points["all"]["precision_low"] < points["all"]["precision"] < points["all"]["precision_high"]
    nights = numbers["slices"]["lighting"]
    assert nights["night"]["all"]["tp"] + nights["day"]["all"]["tp"] == points["all"]["tp"]
    assert numbers["intervals"]["AP"][0] < numbers["stats"]["AP"] < numbers["intervals"]["AP"][1]
    assert {"Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"} <= set(numbers["taxonomy"])
    assert numbers["calibration"]["floor"]["n"] <= numbers["calibration"]["all"]["n"] == numbers["detections"]
    assert 0 < numbers["lrp"]["oLRP"] < 1
    assert sum(map(sum, numbers["confusion"]["matrix"])) >= points["all"]["tp"]


def test_what_was_not_computed_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "dent"}]}
    for name, content in (("truth", truth), ("results", [])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    code, out = asked(tmp_path, capsys, "evaluate", "truth.json", "results.json", "--json", "--bootstrap", "5")
    numbers = json.loads(out)
    assert code == 0
    assert set(numbers["stats"].values()) == {None}
    assert numbers["operating_points"]["all"]["precision"] is None
    assert numbers["operating_points"]["all"]["recall_low"] is None
    assert numbers["calibration"]["all"]["d_ece"] is None
    assert numbers["lrp"]["oLRP"] is None
    assert asked(tmp_path, capsys, "evaluate", "truth.json", "results.json", "--bootstrap", "5")[0] == 0


def test_compare_finds_the_class_that_dropped(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = asked(files, capsys, "compare", "truth.json", "results.json", "results.json", "--bootstrap", "50")
    assert (code, out.splitlines()[-1]) == (0, "verdict: held")
    words = ("compare", "truth.json", "results.json", "worse.json", "--bootstrap", "100", "--json")
    code, out = asked(files, capsys, *words)
    said = json.loads(out)
    assert (code, said["verdict"]) == (1, "drop")
    assert {row["class_name"]: row["verdict"] for row in said["rows"] if row["class_name"]}["class 2"] == "drop"
    code, out = asked(files, capsys, "compare", "truth.json", "worse.json", "results.json", "--bootstrap", "100")
    assert "drop" not in out


def test_thresholds_follow_the_costs_and_are_tried_on_another_split(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proposed = []
    for costs in (("20", "1"), ("1", "20")):
        words = ("thresholds", "truth.json", "results.json", "--miss-cost", costs[0], "--false-alarm-cost", costs[1])
        code, out = asked(files, capsys, *words, "--json")
        said = json.loads(out)
        assert code == 0
        classes = tomllib.loads(said["proposal"])["classes"]
        assert [one["threshold"] for one in classes] == [one["proposed"] for one in said["choices"]]
        assert all(one["saved"] == one["cost_in_use"] - one["cost_chosen"] for one in said["choices"])
        proposed.append([one["threshold"] for one in classes])
    assert max(proposed[0]) < 0.5 < min(proposed[1])
    code, out = asked(
        files, capsys, "thresholds", "truth.json", "results.json", "--verify-truth", "truth.json",
        "--verify-results", "results.json", "--thresholds", "0.9",
    )  # fmt: skip
    assert code == 0
    assert "in place of 0.90" in out


MISSES_COST = """# what it is about
[model]
name = "m"
[cameras]
policy = "open"

[[classes]]
name = "class 1"
include = "threshold = 0.1 is no key here"
threshold = 0.9       # as it was
miss_cost = 20.0

[[classes]]
name = "class 2"
false_alarm_cost = 20.0

[[alerts]]
name = "class 1"
signal = "confidence"
measure = "psi"
above = 0.2
"""


def test_a_contract_is_proposed_with_its_own_costs_and_all_else_as_it_was(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "costs.toml").write_text(MISSES_COST)
    words = ("thresholds", "truth.json", "results.json", "--contract", "costs.toml", "--output", "proposed.toml")
    code, out = asked(files, capsys, *words, "--json")
    assert code == 0
    said = json.loads(out)
    text = (files / "proposed.toml").read_text()
    assert text == said["proposal"]
    proposed, before = tomllib.loads(text), tomllib.loads(MISSES_COST)
    chosen = {one["class_name"]: one for one in said["choices"]}
    # Misses of class 1 cost twenty times its false alarms, and the other way round with class 2.
    assert chosen["class 1"]["in_use"] == 0.9
    assert chosen["class 1"]["proposed"] < 0.5 < chosen["class 2"]["proposed"]
    for own, was in zip(proposed["classes"], before["classes"], strict=True):
        assert own.pop("threshold") == chosen[own["name"]]["proposed"]
        was.pop("threshold", None)
    assert proposed == before
    assert text.startswith("# what it is about\n")
    assert chosen["class 1"]["reason"] in text
    # The table says for every threshold of each class what it would cost where the choice was made.
    for name, choice in chosen.items():
        steps = [one for one in said["table"] if one["class_name"] == name]
        assert [one["threshold"] for one in steps] == [round(0.3 + 0.05 * i, 2) for i in range(13)]
        miss, false_alarm = (20, 1) if name == "class 1" else (1, 20)
        assert all(one["cost"] == miss * one["missed"] + false_alarm * one["wrong"] for one in steps)
        cheapest = min(one["cost"] for one in steps)
        assert next(one["cost"] for one in steps if one["threshold"] == choice["chosen"]) == cheapest


def test_a_contract_whose_text_cannot_be_proposed_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inline = 'classes = [{ name = "class 1", threshold = 0.9 }, { name = "class 2" }]\n' + MISSES_COST
    (files / "inline.toml").write_text(inline[: inline.index("[[classes]]")])
    code = main(
        [
            "golden",
            "thresholds",
            *(str(files / name) for name in ("truth.json", "results.json")),
            "--contract",
            str(files / "inline.toml"),
        ]
    )
    assert code == 2
    assert "one key a line" in capsys.readouterr().err


CRITERION = '[[acceptance]]\nname = "{}"\nmeasure = "{}"\n{}\n'
NIGHT = 'class = "class 2"\nslice = { lighting = "night" }\nat_least = 0.3'


def gate(
    folder: Path, capsys: pytest.CaptureFixture[str], results: str, *criteria: tuple[str, str]
) -> tuple[int, Any]:
    text = "".join(CRITERION.format(f"criterion {i}", *one) for i, one in enumerate(criteria))
    (folder / "criteria.toml").write_text(text)
    words = ("gate", "truth.json", results, "--criteria", "criteria.toml", "--bootstrap", "60", "--json")
    code, out = asked(folder, capsys, *words)
    return code, json.loads(out)


def test_the_gate_passes_fails_and_waits(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    low = (
        ("map50", "at_least = 0.1"),
        ("recall", NIGHT),
        ("f1", "at_least = 0.2"),
        ("calibration_error", "at_most = 0.9"),
    )
    code, said = gate(files, capsys, "results.json", *low)
    assert (code, said["verdict"]) == (0, "pass")
    assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in said["criteria"])
    code, said = gate(files, capsys, "worse.json", *low)
    assert (code, said["verdict"]) == (1, "fail")
    assert [cell["cell"] for cell in said["criteria"] if cell["verdict"] == "fail"] == [
        "recall of class 2 where lighting=night"
    ]
    value = next(cell["value"] for cell in said["criteria"] if cell["cell"] == "map50")
    code, said = gate(files, capsys, "worse.json", ("map50", f"at_least = {value - 0.001}"))
    assert (code, said["verdict"]) == (2, "insufficient")
    assert said["criteria"][0]["settles_at"] > 320
    code, said = gate(files, capsys, "results.json", ("latency_p95_ms", "at_most = 50"))
    assert (code, said["criteria"][0]["note"]) == (2, "results carry no latency")


def test_a_size_is_a_slice_too(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = gate(files, capsys, "results.json", ("recall", 'slice = { object_size = "large" }\nat_least = 0.1'))
    assert code == 0
    assert said["criteria"][0]["n"] > 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "truth.json", "absent.json"), "cannot be read"),
        (("evaluate", "truth.json", "results.json", "--thresholds", "high"), "write 0.5"),
        (("evaluate", "truth.json", "results.json", "--thresholds", "rust=0.5"), "has no class 'rust'"),
        (("evaluate", "truth.json", "results.json", "--confidence", "0.4"), "between 0.5 and 1"),
        (("evaluate", "truth.json", "results.json", "--images", "truth.json"), "leave it out"),
        (("compare", "truth.json", "results.json", "results.json", "--margin", "-1"), "0 or more"),
        (("compare", "truth.json", "results.json", "results.json", "--margin", "inf"), "under 1"),
        (("thresholds", "truth.json", "results.json", "--miss-cost", "nan"), "costs are finite"),
        (("thresholds", "truth.json", "results.json", "--false-alarm-cost", "inf"), "costs are finite"),
        (("thresholds", "truth.json", "results.json", "--verify-results", "results.json"), "go together"),
        (("gate", "truth.json", "results.json", "--criteria", "truth.json"), "not valid TOML"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_exit_2(
    files: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["golden", *[str(files / word) if word.endswith(".json") else word for word in words]]) == 2
    assert said in capsys.readouterr().err


def test_a_criterion_of_what_is_not_there_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, said in (
        ('class = "rust"', '"rust" is no known class'),
        ('slice = { object_size = "huge" }', "write small, medium or large"),
    ):
        (files / "criteria.toml").write_text(CRITERION.format("one", "recall", f"{line}\nat_least = 0.5"))
        paths = [str(files / name) for name in ("truth.json", "results.json")]
        assert main(["golden", "gate", *paths, "--criteria", str(files / "criteria.toml")]) == 2
        assert said in capsys.readouterr().err


def test_a_slice_that_no_image_has_is_insufficient(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dusk = 'slice = { lighting = "dusk" }\nat_least = 0.1'
    code, said = gate(files, capsys, "results.json", ("map50", "at_least = 0.1"), ("recall", dusk))
    assert (code, [cell["verdict"] for cell in said["criteria"]]) == (2, ["pass", "insufficient"])
    assert said["criteria"][1]["note"] == "no image has lighting=dusk, they have day, night"


def test_a_file_nested_too_deep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "deep.json").write_text(f'{{"info":{deep},"images":[],"annotations":[],"categories":[]}}')
    assert main(["golden", "evaluate", str(tmp_path / "deep.json"), str(tmp_path / "deep.json")]) == 2
    assert "is not COCO truth: maximum recursion depth" in capsys.readouterr().err


def test_the_gate_holds_a_version_against_the_one_in_use(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "criteria.toml").write_text(
        CRITERION.format("low bar", "map50", "at_least = 0.01") + "[release]\nmap_drop_at_most = 0.005\n"
    )
    words = ("--criteria", "criteria.toml", "--bootstrap", "60")
    code, out = asked(files, capsys, "gate", "truth.json", "worse.json", *words)
    assert code == 0
    code, out = asked(files, capsys, "gate", "truth.json", "worse.json", *words, "--before", "results.json")
    assert code == 1
    assert "failed: map50_95 fell by" in out
    code, out = asked(files, capsys, "gate", "truth.json", "results.json", *words, "--before", "worse.json", "--json")
    said = json.loads(out)
    # The other way round nothing fell: the better one passes.
    assert (code, said["verdict"], said["failed"]) == (0, "pass", [])
    assert said["comparisons"]["active version"]["verdict"] == "held"


def test_a_kept_run_and_files_are_not_asked_for_together(files: Path) -> None:
    assert main(["golden", "gate", "truth.json", "results.json", "--run", "1"]) == 2
    assert main(["golden", "gate", "truth.json"]) == 2
