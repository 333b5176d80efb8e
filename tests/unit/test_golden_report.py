"""The report: what it holds adds up, what changed is told, and its page needs nothing from elsewhere."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_worlds import scene, written
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monitor.cli.main import main
from monitor.golden import charts, page, report, score
from monitor.golden.frames import worst
from monitor.golden.pictures import Folder
from monitor.golden.sets import GoldenSet
from monitor.spec.load import parse_contract
from monitor.stats.matching import Found

TRUTH: dict[str, Any] = {
    "images": [
        {"id": i, "file_name": f"{i}.png", "slices": {"lighting": "low" if i < 3 else "day"}} for i in (1, 2, 3)
    ],
    "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [60, 60, 20, 20]},
        {"id": 3, "image_id": 2, "category_id": 2, "bbox": [10, 10, 20, 20]},
        {"id": 4, "image_id": 3, "category_id": 1, "bbox": [10, 10, 20, 20]},
        {"id": 5, "image_id": 3, "category_id": 1, "bbox": [70, 10, 20, 20], "iscrowd": 1},
    ],
}


def said(image: int, label: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": label, "bbox": box, "score": score}


# Image 1: the dent is found, the scratch is called a dent. Image 2: missed. Image 3: found, and a crowd met.
NOW = [
    said(1, 1, [10, 10, 20, 20], 0.9),
    said(1, 1, [60, 60, 20, 20], 0.8),
    said(2, 2, [10, 10, 20, 20], 0.3),
    said(3, 1, [11, 10, 20, 20], 0.7),
    said(3, 1, [72, 10, 8, 8], 0.95),
]
# Before, the scratch of image 2 was found and the dent of image 3 was not.
BEFORE = [said(1, 1, [10, 10, 20, 20], 0.9), said(2, 2, [10, 10, 20, 20], 0.9)]


def asked(golden: GoldenSet, criteria: str = "", frames: int = 12) -> report.Asked:
    limits, ones = np.full(len(golden.classes), 0.5), np.ones(len(golden.classes))
    head = '[model]\nname = "m"\n[cameras]\npolicy = "open"\n' + "".join(
        f"[[classes]]\nname = {name!r}\n" for name in golden.class_names
    )
    contract = parse_contract(f"{head}\n[[acceptance]]\n{criteria}") if criteria else None
    return report.Asked(limits, (5 * ones, ones), contract, times=20, frames=frames)


@pytest.fixture
def small(tmp_path: Path) -> tuple[GoldenSet, Found, Found]:
    _, before = written(tmp_path, TRUTH, BEFORE)
    return *written(tmp_path, TRUTH, NOW), before


def test_the_worst_frames_by_hand(small: tuple[GoldenSet, Found, Found]) -> None:
    golden, now, _ = small
    frames = report.report(golden, now, asked(golden)).frames
    # A miss costs 5, a false alarm 1: image 1 has one of each, image 2 a miss, image 3 neither.
    assert [(one.image, one.file, one.cost, one.missed, one.wrong) for one in frames] == [
        (1, "1.png", 6.0, 1, 1),
        (2, "2.png", 5.0, 1, 0),
    ]
    assert [(mark.kind, mark.class_name, mark.score) for mark in frames[0].marks] == [
        ("missed", "scratch", None),
        ("wrong", "dent", 0.8),
        ("right", "dent", 0.9),
    ]
    assert frames[1].marks[0].box == (10.0, 10.0, 20.0, 20.0)


def test_what_changed_by_hand(small: tuple[GoldenSet, Found, Found]) -> None:
    golden, now, before = small
    demand = 'name = "scratches"\nmeasure = "recall"\nclass = "scratch"\nat_least = 0.4'
    told = report.report(golden, now, asked(golden, demand), before).changes
    assert told is not None
    assert (told.lost, told.won) == (1, 1)
    assert {(one.image, one.lost, one.won) for one in told.turned} == {(2, 1, 0), (3, 0, 1)}
    assert told.cells == (("scratches", "insufficient", "fail"),)
    # Of two scratches one was found before and none now: two are too few to say that it fell.
    assert told.fell == ()


def test_what_fell_is_named(tmp_path: Path) -> None:
    truth, results = scene(4, 320, 2, 2.0)
    for image in truth["images"]:
        image["slices"] = {"lighting": "night" if image["id"] % 2 else "day"}
    worse = [one for one in results if one["category_id"] == 1 or one["image_id"] % 2 == 0 or one["score"] < 0.5]
    golden, before = written(tmp_path, truth, results)
    told = report.report(golden, written(tmp_path, truth, worse)[1], asked(golden), before).changes
    assert told is not None
    assert told.fell[0].name == "recall of class 2 where lighting=night"
    assert told.fell[0].now == 0.0
    assert not any("class 1" in one.name for one in (*told.fell, *told.rose))
    again = report.report(golden, before, asked(golden), before).changes
    assert again is not None
    assert (again.lost, again.won, again.fell, again.rose, again.turned) == (0, 0, (), (), ())


def test_the_curve_by_hand(small: tuple[GoldenSet, Found, Found]) -> None:
    golden, now, _ = small
    dent, scratch = report.report(golden, now, asked(golden)).curves
    # Dents by score: right, wrong, right (the crowd's counts nowhere): 1, 1/2, 2/3, of two.
    assert [dent.precision[i] for i in (0, 50)] == pytest.approx([1.0, 1.0])
    assert dent.precision[51] == dent.precision[100] == pytest.approx(2 / 3)
    assert (dent.at_recall, dent.at_precision) == (1.0, pytest.approx(2 / 3))
    # The one scratch that is found lies under the threshold.
    assert (scratch.at_recall, scratch.at_precision) == (0.0, None)
    assert scratch.precision[50:52] == pytest.approx((1.0, 0.0))


@settings(derandomize=True, max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), crowd=st.sampled_from((0.0, 0.2)))
def test_the_marks_of_all_frames_are_the_counts(tmp_path_factory: Any, seed: int, crowd: float) -> None:
    golden, found = written(tmp_path_factory.mktemp("set"), *scene(seed, 25, 3, 4.0, crowd))
    ask = asked(golden, frames=25)
    table = score.table_of(golden, found)
    counts = score.evaluate(golden, found, ask.thresholds, 0)["operating_points"]["all"]
    frames = worst(golden, table, ask.thresholds, ask.costs, 25)
    assert sum(one.missed for one in frames) == counts["fn"]
    assert sum(one.wrong for one in frames) == counts["fp"]
    assert [one.cost for one in frames] == sorted((5 * one.missed + one.wrong for one in frames), reverse=True)


class Seen(HTMLParser):
    """What a page asks for from outside itself, its scripts, its open tags and its images."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.scripts = self.images = self.boxes = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attrs)
        self.images += tag == "img"
        self.boxes += tag == "rect"
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "xlink:href", "data") and not (value or "").startswith("data:"):
                self.outside.append(f"{tag} {name}={value}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(small: tuple[GoldenSet, Found, Found], tmp_path: Path) -> None:
    golden, now, before = small
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (1200, 900), (90, 90, 90)).save(tmp_path / "frames" / "1.png")
    text = page.page(report.report(golden, now, asked(golden), before), "v2", Folder(tmp_path / "frames"))
    seen = Seen(text)
    assert (seen.outside, seen.scripts, seen.open) == ([], 0, [])
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    # Image 2 has no file: its boxes are drawn on an empty field.
    assert (seen.images, seen.boxes) == (1, 4)
    assert 'viewBox="0 0 1200 900"' in text
    assert 'viewBox="0 0 31 31"' in text
    assert "prefers-color-scheme: dark" in text


