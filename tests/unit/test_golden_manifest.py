"""Manifests and leakage: what is written down of a set, what is refused, and what two sets must not share."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monitor.cli.main import main
from monitor.errors import UsageError
from monitor.golden.dataset import read_coco
from monitor.golden.leakage import ALIKE, MOMENT, SAME, leakage
from monitor.golden.manifest import build, open_set, read_manifest
from monitor.golden.sets import Manifest, ManifestImage
from monitor.imaging.likeness import BITS, NEAR, dhash, distances

VOC = """<annotation><object><name>dent</name><difficult>{difficult}</difficult><occluded>{occluded}</occluded>
<bndbox><xmin>4</xmin><ymin>5</ymin><xmax>24</xmax><ymax>15</ymax></bndbox></object></annotation>"""


def picture(seed: int, light: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 200, (7, 9, 3), dtype=np.uint8))
    return (np.asarray(coarse.resize((64, 48), Image.Resampling.BICUBIC)) * light).astype(np.uint8)


def images(folder: Path, lights: dict[str, float]) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, (name, light) in enumerate(lights.items()):
        Image.fromarray(picture(seed, light)).save(folder / name)
    return folder


def coco(folder: Path, names: list[str], **more: Any) -> Path:
    path = folder / "truth.json"
    rows = [{"id": i + 1, "file_name": name, **more} for i, name in enumerate(names)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [4, 5, 20, 10]} for i in range(1, len(names) + 1)]
    path.write_text(json.dumps({"images": rows, "annotations": boxes, "categories": [{"id": 1, "name": "dent"}]}))
    return path


def written(folder: Path, *words: str) -> Path:
    assert main(["golden", "manifest", *words, "--output", str(folder / "m.json")]) == 0
    return folder / "m.json"


def test_a_name_that_two_files_bear_names_neither_and_a_path_names_one(tmp_path: Path) -> None:
    folder = images(tmp_path / "i", {"a.png": 1.0, "c.png": 0.7})
    images(folder / "b", {"a.png": 0.4, "d.png": 0.5, "d.bmp": 0.5})
    truth = read_coco(coco(tmp_path, ["a.png", "b/a.png", "c.png"]))
    assert [one.file for one in build(folder, "set", "1", "golden", truth).images] == ["a.png", "b/a.png", "c.png"]
    images(folder / "e", {"c.png": 0.4})
    assert build(folder, "set", "1", "golden", truth).images[2].file == "c.png", "the path itself"
    (folder / "c.png").rename(folder / "b" / "c.png")
    with pytest.raises(UsageError, match=r"c\.png may be b/c\.png and e/c\.png; name it by its path"):
        build(folder, "set", "1", "golden", truth)
    with pytest.raises(UsageError, match=r"d may be b/d\.bmp and b/d\.png"):
        build(folder, "set", "1", "golden", read_coco(coco(tmp_path, ["a.png", "d"])))


def test_a_set_of_coco_keeps_its_conditions_and_the_light_is_measured_where_it_is_not_said(tmp_path: Path) -> None:
    folder = images(tmp_path / "i", {"a.png": 1.0, "b.png": 0.2})
    truth = coco(tmp_path, ["a.png", "b.png"], camera="cam-1", captured_at="2026-11-01T00:00:00+00:00")
    path = written(tmp_path, str(folder), "--truth", str(truth), "--name", "set", "--version", "2")
    found = open_set(path)
    assert found.golden.name == "set 2"
    assert [image.slices["lighting"] for image in found.images] == ["normal", "low"]
    assert found.golden.slices["camera"]["cam-1"].all()
    assert found.golden.slices["lighting"]["low"].tolist() == [False, True]
    assert found.images[0].captured_at == datetime(2026, 11, 1, tzinfo=UTC)
    assert found.images[0].sha256 == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    said = coco(tmp_path, ["a.png", "b.png"], slices={"lighting": "night"})
    assert build(folder, "n", "1", "golden", read_coco(said)).images[0].slices == {"lighting": "night"}


def test_a_set_of_voc_becomes_coco_beside_its_manifest(tmp_path: Path) -> None:
    folder = images(tmp_path / "i", {"a.png": 1.0, "b.png": 1.0})
    (tmp_path / "x").mkdir()
    for name, difficult, occluded in (("a", 1, 0), ("b", 0, 1)):
        (tmp_path / "x" / f"{name}.xml").write_text(VOC.format(difficult=difficult, occluded=occluded))
    words = ("--truth", str(tmp_path / "x"), "--name", "set", "--version", "1", "--kind", "challenge")
    found = open_set(written(tmp_path, str(folder), *words)).golden
    assert found.class_names == ("dent",)
    assert found.truth.box.tolist() == [[4, 5, 20, 10], [4, 5, 20, 10]]
    assert found.truth.ignored.tolist() == [True, False]
    assert not found.truth.crowd.any()
    assert found.slices["occlusion"]["some"].tolist() == [False, True]


def test_what_is_changed_afterwards_is_refused(tmp_path: Path) -> None:
    folder = images(tmp_path / "i", {"a.png": 1.0})
    truth = coco(tmp_path, ["a.png"])
    path = written(tmp_path, str(folder), "--truth", str(truth), "--name", "set", "--version", "1")
    copy = tmp_path / "m-truth.json"
    copy.write_text(copy.read_text().replace("20.0", "21.0"))
    with pytest.raises(UsageError, match="is not the truth"):
        open_set(path)
    outside = path.read_text().replace("a.png", "../a.png")
    path.write_text(outside)
    with pytest.raises(UsageError, match="leaves the folder"):
        read_manifest(path)


def test_images_that_are_missing_or_broken_are_all_named(tmp_path: Path) -> None:
    folder = images(tmp_path / "i", {"a.png": 1.0, "b.png": 1.0})
    with pytest.raises(UsageError, match=r"(?s)c\.png is not there.*d\.png is not there"):
        build(folder, "n", "1", "golden", read_coco(coco(tmp_path, ["c.png", "d.png"])))
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(UsageError, match=r"(?s)2 faults.*a\.png.*b\.png"):
        build(folder, "n", "1", "training")


def entry(name: str, seed: int, **more: Any) -> ManifestImage:
    sha256 = hashlib.sha256(str((seed, name)).encode()).hexdigest()
    return ManifestImage(name, sha256, 64, 48, dhash=dhash(picture(seed)), **more)


def test_each_way_of_leaking_is_told_once(tmp_path: Path) -> None:
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    same = entry("s", 1, camera="c", captured_at=noon)
    golden = Manifest("g", "1", "golden", [same, entry("a", 2), entry("m", 3, camera="c", captured_at=noon)])
    late, other = (noon + timedelta(minutes=m) for m in (4, 6))
    training = Manifest(
        "t",
        "1",
        "training",
        [
            msgspec.structs.replace(same, camera="", captured_at=None),
            entry("a2", 2),
            entry("near in time", 10, camera="c", captured_at=late),
            entry("later", 11, camera="c", captured_at=other),
            entry("elsewhere", 12, camera="d", captured_at=noon),
        ],
    )
    found = leakage(golden, training)
    assert {(leak.kind, leak.one, leak.other) for leak in found.leaks} == {
        (SAME, "s", "s"),
        (ALIKE, "a", "a2"),
        (MOMENT, "s", "near in time"),
        (MOMENT, "m", "near in time"),
    }
    assert found.untold == 3
    assert leakage(golden, Manifest("t", "2", "training", [entry("x", 20)])).leaks == ()
    paths = [tmp_path / "1.json", tmp_path / "2.json"]
    for path, one in zip(paths, (golden, training), strict=True):
        path.write_bytes(msgspec.json.encode(one))
    assert main(["golden", "leakage", *map(str, paths)]) == 1
    assert main(["golden", "leakage", str(paths[0]), str(paths[1]), "--near", "600"]) == 2


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 95), st.floats(0.6, 1.25))
def test_a_saved_anew_or_darker_copy_is_near_and_another_picture_is_not(
    seed: int, quality: int, light: float
) -> None:
    import io

    pixels = picture(seed)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels * light, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    copy = np.asarray(Image.open(file))
    near, far = distances([dhash(pixels)], [dhash(copy), dhash(picture(seed + 1))])[0]
    assert near <= NEAR < far
    assert distances([dhash(pixels)], ["00" * (BITS // 8), dhash(pixels)])[0][1] == 0
