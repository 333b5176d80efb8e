"""Frames that are read back are the frames that were stored."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from monitor.ingest.parse import parse, rules_of
from monitor.records import FrameColumns
from monitor.spec.load import load_contract
from monitor.store import frames, ledger
from monitor.store.database import Database
from monitor.store.rows import frame_rows

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
class_policy = "open"
[model]
name = "line"
[cameras]
policy = "open"
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
[[conditions]]
name = "shift"
"""
FULL = {
    "site": "nörd",
    "line": "7",
    "shadow": True,
    "status": "timeout",
    "image_uri": "s3://a/b",
    "latency_ms": 0.1 + 0.2,
    "queue_depth": 3,
    "slices": {"shift": "late", "lighting": "day"},
    "camera_meta": {"gain_db": -1.25e-7, "exposure_ms": 12, "lens": "50 mm ☃", "uptime": 123456789.123},
    "embedding": [0.5, -1.0, 2.25],
    "image": {
        "recipe": "full-1",
        "brightness": 100 / 3,
        "contrast": 0.1,
        "sharpness": -0.7,
        "red_balance": 1e-12,
        "blue_balance": -0.3,
        "histogram": [*range(31), 7],
    },
    "detections": [
        {"class": "carton", "confidence": 1 / 3, "box": [0.1, 0.2, 33.3, 44.4]},
        {"class": "ünknown", "confidence": 1.0, "box": [1, 2, 3, 4]},
    ],
}


def record(number: int, **said: Any) -> bytes:
    at = NOW - timedelta(microseconds=1 + 3_599_999_999 * number)
    plain = {"event_id": f"e{number}", "captured_at": at.isoformat(), "model": "line", "version": "v1"}
    return json.dumps(plain | {"camera": "c", "width": 640, "height": 480} | said).encode()


def plain(columns: FrameColumns) -> dict[str, Any]:
    """By field, as JSON takes it; what is not a number is one and the same."""
    said = {}
    for column in fields(FrameColumns):
        values = getattr(columns, column.name)
        said[column.name] = values.tolist() if isinstance(values, np.ndarray) else values
    return json.loads(json.dumps({name: value for name, value in said.items() if name != "digest"}))


def test_every_field_comes_back_as_it_was(database: Database, tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    lines = [record(0), record(1, **FULL), record(2, detections=FULL["detections"]), record(3, image=FULL["image"])]
    columns = parse(lines, 1, rules_of({"line": load_contract(tmp_path / "line.toml")}, NOW), NOW).columns
    assert len(columns) == 4
    with database.begin() as conn:
        frames.make_days(conn, frames.days_of(columns.captured_us))
        batch_id = ledger.open_batch(conn, "s", "b", "f", b"h", NOW)
        assert batch_id is not None
        frames.insert_frames(conn, batch_id, "s", frame_rows("s", columns))
    with database.begin() as conn:
        (read,) = frames.read_frames(conn, NOW - timedelta(days=1), NOW)
        assert plain(read) == plain(columns)
        first = NOW - timedelta(microseconds=1)
        assert [c.event_id for c in frames.read_frames(conn, first, NOW)] == [["e0"]]
        assert list(frames.read_frames(conn, NOW - timedelta(days=1), first, model="other")) == []
        parts = list(frames.read_frames(conn, NOW - timedelta(days=1), first, rows=2))
        assert [len(part) for part in parts] == [2, 1]
