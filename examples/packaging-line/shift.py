"""One camera's day at the plant: frames are drawn, the detector runs, the client library logs what it found.

This is all that an inference service does with the product: `image_stats`, `frame_record`, `FrameLogger`. What people
make of it (`people.py`) comes from the plant's other systems, as files of reviews and of events.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detector import Detection, Detector, Score, precision_recall
from people import Record, business_day, review_day, write
from plant import CAMERAS
from production import Shot, fails, produce_day

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
    found = [[] if _failed(shift, index) else detections for index, detections in enumerate(found)]
    with FrameLogger(shift.folder) as log:
        for index, (shot, detections) in enumerate(zip(shots, found, strict=True)):
            log.log(_record(shift, index, shot, detections, took_ms[index]))
    _people(shift, shots, found)
    return precision_recall(found, [shot.truth for shot in shots])


def _failed(shift: Shift, index: int) -> bool:
    return fails(shift.day, shift.camera, index, shift.drifted)


def _people(shift: Shift, shots: list[Shot], found: list[list[Detection]]) -> None:
    """Reviews and events of the day, in files beside the log; frames that failed are nobody's to review."""
    kept = [index for index in range(len(shots)) if not _failed(shift, index)]
    seen = (
        [_event_id(shift, index) for index in kept],
        [_captured_at(shift, shots[index]) for index in kept],
        [found[index] for index in kept],
        [shots[index].truth for index in kept],
    )
    rng = np.random.default_rng([shift.seed, shift.day, CAMERAS.index(shift.camera), 77])
    write(shift.folder, "people.reviews.jsonl", list(review_day(*seen, rng)))
    events: list[Record] = list(business_day(MODEL, shift.camera, shift.day, *seen, rng))
    if shift.day == 0 and shift.camera == CAMERAS[0]:
        went_live = {"event_id": "deployed-v1.0", "kind": "deployment", "model": MODEL, "version": VERSION}
        events.append(went_live | {"at": shift.start.isoformat(), "note": "the first version, on all three lines"})
    write(shift.folder, "plant.events.jsonl", events)


def _event_id(shift: Shift, index: int) -> str:
    return f"{shift.camera}-{shift.day:03d}-{index:03d}"


def _captured_at(shift: Shift, shot: Shot) -> datetime:
    return (shift.start + timedelta(days=shift.day, seconds=shot.captured_offset_s)).astimezone(UTC)


def _record(
    shift: Shift, index: int, shot: Shot, detections: list[Detection], latency_ms: float
) -> dict[str, object]:
    captured_at = _captured_at(shift, shot)
    height, width = shot.frame.shape[:2]
    return frame_record(
        event_id=_event_id(shift, index),
        captured_at=captured_at,
        status="timeout" if _failed(shift, index) else "ok",
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
