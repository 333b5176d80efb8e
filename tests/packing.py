"""A plant of three cameras over 45 days, as records: the truth that panels are held against, counted by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from monitor.daemon.context import Context
from monitor.daemon.run import run_once
from monitor.drift import baseline
from monitor.ingest import stage
from monitor.ingest.lines import Lines
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.scoring import ScoringRun
from monitor.settings import Settings
from monitor.spec.load import Shelf, load_contract
from monitor.store import scorings
from monitor.store.database import Database

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
FROZEN = datetime(2026, 3, 1, tzinfo=UTC)
"""End of the baseline's period."""
START = datetime(2026, 2, 14, tzinfo=UTC)
DEPLOYED = datetime(2026, 3, 29, tzinfo=UTC)
"""From then on frames come from v2."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CAMERAS = ("cam-1", 'o\'brien "x"', "cam-3")
CLASSES = ("carton", "pouch")
AN_HOUR = 5
"""Frames a camera and hour."""
CONTRACT = """
[model]
name = "packing"
owner = "line-vision"
[[classes]]
name = "carton"
[[classes]]
name = "pouch"
[cameras]
list = [{ name = "cam-1" }, { name = "o'brien \\"x\\"" }, { name = "cam-3" }]
[[conditions]]
name = "lighting"
values = ["day", "night"]
[constraints]
latency_p95_ms = 45.0
[[alerts]]
name = "brightness-drift"
signal = "brightness"
measure = "psi"
above = 0.2
min_n = 50
for_windows = 1
[[acceptance]]
name = "cartons are found"
measure = "recall"
class = "carton"
at_least = 0.9
"""


@dataclass
class Plant:
    """What was sent."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Served:
    """A database with its port open, and how the reading role gets in."""

    database: Database
    settings: Settings

    def reader(self, name: str = "monitor") -> psycopg.Connection:
        """A new connection as `monitor_reader`."""
        assert self.database.postgres is not None
        password = self.database.postgres.password_file.read_text().strip()
        port = self.database.engine.url.query["port"]
        address = f"host=127.0.0.1 port={port} dbname={name}"
        return psycopg.connect(address, user="monitor_reader", password=password, autocommit=True)


@dataclass
class Filled(Served):
    """The same with a plant in it."""

    plant: Plant
    context: Context


def records() -> Plant:
    """Frames, reviews and events, the same at every call. One camera darkens from the middle of March on."""
    plant, draw = Plant(), np.random.default_rng(7)
    hours = int((NOW - START) / HOUR) + 1
    for hour in range(hours):
        for place, camera in enumerate(CAMERAS):
            for number in range(AN_HOUR):
                at = START + hour * HOUR + timedelta(minutes=11 * number + place, seconds=11)
                if at <= NOW:
                    plant.frames.append(_frame(at, camera, f"{hour}-{place}-{number}", draw))
    for frame in plant.frames[::12]:
        plant.reviews.append(_review(frame, draw))
    for day in range(int((NOW - START) / DAY)):
        plant.events += _events(START + day * DAY + timedelta(hours=10), day, draw)
    return plant


