"""What has to be there: counted by brute force from the lines that a plant wrote, and compared with what is there.

Nothing of the product's intake is used: rows are read with plain SQL, and roll-ups are counted value by value.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from chaos.plant import GHOST, SOURCES, File, Line, Plant
from psycopg.rows import dict_row
from recounting import recount
from sqlalchemy import make_url

IMAGE = ("brightness", "contrast", "sharpness", "red_balance", "blue_balance")
SAID = ("event_id", "model", "version", "stage", "camera", "shadow", "status", "width", "height")
COLUMNS = (
    "captured_at, source, event_id, model, version, stage, camera, shadow, status, width, height, latency_ms,"
    " queue_depth, recipe, brightness, contrast, sharpness, red_balance, blue_balance, brightness_histogram,"
    " slice_name, slice_value, camera_meta, boxes_rejected, det_class, det_confidence, det_box"
)
Row = dict[str, Any]
Cells = dict[tuple[Any, ...], tuple[Any, ...]]


@dataclass(slots=True)
class Verdict:
    """How what is there differs from what has to be there."""

    lost: int = 0
    duplicate: int = 0
    cells: int = 0
    """Roll-ups, one a series and hour or quarter, that are not what a recount gives."""
    faults: list[str] = field(default_factory=list)
    """Everything else: rows, ledger, rejects, files."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicate or self.cells or self.faults)

    def __str__(self) -> str:
        said = f"{self.lost} lost, {self.duplicate} duplicate, {self.cells} wrong cells"
        return "; ".join([said, *self.faults[:20]])


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection beside the product's."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, row_factory=dict_row)


def judge(url: str, plant: Plant) -> Verdict:
    """Compare everything that the intake wrote with what the plant's lines ask for."""
    verdict = Verdict()
    wanted = {(row["source"], row["event_id"]): row for row in map(_row, *_stored(plant))}
    with connect(url) as db:
        frames = db.execute(f"SELECT {COLUMNS} FROM frame").fetchall()
        keys = db.execute("SELECT source, event_id FROM frame_key").fetchall()
        _judge_frames(verdict, wanted, frames, {(key["source"], key["event_id"]) for key in keys})
        there = _cells_there(db)
        asked = _cells_asked(list(wanted.values()))
        verdict.cells = sum(there.get(key) != asked.get(key) for key in there.keys() | asked.keys())
        _judge_ledger(verdict, db, plant)
        _judge_rejects(verdict, db, plant)
    _judge_files(verdict, plant)
    return verdict


def _stored(plant: Plant) -> tuple[list[str], list[Row]]:
    """Source and record of each line that has to be stored."""
    found = [
        (file.source, line.record)
        for file in plant.files
        if not file.again
        for line in file.lines
        if line.record is not None
    ]
    return [source for source, _ in found], [record for _, record in found]


def _row(source: str, said: Row) -> Row:
    """A record as the row of `frame` that it has to become."""
    image, slices = said.get("image", {}), said.get("slices", {})
    kept = [each for each in said["detections"] if each["class"] != "ghost"]
    values = {"early": "early", "late": "late"}
    named = {name: v if name == "lighting" else values.get(v, "__other__") for name, v in sorted(slices.items())}
    return {
        "captured_at": datetime.fromisoformat(said["captured_at"]).astimezone(UTC),
        "source": source,
        **{name: said[name] for name in SAID},
        **{name: said.get(name) for name in ("latency_ms", "queue_depth")},
        "recipe": image.get("recipe", ""),
        **{name: image.get(name) for name in IMAGE},
        "brightness_histogram": image.get("histogram"),
        "slice_name": list(named),
        "slice_value": list(named.values()),
        "camera_meta": said.get("camera_meta"),
        "boxes_rejected": said["detections"].count(GHOST),
        "det_class": [each["class"] for each in kept],
        "det_confidence": [each["confidence"] for each in kept],
        "det_box": [side for each in kept for side in each["box"]],
    }


def _judge_frames(verdict: Verdict, wanted: dict[Any, Row], frames: list[Row], keys: set[Any]) -> None:
    there = Counter((frame["source"], frame["event_id"]) for frame in frames)
    verdict.lost = len(wanted.keys() - there.keys())
    verdict.duplicate = sum(there.values()) - len(wanted.keys() & there.keys())
    other = [
        frame["event_id"]
        for frame in frames
        if (row := wanted.get((frame["source"], frame["event_id"]))) is not None and row != frame
    ]
    if other:
        verdict.faults.append(f"{len(other)} frames hold something else: {other[:5]}")
    if keys != wanted.keys():
        verdict.faults.append(f"{len(keys ^ wanted.keys())} keys too many or too few")


