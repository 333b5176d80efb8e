"""Days that are over as one roll-up row a series, so that whoever looks at a month does not read it by the hour.

Asks the database what is undone: camera-days whose frames are not as many as when they were merged, or that never
were. So the order of arrival does not matter, and a kill costs nothing. Days are merged oldest first and each in one
transaction, so that up to the last merged day nothing is missing but what came in since.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from monitor.store.database import Connection

_OF_FRAMES = "s.signal = 'status' AND s.class_name = '' AND s.slice_name = '' AND s.minutes = 60"
_UNDONE = text(f"""
    WITH found AS (
        SELECT s.model, s.version, s.shadow, s.stage, s.camera, date_trunc('day', r.start_at, 'UTC') AS day,
            sum(r.n) AS frames
        FROM series s JOIN rollup r USING (series_id) WHERE {_OF_FRAMES} AND r.start_at < :today
        GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT model, version, shadow, stage, camera, day, found.frames::bigint
    FROM found LEFT JOIN merged_day m USING (model, version, shadow, stage, camera, day)
    WHERE m.frames IS DISTINCT FROM found.frames ORDER BY day, model, version, camera, stage, shadow LIMIT :limit
""")  # noqa: S608 (made of constants)
_CLAIM = text("""
    INSERT INTO merged_day (model, version, shadow, stage, camera, day, frames)
    VALUES (:model, :version, :shadow, :stage, :camera, :day, :frames)
    ON CONFLICT (model, version, shadow, stage, camera, day) DO UPDATE SET frames = excluded.frames
""")
_OWN = """
    series_id IN (SELECT series_id FROM series WHERE model = :model AND version = :version AND shadow = :shadow
        AND stage = :stage AND camera = :camera AND minutes = 60)
"""
_CLEAR = text(f"DELETE FROM rollup_day WHERE day = :day AND {_OWN}")  # noqa: S608 (made of constants)
_MERGE = text(f"""
    WITH part AS (
        SELECT * FROM rollup WHERE {_OWN}
            AND start_at >= :day AND start_at < CAST(:day AS timestamptz) + interval '1 day'
    ),
    cells AS (
        SELECT p.series_id, c.bin, sum(c.count)::bigint AS count
        FROM part p, unnest(p.bins, p.counts) AS c (bin, count) GROUP BY 1, 2
    ),
    packed AS (
        SELECT series_id, array_agg(bin ORDER BY bin) AS bins, array_agg(count ORDER BY bin) AS counts
        FROM cells GROUP BY 1
    )
    INSERT INTO rollup_day (series_id, day, n, frames, total, bins, counts)
    SELECT s.series_id, :day, s.n, s.frames, s.total, coalesce(p.bins, '{{}}'), coalesce(p.counts, '{{}}')
    FROM (SELECT series_id, sum(n) AS n, sum(frames) AS frames, sum(total) AS total FROM part GROUP BY 1) s
    LEFT JOIN packed p USING (series_id)
""")  # noqa: S608 (made of constants)
_OUTLIVED = "SELECT FROM rollup r WHERE r.series_id = d.series_id AND r.start_at >= d.day"


@dataclass(frozen=True, slots=True)
class CameraDay:
    """A camera's day that is over, with the frames that its roll-ups count now."""

    model: str
    version: str
    shadow: bool
    stage: str
    camera: str
    day: datetime
    """Midnight UTC at which it began."""
    frames: int


def undone(conn: Connection, now: datetime, limit: int) -> list[CameraDay]:
    """Days that were over at `now` and are not merged as they stand, the oldest first, `limit` at most."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [CameraDay(*row) for row in conn.execute(_UNDONE, {"today": today, "limit": limit})]


def merge(conn: Connection, cameras: Iterable[CameraDay]) -> None:
    """Make one row of every series of a day of these cameras, in place of what was merged before.

    Frames are counted before the rows are read: what arrives in between makes the day undone once more.
    """
    for one in cameras:
        values = {name: getattr(one, name) for name in one.__dataclass_fields__}
        conn.execute(_CLAIM, values)
        conn.execute(_CLEAR, values)
        conn.execute(_MERGE, values)


def forget(conn: Connection, model: str, version: str, start: datetime, end: datetime) -> None:
    """Have the days that [start, end) touches merged anew, for their roll-ups were changed without a new frame."""
    values = {"model": model, "version": version, "start": start, "end": end}
    within = "day > CAST(:start AS timestamptz) - interval '1 day' AND day < :end"
    own = "SELECT series_id FROM series WHERE model = :model AND version = :version"
    conn.execute(text(f"DELETE FROM rollup_day WHERE {within} AND series_id IN ({own})"), values)  # noqa: S608
    conn.execute(text(f"DELETE FROM merged_day WHERE {within} AND model = :model AND version = :version"), values)  # noqa: S608


def take_away(conn: Connection) -> int:
    """Take away the days whose roll-ups retention has taken; returns how many rows went."""
    gone = text(f"DELETE FROM rollup_day d WHERE NOT EXISTS ({_OUTLIVED} AND r.start_at < d.day + interval '1 day')")  # noqa: S608
    return conn.execute(gone).rowcount
