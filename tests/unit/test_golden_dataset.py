"""Golden sets from files: what is read, and the sentence for each thing that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import UsageError
from monitor.golden.dataset import read_results, read_truth
from monitor.golden.manifest import read_manifest

GOOD: dict[str, Any] = {
    "images": [
        {"id": 12, "slices": {"lighting": "night"}, "camera": "cam-2"},
        {"id": 3, "slices": {"lighting": "day"}, "file_name": "b.jpg"},
    ],
    "annotations": [
        {"id": 0, "image_id": 12, "category_id": 7, "bbox": [1, 2, 3, 4]},
        {"id": 1, "image_id": 3, "category_id": 2, "bbox": [1.5, 2, 3, 4], "area": 5, "iscrowd": 1},
    ],
    "categories": [{"id": 7, "name": "dent"}, {"id": 2, "name": "scratch"}],
}
RESULT = {"image_id": 3, "category_id": 7, "bbox": [0, 0, 5, 5], "score": 0.5}


def file(folder: Path, content: Any, name: str = "truth.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_coco_is_read_in_the_order_of_ids(tmp_path: Path) -> None:
    golden = read_truth(file(tmp_path, GOOD))
    assert golden.images == (3, 12)
    assert (golden.classes, golden.class_names) == ((2, 7), ("scratch", "dent"))
    assert golden.truth.image.tolist() == [1, 0]
    assert golden.truth.label.tolist() == [1, 0]
    assert golden.truth.area.tolist() == [12.0, 5.0]
    assert golden.truth.ignored.tolist() == golden.truth.crowd.tolist() == [False, True]
    assert golden.slices["lighting"]["night"].tolist() == [False, True]
    assert golden.slices["camera"]["cam-2"].tolist() == [False, True]
    found = read_results(file(tmp_path, [RESULT], "results.json"), golden)
    assert (found.image.tolist(), found.label.tolist(), found.score.tolist()) == ([0], [1], [0.5])


def changed(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def annotation(**changes: Any) -> dict[str, Any]:
    return changed(annotations=[GOOD["annotations"][0] | changes])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not COCO truth"),
        ("[]", "not COCO truth"),
        ('{"images": []}', "annotations"),
        (changed(images=GOOD["images"] * 2), "image 3 stands twice"),
        (changed(annotations=GOOD["annotations"] * 2), "annotation 0 stands twice"),
        (changed(categories=[]), "at least one image and one class"),
        (changed(images=[{"id": 1}, {"id": "a"}]), "numbers and texts mixed"),
        (annotation(image_id=99), "image 99 is not among the set's images"),
        (annotation(category_id=99), "class 99 is not among the set's classes"),
        (annotation(bbox=[0, 0, -1, 4]), "negative width or height"),
        (annotation(bbox=[0, 0, 4]), "bbox"),
        (annotation(area=-2), "no area"),
        (annotation(iscrowd=2), "iscrowd is 2"),
    ],
)
def test_each_fault_of_truth_has_its_sentence(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_truth(file(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "not a list of COCO results"),
        ([{k: v for k, v in RESULT.items() if k != "score"}], "score"),
        ([RESULT | {"score": 1.5}], "score 1.5 is not 0 to 1"),
        ([RESULT | {"image_id": 99}], "image 99 is not among"),
        ([RESULT | {"category_id": 99}], "class 99 is not among"),
        ('[{"image_id": 3, "category_id": 7, "bbox": [0, 0, 1e999, 5], "score": 0.5}]', "not"),
        ('[{"image_id": 3, "category_id": 7, "bbox": [0, 0, NaN, 5], "score": 0.5}]', "not a list"),
    ],
)
def test_each_fault_of_results_has_its_sentence(tmp_path: Path, content: Any, said: str) -> None:
    golden = read_truth(file(tmp_path, GOOD))
    with pytest.raises(UsageError, match=said):
        read_results(file(tmp_path, content, "results.json"), golden)


def test_all_faults_are_named_up_to_ten_and_then_counted(tmp_path: Path) -> None:
    golden = read_truth(file(tmp_path, GOOD))
    with pytest.raises(UsageError, match=r"14 faults.*\n(.*\n){10}.*and 4 more"):
        read_results(file(tmp_path, [RESULT | {"score": 2}] * 14, "results.json"), golden)
    with pytest.raises(UsageError, match="cannot be read"):
        read_truth(tmp_path / "absent.json")


OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult>"
    "<bndbox><xmin>{}</xmin><ymin>10</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object>"
)


def voc(folder: Path, name: str, *objects: str) -> None:
    (folder / f"{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")


def test_pascal_voc_is_read_and_a_box_without_width_set_aside(tmp_path: Path) -> None:
    voc(tmp_path, "b", OBJECT.format("RBC", 0, 10), OBJECT.format("WBC", 1, 20))
    voc(tmp_path, "a", OBJECT.format("RBC", 0, 60))
    voc(tmp_path, "c")
    golden = read_truth(tmp_path)
    assert (golden.images, golden.classes) == (("a", "b", "c"), ("RBC", "WBC"))
    assert golden.truth.box.tolist() == [[10, 10, 50, 30], [20, 10, 40, 30]]
    assert golden.truth.ignored.tolist() == [False, True]
    assert not golden.truth.crowd.any()
    assert golden.set_aside == ("a.xml: RBC of width 0 and height 30 is no box",)
    assert read_truth(tmp_path, file(tmp_path, "b\nc.jpg\n", "split.txt")).images == ("b", "c")


def test_each_fault_of_pascal_voc_has_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no image"):
        read_truth(tmp_path)
    voc(tmp_path, "a", OBJECT.format("", 0, 10))
    with pytest.raises(UsageError, match="has no name"):
        read_truth(tmp_path)
    voc(tmp_path, "a", OBJECT.format("RBC", 0, "wide"))
    with pytest.raises(UsageError, match="not a Pascal VOC annotation"):
        read_truth(tmp_path)
    (tmp_path / "a.xml").write_text('<!DOCTYPE x [<!ENTITY y "z">]><annotation/>')
    with pytest.raises(UsageError, match="declares a document type"):
        read_truth(tmp_path)
    with pytest.raises(UsageError, match=r"has no z\.xml"):
        read_truth(tmp_path, file(tmp_path, "z\n", "split.txt"))


MARK = "\ufeff"


def test_a_byte_order_mark_says_nothing(tmp_path: Path) -> None:
    truth = file(tmp_path, MARK + json.dumps(GOOD))
    golden = read_truth(truth)
    assert golden.images == (3, 12)
    assert read_results(file(tmp_path, MARK + json.dumps([RESULT]), "results.json"), golden).score.tolist() == [0.5]
    image = {"file": "b.jpg", "sha256": "0" * 64, "width": 5, "height": 5}
    said = {"name": "set", "version": "1", "kind": "training", "images": [image]}
    assert read_manifest(file(tmp_path, MARK + json.dumps(said), "manifest.json")).name == "set"


def test_a_list_of_images_is_read_as_utf_8(tmp_path: Path) -> None:
    (tmp_path / "ä.xml").write_text(
        "<annotation><object><name>dent</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
        "</bndbox></object></annotation>"
    )
    assert read_truth(tmp_path, file(tmp_path, f"{MARK}ä\n", "list.txt")).images == ("ä",)
    (tmp_path / "list.txt").write_bytes("ä\n".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_truth(tmp_path, tmp_path / "list.txt")
