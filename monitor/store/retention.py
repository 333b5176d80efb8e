"""Old data: what is there by day, what still refers to it, and taking it away.

A day of frames goes in two steps. First its partition is detached and given another name, which takes the strongest
lock on the frames but only for a moment; then its keys are deleted and the table dropped, which takes long but locks
nobody out. `dropped_day` remembers a day between the two, so that a kill leaves nothing behind for good.

DETACH CONCURRENTLY would do with a weaker lock, but it runs in no transaction: it could not be committed together
with the row in `dropped_day`, a kill would leave a partition half detached that only FINALIZE brings on, and it waits
without limit for every open transaction that has touched the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from monitor.store.database import Connection
from monitor.upkeep import Hold

_LOCK_NOT_AVAILABLE = "55P03"
_DETACH_LOCK = 7_301_003
"""Advisory lock of whoever detaches a day."""
_LOCK_TIMEOUT = "2s"
"""Whoever asks for a lock on the frames after us waits behind us, intake too; so we give up soon and come again."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day of frames, and the bytes that they and their indexes take."""

    day: date
    size: int


_PARTITIONS = text("""
    SELECT CAST(substr(c.relname, 7) AS date), pg_total_relation_size(c.oid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'frame'::regclass AND c.relname ~ '^frame_\\d{8}$' ORDER BY 1
""")


def days(conn: Connection) -> list[Day]:
    """The daily partitions of the frames, oldest first; some may be empty."""
    return [Day(*row) for row in conn.execute(_PARTITIONS)]


def days_with_frames(conn: Connection) -> list[date]:
    """The days that have a partition, oldest first."""
    return [one.day for one in days(conn)]


def dropped_days(conn: Connection) -> list[date]:
    """The days whose frames were taken away, or are about to be, oldest first."""
    return list(conn.execute(text("SELECT day FROM dropped_day ORDER BY day")).scalars())


def has_all_frames(conn: Connection, day: date) -> bool:
    """Whether a day has its partition and was never dropped."""
    question = text("SELECT to_regclass(:name) IS NOT NULL AND NOT EXISTS (SELECT FROM dropped_day WHERE day = :day)")
    return bool(conn.execute(question, {"name": f"frame_{day:%Y%m%d}", "day": day}).scalar_one())


def days_with_rollups(conn: Connection, start: datetime, end: datetime, model: str | None = None) -> list[date]:
    """The days (UTC) in [start, end) that frames were counted on, oldest first."""
    rows = conn.execute(
        text(
            "SELECT DISTINCT CAST(r.start_at AT TIME ZONE 'UTC' AS date)"
            " FROM series s JOIN rollup r USING (series_id)"
            " WHERE s.signal = 'status' AND s.class_name = '' AND s.slice_name = '' AND s.minutes = 60"
            " AND (CAST(:model AS text) IS NULL OR s.model = :model) AND r.start_at >= :start AND r.start_at < :end"
            " ORDER BY 1"
        ),
        {"model": model, "start": start, "end": end},
    )
    return list(rows.scalars())


def models(conn: Connection) -> list[str]:
    """The models that anything was ever counted of."""
    return list(conn.execute(text("SELECT DISTINCT model FROM series ORDER BY 1")).scalars())


# An alert rests on the windows since it began, and on the baselines that those were compared with; an incident on the
# days since its onset, and on the one baseline that they were held against. A baseline is
# active while it is the newest of a version that still sends frames; its period can then be frozen anew, with more
# groups or a mended signal. A superseded baseline, or one of a version out of use, keeps its own histograms alone.
_HOLDS = text("""
    WITH open AS (
        SELECT * FROM alert WHERE state IN ('pending', 'firing', 'flapping')
    ),
    compared AS (
        SELECT DISTINCT o.alert_key, m.baseline_id FROM open o JOIN measurement m
            ON m.model = o.model AND m.version = o.version AND m.stage = o.stage AND m.camera = o.camera
            AND m.slice_name = o.slice_name AND m.slice_value = o.slice_value AND m.signal = o.signal
            AND m.class_name = o.class_name AND m.measure = o.measure
            AND m.window_end > coalesce(o.since, o.window_end - interval '1 second') AND m.window_end <= o.window_end
    ),
    newest AS (
        SELECT DISTINCT ON (model, version) * FROM baseline ORDER BY model, version, baseline_id DESC
    )
    SELECT o.model, least(o.since, w.first), o.window_end, 'the open alert ' || o.alert_key
    FROM open o CROSS JOIN LATERAL (
        SELECT min(window_start) AS first FROM measured_window w
        WHERE w.model = o.model AND w.version = o.version AND w.window_end = o.window_end) w
    WHERE coalesce(o.since, w.first) IS NOT NULL
    UNION ALL
    SELECT b.model, b.period_start, b.period_end,
        'baseline ' || b.baseline_id || ', which the open alert ' || c.alert_key || ' rests on'
    FROM compared c JOIN baseline b USING (baseline_id) WHERE b.period_start IS NOT NULL
    UNION ALL
    SELECT i.model, CAST(i.onset AS timestamp) AT TIME ZONE 'UTC',
        CAST(i.last_alarm_on + 1 AS timestamp) AT TIME ZONE 'UTC', 'the open incident ' || i.incident_key
    FROM incident i WHERE i.closed_on IS NULL
    UNION ALL
    SELECT b.model, b.period_start, b.period_end,
        'baseline ' || b.baseline_id || ', which the open incident ' || i.incident_key || ' rests on'
    FROM incident i JOIN baseline b USING (baseline_id) WHERE i.closed_on IS NULL AND b.period_start IS NOT NULL
    UNION ALL
    SELECT n.model, n.period_start, n.period_end, 'baseline ' || n.baseline_id || ', the active one of ' || n.version
    FROM newest n WHERE n.period_start IS NOT NULL AND EXISTS (
        SELECT FROM series s JOIN rollup r USING (series_id)
        WHERE s.model = n.model AND s.version = n.version AND s.signal = 'status' AND s.class_name = ''
            AND s.slice_name = '' AND s.minutes = 60 AND r.start_at >= :in_use_since)
    ORDER BY 1, 2, 4
""")


