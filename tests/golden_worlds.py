"""Golden sets for tests: drawn by a seed, with detections of a model of a given quality, in COCO's own form."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from monitor.golden.dataset import read_coco, read_results
from monitor.golden.sets import GoldenSet
from monitor.stats.matching import Found, Truth

Coco = dict[str, Any]
Results = list[dict[str, Any]]


def written(folder: Path, truth: Coco, results: Results) -> tuple[GoldenSet, Found]:
    """The pair as the product reads it from files."""
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    golden = read_coco(folder / "truth.json")
    return golden, read_results(folder / "results.json", golden)


def by_pycocotools(truth: Coco, results: Results) -> COCOeval:
    """The same pair by COCO's own evaluator."""
    with contextlib.redirect_stdout(io.StringIO()):
        there, said = COCO(), COCO()
        there.dataset = truth
        there.createIndex()
        rows = [
            {**one, "id": i + 1, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
            for i, one in enumerate(results)
        ]
        said.dataset = {**truth, "annotations": rows}
        said.createIndex()
        evaluator = COCOeval(there, said, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def scene(seed: int, images: int, classes: int, objects: float = 5.0, crowd: float = 0.0) -> tuple[Coco, Results]:
    """A set with hits of all qualities, duplicates, wrong classes and detections of nothing; scores are distinct."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: Results = []

    def say(image: int, label: int, box: np.ndarray, score: float) -> None:
        box = np.concatenate((box[:2], np.maximum(box[2:], 1.0))).round(2)
        results.append({"image_id": image, "category_id": label, "bbox": box.tolist(), "score": score})

    for image in range(1, images + 1):
        for _ in range(rng.poisson(objects)):
            box = np.concatenate((rng.uniform(0, 400, 2), np.exp(rng.normal(4, 0.9, 2)))).round(2)
            label = int(rng.integers(1, classes + 1))
            row = {"image_id": image, "category_id": label, "bbox": box.tolist(), "id": len(annotations) + 1}
            area = float(box[2] * box[3] * rng.uniform(0.6, 1))
            annotations.append({**row, "area": area, "iscrowd": int(rng.random() < crowd)})
            for _ in range(rng.choice(3, p=(0.15, 0.7, 0.15))):
                moved = box + rng.normal(0, 0.12, 4) * np.tile(box[2:], 2)
                other = label if rng.random() < 0.9 else int(rng.integers(1, classes + 1))
                say(image, other, moved, float(rng.beta(5, 2)))
        for _ in range(rng.poisson(2)):
            box = np.concatenate((rng.uniform(0, 400, 2), np.exp(rng.normal(4, 0.9, 2))))
            say(image, int(rng.integers(1, classes + 1)), box, float(rng.beta(2, 4)))
    truth = {
        "images": [{"id": image} for image in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": label, "name": f"class {label}"} for label in range(1, classes + 1)],
    }
    return truth, results


@dataclass(frozen=True)
class Plant:
    """Truth of about five objects an image, and what the versions of one model share on it.

    `hard` [objects] is how hard each object is, half of it the image's; `habit` [objects, 5] is how a version's boxes
    are off and its scores too high; `seen` are the objects that it notices, `false` its detections of nothing.
    """

    truth: Truth
    hard: np.ndarray
    habit: np.ndarray
    seen: np.ndarray
    false: Found

    @classmethod
    def drawn(cls, rng: np.random.Generator, images: int, classes: int) -> Plant:
        image = np.repeat(np.arange(images), rng.poisson(5, images))
        n = image.size
        box = np.column_stack((rng.uniform(0, 500, (n, 2)), np.exp(rng.normal(4, 0.6, (n, 2)))))
        hard = rng.normal(0, 0.7, images)[image] + rng.normal(0, 0.7, n)
        no = np.zeros(n, dtype=bool)
        truth = Truth(image, rng.integers(classes, size=n), box, box[:, 2] * box[:, 3], no, no)
        seen = np.flatnonzero(rng.random(n) < 1 / (1 + np.exp(hard - 2.5)))
        extra = rng.poisson(0.3 * images)
        nothing = np.column_stack((rng.uniform(0, 500, (extra, 2)), np.exp(rng.normal(4, 0.6, (extra, 2)))))
        where = rng.integers(images, size=extra), rng.integers(classes, size=extra)
        return cls(truth, hard, rng.normal(size=(n, 5)), seen, Found(*where, nothing, rng.beta(2, 4, extra)))

    def version(self, rng: np.random.Generator, spread: float, own: float = 0.5) -> Found:
        """A version whose boxes are off by about `spread` of their size; a share `own` of its errors is no habit."""
        seen, hard = self.seen, self.hard[self.seen]
        errors = np.sqrt(1 - own) * self.habit[seen] + np.sqrt(own) * rng.normal(size=(seen.size, 5))
        off = errors[:, :4] * spread * np.exp(0.3 * hard)[:, None]
        box = self.truth.box[seen] + off * np.tile(self.truth.box[seen, 2:], 2)
        score = 1 / (1 + np.exp(hard - 1 + errors[:, 4]))
        false = self.false
        return Found(
            np.concatenate((self.truth.image[seen], false.image)),
            np.concatenate((self.truth.label[seen], false.label)),
            np.concatenate((box, false.box)),
            np.concatenate((score, false.score)),
        )
