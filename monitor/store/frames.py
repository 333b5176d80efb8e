"""Frames: daily partitions, the keys that make a repeat harmless, and loading by COPY."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
from sqlalchemy import Row, text
from sqlalchemy.exc import DataError, IntegrityError

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.records import DIGEST_BYTES, EPOCH, FrameColumns, Ints, Window
from monitor.store import binary, encoding
from monitor.store.database import Connection
from monitor.store.encoding import Flags
from monitor.store.rows import FRAME, KEY, FrameRows

_DAYS_LOCK = 7_301_001
"""Advisory lock of whoever makes partitions."""
_UNIQUE_VIOLATION = "23505"
_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Placed:
    """What became of the frames: for each row exactly one of the five.

    `refused` says by row what Postgres refused; such a value should have been found before. `dropped` are the rows of
    days that retention took away: whether they were counted before can no longer be told.
    """

    new: Flags
    duplicate: Flags
    conflict: Flags
    refused: dict[int, str]
    dropped: list[int] = field(default_factory=list)


def days_of(captured_us: Ints) -> list[date]:
    """The days (UTC) of times in microseconds since 1970-01-01, ascending."""
    return [EPOCH.date() + timedelta(days=int(day)) for day in np.unique(captured_us // _DAY_US)]


def make_days(conn: Connection, days: Iterable[date]) -> int:
    """Create the partitions of these days that are not there; returns how many were made.

    In a transaction of its own, ahead of the batch. Attaching leaves readers and writers of the other days alone;
    CREATE TABLE ... PARTITION OF would lock them all out.
    """
    wanted = {f"frame_{day:%Y%m%d}": day for day in days}
    there = text(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'frame'::regclass AND c.relname = ANY(:names)"
    )
    missing = set(wanted) - set(conn.execute(there, {"names": list(wanted)}).scalars())
    if not missing:
        return 0
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DAYS_LOCK})
    missing -= set(conn.execute(there, {"names": list(missing)}).scalars())
    for name in sorted(missing):
        first = wanted[name]
        conn.execute(text(f"CREATE TABLE {name} (LIKE frame INCLUDING ALL EXCLUDING INDEXES)"))
        conn.execute(
            text(
                f"ALTER TABLE frame ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{first} 00:00:00+00') TO ('{first + timedelta(days=1)} 00:00:00+00')"
            )
        )
    return len(missing)


def insert_frames(conn: Connection, batch_id: int, source: str, rows: FrameRows) -> Placed:
    """Store the frames of one batch whose (source, event_id) is new; ids must not repeat within the batch.

    A repeat with the same content and time is a duplicate, any other a conflict; neither is stored. Frames that
    Postgres refuses are found by halving the batch. The partitions must be there (`make_days`).
    """
    count = len(rows)
    placed = Placed(np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, bool), {})
    gone = _on_dropped_days(conn, rows.captured_us)
    placed.dropped = np.flatnonzero(gone).tolist()
    encoding.stamp(rows.rows, np.full(count, batch_id))
    _place(conn, source, rows, rows.order[~gone[rows.order]], placed)
    return placed


def _on_dropped_days(conn: Connection, captured_us: Ints) -> Flags:
    dropped = text("SELECT day - date '1970-01-01' FROM dropped_day WHERE day = ANY(:days)")
    numbers = conn.execute(dropped, {"days": days_of(captured_us)}).scalars().all()
    return np.isin(captured_us // _DAY_US, numbers)


def _place(conn: Connection, source: str, rows: FrameRows, chosen: Ints, placed: Placed) -> None:
    """Store the frames `chosen`, which are in the order of their keys."""
    if not len(chosen):
        return
    savepoint = conn.begin_nested()
    try:
        new = _insert(conn, source, rows, chosen, placed)
        savepoint.commit()
    except (DataError, IntegrityError) as error:
        savepoint.rollback()
        placed.duplicate[chosen] = placed.conflict[chosen] = False
        if len(chosen) == 1:
            placed.refused[int(chosen[0])] = " ".join(str(error.orig).split())
            return
        for half in np.array_split(chosen, 2):
            _place(conn, source, rows, half, placed)
        return
    placed.new[new] = True


def _insert(conn: Connection, source: str, rows: FrameRows, chosen: Ints, placed: Placed) -> Ints:
    """Keys, then frames; returns which were new."""
    new = chosen if _claim_all(conn, rows, chosen) else _claim_each(conn, source, rows, chosen, placed)
    if len(new):
        sent = rows.rows if len(new) == len(rows) else encoding.take(rows.rows, _mask(len(rows), new))
        binary.copy_rows(conn, "frame", FRAME, sent)
    return new


def _mask(count: int, chosen: Ints) -> Flags:
    mask = np.zeros(count, dtype=bool)
    mask[chosen] = True
    return mask


def _claim_all(conn: Connection, rows: FrameRows, chosen: Ints) -> bool:
    """Claim all keys by a bare COPY, the usual case and the cheap one. False: not all of them are new."""
    keys = rows.keys if len(chosen) == len(rows) else encoding.take(rows.keys, _mask(len(rows), chosen)[rows.order])
    savepoint = conn.begin_nested()
    try:
        binary.copy_rows(conn, "frame_key", KEY, keys)
        savepoint.commit()
    except IntegrityError as error:
        savepoint.rollback()
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        return False
    return True


_CLAIM = text("""
    INSERT INTO frame_key (source, event_id, captured_at, digest)
    SELECT :source, k.event_id, timestamptz 'epoch' + k.us * interval '1 microsecond', k.digest
    FROM unnest(CAST(:ids AS text[]), CAST(:us AS bigint[]), CAST(:digests AS bytea[])) AS k (event_id, us, digest)
    ORDER BY k.event_id COLLATE "C"
    ON CONFLICT DO NOTHING RETURNING event_id
