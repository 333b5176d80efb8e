"""Roll-ups: integer histograms by series and hour. A batch appends its own rows; a sum over rows is always right."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from monitor.errors import NoRoom, TryAgain
from monitor.records import EPOCH, Histogram, Ints, Scope, SeriesKey, Window, microseconds
from monitor.signals import SIGNALS
from monitor.store import binary, encoding
from monitor.store.database import Connection, Database, require_room
from monitor.store.encoding import Flags
from monitor.store.rows import ROLLUP, RollupRows, series_number

_MERGE_LOCK = 7_301_002
"""Advisory lock of whoever merges."""
_MERGE_PATIENCE = "5s"
"""How long a merge waits for who merges, or keeps all from it: that may be a process that was stopped."""
_UNIQUE_VIOLATION = "23505"
_NAMED = (
    *("model", "version", "shadow", "stage", "camera", "slice_name", "slice_value"),
    *("signal", "class_name", "recipe", "edges_id", "minutes"),
)
"""The parts of a series' name, in their order."""
_PARTS = len(_NAMED)
_HOUR = timedelta(hours=1)
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


def series_id(key: SeriesKey, edges_id: str, minutes: int) -> int:
    """The number of a series, 0 to 2^63 - 1."""
    return series_number(key.named(edges_id, minutes))


_MISSING = text("""
    SELECT k.id FROM unnest(CAST(:ids AS bigint[])) AS k (id)
    WHERE NOT EXISTS (SELECT FROM series s WHERE s.series_id = k.id)
""")
_ADD = text("""
    INSERT INTO series (series_id, model, version, shadow, stage, camera, slice_name, slice_value, signal, class_name,
                        recipe, edges_id, minutes)
    SELECT * FROM unnest(
        CAST(:series_id AS bigint[]), CAST(:model AS text[]), CAST(:version AS text[]), CAST(:shadow AS boolean[]),
        CAST(:stage AS text[]), CAST(:camera AS text[]), CAST(:slice_name AS text[]), CAST(:slice_value AS text[]),
        CAST(:signal AS text[]), CAST(:class_name AS text[]), CAST(:recipe AS text[]), CAST(:edges_id AS text[]),
        CAST(:minutes AS smallint[])) AS s (series_id)
    ORDER BY s.series_id
    ON CONFLICT (series_id) DO NOTHING
""")


# Whoever first counts in an hour of a camera claims it, and writes the very rows that a merge would leave.
_CLAIM = text("""
    INSERT INTO rollup_claim (model, camera, start_at)
    SELECT c.model, c.camera, timestamptz 'epoch' + c.us * interval '1 microsecond'
    FROM unnest(CAST(:model AS text[]), CAST(:camera AS text[]), CAST(:us AS bigint[])) AS c (model, camera, us)
    ORDER BY c.model COLLATE "C", c.camera COLLATE "C", c.us
    ON CONFLICT DO NOTHING
    RETURNING model, camera, CAST(extract(epoch FROM start_at) * 1000000 AS bigint)
""")


def append(
    conn: Connection, batch_id: int, rows: RollupRows, known: Collection[int] = (), now: datetime = EPOCH
) -> set[int]:
    """Add the rows of one batch; those of hours that are over at `now` and that nobody has counted in need no merge.

    `known` holds ids of series that are committed and need no look-up. Returns the ids of this batch's series: they
    may join `known` once the transaction is committed, not before.
    """
    ids = rows.numbers.tolist()
    new = [i for i, number in enumerate(ids) if number not in known]
    if new:
        parts = rows.names.split("\0")
        _add_series(conn, {ids[i]: parts[i * _PARTS : (i + 1) * _PARTS] for i in new})
    first = _claim(conn, rows, now)
    savepoint = conn.begin_nested()
    try:
        _copy(conn, rows, np.where(first, 0, batch_id))
        savepoint.commit()
    except IntegrityError as error:
        # An hour that was rolled up without a claim: its rows are there, and a merge adds these to them.
        savepoint.rollback()
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION or not first.any():
            raise
        _copy(conn, rows, np.full(len(first), batch_id))
    return set(ids)