def _frame(at: datetime, camera: str, name: str, draw: np.random.Generator) -> dict[str, Any]:
    late = max(0.0, (at - datetime(2026, 3, 15, tzinfo=UTC)) / DAY)
    grey = float(np.clip(draw.normal(130 - (2.5 * late if camera == "cam-3" else 0), 9), 0, 255))
    bins = [0] * 32
    bins[int(grey) // 8] = 10
    failed = draw.random() < 0.02
    return {
        "event_id": name,
        "captured_at": at.isoformat(),
        "model": "packing",
        "version": "v1" if at < DEPLOYED else "v2",
        "camera": camera,
        "width": 640,
        "height": 480,
        "status": "timeout" if failed else "ok",
        "latency_ms": float(draw.lognormal(3, 0.35)),
        "queue_depth": int(draw.integers(0, 5)),
        "slices": {"lighting": "day" if 6 <= at.hour < 18 else "night"},
        "image": {
            "recipe": "grey601-full-1",
            "brightness": grey,
            "contrast": float(draw.normal(40, 3)),
            "sharpness": float(draw.normal(5, 0.3)),
            "red_balance": 0.01,
            "blue_balance": -0.01,
            "histogram": bins,
        },
        "detections": []
        if failed
        else [
            {"class": CLASSES[int(draw.random() < 0.3)], "confidence": round(float(draw.beta(7, 2)), 6), "box": box}
            for box in ([10, 10, 110, 90], [200, 100, 290, 190], [320, 30, 400, 120])[: int(draw.integers(0, 4))]
        ],
    }


def _review(frame: dict[str, Any], draw: np.random.Generator) -> dict[str, Any]:
    verdicts = []
    for index, _ in enumerate(frame["detections"]):
        verdict = str(
            draw.choice(["confirmed", "false_positive", "wrong_class", "bad_box"], p=[0.85, 0.06, 0.05, 0.04])
        )
        one: dict[str, Any] = {"index": index, "verdict": verdict}
        if verdict == "wrong_class":
            one["right_class"] = next(name for name in CLASSES if name != frame["detections"][index]["class"])
        verdicts.append(one)
    missed = [{"class": "pouch"}] if draw.random() < 0.1 else []
    at = datetime.fromisoformat(frame["captured_at"])
    return {
        "review_id": f"r-{frame['event_id']}",
        "event_id": frame["event_id"],
        "reviewer": "ada",
        "finished_at": min(at + HOUR, NOW).isoformat(),
        "review_prob": 1 / 12,
        "detections": verdicts,
        "missed": missed,
    }


def _events(at: datetime, day: int, draw: np.random.Generator) -> list[dict[str, Any]]:
    said = {"model": "packing", "at": at.isoformat(), "camera": CAMERAS[day % 3]}
    found: list[dict[str, Any]] = [said | {"event_id": f"w{day}", "kind": "work_order", "class": "carton"}]
    found.append(said | {"event_id": f"f{day}", "kind": "false_alarm", "minutes": float(draw.integers(5, 30))})
    if day % 5 == 0:
        found.append(said | {"event_id": f"m{day}", "kind": "missed_defect"})
        found.append(said | {"event_id": f"t{day}", "kind": "throughput", "before": 100.0, "after": 112.0})
    if day == (DEPLOYED - START) // DAY:
        found.append(said | {"event_id": "d2", "kind": "deployment", "version": "v2", "note": "trained again"})
    return found


def bring_in(plant: Plant, database: Database, settings: Settings) -> Context:
    """Take all of it in, freeze a baseline, and let every job run once at NOW."""
    settings.contracts_dir.mkdir(parents=True, exist_ok=True)
    path = settings.contracts_dir / "packing.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    contracts = {"packing": load_contract(path)}
    named = (("frames", plant.frames), ("reviews", plant.reviews), ("events", plant.events))
    for name, rows in named:
        for first in range(0, len(rows), 20_000):
            part = [json.dumps(row).encode() for row in rows[first : first + 20_000]]
            part += [json.dumps(rows[0] | {"event_id": "x", "camera": "cam-9"}).encode()] if name == "frames" else []
            stage.take_lines(
                database, "plant", f"{first}-{name}", f"plant.{name}.jsonl", Lines.of(part), contracts, NOW
            )
    _score(database, contracts["packing"].hash)
    baseline.from_logs(database, contracts["packing"], "v1", Window(START, FROZEN), NOW)
    context = Context(settings, database, Shelf(Path(settings.contracts_dir)))
    run_once(context, NOW)
    return context


def _score(database: Database, contract_hash: str) -> None:
    """Ten nights on which the golden set was scored, as the runner would leave them."""
    for night in range(10):
        day = (NOW - (night + 1) * DAY).replace(hour=0, minute=0)
        run = ScoringRun(
            "packing", "v1", "golden", contract_hash, day + 2 * HOUR, day + 2 * HOUR, day + 3 * HOUR, "done",
            verdict="pass", sameness="same", set_name="lines", set_version="1", images=200, decoded=200,
        )  # fmt: skip
        values = {
            ("map50", ""): 0.91,
            ("map50_95", ""): 0.7,
            ("precision", "carton"): 0.96,
            ("recall", "carton"): 0.93,
        }
        key = SeriesKey(Scope("packing", "v1"), "golden")
        found = [
            Measurement(
                replace(key, class_name=name),
                measure,
                Window(day, day + DAY),
                value,
                "ok",
                200,
                0,
                None,
                contract_hash,
            )
            for (measure, name), value in values.items()
        ]
        with database.begin() as conn:
            number = scorings.begin(conn, run)
            assert number is not None
            scorings.finish(conn, replace(run, id=number), {})
            scorings.measure(conn, found)
