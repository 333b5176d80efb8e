"""Reviews: what people said of frames, kept from the moment it comes, and settled once the frame is there.

A review waits on its own row until its frame has come, and then keeps what it needs of it: class, confidence, hour,
slices. So intake of frames knows nothing of reviews, either may come first, and counting goes on when retention has
taken the frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import TextClause, text

from monitor.feedback import ReviewRecord, SettledReview
from monitor.records import Ints
from monitor.stats.strata import EDGES
from monitor.store.database import Connection


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of records: the ids that are new now, and those that were there with other content."""

    new: frozenset[str]
    conflict: frozenset[str]


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """What a review needs of its frame; d detections as they are stored."""

    captured_at: datetime
    model: str
    version: str
    stage: str
    camera: str
    shadow: bool
    slices: tuple[tuple[str, str], ...]
    whole: bool
    """Whether the detections are those of the record, in its order: none was set aside."""
    class_name: tuple[str, ...]
    confidence: tuple[float, ...]
    box: tuple[float, ...]
    """[4 d]"""


@dataclass(frozen=True, slots=True)
class Pending:
    """A review that waits and whose frame has come; `said` holds `detections` and `missed` as they were sent."""

    source: str
    review_id: str
    frame_source: str
    event_id: str
    reviewer: str
    finished_at: datetime
    settles: bool
    review_prob: float | None
    said: dict[str, Any]
    frame: FrameSeen


_ADD = text("""
    INSERT INTO review (source, review_id, batch_id, digest, frame_source, event_id, reviewer, assigned_at,
        started_at, finished_at, review_prob, reason, settles, said)
    SELECT :source, review_id, :batch_id, decode(digest, 'hex'), frame_source, event_id, reviewer, assigned_at,
        started_at, finished_at, review_prob, reason, settles, said
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (review_id text, digest text, frame_source text,
        event_id text, reviewer text, assigned_at timestamptz, started_at timestamptz, finished_at timestamptz,
        review_prob double precision, reason text, settles boolean, said jsonb)
    ORDER BY review_id COLLATE "C"
    ON CONFLICT DO NOTHING RETURNING review_id
""")
_OTHERS = text("""
    SELECT r.review_id FROM review r
    JOIN unnest(CAST(:ids AS text[]), CAST(:digests AS bytea[])) AS k (review_id, digest)
        ON r.review_id = k.review_id COLLATE "C"
    WHERE r.source = :source AND r.digest <> k.digest
""")


def insert(
    conn: Connection, batch_id: int, source: str, records: Sequence[ReviewRecord], digests: Sequence[bytes]
) -> Kept:
    """Keep the reviews whose (source, review_id) is new; ids must not repeat within the batch."""
    rows = []
    for record, digest in zip(records, digests, strict=True):
        row = msgspec.to_builtins(record)
        row["said"] = {name: row.pop(name) for name in ("detections", "missed")}
        row["frame_source"] = record.source or source
        row["digest"] = digest.hex()
        rows.append(row)
    values = {"source": source, "batch_id": batch_id, "rows": json.dumps(rows)}
    new = frozenset(conn.execute(_ADD, values).scalars()) if rows else frozenset()
    old = [(r.review_id, d) for r, d in zip(records, digests, strict=True) if r.review_id not in new]
    there = {"source": source, "ids": [name for name, _ in old], "digests": [digest for _, digest in old]}
    return Kept(new, frozenset(conn.execute(_OTHERS, there).scalars()) if old else frozenset())


_PENDING = text("""
    SELECT r.source, r.review_id, r.frame_source, r.event_id, r.reviewer, r.finished_at, r.settles, r.review_prob,
        r.said,
        f.captured_at, f.model, f.version, f.stage, f.camera, f.shadow, f.slice_name, f.slice_value,
        f.boxes_rejected = 0 AS whole, f.det_class AS class_name, f.det_confidence AS confidence, f.det_box AS box
    FROM (
        SELECT * FROM review WHERE captured_at IS NULL AND EXISTS (
            SELECT FROM frame_key k WHERE k.source = frame_source AND k.event_id = review.event_id)
        ORDER BY frame_source, event_id LIMIT :most
    ) r
    JOIN frame_key k ON k.source = r.frame_source AND k.event_id = r.event_id
    JOIN frame f ON f.captured_at = k.captured_at AND f.source = k.source AND f.event_id = k.event_id
""")


