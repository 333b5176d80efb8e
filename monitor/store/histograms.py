"""Roll-ups: integer histograms by series and hour. A batch appends its own rows; a sum over rows is always right."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import numpy as np
from sqlalchemy import text

from monitor.records import EPOCH, Histogram, RollupColumns, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.store import binary
from monitor.store.database import Connection, require_room

_MERGE_LOCK = 7_301_002
"""Advisory lock of whoever merges."""
_HOUR = timedelta(hours=1)
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


def series_id(key: SeriesKey, edges_id: str, minutes: int) -> int:
    """The number of a series, 0 to 2^63 - 1: a hash of all that tells it from others, so the same everywhere."""
    scope = key.scope
    said = (
        scope.model,
        scope.version,
        "shadow" if scope.shadow else "live",
        scope.stage,
        scope.camera,
        scope.slice_name,
        scope.slice_value,
        key.signal,
        key.class_name,
        key.recipe,
        edges_id,
        str(minutes),
    )
    # No text that Postgres can hold has a NUL in it, so joining with one is unambiguous.
    return int.from_bytes(blake2b("\0".join(said).encode(), digest_size=8).digest(), "big") >> 1


_MISSING = text("""
    SELECT k.id FROM unnest(CAST(:ids AS bigint[])) AS k (id)
    WHERE NOT EXISTS (SELECT FROM series s WHERE s.series_id = k.id)
""")
# Sorted, so that two batches with the same new series do not wait for each other in a circle.
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


def append(conn: Connection, batch_id: int, rows: RollupColumns, known: Collection[int] = ()) -> set[int]:
    """Add the rows of one batch.

    `known` holds ids of series that are committed and need no look-up. Returns the ids of this batch's series: they
    may join `known` once the transaction is committed, not before.
    """
    ids = [series_id(*series) for series in rows.series]
    _add_series(conn, {i: series for i, series in zip(ids, rows.series, strict=True) if i not in known})
    binary.copy_in(
        conn,
        "rollup",
        {
            "series_id": binary.fixed(np.array(ids, dtype=np.int64)[rows.series_row], binary.INT8),
            "start_at": binary.times(rows.start_us),
            "batch_id": binary.fixed(np.full(len(rows), batch_id), binary.INT8),
            "n": binary.fixed(rows.n, binary.INT4),
            "frames": binary.fixed(rows.frames, binary.INT4),
            "total": binary.fixed(rows.total, binary.INT8),
            "squares": binary.fixed(rows.squares, binary.INT8),
            "bins": binary.arrays(binary.fixed(rows.bins, binary.INT2), rows.cells, binary.INT2),
            "counts": binary.arrays(binary.fixed(rows.counts, binary.INT4), rows.cells, binary.INT4),
        },
    )
    return set(ids)


def _add_series(conn: Connection, series: dict[int, tuple[SeriesKey, str, int]]) -> None:
    missing = conn.execute(_MISSING, {"ids": list(series)}).scalars().all() if series else []
    if not missing:
        return
    new = [series[number] for number in missing]
    scopes = [key.scope for key, _, _ in new]
    values = {
        "series_id": missing,
        "model": [scope.model for scope in scopes],
        "version": [scope.version for scope in scopes],
        "shadow": [scope.shadow for scope in scopes],
        "stage": [scope.stage for scope in scopes],
        "camera": [scope.camera for scope in scopes],
        "slice_name": [scope.slice_name for scope in scopes],
        "slice_value": [scope.slice_value for scope in scopes],
        "signal": [key.signal for key, _, _ in new],
        "class_name": [key.class_name for key, _, _ in new],
        "recipe": [key.recipe for key, _, _ in new],
        "edges_id": [edges_id for _, edges_id, _ in new],
        "minutes": [minutes for _, _, minutes in new],
    }
    conn.execute(_ADD, values)


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
    """
    hold_merges(conn)
    # The cells of a large load are sorted in memory; with the default they would go to disk in many small runs.
    conn.execute(text("SET LOCAL work_mem = '64MB'"))
    over = {"over": EPOCH + (now - EPOCH) // _HOUR * _HOUR}
    require_room(conn, int(conn.execute(_TO_MERGE, over).scalar_one()))
    alone = conn.execute(_RENAME, over).rowcount
    return alone + conn.execute(_MERGE, over).rowcount


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
    conn: Connection, model: str, length: timedelta, since: datetime = EPOCH
) -> dict[str, dict[datetime, int]]:
    """Live frames of each version by start of the window, for the windows that have any.

    Windows of `length` are counted from `EPOCH`; the first one is that which `since` lies in.
    """
    start = EPOCH + (since - EPOCH) // length * length
    values = {"model": model, "length": length, "epoch": EPOCH, "start": start, "end": _FOR_EVER}
    found: dict[str, dict[datetime, int]] = {}
    for version, at, frames in conn.execute(_BY_WINDOW, values):
        found.setdefault(version, {})[at] = int(frames)
    return found


def frames_between(conn: Connection, model: str, version: str, window: Window) -> int:
    """Live frames of one version in a window of whole hours."""
    values = {"model": model, "version": version, "start": window.start, "end": window.end}
    return int(conn.execute(_BETWEEN, values).scalar_one())
