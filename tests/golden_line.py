"""A golden set of the packaging line for tests: drawn frames with their truth, a manifest, and a contract."""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from monitor.golden.dataset import read_coco
from monitor.golden.job import Job
from monitor.golden.manifest import build, coco_of

LINE = Path(__file__).parents[1] / "examples" / "packaging-line"
CLASSES = ("carton", "pouch", "bottle")
CONTRACT = """
[model]
name = "packaging-line"
{classes}
[cameras]
policy = "open"
[[conditions]]
name = "lighting"
[input]
width = 160
height = 160
fit = "none"
[golden]
manifest = "manifest.json"
images = "images"
model = "detector.onnx"
model_sha256 = "{sha256}"
version = "v1"
convention = "yolov8"
inputs = {{ image = "images" }}
outputs = {{ output = "output0" }}
provider = "cpu"
threads = 1
{golden}
{more}
"""

CRITERION = """
[[acceptance]]
name = "by day"
measure = "recall"
slice = { lighting = "day" }
at_least = 0.5
"""


@cache
def plant() -> ModuleType:
    """The example's own drawing."""
    sys.path.insert(0, str(LINE))
    try:
        import plant as drawn
    finally:
        sys.path.remove(str(LINE))
    return drawn


def draw(folder: Path, frames: int, dark: int = 0, seed: int = 0, suffix: str = "png") -> Path:
    """Frames in `images/` and their `manifest.json` in `folder`; the last `dark` of them are in half the light."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for i in range(frames):
        low = i >= frames - dark
        camera = plant().CAMERAS[i % 3]
        scene = plant().Scene(camera, light=0.5 if low else 1.0)
        frame, there, labels = drawn(scene, np.random.default_rng((seed, i)))
        name = f"{i:04}.{suffix}"
        Image.fromarray(frame).save(images / name, **({"quality": 95} if suffix == "jpg" else {}))
        rows.append({"id": i, "file_name": name, "camera": camera, "slices": {"lighting": "low" if low else "day"}})
        for box, label in zip(there, labels, strict=True):
            x1, y1, x2, y2 = map(float, box)
            boxes.append({"image_id": i, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)]
    truth = folder / "drawn.json"
    truth.write_text(json.dumps({"images": rows, "annotations": boxes, "categories": categories}))
    golden = read_coco(truth)
    made = build(images, "packages", "1", "golden", golden)
    text = coco_of(golden, made)
    (folder / "truth.json").write_bytes(text)
    made = msgspec.structs.replace(made, truth="truth.json", truth_sha256=hashlib.sha256(text).hexdigest())
    (folder / "manifest.json").write_bytes(msgspec.json.encode(made))
    return folder


def drawn(scene: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame, the boxes in it, and their classes as places in `CLASSES`."""
    frame, boxes, labels = plant().draw(scene, rng)
    return frame, np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.asarray(labels)


def contract(golden: str = "", more: str = "", sha256: str = "") -> str:
    """The text of a contract for the set."""
    classes = "".join(f'[[classes]]\nname = "{name}"\n' for name in CLASSES)
    own = hashlib.sha256((LINE / "detector.onnx").read_bytes()).hexdigest()
    return CONTRACT.format(classes=classes, sha256=sha256 or own, golden=golden, more=more)


def work(folder: Path, text: str | None = None, model: Path = LINE / "detector.onnx", **more: Any) -> Job:
    """The job of scoring the set in `folder`."""
    sha256 = more.pop("model_sha256", hashlib.sha256(model.read_bytes()).hexdigest())
    return Job(
        text or contract(),
        str(folder / "manifest.json"),
        str(folder / "images"),
        str(model),
        sha256,
        times=more.pop("times", 50),
        **more,
    )
