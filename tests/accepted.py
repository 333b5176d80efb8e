"""The property that whatever the check of a line lets pass, Postgres takes and gives back; for tests and fuzzing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.ingest.spool import Waiting
from monitor.ingest.stage import load
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store.database import Database

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
[output]
box_tolerance_px = 1000
[retention]
raw_days = 3
"""
PLAIN = ("event_id", "model", "version", "camera", "width", "height", "latency_ms", "queue_depth")
SILENT = {"status": "ok", "stage": "", "shadow": False, "site": "", "line": "", "image_uri": ""}
IMAGE = ("recipe", "brightness", "contrast", "sharpness", "red_balance", "blue_balance")
_sources = count()


def contracts() -> Mapping[str, LoadedContract]:
    """A contract that leaves open what can be left open."""
    return {"line": LoadedContract(parse_contract(CONTRACT), CONTRACT, "0" * 16, Path("line.toml"))}


def taken_in(database: Database, lines: Sequence[bytes], rules: Mapping[str, LoadedContract], file: Path) -> int:
    """Take lines in from `file` and read back what was stored of them; returns how many frames that is.

    Raises AssertionError where a line is lost, Postgres refuses a frame, or a frame is not what its line says.
    """
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    source = f"s{next(_sources)}"
    summary = load(database, [Waiting(file, source, file.name)], rules, NOW)
    assert summary.lines == summary.stored + summary.duplicate + summary.rejected + summary.blank + summary.repeated
    with database.begin() as conn:
        rejects = conn.execute(
            text(
                "SELECT line_number, reason, whole_line, raw FROM reject JOIN batch USING (batch_id)"
                " WHERE source = :s"
            ),
            {"s": source},
        ).all()
        rows = conn.execute(text("SELECT * FROM frame WHERE source = :s"), {"s": source}).mappings().all()
    assert "refused" not in {reason for _, reason, _, _ in rejects}, "the check of the line should have found it"
    aside = {number for number, _, whole, _ in rejects if whole}
    frames = {row["event_id"]: row for row in rows}
    assert len(frames) == len(rows) == summary.stored
    first: dict[str, tuple[int, Any]] = {}
    for number, line in enumerate(lines, 1):
        if number not in aside and line.strip():
            record = json.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            first.setdefault(record["event_id"], (number, record))
    assert first.keys() == frames.keys()
    for event_id, (number, record) in first.items():
        parts = [json.loads(raw) for at, _, whole, raw in rejects if at == number and not whole]
        same(record, frames[event_id], parts)
    return len(frames)


def same(record: Mapping[str, Any], row: Mapping[str, Any], aside: list[Any]) -> None:
    """Compare what a record says with what was stored of it; `aside` are its detections that were not."""
    assert row["captured_at"] == datetime.fromisoformat(record["captured_at"])
    for name in PLAIN:
        assert row[name] == record.get(name), name
    for name, silence in SILENT.items():
        assert row[name] == record.get(name, silence), name
    image = record.get("image")
    for name in IMAGE:
        assert row[name] == (image[name] if image else "" if name == "recipe" else None), name
    assert sum(row["brightness_histogram"] or [1000]) == 1000
    said = {name: value for name, value in (record.get("slices") or {}).items() if name == "lighting" and value}
    assert dict(zip(row["slice_name"], row["slice_value"], strict=True)) == said
    assert (row["camera_meta"] or {}) == record.get("camera_meta", {})
    embedding = record.get("embedding")
    assert singles(row["embedding"]) == singles(embedding)
    kept = [one for one in record.get("detections", ()) if one not in aside]
    assert row["boxes_rejected"] == len(record.get("detections", ())) - len(kept)
    assert row["left_out"] == max(0, len(kept) - 2000)
    if not row["left_out"]:
        assert row["det_class"] == [one["class"] for one in kept]
        assert row["det_confidence"] == [one["confidence"] for one in kept]
        assert singles(row["det_box"]) == singles([side for one in kept for side in one["box"]])


def singles(values: Sequence[float] | None) -> list[float] | None:
    """Numbers in single precision."""
    return None if values is None else np.array(values, dtype=np.float32).tolist()