def _claim(conn: Connection, rows: RollupRows, now: datetime) -> Flags:
    """[r] which rows are the first of their hour and camera, of the hours that are over."""
    end = microseconds(_over(now))
    over = [claim for claim in rows.claims if claim[2] < end]
    if not over:
        return np.zeros(len(rows.claim), dtype=bool)
    model, camera, us = map(list, zip(*over, strict=True))
    found = conn.execute(_CLAIM, {"model": model, "camera": camera, "us": us})
    claimed = {(model, camera, us) for model, camera, us in found}
    return np.array([claim in claimed for claim in rows.claims], dtype=bool)[rows.claim]


def _over(now: datetime) -> datetime:
    """The end of the hours that are over."""
    return EPOCH + (now - EPOCH) // _HOUR * _HOUR


def _copy(conn: Connection, rows: RollupRows, batch: Ints) -> None:
    encoding.stamp(rows.rows, batch)
    binary.copy_rows(conn, "rollup", ROLLUP, rows.rows)


def _add_series(conn: Connection, series: Mapping[int, Sequence[str]]) -> None:
    """Enter the series that are not there; `series` holds the parts of each name by number."""
    missing = conn.execute(_MISSING, {"ids": list(series)}).scalars().all()
    if not missing:
        return
    missing = sorted(missing)  # so that two batches with the same new series do not wait for each other in a circle
    columns = dict(zip(_NAMED, map(list, zip(*(series[number] for number in missing), strict=True)), strict=True))
    shadow = [side == "shadow" for side in columns["shadow"]]
    minutes = [int(span) for span in columns["minutes"]]
    savepoint = conn.begin_nested()
    try:
        encoded = {name: encoding.texts(said) for name, said in columns.items()}
        encoded["series_id"] = encoding.fixed(np.array(missing, dtype=np.int64), encoding.INT8)
        encoded["shadow"] = encoding.flags(np.array(shadow, dtype=bool))
        encoded["minutes"] = encoding.fixed(np.array(minutes, dtype=np.int64), encoding.INT2)
        binary.copy_in(conn, "series", encoded)
        savepoint.commit()
    except IntegrityError:  # another batch entered one of them just now
        savepoint.rollback()
        conn.execute(_ADD, {**columns, "series_id": missing, "shadow": shadow, "minutes": minutes})


# Bytes, twice: what is written anew leaves the old row behind until it is vacuumed.
_TO_MERGE = text(
    "SELECT coalesce(2 * sum(pg_column_size(r.*)), 0) FROM rollup r WHERE r.batch_id > 0 AND r.start_at < :over"
)
# What batches appended and what was merged before becomes one row of batch 0. A row that is alone is only renamed.
_RENAME = text("""
    UPDATE rollup r SET batch_id = 0 WHERE r.batch_id > 0 AND r.start_at < :over AND NOT EXISTS (
        SELECT FROM rollup o
        WHERE o.series_id = r.series_id AND o.start_at = r.start_at AND o.batch_id <> r.batch_id)
""")
_MERGE = text("""
    WITH fresh AS (DELETE FROM rollup WHERE batch_id > 0 AND start_at < :over RETURNING *),
    old AS (
        DELETE FROM rollup r USING (SELECT DISTINCT series_id, start_at FROM fresh) f
        WHERE r.series_id = f.series_id AND r.start_at = f.start_at AND r.batch_id = 0
        RETURNING r.*
    ),
    parts AS (SELECT * FROM fresh UNION ALL SELECT * FROM old),
    sums AS (
        SELECT series_id, start_at, sum(n) AS n, sum(frames) AS frames, sum(total) AS total, sum(squares) AS squares
        FROM parts GROUP BY series_id, start_at
    ),
    cells AS (
        SELECT p.series_id, p.start_at, c.bin, sum(c.count)::integer AS count
        FROM parts p, unnest(p.bins, p.counts) AS c (bin, count) GROUP BY p.series_id, p.start_at, c.bin
    ),
    packed AS (
        SELECT series_id, start_at, array_agg(bin ORDER BY bin) AS bins, array_agg(count ORDER BY bin) AS counts
        FROM cells GROUP BY series_id, start_at
    )
    INSERT INTO rollup (series_id, start_at, batch_id, n, frames, total, squares, bins, counts)
    SELECT s.series_id, s.start_at, 0, s.n, s.frames, s.total, s.squares, coalesce(p.bins, '{}'),
           coalesce(p.counts, '{}')
    FROM sums s LEFT JOIN packed p USING (series_id, start_at)
""")


