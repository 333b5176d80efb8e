"""Make the blood cells' golden sets: `python golden_sets.py BCCD FOLDER`.

BCCD is the data set's folder (JPEGImages, Annotations, splits). FOLDER gets copies of the images of the test split
(the golden set), a darkened copy of them (the challenge set), both with truth and manifest, those of the training and
validation split for the check of leakage and the choice of thresholds, and the contract that names them.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from monitor.cli.main import main

HERE = Path(__file__).parent
LIGHT = 0.3  # what a failing lamp gives
KINDS = {"test": "golden", "val": "golden", "train": "training"}


def copy(bccd: Path, split: str, folder: Path) -> Path:
    """Copy a split's images into `folder`/`split`, write its manifest and truth beside it; return the images."""
    images = folder / split
    images.mkdir(parents=True, exist_ok=True)
    for name in (bccd / "splits" / f"{split}.txt").read_text(encoding="utf-8").split():
        shutil.copyfile(bccd / "JPEGImages" / f"{name}.jpg", images / f"{name}.jpg")
    declare(bccd, images, split, KINDS[split])
    return images


def darken(bccd: Path, images: Path, light: float) -> None:
    """Write the images again as under a lamp of `light` (1 is what it was), as a set of its own named dark."""
    dark = images.parent / "dark"
    dark.mkdir(exist_ok=True)
    for path in sorted(images.glob("*.jpg")):
        with Image.open(path) as opened:
            lit = np.asarray(opened.convert("RGB"), dtype=np.float32)
        Image.fromarray((lit * light).astype(np.uint8)).save(dark / path.name, quality=95)
    declare(bccd, dark, "test", "challenge")


def declare(bccd: Path, images: Path, split: str, kind: str) -> None:
    """Write the manifest of a folder of images, with the truth that the split's annotations give."""
    truth = ["--truth", str(bccd / "Annotations"), "--images", str(bccd / "splits" / f"{split}.txt")]
    words = ["--name", f"blood-cells-{images.name}", "--version", "1", "--kind", kind, *truth]
    if main(["golden", "manifest", str(images), *words, "--output", str(images.with_suffix(".json"))]):
        raise SystemExit(f"the manifest of {images} could not be written")


def contract(folder: Path) -> Path:
    """Write the contract with the folders of the images and the model's file."""
    model = HERE / "detector.onnx"
    named = f"""[golden]
images = "test"
challenge_images = "dark"
model = "{model}"
model_sha256 = "{hashlib.sha256(model.read_bytes()).hexdigest()}"
"""
    path = folder / "blood-cells.toml"
    text = (HERE / "contract.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("[golden]\n", named, 1), encoding="utf-8")
    return path


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bccd", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--light", type=float, default=LIGHT, help=f"of the darkened copy (default: {LIGHT})")
    arguments = parser.parse_args()
    for split in KINDS:
        images = copy(arguments.bccd, split, arguments.folder)
        if split == "test":
            darken(arguments.bccd, images, arguments.light)
    print(contract(arguments.folder))


if __name__ == "__main__":
    run()