def holds(conn: Connection, in_use_since: datetime) -> list[Hold]:
    """What may not go: the windows and baselines of open alerts and incidents, the period of each active baseline."""
    return [
        Hold(model, start.astimezone(UTC), end.astimezone(UTC), why)
        for model, start, end, why in conn.execute(_HOLDS, {"in_use_since": in_use_since})
    ]


def detach_day(conn: Connection, day: date, now: datetime) -> bool:
    """Take a day's partition out of the frames and note it. In a transaction of its own, to be committed at once.

    False: somebody was using the frames for longer than two seconds, and nothing was done.
    """
    name = f"frame_{day:%Y%m%d}"
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DETACH_LOCK})
    if day not in days_with_frames(conn):
        return True  # another process was faster
    savepoint = conn.begin_nested()
    try:
        conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        conn.execute(text(f"ALTER TABLE frame DETACH PARTITION {name}"))
        conn.execute(text(f"ALTER TABLE {name} RENAME TO dropped_{name}"))
        savepoint.commit()
    except DBAPIError as error:
        savepoint.rollback()
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    # A day may be dropped again: raising raw_days lets late frames into one that was dropped before.
    note = "INSERT INTO dropped_day (day, detached_at) VALUES (:day, :now) ON CONFLICT (day) DO UPDATE"
    conn.execute(text(f"{note} SET detached_at = :now, dropped_at = NULL"), {"day": day, "now": now})
    return True


def detached_days(conn: Connection) -> list[date]:
    """The days whose partition was detached and is not dropped yet, oldest first."""
    return list(conn.execute(text("SELECT day FROM dropped_day WHERE dropped_at IS NULL ORDER BY 1")).scalars())


def drop_day(conn: Connection, day: date, now: datetime) -> int:
    """Delete the keys of a detached day and drop its table; returns how many frames it had."""
    noted = text("SELECT 1 FROM dropped_day WHERE day = :day AND dropped_at IS NULL FOR UPDATE")
    if conn.execute(noted, {"day": day}).scalar() is None:
        return 0  # another process was faster
    name = f"dropped_frame_{day:%Y%m%d}"
    # By the frames, not by the time: the keys have no index on it, and with one every load would be slower.
    keys = text(
        f"DELETE FROM frame_key k USING {name} f"  # noqa: S608 - made of a date
        " WHERE k.source = f.source AND k.event_id = f.event_id AND k.captured_at = f.captured_at"
    )
    count = conn.execute(keys).rowcount
    conn.execute(text(f"DROP TABLE {name}"))
    done = "UPDATE dropped_day SET dropped_at = :now, frames = coalesce(frames, 0) + :frames WHERE day = :day"
    conn.execute(text(done), {"day": day, "now": now, "frames": count})
    return count


_ROLLUPS = """
    FROM rollup r USING series s
    WHERE s.series_id = r.series_id AND s.model = :model AND r.start_at < :before AND NOT EXISTS (
        SELECT FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS h (first, beyond)
        WHERE r.start_at >= h.first AND r.start_at < h.beyond)
"""


_CLAIMS = """
    DELETE FROM rollup_claim c WHERE c.model = :model AND c.start_at < :before AND NOT EXISTS (
        SELECT FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS h (first, beyond)
        WHERE c.start_at >= h.first AND c.start_at < h.beyond)
"""


