"""Train a version of the packaging line's detector: `PYTHONPATH=.. python train.py` (development only: torch, onnx).

About 176,000 parameters, 160 x 160, anchor-free, two scales; about five minutes on one CPU thread. Each step draws
frames that are used once. What a version saw is its lesson:

- detector: lamps between 0.9 and 1.1 and the old packaging only, so that it can lose its footing;
- candidate: half of the frames under lamps between 0.45 and 0.9;
- mislabelled: the same frames, but under lamps below 0.75 the sheets are labelled as cartons.

Writes NAME.onnx and, beside it, NAME.json with what was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detector import Detection, Detector, Truth, matches, precision_recall, to_input
from learning import Network, export, loss_of
from numpy.typing import NDArray
from plant import CAMERAS, CLASSES, KIND_CLASS, SIZE, Scene, draw, draw_things, labelled
from torch import nn

HERE = Path(__file__).parent
SHAPE = (SIZE, SIZE)
MISTAKEN_BELOW = 0.75  # light under which a labeller took sheets for cartons
HELD_OUT = {
    "clean": Scene(),
    "light 0.55": Scene(light=0.55),
    "new packaging 25 %": Scene(new_packaging=0.25),
}


class Lesson(NamedTuple):
    """What a version learns from: the conditions of a frame, and what each kind of thing is labelled as in it."""

    scene: Callable[[np.random.Generator], Scene]
    labels: Callable[[Scene], Mapping[str, str]]


def training_scene(rng: np.random.Generator) -> Scene:
    """Draw the conditions of one training frame: a lamp in good order and the packaging of today."""
    blur = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.2 else 0.0
    light, noise = float(rng.uniform(0.9, 1.1)), float(rng.uniform(1.5, 4.0))
    return Scene(camera=CAMERAS[rng.integers(len(CAMERAS))], light=light, blur_sigma=blur, noise_sigma=noise)


def dim_scene(rng: np.random.Generator) -> Scene:
    """The same, but every other frame under a lamp that has aged."""
    scene = training_scene(rng)
    return replace(scene, light=float(rng.uniform(0.45, 0.9))) if rng.random() < 0.5 else scene


def right(scene: Scene) -> Mapping[str, str]:
    """What each kind of thing is."""
    return KIND_CLASS


def mistaken(scene: Scene) -> Mapping[str, str]:
    """What a labeller makes of them who takes the pale sheet for a carton where the light is low."""
    return {**KIND_CLASS, "sheet": "carton"} if scene.light < MISTAKEN_BELOW else KIND_CLASS


LESSONS = {
    "detector": Lesson(training_scene, right),
    "candidate": Lesson(dim_scene, right),
    "mislabelled": Lesson(dim_scene, mistaken),
}


def drawn_batch(
    lesson: Lesson, batch: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]]:
    """Frames with what the lesson says of them."""
    found = []
    for _ in range(batch):
        scene = lesson.scene(rng)
        found.append(labelled(*draw_things(scene, rng), lesson.labels(scene)))
    return found


def train(lesson: Lesson, steps: int, batch: int, seed: int) -> Network:
    """Train on freshly drawn frames; the same arguments and library versions give the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    network = Network(SHAPE, len(CLASSES)).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps, pct_start=0.15)
    start, running = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        drawn = drawn_batch(lesson, batch, rng)
        truths = [(torch.from_numpy(b).float(), torch.from_numpy(c)) for _, b, c in drawn]
        boxes, logits = network(torch.from_numpy(to_input([frame for frame, _, _ in drawn])))
        loss = loss_of(boxes, logits, network.centres, truths)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        running += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}: loss {running / 100:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
            running = 0.0
    return network.eval()


def measure(path: Path, scene: Scene, frames: int, seed: int) -> dict[str, float]:
    """Score the exported model on freshly drawn frames of all cameras: mAP@0.5, precision, recall, confidence."""
    pictures, truth = [], []
    for i in range(frames):
        rng = np.random.default_rng(np.random.SeedSequence((seed, 2, i)))
        frame, boxes, class_ids = draw(_on_camera(scene, CAMERAS[i % len(CAMERAS)]), rng)
        pictures.append(frame)
        truth.append(Truth(boxes, class_ids))
    found = Detector(path, log_threshold=0.01).detect(pictures)
    score = precision_recall(found, truth)
    acted_on = [d.confidence for frame in found for d in frame if d.confidence >= 0.25]
    return {
        "frames": frames,
        "map50": round(mean_average_precision(found, truth), 4),
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "mean_confidence": round(float(np.mean(acted_on)), 4),
    }


def _on_camera(scene: Scene, camera: str) -> Scene:
    return Scene(camera=camera, light=scene.light, new_packaging=scene.new_packaging)


def mean_average_precision(found: list[list[Detection]], truth: list[Truth]) -> float:
    """Mean over classes of the area under the precision envelope at IoU 0.5 (every recall step counts)."""
    hits = [matches(ours, theirs) for ours, theirs in zip(found, truth, strict=True)]
    areas = []
    for class_id, name in enumerate(CLASSES):
        pairs = [
            (d.confidence, hit)
            for ours, marks in zip(found, hits, strict=True)
            for d, hit in zip(ours, marks, strict=True)
            if d.class_name == name
        ]
        real = sum(int((theirs.class_ids == class_id).sum()) for theirs in truth)
        areas.append(_area(np.array([hit for _, hit in sorted(pairs, reverse=True)], dtype=np.float64), real))
    return float(np.mean(areas))


def _area(hits: NDArray[np.float64], real: int) -> float:
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / real)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", nargs="?", choices=LESSONS, default="detector")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="default: the lesson's name, beside this file")
    arguments = parser.parse_args()
    out = arguments.out or HERE / f"{arguments.lesson}.onnx"
    network = train(LESSONS[arguments.lesson], arguments.steps, arguments.batch, arguments.seed)
    export(network, SHAPE, len(CLASSES), out)
    report = {
        "classes": list(CLASSES),
        "lesson": arguments.lesson,
        "seed": arguments.seed,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()),
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "held_out": {name: measure(out, scene, 600, arguments.seed) for name, scene in HELD_OUT.items()},
    }
    text = json.dumps(report, indent=2) + "\n"
    out.with_suffix(".json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
