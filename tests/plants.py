"""Frames and reviews of a small plant as records, and what they add up to when counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from monitor.ingest import stage
from monitor.ingest.batch import Summary
from monitor.ingest.lines import Lines
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 20, tzinfo=UTC)
CONTRACT = """
[model]
name = "line"
[cameras]
list = [{ name = "cam-1" }, { name = "cam-2" }]
[[classes]]
name = "carton"
[[classes]]
name = "pouch"
[[conditions]]
name = "lighting"
values = ["day", "night"]
"""
Record = dict[str, Any]
Counted = Counter[tuple[Any, ...]]


def contract(folder: Path) -> dict[str, LoadedContract]:
    folder.mkdir(exist_ok=True)
    (folder / "line.toml").write_text(CONTRACT, encoding="utf-8")
    return {"line": load_contract(folder / "line.toml")}


def frame(event_id: str, minute: int, detections: Sequence[tuple[str, float]], **said: Any) -> Record:
    """A frame `minute` minutes after START; the boxes of its detections lie side by side."""
    return {
        "event_id": event_id,
        "captured_at": (START + timedelta(minutes=minute)).isoformat(),
        "model": "line",
        "version": "v1",
        "camera": "cam-1",
        "width": 4000,
        "height": 480,
        "slices": {"lighting": "day"},
        "detections": [
            {"class": name, "confidence": confidence, "box": box(i)}
            for i, (name, confidence) in enumerate(detections)
        ],
    } | said


def box(place: int) -> list[int]:
    return [100 * place, 0, 100 * place + 50, 40]


def review(review_id: str, event_id: str, minute: int, verdicts: Sequence[Record], **said: Any) -> Record:
    """A review that was finished `minute` minutes after START."""
    return {
        "review_id": review_id,
        "event_id": event_id,
        "reviewer": "ada",
        "finished_at": (START + timedelta(minutes=minute)).isoformat(),
        "detections": list(verdicts),
    } | said


def take(
    database: Database,
    contracts: dict[str, LoadedContract],
    name: str,
    records: Sequence[Record],
    source: str = "plant",
) -> Summary:
    """Take records in as one batch; the name says what they are."""
    lines = Lines.of([json.dumps(record).encode() for record in records])
    return stage.take_lines(database, source, name, name, lines, contracts, NOW)


def by_hand(frames: Iterable[Record], reviews: Iterable[Record]) -> Counted:
    """(hour, camera, slice, class, band, whether chosen, direction) → how many, counted one by one."""
    of_frame: dict[str, list[Record]] = {}
    for one in reviews:
        of_frame.setdefault(one["event_id"], []).append(one)
    counted: Counted = Counter()
    for seen in frames:
        said = of_frame.get(seen["event_id"], [])
        if not said:
            continue
        said.sort(key=lambda one: (one.get("settles", False), one["finished_at"], one["review_id"]))
        first = said[0]
        hour = seen["captured_at"][:13]
        chosen = "review_prob" in first
        for condition in ("", *seen["slices"].values()):
            where = (hour, seen["camera"], condition)
            counted[(*where, "", -1, chosen, "frames")] += 1
            for verdict in first["detections"]:
                place = verdict["index"] if "index" in verdict else verdict["box"][0] // 100
                detection = seen["detections"][place]
                band = sum(detection["confidence"] >= edge for edge in (0.3, 0.5, 0.7, 0.85))
                counted[(*where, detection["class"], band, chosen, verdict["verdict"])] += 1
            for missed in first.get("missed", []):
                counted[(*where, missed["class"], -1, chosen, "missed")] += 1
    return counted