def _cells_there(db: psycopg.Connection[Any]) -> Cells:
    found: dict[tuple[Any, ...], list[Any]] = {}
    rows = db.execute(
        "SELECT s.minutes, s.model, s.version, s.shadow, s.stage, s.camera, s.slice_name, s.slice_value, s.signal,"
        " s.class_name, s.recipe, r.start_at, r.n, r.frames, r.total, r.squares, r.bins, r.counts"
        " FROM rollup r JOIN series s USING (series_id)"
    )
    for row in rows:
        *key, n, frames, total, squares, bins, counts = row.values()
        sums = found.setdefault(tuple(key), [0, 0, 0, 0, Counter()])
        for place, value in enumerate((n, frames, total, squares)):
            sums[place] += value
        for number, count in zip(bins, counts, strict=True):
            sums[4][number] += count
    return {key: (*sums[:4], dict(sums[4])) for key, sums in found.items()}


def _cells_asked(frames: list[Row]) -> Cells:
    asked: Cells = {}
    for minutes in (60, 15):
        for (key, start), h in recount(frames, minutes).items():
            s = key.scope
            name = (minutes, s.model, s.version, s.shadow, s.stage, s.camera, s.slice_name, s.slice_value)
            bins = {number: count for number, count in enumerate(h.counts.tolist()) if count}
            asked[*name, key.signal, key.class_name, key.recipe, start] = (h.n, h.frames, h.total, h.squares, bins)
    return asked


def _told(plant: Plant, source: str) -> list[tuple[File, int, Line]]:
    """The lines that the ledger has to have, each with its file and number."""
    files = [file for file in plant.files if file.source == source and not file.again]
    return [(file, number, line) for file in files for number, line in enumerate(file.lines, 1)]


def _ghosts(line: Line) -> int:
    return line.record["detections"].count(GHOST) if line.record else 0


def _judge_ledger(verdict: Verdict, db: psycopg.Connection[Any], plant: Plant) -> None:
    for source in SOURCES:
        told = _told(plant, source)
        outcomes = Counter(line.outcome for _, _, line in told)
        asked = {name: outcomes[name] for name in ("stored", "duplicate", "rejected", "blank")}
        asked |= {"lines": len(told), "detections_rejected": sum(_ghosts(line) for _, _, line in told)}
        names = ", ".join(f"coalesce(sum({name}), 0)::int AS {name}" for name in asked)
        there = db.execute(f"SELECT {names} FROM batch WHERE source = %s", [source]).fetchone()
        if there != asked:
            verdict.faults.append(f"the ledger of {source} has {there} and not {asked}")
        totals: Counter[tuple[str, str]] = Counter()
        for row in db.execute("SELECT * FROM intake_total WHERE source = %s", [source]):
            totals[row["outcome"], row["reason"]] = row["count"] - row["mended"]
        batches = db.execute("SELECT count(*)::int AS n FROM batch WHERE source = %s", [source]).fetchone()
        assert batches is not None
        sums = Counter((line.outcome, line.reason) for _, _, line in told)
        sums["batch", ""] = batches["n"]
        sums["detection", "unknown_class"] = asked["detections_rejected"]
        if +totals != +sums:
            verdict.faults.append(f"the sums of {source} are {+totals} and not {+sums}")


def _judge_rejects(verdict: Verdict, db: psycopg.Connection[Any], plant: Plant) -> None:
    asked: Counter[tuple[Any, ...]] = Counter()
    for source in SOURCES:
        for file, number, line in _told(plant, source):
            if line.outcome == "rejected":
                asked[file.name, number, True, line.reason] += 1
            if ghosts := _ghosts(line):
                asked[file.name, number, False, "unknown_class"] += ghosts
    rows = db.execute(
        "SELECT file_name, line_number, whole_line, reason FROM reject JOIN batch USING (batch_id)"
        " WHERE state = 'open'"
    )
    there = Counter(tuple(row.values()) for row in rows)
    if there != asked:
        wrong = (there - asked) + (asked - there)
        verdict.faults.append(f"{wrong.total()} rejects too many or too few: {list(wrong)[:3]}")


def _judge_files(verdict: Verdict, plant: Plant) -> None:
    if left := plant.waiting():
        verdict.faults.append(f"{left} files were left in incoming")
    for name, good in (("done", True), ("quarantine", False)):
        # A move that is cut short may leave the empty file that held the new name.
        whole = [path for path in _files(plant.folder / name) if path.stat().st_size and path.suffix == ".jsonl"]
        there = Counter(path.read_bytes() for path in whole)
        asked = Counter(file.content for file in plant.files if file.good is good)
        if there != asked:
            lost, more = (asked - there).total(), (there - asked).total()
            verdict.faults.append(f"of the files that belong into {name}, {lost} are not there and {more} too many")
        if not good and (bare := [p.name for p in whole if not p.with_name(f"{p.name}.reason").exists()]):
            verdict.faults.append(f"quarantined without a reason: {bare}")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
