"""Draw the packaging line's golden and challenge set: `python golden_sets.py FOLDER`.

Each set is a folder with images/*.png, truth.json (COCO's format with the conditions that an image was taken under)
and its manifest; beside the sets lies the line's contract, which names them. `--detect VERSION.onnx` also writes what
that version finds in each by this example's own code, as COCO results. The frames are drawn from a seed of their own:
no version learned from them, and they are the same on every machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detector import Detector
from PIL import Image
from plant import CAMERAS, CLASSES, SIZE, Scene, draw

from monitor.cli.main import main

HERE = Path(__file__).parent
SEED = 2026
SCORE_FLOOR = 0.01  # average precision needs what production does not log


class Part(NamedTuple):
    """So many frames under one condition: what they are called, and the range of light that they are drawn from."""

    frames: int
    slices: dict[str, str]
    light: tuple[float, float]
    scene: Scene = Scene()


NEW, AGED = (0.95, 1.05), (0.5, 0.6)
SETS: dict[str, tuple[Part, ...]] = {
    "golden": (
        Part(360, {"lighting": "normal"}, NEW),
        Part(360, {"lighting": "low"}, AGED),
    ),
    "challenge": (
        Part(90, {"trouble": "blur"}, NEW, Scene(blur_sigma=2.0)),
        Part(90, {"trouble": "noise"}, NEW, Scene(noise_sigma=12.0)),
        Part(90, {"trouble": "dusk"}, (0.35, 0.45)),
        Part(90, {"trouble": "new-packaging"}, NEW, Scene(new_packaging=0.25)),
    ),
}


def frames(name: str) -> Iterator[tuple[Part, Scene, Any]]:
    """Each frame of a set: its part, its scene, and what `plant.draw` gives."""
    for place, part in enumerate(SETS[name]):
        for i in range(part.frames):
            rng = np.random.default_rng(np.random.SeedSequence((SEED, list(SETS).index(name), place, i)))
            light = float(rng.uniform(*part.light))
            scene = replace(part.scene, camera=CAMERAS[i % len(CAMERAS)], light=light)
            yield part, scene, draw(scene, rng)


def write(name: str, folder: Path) -> Path:
    """Write a set into `folder` and return its truth.json."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, (part, scene, (frame, boxes, class_ids)) in enumerate(frames(name), 1):
        file = f"{scene.camera}-{'-'.join(part.slices.values())}-{number:04}.png"
        Image.fromarray(frame).save(folder / "images" / file, compress_level=1)
        described = {"id": number, "file_name": f"images/{file}", "width": SIZE, "height": SIZE}
        images.append({**described, "camera": scene.camera, "slices": part.slices})
        for (left, top, right, bottom), label in zip(boxes.tolist(), class_ids.tolist(), strict=True):
            box = [left, top, right - left, bottom - top]
            objects.append({"id": len(objects) + 1, "image_id": number, "category_id": label + 1, "bbox": box})
    classes = [{"id": i, "name": one} for i, one in enumerate(CLASSES, 1)]
    truth = {"images": images, "annotations": objects, "categories": classes}
    path = folder / "truth.json"
    path.write_text(json.dumps(truth), encoding="utf-8")
    return path


def declare(folder: Path) -> Path:
    """Write the manifests of the sets in `folder`, and the line's contract with them and the version in use."""
    for name in SETS:
        own = folder / name
        words = ["--truth", str(own / "truth.json"), "--name", f"packaging-{name}", "--version", "1", "--kind", name]
        main(["golden", "manifest", str(own), *words, "--output", str(own / "manifest.json")])
    model = HERE / "detector.onnx"
    golden = f"""[golden]
manifest = "golden/manifest.json"
challenge_manifest = "challenge/manifest.json"
model = "{model}"
model_sha256 = "{hashlib.sha256(model.read_bytes()).hexdigest()}"
version = "v1.0"
convention = "yolov8"
inputs = {{ image = "images" }}
outputs = {{ output = "output0" }}
provider = "cpu"
"""
    text = (HERE / "contract.toml").read_text(encoding="utf-8")
    path = folder / "packaging-line.toml"
    path.write_text(text.replace("[golden]\n", golden, 1), encoding="utf-8")
    return path


def detect(version: Path, folder: Path) -> Path:
    """Run a version over a written set; write what it finds as VERSION.json beside the truth, and return that."""
    images = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["images"]
    pictures = []
    for image in images:
        with Image.open(folder / image["file_name"]) as opened:
            pictures.append(np.asarray(opened))
    said = [
        {
            "image_id": image["id"],
            "category_id": CLASSES.index(one.class_name) + 1,
            "bbox": [one.box[0], one.box[1], one.box[2] - one.box[0], one.box[3] - one.box[1]],
            "score": one.confidence,
        }
        for image, found in zip(images, Detector(version, log_threshold=SCORE_FLOOR).detect(pictures), strict=True)
        for one in found
    ]
    path = folder / f"{version.stem}.json"
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detect", type=Path, nargs="*", default=[], metavar="VERSION")
    arguments = parser.parse_args()
    for name in SETS:
        folder = arguments.folder / name
        print(write(name, folder))
        for version in arguments.detect:
            print(detect(version, folder))
    print(declare(arguments.folder))


if __name__ == "__main__":
    run()
