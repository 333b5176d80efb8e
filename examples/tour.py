"""What the README's tour works on: drawn panels with scratches and dents, and five weeks of a camera that saw them.

    python examples/tour.py

It writes into the folder it is called from: `images/` with `truth.json` and what versions of a model said of them,
`old-logs/` (four clean weeks, then eight days in which the lamp gives a fifth less light, up to yesterday, and what a
person said of every tenth frame of the last ten days), and `frames.jsonl` with frames of today. The detections are
invented beside the truth; everything else is measured on pixels. The same call on the same day writes the same.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from monitor.client import FrameLogger, frame_record, image_stats

WIDTH, HEIGHT = 160, 120
DAYS, CLEAN_DAYS, FRAMES_AN_HOUR = 36, 28, 5
DIM = 0.8
REVIEWED_DAYS, ONE_IN = 10, 10
IMAGES = 60
CLASSES = ("scratch", "dent")
Box = tuple[str, list[int]]


def panel(rng: np.random.Generator, light: float) -> tuple[np.ndarray, list[Box]]:
    """A painted panel as RGB (HEIGHT, WIDTH, 3), and what is on it: class and x, y, width, height."""
    grey = rng.normal(150 * light * rng.normal(1, 0.03), 9, (HEIGHT, WIDTH, 1))
    found: list[Box] = []
    for _ in range(rng.poisson(1.3)):
        name = CLASSES[int(rng.random() < 0.4)]
        width, height = (int(rng.integers(18, 40)), int(rng.integers(4, 8)))
        if name == "dent":
            height = width = int(rng.integers(14, 26))
        x, y = int(rng.integers(0, WIDTH - width)), int(rng.integers(0, HEIGHT - height))
        grey[y : y + height, x : x + width] *= 0.6 if name == "scratch" else 1.3
        found.append((name, [x, y, width, height]))
    return np.clip(grey * [1.0, 0.98, 0.96], 0, 255).astype(np.uint8), found


def said(rng: np.random.Generator, found: list[Box], recall: float) -> Iterator[tuple[str, float, list[float]]]:
    """What a model says of a panel: class, confidence, x, y, width, height."""
    for name, box in found:
        if rng.random() < recall:
            x, y, width, height = (float(side + rng.normal(0, 1)) for side in box)
            yield name, float(rng.beta(9, 2)), [max(0.0, x), max(0.0, y), width, height]
    if rng.random() < 0.05:
        yield CLASSES[int(rng.integers(2))], float(rng.beta(3, 4)), [40.0, 30.0, 20.0, 12.0]


def write_images(rng: np.random.Generator) -> None:
    """`images/`, `truth.json`, `results.json` and the other results, and a training set of its own."""
    images, truth = [], []
    results: dict[str, list[dict[str, Any]]] = {"results": [], "last": [], "active": [], "candidate": []}
    for folder in ("images", "training"):
        Path(folder).mkdir(exist_ok=True)
        for number in range(1, IMAGES + 1):
            pixels, found = panel(rng, 1.0)
            Image.fromarray(pixels).save(Path(folder) / f"{number:04d}.png")
            if folder == "training":
                continue
            lighting = "night" if number % 3 == 0 else "day"
            images.append(
                {"id": number, "file_name": f"{number:04d}.png", "width": WIDTH, "height": HEIGHT, "camera": "cam-1"}
                | {"slices": {"lighting": lighting}}
            )
            truth += [
                {"image_id": number, "category_id": CLASSES.index(name) + 1, "bbox": box, "area": box[2] * box[3]}
                | {"id": len(truth) + place + 1, "iscrowd": 0}
                for place, (name, box) in enumerate(found)
            ]
            for version, recall in (("results", 0.95), ("last", 0.95), ("active", 0.95), ("candidate", 0.9)):
                results[version] += [
                    {"image_id": number, "category_id": CLASSES.index(name) + 1, "bbox": box, "score": score}
                    for name, score, box in said(rng, found, recall)
                ]
    categories = [{"id": place + 1, "name": name} for place, name in enumerate(CLASSES)]
    whole = {"images": images, "annotations": truth, "categories": categories}
    for name, content in {"truth": whole, **results}.items():
        Path(f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def record(rng: np.random.Generator, at: datetime, pixels: np.ndarray, found: list[Box]) -> dict[str, Any]:
    """The record of a frame."""
    detections = [
        {"class": name, "confidence": score, "box": [x, y, min(x + width, WIDTH), min(y + height, HEIGHT)]}
        for name, score, (x, y, width, height) in said(rng, found, 0.95)
    ]
    return frame_record(
        event_id=f"cam-1-{at:%Y%m%dT%H%M%S}",
        captured_at=at,
        model="my-model",
        version="v1.0",
        camera="cam-1",
        width=WIDTH,
        height=HEIGHT,
        latency_ms=float(rng.lognormal(3.2, 0.2)),
        image=image_stats(pixels),
        slices={"lighting": "day" if 6 <= at.hour < 18 else "night"},
        detections=detections,
    )


def review(frame: dict[str, Any], found: list[Box], at: datetime) -> dict[str, Any]:
    """What a person says of a frame an hour later: right, a false alarm, or something that was missed."""
    near = [[name == one["class"] and max(abs(box[0] - one["box"][0]), abs(box[1] - one["box"][1])) < 6
             for one in frame["detections"]] for name, box in found]  # fmt: skip
    right = [any(of) for of in zip(*near, strict=True)] or [False] * len(frame["detections"])
    missed = [(name, box) for (name, box), of in zip(found, near, strict=True) if not any(of)]
    return {
        "review_id": f"review-{frame['event_id']}",
        "event_id": frame["event_id"],
        "reviewer": "ada",
        "finished_at": (at + timedelta(hours=1)).isoformat(),
        "review_prob": 1 / ONE_IN,
        "detections": [
            {"index": place, "verdict": "confirmed" if is_right else "false_positive"}
            for place, is_right in enumerate(right)
        ],
        "missed": [{"class": name, "box": [x, y, x + width, y + height]} for name, (x, y, width, height) in missed],
    }


def write_logs(rng: np.random.Generator, today: datetime) -> None:
    """`old-logs/`, `frames.jsonl`, and the brightness of two weeks as CSV files."""
    first, step = today - timedelta(days=DAYS), timedelta(hours=1) / FRAMES_AN_HOUR
    brightness: dict[str, list[float]] = {"before": [], "now": []}
    reviews = []
    with FrameLogger("old-logs") as log:
        for number in range(DAYS * 24 * FRAMES_AN_HOUR):
            at = first + number * step
            is_clean = at < first + timedelta(days=CLEAN_DAYS)
            pixels, found = panel(rng, 1.0 if is_clean else DIM)
            one = record(rng, at, pixels, found)
            log.log(one)
            if at >= today - timedelta(days=REVIEWED_DAYS) and number % ONE_IN == 0:
                reviews.append(review(one, found, at))
            brightness["before" if is_clean else "now"].append(one["image"]["brightness"])
        log.log(record(rng, first, *panel(rng, 1.0)) | {"event_id": "rig-1", "camera": "test-rig"})
    for name, values in brightness.items():
        with Path(f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["brightness"], *([value] for value in values)])
    frames = [record(rng, today + number * timedelta(seconds=1), *panel(rng, DIM)) for number in range(3)]
    for file, records in ("frames.jsonl", frames), ("old-logs/ada.reviews.jsonl", reviews):
        Path(file).write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")


def main() -> None:
    """Write everything, and say what was written."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rng = np.random.default_rng(20260301)
    write_images(rng)
    write_logs(rng, today)
    clean = today - timedelta(days=DAYS), today - timedelta(days=DAYS - CLEAN_DAYS)
    print(f"images/ and truth.json: {IMAGES} panels; old-logs/: {DAYS} days of cam-1, clean from "
          f"{clean[0]:%Y-%m-%d} to {clean[1]:%Y-%m-%d}")  # fmt: skip


if __name__ == "__main__":
    main()