def test_what_files_say_is_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    truth = {**TRUTH, "categories": [{"id": 1, "name": bad}, {"id": 2, "name": "a&b"}]}
    truth["images"] = [{**one, "file_name": f"{bad}{one['id']}.png"} for one in TRUTH["images"]]
    golden, now = written(tmp_path, truth, NOW)
    text = page.page(report.report(golden, now, asked(golden)), bad)
    assert Seen(text).scripts == 0
    assert "&lt;script&gt;" in text


def test_a_set_without_objects_or_detections_has_a_page(tmp_path: Path) -> None:
    for truth, results in (({**TRUTH, "annotations": []}, NOW), (TRUTH, []), ({**TRUTH, "annotations": []}, [])):
        golden, found = written(tmp_path, truth, results)
        told = report.report(golden, found, asked(golden))
        json.dumps(told.plain(), allow_nan=False)
        assert Seen(page.page(told, "v1")).open == []


def test_many_classes_show_their_worst(tmp_path: Path) -> None:
    golden, found = written(tmp_path, *scene(3, 150, 30, 6.0))
    told = report.report(golden, found, asked(golden))
    shown = charts.shown(told.curves)
    rest = [curve.ap50 for k, curve in enumerate(told.curves) if k not in shown and curve.ap50 is not None]
    assert len(shown) == charts.MOST_CLASSES
    assert max(told.curves[k].ap50 or 0.0 for k in shown) <= min(rest)
    confused = charts.confusion(told.numbers["confusion"])
    matrix = np.array(told.numbers["confusion"]["matrix"])[:-1, :-1]
    assert confused.rows == ()
    assert confused.largest[0][2] == (matrix - np.diag(np.diag(matrix))).max()
    assert len(page.page(told, "v1")) < 400_000


