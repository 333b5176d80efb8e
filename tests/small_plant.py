"""A plant for tests about room and servers: one contract, and files of frames from five cameras."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.spec.load import LoadedContract, load_contract

START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + timedelta(days=60)


def contract(folder: Path) -> LoadedContract:
    path = folder / "plant.toml"
    path.write_text('[model]\nname = "plant"\n[cameras]\npolicy = "open"\n[[classes]]\nname = "part"\n')
    return load_contract(path)


def drop_file(spool: Path, number: int, frames: int, hours: int) -> None:
    """A whole file of frames, spread over some hours from START."""
    folder = spool / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [_record(number, i, hours) for i in range(frames)]
    (folder / f"{number:04d}.jsonl").write_text("\n".join(map(json.dumps, lines)))


def _record(number: int, i: int, hours: int) -> dict[str, object]:
    return {
        "event_id": f"{number}-{i}",
        "captured_at": (START + timedelta(hours=(number + i) % hours, seconds=i)).isoformat(),
        "model": "plant",
        "version": "v1",
        "camera": f"cam-{i % 5}",
        "width": 640,
        "height": 480,
        "latency_ms": 10 + i % 50,
        "image": {
            "recipe": "r",
            "brightness": i % 250,
            "contrast": i % 60,
            "sharpness": i % 9,
            "red_balance": 0.01,
            "blue_balance": -0.01,
            "histogram": [i % 99 + 1] * 32,
        },
        "detections": [{"class": "part", "confidence": 0.5 + i % 50 / 100, "box": [10, 10, 10 + i % 99 + 1, 70]}],
    }