def hold_merges(conn: Connection) -> None:
    """Keep everyone from merging, and wait for who is at it, until the transaction of `conn` ends."""
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MERGE_LOCK})


def merge(conn: Connection, now: datetime) -> int:
    """Make one row of every (series, start) of the hours that are over at `now`; returns how many rows were touched.

    Whatever the order in which batches came, those hours are then the same; the running hour is left alone, or each
    of its batches would write it all again. One merge at a time; loading goes on beside it.

    Raises:
        NoRoom: the disk has no room for the rows to be written anew.
        DBAPIError: somebody else merges, or keeps all from it; `Database.begin` makes it TryAgain.
    """
    conn.execute(text(f"SET LOCAL lock_timeout = '{_MERGE_PATIENCE}'"))
    hold_merges(conn)
    # The cells of a large load are sorted in memory; with the default they would go to disk in many small runs.
    conn.execute(text("SET LOCAL work_mem = '64MB'"))
    over = {"over": _over(now)}
    require_room(conn, int(conn.execute(_TO_MERGE, over).scalar_one()))
    alone = conn.execute(_RENAME, over).rowcount
    return alone + conn.execute(_MERGE, over).rowcount


def merge_if_free(database: Database, now: datetime) -> None:
    """Merge in a transaction of its own; where that cannot be now it can wait, for sums are right before and after.

    Raises:
        DependencyAway: the database is away.
    """
    with suppress(NoRoom, TryAgain), database.begin() as conn:
        merge(conn, now)


# Sums and bins are two kinds of rows of one statement, so they are of one moment, and are joined here: Postgres
# cannot estimate how much a period holds and would join them in a loop.
_SERIES = """
    FROM series s
    WHERE s.model = :model AND s.minutes = :minutes AND s.edges_id = ANY(:edges)
      AND (CAST(:version AS text) IS NULL OR s.version = :version)
      AND (CAST(:signals AS text[]) IS NULL OR s.signal = ANY(:signals))
      AND (CAST(:shadow AS boolean) IS NULL OR s.shadow = :shadow)
"""
_KEYS = text(
    "SELECT series_id, model, version, stage, camera, slice_name, slice_value, shadow, signal, class_name, recipe,"
    f" edges_id {_SERIES} ORDER BY series_id"
)
# Each series is looked up in the index by itself (OFFSET 0 keeps the planner from making that a join again): its
# estimate of a period is so far too high that it would read the whole table.
_READ = text(f"""
    WITH part AS (
        SELECT r.* FROM (SELECT s.series_id {_SERIES}) AS chosen CROSS JOIN LATERAL (
            SELECT * FROM rollup
            WHERE series_id = chosen.series_id AND start_at >= :start AND start_at < :end OFFSET 0) r
    ),
    cells AS (
        SELECT p.series_id, c.bin, sum(c.count)::bigint AS count
        FROM part p, unnest(p.bins, p.counts) AS c (bin, count) GROUP BY p.series_id, c.bin
    )
    SELECT series_id, sum(n) AS n, sum(frames) AS frames, sum(total) AS total, sum(squares) AS squares,
           NULL::smallint[] AS bins, NULL::bigint[] AS counts
    FROM part GROUP BY series_id
    UNION ALL
    SELECT series_id, NULL, NULL, NULL, NULL, array_agg(bin), array_agg(count) FROM cells GROUP BY series_id
""")  # noqa: S608 (made of constants)