""")
_EARLIER = text("""
    SELECT f.event_id, f.captured_at = timestamptz 'epoch' + k.us * interval '1 microsecond' AND f.digest = k.digest
    FROM unnest(CAST(:ids AS text[]), CAST(:us AS bigint[]), CAST(:digests AS bytea[])) AS k (event_id, us, digest)
    JOIN frame_key f ON f.source = :source AND f.event_id = k.event_id COLLATE "C"
""")


def _claim_each(conn: Connection, source: str, rows: FrameRows, chosen: Ints, placed: Placed) -> Ints:
    """Claim the keys that are free, tell repeats from conflicts among the others; returns which were new."""
    event_ids = rows.event_ids.split("\0")
    digests = rows.digests.tobytes()
    row_of = {event_ids[i]: i for i in chosen.tolist()}
    values = {
        "source": source,
        "ids": list(row_of),
        "us": rows.captured_us[chosen].tolist(),
        "digests": [digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] for i in row_of.values()],
    }
    fresh = set(conn.execute(_CLAIM, values).scalars())
    for event_id, alike in conn.execute(_EARLIER, values):
        if event_id not in fresh:
            (placed.duplicate if alike else placed.conflict)[row_of[event_id]] = True
    return np.array([row_of[event_id] for event_id in row_of if event_id in fresh], dtype=np.int64)


_TEXTS = ("event_id", "model", "version", "stage", "camera", "site", "line", "status", "image_uri", "recipe")
_FLOATS = ("latency_ms", "queue_depth", "brightness", "contrast", "sharpness", "red_balance", "blue_balance")
_INTS = ("captured_us", "width", "height", "boxes_rejected", "left_out")
_READ = text("""
    SELECT CAST(extract(epoch FROM captured_at) * 1000000 AS bigint) AS captured_us, * FROM frame
    WHERE captured_at >= :start AND captured_at < :end AND (CAST(:model AS text) IS NULL OR model = :model)
""")


def read_frames(
    conn: Connection, start: datetime, end: datetime, *, model: str | None = None, rows: int = 20_000
) -> Iterator[FrameColumns]:
    """The frames captured in [start, end), of one model or all, as intake had them but for the digests.

    They come in no order, at most `rows` at a time: a busy hour does not have to fit into memory.
    """
    found = conn.execute(_READ, {"start": start, "end": end, "model": model}, execution_options={"yield_per": rows})
    for part in found.partitions(rows):
        yield _columns(part)


_BEHIND = text("""
    SELECT event_id, image_uri FROM frame
    WHERE captured_at >= :start AND captured_at < :end AND model = :model AND version = :version AND NOT shadow
      AND (CAST(:cameras AS text[]) IS NULL OR camera = ANY(:cameras))
    ORDER BY captured_at DESC, event_id LIMIT :most
""")


def behind(
    conn: Connection, model: str, version: str, cameras: Collection[str], period: Window, most: int
) -> list[tuple[str, str]]:
    """Event id and image address of the newest live frames of some cameras (none named: of all) in a period."""
    values = {
        "model": model,
        "version": version,
        "cameras": list(cameras) or None,
        "start": period.start,
        "end": period.end,
        "most": most,
    }
    return [(event_id, address) for event_id, address in conn.execute(_BEHIND, values)]


def _columns(rows: Sequence[Row[Any]]) -> FrameColumns:
    said = {name: list(values) for name, values in zip(rows[0]._fields, zip(*rows, strict=True), strict=True)}
    nothing = [0] * HISTOGRAM_BINS
    plain: dict[str, Any] = {name: said[name] for name in _TEXTS}
    plain |= {name: np.array(said[name], dtype=np.float64) for name in _FLOATS}
    plain |= {name: np.array(said[name], dtype=np.int64) for name in _INTS}
    return FrameColumns(
        **plain,
        shadow=np.array(said["shadow"], dtype=bool),
        camera_said=[name or "" for name in said["camera_said"]],
        slices=[dict(zip(*pair, strict=True)) for pair in zip(said["slice_name"], said["slice_value"], strict=True)],
        camera_meta=[meta or {} for meta in said["camera_meta"]],
        embedding=said["embedding"],
        brightness_histogram=np.array([counts or nothing for counts in said["brightness_histogram"]], dtype=np.int64),
        det_frame=np.repeat(np.arange(len(rows)), [len(names) for names in said["det_class"]]),
        det_class=list(chain.from_iterable(said["det_class"])),
        det_confidence=np.array(list(chain.from_iterable(said["det_confidence"])), dtype=np.float64),
        det_box=np.array(list(chain.from_iterable(said["det_box"])), dtype=np.float32).reshape(-1, 4),
    )
