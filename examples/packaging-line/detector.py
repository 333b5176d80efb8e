"""The packaging line's detector on ONNX Runtime: frames in, named boxes out, and how well they hit.

The model takes `images` [N, 3, 160, 160] float32 RGB in 0..1 and gives `output0` [N, 4 + classes, anchors]:
centre x, centre y, width, height in pixels, then one score a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from plant import CLASSES, SIZE

LOG_THRESHOLD = 0.25  # what is worth logging
PRODUCTION_THRESHOLDS = dict.fromkeys(CLASSES, 0.5)  # what the line acts on
NMS_IOU = 0.5
MATCH_IOU = 0.5
MOST_CANDIDATES = 256  # a frame, before NMS

Box = tuple[float, float, float, float]


class Detection(NamedTuple):
    """One found object: class name, confidence, box (x1, y1, x2, y2 in pixels)."""

    class_name: str
    confidence: float
    box: Box


class Truth(NamedTuple):
    """What really lies in a frame: boxes [n, 4] (x1, y1, x2, y2 in pixels) and class ids [n]."""

    boxes: NDArray[np.float64]
    class_ids: NDArray[np.int64]


class Score(NamedTuple):
    """Counts over any number of frames; `precision` and `recall` are NaN where nothing was counted."""

    hits: int
    false_alarms: int
    misses: int

    @property
    def precision(self) -> float:
        found = self.hits + self.false_alarms
        return self.hits / found if found else float("nan")

    @property
    def recall(self) -> float:
        real = self.hits + self.misses
        return self.hits / real if real else float("nan")


class Detector:
    """The ONNX model at `path`, run on the CPU with `threads` threads."""

    def __init__(self, path: Path | str, threads: int = 1, log_threshold: float = LOG_THRESHOLD) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._log_threshold = log_threshold

    def detect(self, frames: Sequence[NDArray[np.uint8]], batch: int = 32) -> list[list[Detection]]:
        """Return each frame's detections, the most confident first; frames are [160, 160, 3] uint8 RGB."""
        found: list[list[Detection]] = []
        for start in range(0, len(frames), batch):
            (output,) = self._session.run(["output0"], {"images": to_input(frames[start : start + batch])})
            found.extend(decode(output, self._log_threshold))
        return found


def to_input(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return frames as the model's input [N, 3, 160, 160], float32 in 0..1."""
    planes = np.stack([frame.transpose(2, 0, 1) for frame in frames])
    return planes.astype(np.float32) * np.float32(1.0 / 255.0)


def decode(output: NDArray[np.float32], threshold: float) -> list[list[Detection]]:
    """Turn `output0` [N, 4 + classes, anchors] into each frame's detections after class-aware NMS.

    All frames of the batch are suppressed together: each round keeps every frame's best candidate that is left
    and drops what overlaps it, so the rounds are as many as the fullest frame has objects.
    """
    scores, class_ids, boxes = _candidates(output, threshold)
    overlap = iou(boxes, boxes)
    overlap[class_ids[:, :, None] != class_ids[:, None, :]] = 0.0
    alive = scores > 0.0
    found: list[list[Detection]] = [[] for _ in range(len(scores))]
    while alive.any():
        for frame in np.flatnonzero(alive.any(axis=1)):
            best = int(alive[frame].argmax())  # candidates are sorted, so the first one left is the best
            alive[frame] &= overlap[frame, best] <= NMS_IOU
            alive[frame, best] = False
            x1, y1, x2, y2 = (float(v) for v in boxes[frame, best])
            name = CLASSES[int(class_ids[frame, best])]
            found[frame].append(Detection(name, float(scores[frame, best]), (x1, y1, x2, y2)))
    return found


def _candidates(
    output: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """The K best anchors a frame: scores [N, K] (0 below the threshold), class ids [N, K], boxes [N, K, 4]."""
    scores, class_ids = output[:, 4:].max(axis=1), output[:, 4:].argmax(axis=1)
    scores = np.where(scores >= threshold, scores, np.float32(0.0))
    count = min(MOST_CANDIDATES, int((scores > 0.0).sum(axis=1).max()))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    centre_size = np.take_along_axis(output[:, :4].transpose(0, 2, 1), order[:, :, None], axis=1)
    half = centre_size[..., 2:] / 2
    boxes = np.concatenate([centre_size[..., :2] - half, centre_size[..., :2] + half], axis=-1)
    best = np.take_along_axis(scores, order, axis=1), np.take_along_axis(class_ids, order, axis=1)
    return *best, np.clip(boxes, 0.0, SIZE)


def iou(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of boxes [..., n, 4] and [..., m, 4] as [..., n, m]; 0 where both are empty."""
    a, b = ours[..., :, None, :].astype(np.float64), theirs[..., None, :, :].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.maximum(sides, 0.0).prod(axis=-1)
    total = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - shared
    value: NDArray[np.float64] = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0.0)
    return value


def matches(detections: Sequence[Detection], truth: Truth) -> list[bool]:
    """Say of each detection, best first, whether it hits a not yet taken object of its class at IoU >= 0.5."""
    free = np.ones(len(truth.class_ids), dtype=bool)
    boxes = np.array([d.box for d in detections], dtype=np.float64).reshape(-1, 4)
    overlap = iou(boxes, truth.boxes)
    hits = [False] * len(detections)
    for i in sorted(range(len(detections)), key=lambda i: -detections[i].confidence):
        right = free & (truth.class_ids == CLASSES.index(detections[i].class_name))
        value = np.where(right, overlap[i], 0.0)
        if value.size and value.max() >= MATCH_IOU:
            hits[i] = True
            free[value.argmax()] = False
    return hits


def precision_recall(detections: Sequence[Sequence[Detection]], truth: Sequence[Truth]) -> Score:
    """Score frames against their truth at the production thresholds (greedy matching, most confident first)."""
    hits = found = real = 0
    for ours, theirs in zip(detections, truth, strict=True):
        acted_on = [d for d in ours if d.confidence >= PRODUCTION_THRESHOLDS[d.class_name]]
        hits += sum(matches(acted_on, theirs))
        found += len(acted_on)
        real += len(theirs.class_ids)
    return Score(hits, found - hits, real - hits)