def pending(conn: Connection, most: int) -> list[Pending]:
    """Up to `most` of the reviews that wait and whose frame has come."""
    found = []
    for row in conn.execute(_PENDING, {"most": most}).mappings():
        said: dict[str, Any] = {**row}
        said["slices"] = tuple(zip(said.pop("slice_name"), said.pop("slice_value"), strict=True))
        said |= {name: tuple(said[name]) for name in ("class_name", "confidence", "box")}
        frame = FrameSeen(**{name: said.pop(name) for name in FrameSeen.__dataclass_fields__})
        found.append(Pending(**said, frame=frame))
    return found


_SETTLE = text("""
    UPDATE review r SET captured_at = s.captured_at, model = s.model, version = s.version, stage = s.stage,
        camera = s.camera, shadow = s.shadow, slice_name = s.slice_name, slice_value = s.slice_value,
        det_index = s.det_index, class_name = s.class_name, confidence = s.confidence, verdict = s.verdict,
        missed_class = s.missed_class, unmatched = s.unmatched
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s (source text, review_id text, captured_at timestamptz,
        model text, version text, stage text, camera text, shadow boolean, slice_name text[], slice_value text[],
        det_index integer[], class_name text[], confidence double precision[], verdict text[], missed_class text[],
        unmatched integer)
    WHERE r.source = s.source COLLATE "C" AND r.review_id = s.review_id COLLATE "C"
""")


def settle(conn: Connection, reviews: Sequence[SettledReview]) -> None:
    """Write down what reviews say of their frames; they wait no more."""
    rows = [
        {
            "source": one.source,
            "review_id": one.review_id,
            "captured_at": one.captured_at.isoformat(),
            "model": one.model,
            "version": one.version,
            "stage": one.stage,
            "camera": one.camera,
            "shadow": one.shadow,
            "slice_name": [name for name, _ in one.slices],
            "slice_value": [value for _, value in one.slices],
            "det_index": one.index,
            "class_name": one.class_name,
            "confidence": one.confidence,
            "verdict": one.verdict,
            "missed_class": one.missed_class,
            "unmatched": one.unmatched,
        }
        for one in reviews
    ]
    conn.execute(_SETTLE, {"rows": json.dumps(rows)})


_SETTLED = """
    SELECT source, review_id, frame_source, event_id, reviewer, finished_at, settles, review_prob, captured_at,
        model, version, stage, camera, shadow, slice_name, slice_value, det_index AS index, class_name, confidence,
        verdict, missed_class, unmatched
    FROM review
"""
_OF_HOURS = text(f"""
    {_SETTLED} JOIN unnest(CAST(:models AS text[]), CAST(:versions AS text[]), CAST(:hours AS timestamptz[]))
        AS h (of_model, of_version, hour)
    ON model = of_model COLLATE "C" AND version = of_version COLLATE "C"
        AND captured_at >= hour AND captured_at < hour + interval '1 hour'
""")
_BETWEEN = text(f"""
    {_SETTLED} WHERE captured_at >= :start AND captured_at < :end
        AND (CAST(:model AS text) IS NULL OR model = :model)
""")


_OF_SETTLED = text(f"""
    WITH chosen AS MATERIALIZED (
        SELECT DISTINCT frame_source, event_id FROM review
        WHERE settles AND model = :model AND captured_at >= :start AND captured_at < :end)
    {_SETTLED} JOIN chosen USING (frame_source, event_id) WHERE captured_at IS NOT NULL
""")  # noqa: S608 - made of constants


def of_hours(conn: Connection, hours: Sequence[tuple[str, str, datetime]]) -> list[SettledReview]:
    """All settled reviews of frames of these hours of (model, version)."""
    values = {
        "models": [model for model, _, _ in hours],
        "versions": [version for _, version, _ in hours],
        "hours": [hour for _, _, hour in hours],
    }
    return _settled(conn, _OF_HOURS, values)


def between(conn: Connection, start: datetime, end: datetime, model: str | None = None) -> list[SettledReview]:
    """All settled reviews of frames that were captured in [start, end)."""
    return _settled(conn, _BETWEEN, {"start": start, "end": end, "model": model})


