"""Counts of verdicts by the hour of the frame, and which windows were measured from them.

An hour is counted anew as a whole, under a lock, whenever one of its frames gets a review: reviews are few, and the
first of a frame may come after the second, so that adding increments would have to take some back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text

from monitor.feedback import ReviewCell, ReviewPlace
from monitor.records import EPOCH, Window
from monitor.store.database import Connection

_LOCK = 7_301_009
"""Advisory lock of whoever counts reviews."""
Hour = tuple[str, str, datetime]
"""A model, a version, and the start of an hour."""
_PLACE = tuple(ReviewPlace.__dataclass_fields__)
_CELL = tuple(ReviewCell.__dataclass_fields__)
_COLUMNS = ", ".join((*_PLACE, *_CELL))
UNDONE = -1
"""The frames of a window that is to be measured again whatever it holds."""


def hold_counting(conn: Connection) -> None:
    """Keep everyone else from counting reviews, and wait for who is at it, until the transaction of `conn` ends.

    An hour is counted from all of its reviews: two at once would each miss what the other has just settled.
    """
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


_DELETE = text("""
    DELETE FROM review_rollup r
    USING unnest(CAST(:models AS text[]), CAST(:versions AS text[]), CAST(:hours AS timestamptz[])) AS h (m, v, at)
    WHERE r.model = h.m COLLATE "C" AND r.version = h.v COLLATE "C" AND r.start_at = h.at
""")
_MEASURE_AGAIN = text("""
    UPDATE reviewed_window w SET frames = :undone
    FROM unnest(CAST(:models AS text[]), CAST(:versions AS text[]), CAST(:hours AS timestamptz[])) AS h (m, v, at)
    WHERE w.model = h.m COLLATE "C" AND w.version = h.v COLLATE "C" AND w.window_start <= h.at AND w.window_end > h.at
""")
_WATCH_AGAIN = text("""
    UPDATE watched_day w SET frames = :undone
    FROM unnest(CAST(:models AS text[]), CAST(:versions AS text[]), CAST(:hours AS timestamptz[])) AS h (m, v, at)
    WHERE w.model = h.m COLLATE "C" AND w.version = h.v COLLATE "C" AND w.day = CAST(h.at AT TIME ZONE 'UTC' AS date)
""")
_INSERT = text(
    f"INSERT INTO review_rollup ({_COLUMNS}, reviewed)"  # noqa: S608 - names are constants
    f" VALUES ({', '.join(':' + name for name in (*_PLACE, *_CELL))}, :reviewed)"
)


def replace(conn: Connection, hours: Collection[Hour], cells: Mapping[ReviewPlace, ReviewCell]) -> None:
    """Put `cells` in the stead of all that is counted of these hours; their windows are to be measured,
    and their days to be watched, again."""
    ordered = sorted(hours)
    values = {
        "models": [model for model, _, _ in ordered],
        "versions": [version for _, version, _ in ordered],
        "hours": [hour for _, _, hour in ordered],
        "undone": UNDONE,
    }
    conn.execute(_DELETE, values)
    rows = [
        {name: getattr(place, name) for name in _PLACE}
        | {name: getattr(cell, name) for name in _CELL}
        | {"reviewed": cell.reviewed}
        for place, cell in cells.items()
    ]
    if rows:
        conn.execute(_INSERT, rows)
    conn.execute(_MEASURE_AGAIN, values)
    conn.execute(_WATCH_AGAIN, values)


def counted(
    conn: Connection, start: datetime, end: datetime, *, model: str | None = None, version: str | None = None
) -> dict[ReviewPlace, ReviewCell]:
    """What is counted of the hours that start in [start, end)."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM review_rollup WHERE start_at >= :start AND start_at < :end"  # noqa: S608
            " AND (CAST(:model AS text) IS NULL OR model = :model)"
            " AND (CAST(:version AS text) IS NULL OR version = :version)"
        ),
        {"start": start, "end": end, "model": model, "version": version},
    )
    size = len(_PLACE)
    return {ReviewPlace(*row[:size]): ReviewCell(*row[size:]) for row in map(tuple, rows)}


def windows(conn: Connection, model: str, length: timedelta) -> list[tuple[str, Window]]:
    """The windows of `length` that hold counts of live frames, by version, oldest first."""
    rows = conn.execute(
        text(
            "SELECT DISTINCT version, date_bin(:length, start_at, :epoch) AS start FROM review_rollup"
            " WHERE model = :model AND NOT shadow ORDER BY 1, 2"
        ),
        {"model": model, "length": length, "epoch": EPOCH},
    )
    return [(version, Window(start, start + length)) for version, start in rows]


def measured(conn: Connection, model: str, length: timedelta) -> dict[tuple[str, Window], int]:
    """The windows that were measured, with the frames that they held then; UNDONE where reviews came since."""
    rows = conn.execute(
        text(
            "SELECT version, window_start, window_end, frames FROM reviewed_window"
            " WHERE model = :model AND window_end - window_start = :length"
        ),
        {"model": model, "length": length},
    )
    return {(version, Window(start, end)): int(frames) for version, start, end, frames in rows}


def claim_window(
    conn: Connection,
    model: str,
    version: str,
    window: Window,
    frames: int,
    contract_hash: str,
    measures: Sequence[str],
) -> None:
    """Enter a window as measured and clear what these measures said; another worker at it waits."""
    values = {
        "model": model,
        "version": version,
        "start": window.start,
        "end": window.end,
        "frames": frames,
        "hash": contract_hash,
        "measures": list(measures),
    }
    conn.execute(
        text(
            "INSERT INTO reviewed_window (model, version, window_start, window_end, frames, contract_hash)"
            " VALUES (:model, :version, :start, :end, :frames, :hash)"
            " ON CONFLICT (model, version, window_start, window_end)"
            " DO UPDATE SET frames = :frames, contract_hash = :hash"
        ),
        values,
    )
    conn.execute(
        text(
            "DELETE FROM measurement WHERE model = :model AND version = :version AND window_start = :start"
            " AND window_end = :end AND measure = ANY(:measures)"
        ),
        values,
    )
