"""Frames of anything, and roll-ups counted from raw frames a second time, without the product's readers."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from monitor.records import Histogram, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.store import histograms
from monitor.store.database import Connection

NOW = datetime(2026, 3, 3, tzinfo=UTC)
CONTRACT = """
class_policy = "open"
[model]
name = "line"
stages = ["screen", "check"]
[cameras]
policy = "open"
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
[[conditions]]
name = "shift"
values = ["early", "late"]
"""


def record(rng: random.Random, number: int) -> dict[str, Any]:
    """A frame of anything that a record may hold, silent here and there."""
    said: dict[str, Any] = {
        "event_id": f"e{number}",
        "captured_at": (NOW - timedelta(seconds=rng.randint(0, 20_000))).isoformat(),
        "model": "line",
        "version": rng.choice(["v1", "v2"]),
        "camera": rng.choice(["a", "b", "ü"]),
        "stage": rng.choice(["screen", "check"]),
        "width": rng.choice([64, 640]),
        "height": 480,
        "shadow": rng.random() < 0.2,
        "status": rng.choice(["ok", "ok", "ok", "timeout"]),
    }
    if rng.random() < 0.8:
        said["latency_ms"] = rng.choice([0.0, 0.1, 1e9, rng.lognormvariate(3, 1)])
        said["queue_depth"] = rng.choice([0, 1, 2, 2_147_483_647])
    if rng.random() < 0.7:
        said["slices"] = {"lighting": rng.choice(["day", "night"]), "shift": rng.choice(["early", "lunch"])}
    if rng.random() < 0.6:
        said["camera_meta"] = {"gain_db": rng.uniform(-30, 90), "exposure_ms": rng.choice([1, "auto"])}
    if rng.random() < 0.7:
        said["image"] = {
            "recipe": rng.choice(["r1", "r2"]),
            "brightness": rng.uniform(0, 255),
            "contrast": rng.uniform(0, 128),
            "sharpness": rng.uniform(-3, 13),
            "red_balance": rng.uniform(-1.5, 1.5),
            "blue_balance": 0.0,
            "histogram": [rng.randint(0, 9) for _ in range(31)] + [1],
        }
    said["detections"] = []
    for _ in range(rng.randint(0, 4)):
        x, y = rng.randint(0, 30), rng.randint(0, 400)
        box = [x, y, x + rng.randint(1, 120) / 4, y + rng.randint(1, 200) / 4]
        said["detections"].append(
            {"class": rng.choice(["carton", "pouch"]), "confidence": rng.choice([0.0, 1.0, rng.random()]), "box": box}
        )
    return said


def start_of_day(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


Raw = dict[str, Any]
Reading = Callable[[Raw], list[tuple[str, float]]]


def one(name: str) -> Reading:
    return lambda frame: [] if frame[name] is None else [("", frame[name])]


def meta(name: str) -> Reading:
    def read(frame: Raw) -> list[tuple[str, float]]:
        value = (frame["camera_meta"] or {}).get(name)
        return [("", float(value))] if isinstance(value, (int, float)) else []

    return read


def boxes(number: Callable[[Raw, list[float]], float]) -> Reading:
    return lambda frame: [
        (name, number(frame, frame["det_box"][4 * i : 4 * i + 4])) for i, name in enumerate(frame["det_class"])
    ]


READINGS: dict[str, Reading] = {
    **{name: one(name) for name in ("brightness", "contrast", "sharpness", "red_balance", "blue_balance")},
    **{name: one(name) for name in ("latency_ms", "queue_depth")},
    "exposure_ms": meta("exposure_ms"),
    "gain_db": meta("gain_db"),
    "resolution": lambda frame: [("", math.sqrt(frame["width"] * frame["height"]))],
    "detections": lambda frame: [("", len(frame["det_class"]))] if frame["status"] == "ok" else [],
    "confidence": lambda frame: list(zip(frame["det_class"], frame["det_confidence"], strict=True)),
    "box_area": boxes(lambda frame, b: (b[2] - b[0]) * (b[3] - b[1]) / (frame["width"] * frame["height"])),
    "box_aspect": boxes(lambda _, b: math.log((b[2] - b[0]) / (b[3] - b[1]))),
}


def series(frame: Raw, signal: str, class_name: str) -> Iterator[SeriesKey]:
    slices = [("", ""), *zip(frame["slice_name"], frame["slice_value"], strict=True)]
    for name, value in slices:
        scope = Scope(
            frame["model"], frame["version"], frame["stage"], frame["camera"], name, value, shadow=frame["shadow"]
        )
        yield SeriesKey(scope, signal, class_name, frame["recipe"] if SIGNALS[signal].image else "")


def recount(frames: list[Raw], minutes: int) -> dict[tuple[SeriesKey, datetime], Histogram]:
    """Frame by frame, value by value."""
    found: dict[tuple[SeriesKey, datetime], Histogram] = {}
    edges = {name: signal.edges.values().tolist() for name, signal in SIGNALS.items()}

    def cell(frame: Raw, signal: str, class_name: str) -> Iterator[Histogram]:
        at = frame["captured_at"].astimezone(UTC)
        at = at.replace(minute=at.minute // minutes * minutes if minutes < 60 else 0, second=0, microsecond=0)
        for key in series(frame, signal, class_name):
            if minutes < 60 and key.scope.slice_name:
                continue  # quarters are kept of whole cameras
            empty = Histogram(SIGNALS[signal].edges.id, np.zeros(len(edges[signal]) + 1, dtype=np.int64))
            yield found.setdefault((key, at), empty)

    for frame in frames:
        for kind in ("", frame["status"]):
            for histogram in cell(frame, "status", kind):
                histogram.n += 1
                histogram.frames += 1
                histogram.squares += 1
        if minutes == 60 and frame["brightness_histogram"]:
            for histogram in cell(frame, "pixel_brightness", ""):
                histogram.n += 1
                histogram.frames += 1
                histogram.squares += 1
                for i, pixels in enumerate(frame["brightness_histogram"]):
                    histogram.counts[i + 1] += pixels
                    histogram.total += pixels * (8 * i + 4)
        for signal, reading in READINGS.items():
            if minutes != 60 and signal not in ("latency_ms", "queue_depth"):
                continue
            by_class: dict[str, list[float]] = defaultdict(list)
            for class_name, value in reading(frame):
                by_class[""].append(value)
                if class_name and signal == "confidence":
                    by_class[class_name].append(value)
            for class_name, values in by_class.items():
                for histogram in cell(frame, signal, class_name):
                    histogram.n += len(values)
                    histogram.frames += 1
                    histogram.squares += len(values) ** 2
                    for value in values:
                        histogram.total += round(value * SIGNALS[signal].scale)
                        histogram.counts[bisect_right(edges[signal], value)] += 1
    return found


def plain(found: dict[Any, Histogram]) -> dict[Any, tuple[Any, ...]]:
    return {key: (h.edges_id, h.n, h.frames, h.total, h.squares, h.counts.tolist()) for key, h in found.items()}


def by_span(
    conn: Connection, start: datetime, end: datetime, minutes: int, **only: Any
) -> dict[tuple[SeriesKey, datetime], Histogram]:
    """Every span by itself."""
    step = timedelta(minutes=minutes)
    return {
        (key, start + i * step): histogram
        for i in range((end - start) // step)
        for key, histogram in histograms.read(
            conn, "line", start + i * step, start + (i + 1) * step, minutes=minutes, **only
        ).items()
    }