def read(
    conn: Connection,
    model: str,
    start: datetime,
    end: datetime,
    *,
    version: str | None = None,
    minutes: int = 60,
    signals: Collection[str] | None = None,
    shadow: bool | None = None,
) -> dict[SeriesKey, Histogram]:
    """Each series of a model over [start, end) as one histogram.

    `start` and `end` are whole spans of `minutes`, in UTC. Only series on the edges that the signals have now are
    read. None: all versions, all signals, live and shadow series side by side.
    """
    values = {
        "model": model,
        "start": start,
        "end": end,
        "version": version,
        "minutes": minutes,
        "signals": None if signals is None else list(signals),
        "shadow": shadow,
        "edges": sorted({signal.edges.id for signal in SIGNALS.values()}),
    }
    sums: dict[int, tuple[int, int, int, int]] = {}
    cells: dict[int, tuple[list[int], list[int]]] = {}
    for number, n, frames, total, squares, bins, counts in conn.execute(_READ, values):
        if bins is None:
            sums[number] = int(n), int(frames), int(total), int(squares)
        else:
            cells[number] = bins, counts
    # After the rows, so that no row speaks of a series that is not known yet.
    keys = {number: said for number, *said in conn.execute(_KEYS, values)}
    found: dict[SeriesKey, Histogram] = {}
    for number in sorted(sums):
        *scope, signal, class_name, recipe, edges_id = keys[number]
        known = SIGNALS.get(signal)
        if known is None or known.edges.id != edges_id:
            continue
        dense = np.zeros(known.edges.count + 2, dtype=np.int64)
        if number in cells:
            bins, counts = cells[number]
            dense[bins] = counts
        found[SeriesKey(Scope(*scope), signal, class_name, recipe)] = Histogram(edges_id, dense, *sums[number])
    return found


_LIVE_FRAMES = """
    FROM series s CROSS JOIN LATERAL (
        SELECT start_at, n FROM rollup
        WHERE series_id = s.series_id AND start_at >= :start AND start_at < :end OFFSET 0) r
    WHERE s.model = :model AND s.signal = 'status' AND s.class_name = '' AND s.slice_name = '' AND NOT s.shadow
      AND s.minutes = 60
"""
_BY_WINDOW = text(
    f"SELECT s.version, date_bin(:length, r.start_at, :epoch) AS start, sum(r.n) {_LIVE_FRAMES}"
    " GROUP BY 1, 2 ORDER BY 1, 2"
)
_BETWEEN = text(f"SELECT coalesce(sum(r.n), 0) {_LIVE_FRAMES} AND s.version = :version")


def window_frames(
    conn: Connection, model: str, length: timedelta, since: datetime = EPOCH, end: datetime = _FOR_EVER
) -> dict[str, dict[datetime, int]]:
    """Live frames of each version by start of the window, for the windows that have any, of the hours before `end`.

    Windows of `length` are counted from `EPOCH`; the first one is that which `since` lies in.
    """
    start = EPOCH + (since - EPOCH) // length * length
    values = {"model": model, "length": length, "epoch": EPOCH, "start": start, "end": end}
    found: dict[str, dict[datetime, int]] = {}
    for version, at, frames in conn.execute(_BY_WINDOW, values):
        found.setdefault(version, {})[at] = int(frames)
    return found


def frames_between(conn: Connection, model: str, version: str, window: Window) -> int:
    """Live frames of one version in a window of whole hours."""
    values = {"model": model, "version": version, "start": window.start, "end": window.end}
    return int(conn.execute(_BETWEEN, values).scalar_one())


_BY_HOUR = text(f"SELECT s.stage, s.camera, r.start_at, sum(r.n) {_LIVE_FRAMES} GROUP BY 1, 2, 3")


def frames_by_hour(conn: Connection, model: str, period: Window) -> dict[tuple[str, str], dict[datetime, int]]:
    """Live frames of every version by (stage, camera) and hour, of the hours of a period that have any."""
    found: dict[tuple[str, str], dict[datetime, int]] = {}
    for stage, camera, at, n in conn.execute(_BY_HOUR, {"model": model, "start": period.start, "end": period.end}):
        found.setdefault((stage, camera), {})[at.astimezone(UTC)] = int(n)
    return found
