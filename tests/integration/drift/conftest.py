"""A small plant whose frames go through the real intake, for the tests of what is made of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.ingest import stage as intake
from monitor.records import Measurement
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import measurements
from monitor.store.database import Database

CONTRACT = """
[model]
name = "line"
[[classes]]
name = "carton"
[[classes]]
name = "pouch"
[cameras]
policy = "open"
[[conditions]]
name = "lighting"
values = ["day", "evening"]
[[alerts]]
name = "brightness-drift"
signal = "brightness"
measure = "psi"
above = 0.3
min_n = 50
"""
START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Plant:
    """Cameras that log; day 0 begins at `START`."""

    database: Database
    folder: Path
    loaded: LoadedContract
    files: int = 0

    def record(self, day: int, camera: str, number: int, draw: np.random.Generator, **said: Any) -> dict[str, Any]:
        """One frame; `brightness` and `pouches` (share) move it, the rest replaces fields."""
        grey = float(np.clip(draw.normal(said.pop("brightness", 120), 10), 0, 255))
        pouches = said.pop("pouches", 0.2)
        at = START + day * DAY + timedelta(hours=8, minutes=number)
        classes = ["pouch" if draw.random() < pouches else "carton" for _ in range(2)]
        bins = [0] * 32
        bins[int(grey) // 8] = 1
        return {
            "event_id": f"{camera}-{day}-{number}-{self.files}",
            "captured_at": at.isoformat(),
            "model": "line",
            "version": "v1",
            "camera": camera,
            "width": 640,
            "height": 480,
            "latency_ms": float(draw.lognormal(3, 0.2)),
            "slices": {"lighting": "day" if number % 2 else "evening"},
            "image": {
                "recipe": "grey601-full-1",
                "brightness": grey,
                "contrast": 30.0,
                "sharpness": float(draw.normal(5, 0.3)),
                "red_balance": 0.0,
                "blue_balance": 0.0,
                "histogram": bins,
            },
            "detections": [
                {"class": name, "confidence": float(draw.beta(8, 2)), "box": [10, 10, 100, 80]} for name in classes
            ],
        } | said

    def send(self, days: range, cameras: tuple[str, ...] = ("cam-1", "cam-2"), frames: int = 60, **said: Any) -> None:
        """Log and take in `frames` a camera and day."""
        lines = []
        for day in days:
            for place, camera in enumerate(cameras):
                draw = np.random.default_rng([day, place, frames])
                lines += [self.record(day, camera, number, draw, **said) for number in range(frames)]
        incoming = self.folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        (incoming / f"{self.files:04}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        self.files += 1
        stored = intake.run(self.database, self.folder, {"line": self.loaded}, START + 100 * DAY)
        assert stored == len(lines)

    def measured(self, **filters: Any) -> list[Measurement]:
        """What was measured, read back."""
        with self.database.begin() as conn:
            return measurements.read(conn, "line", **filters)


@pytest.fixture
def plant(database: Database, tmp_path: Path) -> Plant:
    """A plant on a fresh database."""
    path = tmp_path / "line.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    return Plant(database, tmp_path / "spool", load_contract(path))