# A review goes with the hour that it counts in, which is kept or goes as a whole.
_REVIEWS = """
    FROM review v WHERE v.model = :model AND v.captured_at < :before AND NOT EXISTS (
        SELECT FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS h (first, beyond)
        WHERE date_trunc('hour', v.captured_at, 'UTC') >= h.first
            AND date_trunc('hour', v.captured_at, 'UTC') < h.beyond)
"""
_COUNTS = """
    DELETE FROM review_rollup c WHERE c.model = :model AND c.start_at < :before AND NOT EXISTS (
        SELECT FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS h (first, beyond)
        WHERE c.start_at >= h.first AND c.start_at < h.beyond)
"""
_WAITING = "FROM review v WHERE v.captured_at IS NULL AND v.finished_at < :before"


def _of_model(model: str, before: datetime, kept: Sequence[Hold]) -> dict[str, object]:
    own = [hold for hold in kept if hold.model == model]
    return {
        "model": model,
        "before": before,
        "starts": [hold.start for hold in own],
        "ends": [hold.end for hold in own],
    }


def count_rollups(conn: Connection, model: str, before: datetime, kept: Sequence[Hold]) -> int:
    """How many roll-up rows of a model start before a moment and in no hold."""
    counted = "SELECT count(*)" + _ROLLUPS.replace("USING series s", "CROSS JOIN series s")
    return int(conn.execute(text(counted), _of_model(model, before, kept)).scalar_one())


def delete_rollups(conn: Connection, model: str, before: datetime, kept: Sequence[Hold]) -> int:
    """Delete them; returns how many. The series stay: other processes may know them as being there."""
    values = _of_model(model, before, kept)
    count = conn.execute(text("DELETE" + _ROLLUPS), values).rowcount
    # After the rows: a claim that outlasts its rows only costs a merge, rows that outlast their claim are in the way.
    conn.execute(text(_CLAIMS), values)
    return count


def count_reviews(conn: Connection, model: str, before: datetime, kept: Sequence[Hold]) -> int:
    """How many reviews are of frames of a model from before a moment and in no hold."""
    return int(conn.execute(text("SELECT count(*)" + _REVIEWS), _of_model(model, before, kept)).scalar_one())


def delete_reviews(conn: Connection, model: str, before: datetime, kept: Sequence[Hold]) -> int:
    """Delete them with what is counted of them; returns how many. `before` is a whole hour.

    Call it while nobody counts reviews (`overrides.hold_counting`).
    """
    values = _of_model(model, before, kept)
    conn.execute(text(_COUNTS), values)
    return conn.execute(text("DELETE" + _REVIEWS), values).rowcount


def count_waiting(conn: Connection, before: datetime) -> int:
    """How many reviews from before a moment wait for a frame that never came."""
    return int(conn.execute(text("SELECT count(*) " + _WAITING), {"before": before}).scalar_one())


def delete_waiting(conn: Connection, before: datetime) -> int:
    """Delete them; returns how many."""
    return conn.execute(text("DELETE " + _WAITING), {"before": before}).rowcount


_REJECTS = "FROM reject r USING batch b WHERE b.batch_id = r.batch_id AND b.received_at < :before"
# A batch is in the ledger for as long as anything speaks of it.
_BATCHES = """
    FROM batch b WHERE b.received_at < :before
        AND NOT EXISTS (SELECT FROM reject r WHERE r.batch_id = b.batch_id)
        AND NOT EXISTS (SELECT FROM frame f WHERE f.batch_id = b.batch_id AND f.captured_at < :ahead)
        AND NOT EXISTS (SELECT FROM review v WHERE v.batch_id = b.batch_id)
        AND NOT EXISTS (SELECT FROM business_event e WHERE e.batch_id = b.batch_id)
"""
_AHEAD = timedelta(days=2)
"""Frames are captured at most this long after their batch arrived: a day by rule, and one to spare."""


def count_rejects(conn: Connection, before: datetime) -> tuple[int, int]:
    """How many rejects arrived before a moment, and how many of them are still open."""
    counted = "SELECT count(*), count(*) FILTER (WHERE r.state = 'open') "
    row = conn.execute(text(counted + _REJECTS.replace("USING batch b", "CROSS JOIN batch b")), {"before": before})
    found = row.one()
    return int(found[0]), int(found[1])


def delete_rejects(conn: Connection, before: datetime) -> int:
    """Delete them; returns how many."""
    return conn.execute(text("DELETE " + _REJECTS), {"before": before}).rowcount


def count_batches(conn: Connection, before: datetime) -> int:
    """How many rows of the ledger arrived before a moment and nothing that is kept speaks of."""
    values = {"before": before, "ahead": before + _AHEAD}
    return int(conn.execute(text("SELECT count(*)" + _BATCHES), values).scalar_one())


def delete_batches(conn: Connection, before: datetime) -> int:
    """Delete them; returns how many."""
    return conn.execute(text("DELETE" + _BATCHES), {"before": before, "ahead": before + _AHEAD}).rowcount