def test_a_dot_has_its_share_of_the_area() -> None:
    bins = [{"score": 0.1, "precision": 0.0, "n": 25}, {"score": 0.9, "precision": 1.0, "n": 100}]
    small, large = charts.reliability_dots(bins)
    assert large.radius == charts.LARGEST_DOT
    assert small.radius == pytest.approx(charts.LARGEST_DOT / 2)
    assert (charts.y(1.0), charts.y(0.0)) == (charts.TOP, charts.HEIGHT - charts.BOTTOM)


def test_the_command_writes_all_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("truth", TRUTH), ("now", NOW), ("before", BEFORE)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "asked.toml").write_text(
        '[[classes]]\nname = "scratch"\nthreshold = 0.25\n\n[[acceptance]]\nname = "found"\nmeasure = "recall"\n'
        'class = "scratch"\nslice = { lighting = "low" }\nat_least = 0.9\n'
    )
    words = ["golden", "report", *(str(tmp_path / f"{name}.json") for name in ("truth", "now"))]
    words += ["--contract", str(tmp_path / "asked.toml"), "--before", str(tmp_path / "before.json")]
    words += ["--bootstrap", "20", "--html", str(tmp_path / "page.html")]
    assert main(words) == 0
    assert "truth: fail" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (cell,) = told["ruling"]["criteria"]
    assert cell["cell"] == "recall of scratch where lighting=low"
    # The contract's threshold of 0.25 lets the scratch of image 2 count: one of two.
    assert (cell["value"], cell["n"], told["ruling"]["verdict"]) == (0.5, 2, "fail")
    assert told["evaluation"]["operating_points"]["per_class"]["2"]["threshold"] == 0.25
    assert "<h1>now</h1>" in (tmp_path / "page.html").read_text()


def test_a_manifest_stands_for_its_truth_and_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for image, grey in ((1, 20), (2, 20), (3, 120)):
        Image.new("RGB", (100, 100), (grey, grey, grey)).save(images / f"{image}.png")
    bare = {**TRUTH, "images": [{"id": one["id"], "file_name": one["file_name"]} for one in TRUTH["images"]]}
    (tmp_path / "truth.json").write_text(json.dumps(bare))
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "detections.json").write_text(json.dumps(NOW))
    manifest, page_ = tmp_path / "set.json", tmp_path / "page.html"
    words = ["manifest", str(images), "--truth", str(tmp_path / "truth.json"), "--name", "small", "--version", "1"]
    assert main(["golden", *words, "--output", str(manifest)]) == 0
    capsys.readouterr()
    words = ["report", str(manifest), str(tmp_path / "night" / "detections.json"), "--bootstrap", "20", "--json"]
    assert main(["golden", *words, "--html", str(page_)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["set"] == "small 1"
    assert {value: one["images"] for value, one in told["evaluation"]["slices"]["lighting"].items()} == {
        "low": 2,
        "normal": 1,
    }
    assert "<h1>night</h1>" in page_.read_text()


def test_a_caption_counts_by_class(small: tuple[GoldenSet, Found, Found]) -> None:
    golden, now, _ = small
    first, second = report.report(golden, now, asked(golden)).frames
    assert page.caption(first) == "missed 1 scratch; wrong 1 dent"
    assert page.caption(second) == "missed 1 scratch"
