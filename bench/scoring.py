"""Scoring a set against what its parts could do alone: images decoded, and batches through the bare session.

A run can be no faster than the slower of the two; on a CPU both want the same cores, so that there the bound is that
of one after the other. Needs ONNX Runtime; with a GPU build it runs on the GPU.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import golden_line  # noqa: E402 - the set that the tests draw

from monitor.golden import adapters, inference, session  # noqa: E402
from monitor.golden.manifest import OpenSet, open_set  # noqa: E402
from monitor.imaging.preprocess import Preprocess  # noqa: E402

IMAGES, BATCH, RUNS, GOAL = 512, 32, 5, 0.9
BLOCK = Preprocess(160, 160, fit="none")
SETTINGS = adapters.Settings()


def figures() -> Iterator[dict[str, Any]]:
    """Medians of some rounds, in each of which the parts and the whole take turns."""
    model = _model()
    with tempfile.TemporaryDirectory() as name:
        opened = open_set(golden_line.draw(Path(name), IMAGES, suffix="jpg") / "manifest.json")
        rounds = [_round(model, opened, Path(name) / "images") for _ in range(RUNS)]
    decode, raw, whole = (IMAGES / statistics.median(one[i] for one in rounds) for i in range(3))
    on_gpu = model.environment["provider"] != session.CPU
    ratio = statistics.median((max(d, r) if on_gpu else d + r) / w for d, r, w in rounds)
    device = model.environment.get("gpu", model.environment["processor"])
    against = f"{'the slower' if on_gpu else 'one after the other'} of decoding and session.run alone, on {device}"
    for name, value in (("decode", decode), ("session", raw)):
        yield {
            "name": f"scoring.{name}",
            "value": round(value, 1),
            "unit": "images/s",
            "against": device,
            "holds": True,
        }
    yield {
        "name": "scoring.whole",
        "value": round(whole, 1),
        "unit": "images/s",
        "against": against,
        "ratio": round(ratio, 3),
        "goal": GOAL,
        "holds": ratio >= GOAL,
    }


def _model() -> session.Model:
    data = (golden_line.LINE / "detector.onnx").read_bytes()
    wanted = session.Wanted("cuda", True, "yolov8", {"image": "images"}, {"output": "output0"}, 3, "float32", 1)
    return session.open_model(data, wanted)


def _round(model: session.Model, opened: OpenSet, folder: Path) -> tuple[float, float, float]:
    """Seconds of decoding alone, of the session alone, and of the whole."""
    began = time.perf_counter()
    ready = list(inference.prepared(folder, opened.images, BLOCK, 2 * BATCH))
    decoded = time.perf_counter() - began
    tensors = [one.tensor for one in ready if isinstance(one, inference.Prepared)]
    sizes = np.zeros((BATCH, 2), dtype=np.int64)
    batches = [np.stack(tensors[i : i + BATCH]) for i in range(0, len(tensors), BATCH)]
    began = time.perf_counter()
    for batch in batches:
        model.run(batch, sizes)
    ran = time.perf_counter() - began
    scored = inference.score_images(
        model, inference.prepared(folder, opened.images, BLOCK, 2 * BATCH), len(opened.images), BATCH, SETTINGS
    )
    return decoded, ran, scored.seconds
