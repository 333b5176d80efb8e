"""A seeded log of a plant: frames with 3 detections of 20 classes and a histogram of 32 bins, from 50 cameras."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from monitor.spec.load import LoadedContract, load_contract

CAMERAS = 50
CLASSES = 20
DETECTIONS = 3
A_DAY = 200_000
"""Frames a day of the whole plant: one every 22 seconds from each camera."""
START = datetime(2026, 3, 1, tzinfo=UTC)
_PIECE = 10_000


def write_log(path: Path, frames: int, *, first: int = 0, a_day: int = A_DAY) -> None:
    """Write the frames number `first` to `first + frames`, evenly over days of `a_day` frames from `START` on."""
    with path.open("wb") as file:
        for at in range(first, first + frames, _PIECE):
            for frame in _frames(at, min(_PIECE, first + frames - at), a_day):
                file.write(msgspec.json.encode(frame) + b"\n")


def contract(folder: Path) -> LoadedContract:
    """The contract that the frames keep."""
    lines = ['[model]\nname = "bench"\n[cameras]\npolicy = "declared"\n']
    lines += [f'[[cameras.list]]\nname = "cam-{i:02d}"\n' for i in range(CAMERAS)]
    lines += [f'[[classes]]\nname = "class-{i:02d}"\n' for i in range(CLASSES)]
    lines += ['[[conditions]]\nname = "lighting"\nvalues = ["day", "evening"]\n', "[output]\nclip_boxes = true\n"]
    path = folder / "bench.toml"
    path.write_text("".join(lines), encoding="utf-8")
    return load_contract(path)


def _frames(first: int, count: int, a_day: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng([7, first])
    seconds = (first + np.arange(count) + rng.uniform(0, 1, count)) * 86_400 / a_day
    captured_at = np.datetime64(START.replace(tzinfo=None), "us") + (seconds * 1e6).astype("m8[us]")
    corner = rng.uniform(0, 1000, (count, DETECTIONS, 2))
    drawn = {
        "histogram": rng.multinomial(129_600, rng.dirichlet(np.full(32, 2.0)), count),
        "brightness": np.clip(rng.normal(120, 12, count), 0, 255).round(4),
        "contrast": rng.uniform(30, 60, count).round(4),
        "sharpness": rng.normal(5, 0.5, count).round(4),
        "balance": rng.normal(0, 0.05, (count, 2)).round(5),
        "latency_ms": rng.lognormal(3.2, 0.2, count).round(3),
        "queue_depth": rng.poisson(2, count),
        "class": rng.integers(CLASSES, size=(count, DETECTIONS)),
        "confidence": rng.beta(8, 2, (count, DETECTIONS)).round(5),
        "box": np.concatenate((corner, corner + rng.uniform(20, 400, corner.shape)), axis=2).round(2),
    }
    rows = zip(*(values.tolist() for values in drawn.values()), strict=True)
    for number, at, row in zip(
        range(first, first + count), np.datetime_as_string(captured_at).tolist(), rows, strict=True
    ):
        yield _frame(number, at, dict(zip(drawn, row, strict=True)))


def _frame(number: int, at: str, drawn: dict[str, Any]) -> dict[str, Any]:
    red, blue = drawn["balance"]
    image = {name: drawn[name] for name in ("brightness", "contrast", "sharpness", "histogram")}
    detections = zip(drawn["class"], drawn["confidence"], drawn["box"], strict=True)
    return {
        "schema_version": 1,
        "event_id": f"frame-{number:08d}",
        "captured_at": f"{at}+00:00",
        "model": "bench",
        "version": "v1.0",
        "camera": f"cam-{number % CAMERAS:02d}",
        "width": 1920,
        "height": 1080,
        "latency_ms": drawn["latency_ms"],
        "queue_depth": drawn["queue_depth"],
        "slices": {"lighting": "day" if number % 3 else "evening"},
        "image_uri": f"s3://frames/{number:08d}.jpg",
        "image": {"recipe": "bench-1", "red_balance": red, "blue_balance": blue, **image},
        "detections": [
            {"class": f"class-{number:02d}", "confidence": confidence, "box": box}
            for number, confidence, box in detections
        ],
    }