def of_settled_frames(conn: Connection, model: str, start: datetime, end: datetime) -> list[SettledReview]:
    """All reviews of those frames, captured in [start, end), of which one review settles the others."""
    return _settled(conn, _OF_SETTLED, {"model": model, "start": start, "end": end})


def _settled(conn: Connection, statement: TextClause, values: dict[str, Any]) -> list[SettledReview]:
    found = []
    for row in conn.execute(statement, values).mappings():
        said: dict[str, Any] = {**row}
        said["slices"] = tuple(zip(said.pop("slice_name"), said.pop("slice_value"), strict=True))
        arrays = ("index", "class_name", "confidence", "verdict", "missed_class")
        found.append(SettledReview(**said | {name: tuple(said[name]) for name in arrays}))
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """A review in a list; `captured_at` None: its frame has not come."""

    source: str
    review_id: str
    frame_source: str
    event_id: str
    reviewer: str
    finished_at: datetime
    captured_at: datetime | None
    model: str | None
    camera: str | None
    settles: bool
    verdicts: list[str]
    missed: int
    unmatched: int


def listing(conn: Connection, most: int, *, waiting: bool = False, model: str | None = None) -> list[Line]:
    """The reviews that were finished last, newest first: those that wait for their frame, or all."""
    rows = conn.execute(
        text(
            "SELECT source, review_id, frame_source, event_id, reviewer, finished_at, captured_at, model, camera,"
            " settles, ARRAY(SELECT jsonb_array_elements(said -> 'detections') ->> 'verdict') AS verdicts,"
            " jsonb_array_length(said -> 'missed') AS missed, coalesce(unmatched, 0) AS unmatched FROM review"
            " WHERE (NOT :waiting OR captured_at IS NULL) AND (CAST(:model AS text) IS NULL OR model = :model)"
            " ORDER BY finished_at DESC, source, review_id LIMIT :most"
        ),
        {"waiting": waiting, "model": model, "most": most},
    )
    return [Line(**row) for row in rows.mappings()]


def count_waiting(conn: Connection) -> int:
    """How many reviews wait for their frame."""
    return int(conn.execute(text("SELECT count(*) FROM review WHERE captured_at IS NULL")).scalar_one())


@dataclass(frozen=True, slots=True)
class Reviews:
    """Detections by camera, day and band of confidence (`stats.strata`), each [cameras, days, bands]."""

    reviewed: Ints
    overridden: Ints


_BY_BAND = text("""
    SELECT camera, CAST(date_trunc('day', start_at, 'UTC') AT TIME ZONE 'UTC' AS date), band, sum(reviewed),
        sum(reviewed - confirmed)
    FROM review_rollup
    WHERE model = :model AND version = :version AND stage = :stage AND NOT shadow AND slice_name = '' AND band >= 0
        AND start_at >= :start AND start_at < :end
    GROUP BY 1, 2, 3
""")


_COME = text("SELECT EXISTS (SELECT FROM review_rollup WHERE model = :model)")


def come(conn: Connection, model: str) -> bool:
    """Whether a frame of the model was ever reviewed: since then the lane over reviews takes its part of budgets."""
    return bool(conn.execute(_COME, {"model": model}).scalar_one())


def by_band(
    conn: Connection, model: str, version: str, stage: str, cameras: Sequence[str], days: Sequence[date]
) -> Reviews | None:
    """The reviews of the live frames of these cameras on these days; None where there is none on any of them."""
    camera_at = {camera: i for i, camera in enumerate(cameras)}
    day_at = {day: i for i, day in enumerate(days)}
    counts = np.zeros((2, len(cameras), len(days), len(EDGES) - 1), dtype=np.int64)
    values = {
        "model": model,
        "version": version,
        "stage": stage,
        "start": datetime.combine(min(days), time(), UTC),
        "end": datetime.combine(max(days), time(), UTC) + timedelta(days=1),
    }
    for camera, day, band, reviewed, overridden in conn.execute(_BY_BAND, values):
        if camera in camera_at and day in day_at:
            counts[:, camera_at[camera], day_at[day], band] = reviewed, overridden
    return Reviews(counts[0], counts[1]) if counts.any() else None
