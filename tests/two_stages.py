"""A pipeline of two stages over three weeks: every image is surveyed, one in three is checked by another network.

The stages differ in all that can be told of them, so that a number that mixes them is wrong at any tolerance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from packing import Served

from monitor.client import FrameLogger, frame_record
from monitor.daemon.context import Context
from monitor.daemon.run import run_once
from monitor.drift import baseline
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store.database import Database

STAGES = ("survey", "check")
"""In the order of the pipeline, which is not that of the alphabet."""
CAMERAS = ("cam-1", "cam-2")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
FROZEN = START + 14 * DAY
NOW = START + 20 * DAY + timedelta(hours=12, minutes=30)
AN_HOUR = 8
"""Images a camera and hour."""
CONTRACT = """
[model]
name = "seals"
stages = ["survey", "check"]
[[classes]]
name = "suspect"
[[classes]]
name = "leak"
[[classes]]
name = "wrinkle"
[cameras]
list = [{ name = "cam-1" }, { name = "cam-2" }]
[[conditions]]
name = "lighting"
values = ["day", "night"]
[constraints]
latency_p95_ms = 300.0
"""
Record = dict[str, Any]


@dataclass
class Pipeline:
    """What was sent."""

    frames: list[Record] = field(default_factory=list)
    reviews: list[Record] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)


@dataclass
class Staged(Served):
    """A database with its port open, and the pipeline in it."""

    pipeline: Pipeline
    context: Context


def sent(days: float = (NOW - START) / DAY) -> Pipeline:
    """Frames of both stages, reviews and events, the same at every call."""
    found, draw = Pipeline(), np.random.default_rng(11)
    for hour in range(int(days * 24) + 1):
        for camera in CAMERAS:
            for number in range(AN_HOUR):
                at = START + hour * HOUR + timedelta(minutes=7 * number, seconds=20)
                if at > NOW:
                    continue
                found.frames.append(_frame("survey", at, camera, f"s-{camera}-{hour}-{number}", draw))
                if number % 3 == 0:
                    later = at + timedelta(seconds=1)
                    found.frames.append(_frame("check", later, camera, f"c-{camera}-{hour}-{number}", draw))
    found.reviews += [_review(frame, draw) for frame in found.frames[::9]]
    orders = int(days)
    found.events += [
        {"event_id": f"w{day}", "kind": "work_order", "model": "seals", "at": (START + day * DAY + HOUR).isoformat()}
        for day in range(orders)
    ]
    return found


def _frame(stage: str, at: datetime, camera: str, name: str, draw: np.random.Generator) -> Record:
    first = stage == "survey"
    failed = draw.random() < (0.01 if first else 0.06)
    names, shares = (("suspect", "wrinkle"), (0.9, 0.1)) if first else (("leak", "wrinkle"), (0.4, 0.6))
    found = 0 if failed else int(draw.integers(1, 3 if first else 5))
    sure = (3, 3) if first else (9, 2)
    return {
        **frame_record(
            captured_at=at,
            model="seals",
            version="v1",
            camera=camera,
            event_id=name,
            stage=stage,
            width=640,
            height=480,
            status="timeout" if failed else "ok",
            latency_ms=float(draw.lognormal(3.0 if first else 5.0, 0.2)),
            queue_depth=int(draw.integers(0, 3 if first else 30)),
            slices={"lighting": "day" if 6 <= at.hour < 18 else "night"},
            detections=[
                {
                    "class": str(draw.choice(names, p=shares)),
                    "confidence": round(float(draw.beta(*sure)), 6),
                    "box": [100.0 * place, 10.0, 100.0 * place + (60 if first else 20), 90.0],
                }
                for place in range(found)
            ],
        )
    }


def _review(frame: Record, draw: np.random.Generator) -> Record:
    wrong = 0.3 if frame["stage"] == "survey" else 0.05
    kinds = ["confirmed", "false_positive", "bad_box"]
    return {
        "review_id": f"r-{frame['event_id']}",
        "event_id": frame["event_id"],
        "reviewer": "ada",
        "finished_at": min(datetime.fromisoformat(frame["captured_at"]) + HOUR, NOW).isoformat(),
        "review_prob": 1 / 9,
        "detections": [
            {"index": i, "verdict": str(draw.choice(kinds, p=[1 - wrong, 0.6 * wrong, 0.4 * wrong]))}
            for i in range(len(frame.get("detections", [])))
        ],
        "missed": [{"class": "leak"}] if draw.random() < 0.1 else [],
    }


def bring_in(pipeline: Pipeline, database: Database, settings: Settings) -> Context:
    """Log all of it as an inference service does, let the daemon take it in, freeze a baseline, run every job."""
    settings.contracts_dir.mkdir(parents=True, exist_ok=True)
    (settings.contracts_dir / "seals.toml").write_text(CONTRACT, encoding="utf-8")
    incoming = settings.spool_dir / "incoming"
    with FrameLogger(incoming, max_records=50_000, max_age_s=None) as logger:
        for frame in pipeline.frames:
            logger.log(frame)
    for name, rows in (("reviews", pipeline.reviews), ("events", pipeline.events)):
        (incoming / f"plant.{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    context = Context(settings, database, Shelf(settings.contracts_dir))
    run_once(context, NOW)
    baseline.from_logs(database, context.shelf.contracts["seals"], "v1", Window(START, FROZEN), NOW)
    run_once(context, NOW)
    return context
