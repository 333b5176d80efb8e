"""Suppression of a batch at once against the loop that takes one box after the other, on drawn candidates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.golden import nms

IMAGES, RUNS, IOU = 32, 5, 0.5
SCENES = {"3 classes, 200 candidates": (10, 20, 3), "80 classes, 600 candidates": (15, 40, 80)}
"""Objects of an image, candidates of an object, classes."""
GOAL = 3.0
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def drawn(objects: int, each: int, classes: int, seed: int = 5) -> tuple[Ints, Ints, Floats, Floats]:
    """Images, classes, boxes x1, y1, x2, y2 and scores of candidates that crowd around objects."""
    rng = np.random.default_rng(seed)
    n = IMAGES * objects
    object_ = np.column_stack((rng.uniform(0, 600, (n, 2)), np.exp(rng.normal(4, 0.5, (n, 2)))))
    around = np.repeat(object_, each, axis=0)
    around += rng.normal(0, 0.1, around.shape) * around[:, 2:].mean(axis=1, keepdims=True)
    around[:, 2:] = np.maximum(around[:, 2:], 2) + around[:, :2]
    label = np.repeat(rng.integers(classes, size=n), each)
    return np.repeat(np.arange(IMAGES), objects * each), label, around, rng.uniform(0.01, 1, around.shape[0])


def one_by_one(image: Ints, label: Ints, box: Floats, score: Floats) -> list[int]:
    """What a loop keeps: of each image and class the best box, then the best that it leaves, and so on."""
    kept = []
    for i in np.unique(image):
        for k in np.unique(label[image == i]):
            left = np.flatnonzero((image == i) & (label == k))
            left = left[np.argsort(-score[left], kind="stable")]
            while left.size:
                best, rest = left[0], left[1:]
                kept.append(int(best))
                low, high = np.maximum(box[best, :2], box[rest, :2]), np.minimum(box[best, 2:], box[rest, 2:])
                shared = np.prod(np.maximum(high - low, 0), axis=1)
                areas = np.prod(box[rest, 2:] - box[rest, :2], axis=1) + np.prod(box[best, 2:] - box[best, :2])
                left = rest[shared / (areas - shared) <= IOU]
    return kept


def figures() -> Iterator[dict[str, Any]]:
    """How many times as fast, on two kinds of scene, and how many boxes differ from the loop's."""
    for name, (objects, each, classes) in SCENES.items():
        batch = drawn(objects, each, classes)
        ours, loop = _timed(
            lambda batch=batch: nms.suppressed(*batch, "class", IOU, 0.5, 0.01),
            lambda batch=batch: one_by_one(*batch),
        )
        kept, _ = nms.suppressed(*batch, "class", IOU, 0.5, 0.01)
        apart = len(set(kept.tolist()) ^ set(one_by_one(*batch)))
        for what, value, ratio, goal, holds in (
            ("", 1000 * ours / IMAGES, loop / ours, GOAL, loop / ours >= GOAL),
            ("_differs", apart, apart, 0, apart == 0),
        ):
            yield {
                "name": f"nms{what}, {name}",
                "value": round(value, 4),
                "unit": "boxes" if what else f"ms a frame, batches of {IMAGES}",
                "against": f"a numpy loop, box by box: {1000 * loop / IMAGES:.2f} ms",
                "ratio": float(f"{ratio:.3g}"),
                "goal": goal,
                "holds": bool(holds),
            }


def _timed(*works: Callable[[], Any]) -> list[float]:
    """Seconds of one core for each work: the least of a few runs, which take turns."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(RUNS):
        for of, work in zip(took, works, strict=True):
            before = time.process_time()
            work()
            of.append(time.process_time() - before)
    return [min(of) for of in took]
