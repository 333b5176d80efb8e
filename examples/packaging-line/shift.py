"""One camera's day at the plant: frames are drawn, the detector runs, the client library logs what it found.

This is all that an inference service does with the product: `image_stats`, `frame_record`, `FrameLogger`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from detector import Detection, Detector, Score, precision_recall
from production import Shot, produce_day

from monitor.client import FrameLogger, frame_record, image_stats

HERE = Path(__file__).parent
MODEL = "packaging-line"
VERSION = "v1.0"
BATCH = 32


class Shift(NamedTuple):
    """What one camera is to do on one day; `folder` takes the log files."""

    day: int
    camera: str
    start: datetime  # midnight UTC of the story's first day
    frames: int
    drifted: bool
    seed: int
    folder: Path


@cache
def _detector() -> Detector:
    return Detector(HERE / "detector.onnx")


def work(shift: Shift) -> Score:
    """Draw the day, infer, log; returns the truth's score, which only the example can know."""
    shots = produce_day(shift.day, shift.camera, shift.frames, shift.drifted, shift.seed)
    found: list[list[Detection]] = []
    took_ms: list[float] = []
    for first in range(0, len(shots), BATCH):
        batch = [shot.frame for shot in shots[first : first + BATCH]]
        began = time.perf_counter()
        found += _detector().detect(batch, BATCH)
        took_ms += [1000 * (time.perf_counter() - began) / len(batch)] * len(batch)
    with FrameLogger(shift.folder) as log:
        for index, (shot, detections) in enumerate(zip(shots, found, strict=True)):
            log.log(_record(shift, index, shot, detections, took_ms[index]))
    return precision_recall(found, [shot.truth for shot in shots])


def _record(
    shift: Shift, index: int, shot: Shot, detections: list[Detection], latency_ms: float
) -> dict[str, object]:
    captured_at = shift.start + timedelta(days=shift.day, seconds=shot.captured_offset_s)
    height, width = shot.frame.shape[:2]
    return frame_record(
        event_id=f"{shift.camera}-{shift.day:03d}-{index:03d}",
        captured_at=captured_at.astimezone(UTC),
        model=MODEL,
        version=VERSION,
        camera=shift.camera,
        width=width,
        height=height,
        latency_ms=round(latency_ms, 3),
        slices={"lighting": "day" if captured_at.hour < 16 else "evening"},
        image=image_stats(shot.frame),
        detections=[{"class": d.class_name, "confidence": d.confidence, "box": list(d.box)} for d in detections],
    )
