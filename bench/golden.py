"""The evaluator against COCO's own and a faster one, on drawn sets of COCO's size; and what its bootstrap costs.

Every figure is of one run on one machine, from sets in memory to all arrays; what differs from the reference in any
number of any array is a figure too.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np

from monitor.stats import bootstrap, detection, matching
from monitor.stats.matching import Found, Truth

IMAGES, CLASSES = 5000, 80
OBJECTS = 7.3
"""An image, as in COCO's validation set."""
RUNS = 3
DRAWS = 100
"""Of the bootstrap that is timed; the figure is for a thousand."""
SIZES = {"36 k detections": (0.6, 50.0, 5.0), "500 k detections": (93.0, 35.0, 5.0)}
"""False alarms an image, and how many times as fast as pycocotools and faster-coco-eval it must be."""
COSTS = 1.5
"""pycocotools evaluations that 1,000 resamples may cost."""


def drawn(false: float, seed: int = 3) -> tuple[Truth, Found]:
    """Truth and detections: most objects are found, some twice, some as another class, beside `false` of nothing."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, CLASSES + 1)
    shares /= shares.sum()
    image = np.repeat(np.arange(IMAGES), rng.poisson(OBJECTS, IMAGES))
    n = image.size
    box = np.column_stack((rng.uniform(0, 500, (n, 2)), np.exp(rng.normal(4, 1, (n, 2)))))
    label = rng.choice(CLASSES, n, p=shares)
    crowd = rng.random(n) < 0.01
    truth = Truth(image, label, box, 0.7 * box[:, 2] * box[:, 3], crowd, crowd)
    which = np.concatenate((np.flatnonzero(rng.random(n) < 0.82), np.flatnonzero(rng.random(n) < 0.1)))
    near = box[which] + rng.normal(0, 0.08, (which.size, 4)) * np.tile(box[which, 2:], 2)
    near[:, 2:] = np.maximum(near[:, 2:], 1.0)
    taken = np.where(rng.random(which.size) < 0.93, label[which], rng.choice(CLASSES, which.size, p=shares))
    extra = rng.poisson(false * IMAGES)
    nothing = np.column_stack((rng.uniform(0, 500, (extra, 2)), np.exp(rng.normal(4, 1, (extra, 2)))))
    return truth, Found(
        np.concatenate((image[which], rng.integers(IMAGES, size=extra))),
        np.concatenate((taken, rng.choice(CLASSES, extra, p=shares))),
        np.concatenate((near, nothing)),
        np.concatenate((rng.beta(5, 2, which.size), rng.beta(2, 5, extra))),
    )


def _as_coco(truth: Truth, found: Found) -> tuple[dict[str, Any], dict[str, Any]]:
    beside = {
        "images": [{"id": i} for i in range(IMAGES)],
        "categories": [{"id": k, "name": str(k)} for k in range(CLASSES)],
        "info": {},
    }
    columns = zip(truth.image.tolist(), truth.label.tolist(), truth.box.tolist(), strict=True)
    objects = [{"image_id": i, "category_id": k, "bbox": box} for i, k, box in columns]
    for row, area, crowd in zip(objects, truth.area.tolist(), truth.crowd.tolist(), strict=True):
        row |= {"area": area, "iscrowd": int(crowd)}
    columns = zip(found.image.tolist(), found.label.tolist(), found.box.tolist(), strict=True)
    said = [{"image_id": i, "category_id": k, "bbox": box} for i, k, box in columns]
    for row, score in zip(said, found.score.tolist(), strict=True):
        row |= {"score": score, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
    numbered = [[{**row, "id": i + 1} for i, row in enumerate(rows)] for rows in (objects, said)]
    return {**beside, "annotations": numbered[0]}, {**beside, "annotations": numbered[1]}


def _peer(evaluator: str, coco: ModuleType, sets: tuple[dict[str, Any], ...]) -> tuple[float, Any]:
    """Seconds that a peer takes from its indexed sets to its summary, and the evaluator that ran."""
    package = importlib.import_module(coco.__name__.partition(".")[0] + (".cocoeval" if "." in coco.__name__ else ""))
    with contextlib.redirect_stdout(io.StringIO()):
        indexed = []
        for one in sets:
            index = coco.COCO()
            index.dataset = one
            index.createIndex()
            indexed.append(index)
        run = getattr(package, evaluator)(*indexed, "bbox")
        before = time.perf_counter()
        run.evaluate()
        run.accumulate()
        run.summarize()
        return time.perf_counter() - before, run


def _timed(work: Callable[[], Any]) -> float:
    """Median seconds of a few runs."""
    took = []
    for _ in range(RUNS):
        before = time.perf_counter()
        work()
        took.append(time.perf_counter() - before)
    return statistics.median(took)


def _figure(
    name: str, value: float, unit: str, against: str, ratio: float, goal: float, most: bool
) -> dict[str, Any]:
    holds = ratio <= goal if most else ratio >= goal
    row = {"name": f"golden.{name}", "value": round(value, 4), "unit": unit, "against": against}
    return row | {"ratio": float(f"{ratio:.3g}"), "goal": goal, "holds": bool(holds)}


def figures() -> Iterator[dict[str, Any]]:
    """Speed beside both peers on both sizes, agreement with the reference, and the cost of the bootstrap."""
    try:
        reference = importlib.import_module("pycocotools.coco")
        faster = importlib.import_module("faster_coco_eval")
    except ImportError as error:
        print(f"golden is left out: {error}; `make bench` installs what it needs", file=sys.stderr)
        return
    for name, (false, goal, goal_faster) in SIZES.items():
        truth, found = drawn(false)

        def ours(truth: Truth = truth, found: Found = found) -> tuple[matching.Table, detection.Curves]:
            table = matching.match(truth, found, IMAGES, CLASSES)
            curves = detection.curves(table)
            detection.stats(curves)
            return table, curves

        seconds = _timed(ours)
        table, curves = ours()
        sets = _as_coco(truth, found)
        slow, run = _peer("COCOeval", reference, sets)
        quick, _ = _peer("COCOeval_faster", faster, sets)
        unit = f"s for {IMAGES:,} images, {CLASSES} classes, {found.score.size:,} detections"
        slow_name, quick_name = (f"{peer} {version(peer)}" for peer in ("pycocotools", "faster-coco-eval"))
        against = f"{slow_name}: {slow:.2f} s"
        yield _figure(f"vs_pycocotools, {name}", seconds, unit, against, slow / seconds, goal, False)
        against = f"{quick_name}: {quick:.2f} s"
        yield _figure(f"vs_faster_coco_eval, {name}", seconds, unit, against, quick / seconds, goal_faster, False)
        arrays = ("precision", "recall", "scores")
        apart = max(float(np.abs(getattr(curves, one) - run.eval[one]).max()) for one in arrays)
        yield _figure(f"differs, {name}", apart, "largest difference in any array", slow_name, apart, 1e-12, True)
        if name == next(iter(SIZES)):
            yield from _bootstrap(table, curves, slow, slow_name)


def _bootstrap(table: matching.Table, curves: detection.Curves, slow: float, peer: str) -> Iterator[dict[str, Any]]:
    seconds = 1000 / DRAWS * _timed(lambda: bootstrap.resampled([table], DRAWS))
    unit = "s for 1,000 resamples of mAP and every class's AP"
    yield _figure("bootstrap", seconds, unit, f"one evaluation by {peer}: {slow:.2f} s", seconds / slow, COSTS, True)
    once = bootstrap.weighted_ap(bootstrap.weighable(table), np.ones(IMAGES, dtype=np.int64))
    apart = abs(float(bootstrap.over_classes(once)) - (detection.stats(curves)["AP"] or 0.0))
    yield _figure("weights_of_one", apart, "difference from the estimate", "the estimate", apart, 1e-12, True)
