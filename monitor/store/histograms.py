"""Roll-ups: integer histograms by series and hour. A batch appends its own rows; a sum over rows is always right."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from hashlib import blake2b

import numpy as np
from sqlalchemy import text

from monitor.records import Histogram, RollupColumns, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.store import binary
from monitor.store.database import Connection

_MERGE_LOCK = 7_301_002
"""Advisory lock of whoever merges."""


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


# What batches appended and what was merged before becomes one row of batch 0. A row that is alone is only renamed.
_RENAME = text("""
    UPDATE rollup r SET batch_id = 0 WHERE r.batch_id > 0 AND NOT EXISTS (
        SELECT FROM rollup o
        WHERE o.series_id = r.series_id AND o.start_at = r.start_at AND o.batch_id <> r.batch_id)
""")
_MERGE = text("""
    WITH fresh AS (DELETE FROM rollup WHERE batch_id > 0 RETURNING *),
    old AS (
        DELETE FROM rollup r USING (SELECT DISTINCT series_id, start_at FROM fresh) f
        WHERE r.series_id = f.series_id AND r.start_at = f.start_at AND r.batch_id = 0
        RETURNING r.*
    ),
    parts AS (SELECT * FROM fresh UNION ALL SELECT * FROM old),
    sums AS (
        SELECT series_id, start_at, sum(n) AS n, sum(frames) AS frames, sum(total) AS total
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
    INSERT INTO rollup (series_id, start_at, batch_id, n, frames, total, bins, counts)
    SELECT s.series_id, s.start_at, 0, s.n, s.frames, s.total, coalesce(p.bins, '{}'), coalesce(p.counts, '{}')
    FROM sums s LEFT JOIN packed p USING (series_id, start_at)
""")


def hold_merges(conn: Connection) -> None:
    """Keep everyone from merging, and wait for who is at it, until the transaction of `conn` ends."""
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MERGE_LOCK})


def merge(conn: Connection) -> int:
    """Make one row of every (series, start); returns how many rows were touched.

    Whatever the order in which batches came, the table is then the same. One merge at a time; loading goes on
    beside it.
    """
    hold_merges(conn)
    # The cells of a large load are sorted in memory; with the default they would go to disk in many small runs.
    conn.execute(text("SET LOCAL work_mem = '64MB'"))
    alone = conn.execute(_RENAME).rowcount
    return alone + conn.execute(_MERGE).rowcount


# Sums and bins are two kinds of rows of one statement, so they are of one moment, and are joined here: Postgres
# cannot estimate how much a period holds and would join them in a loop.
_SERIES = """
    FROM series s
    WHERE s.model = :model AND s.minutes = :minutes AND s.edges_id = ANY(:edges)
      AND (CAST(:version AS text) IS NULL OR s.version = :version)
      AND (CAST(:signals AS text[]) IS NULL OR s.signal = ANY(:signals))
"""
_KEYS = text(
    "SELECT series_id, model, version, stage, camera, slice_name, slice_value, shadow, signal, class_name, recipe,"
    f" edges_id {_SERIES} ORDER BY series_id"
)
_READ = text(f"""
    WITH part AS (
        SELECT r.*, CASE WHEN :apart THEN r.start_at ELSE :start END AS at
        FROM (SELECT s.series_id {_SERIES}) AS chosen JOIN rollup r USING (series_id)
        WHERE r.start_at >= :start AND r.start_at < :end
    ),
    cells AS (
        SELECT p.series_id, p.at, c.bin, sum(c.count)::bigint AS count
        FROM part p, unnest(p.bins, p.counts) AS c (bin, count) GROUP BY p.series_id, p.at, c.bin
    )
    SELECT series_id, at, sum(n) AS n, sum(frames) AS frames, sum(total) AS total,
           NULL::smallint[] AS bins, NULL::bigint[] AS counts
    FROM part GROUP BY series_id, at
    UNION ALL
    SELECT series_id, at, NULL, NULL, NULL, array_agg(bin), array_agg(count) FROM cells GROUP BY series_id, at
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
) -> dict[SeriesKey, Histogram]:
    """Each series of a model over [start, end) as one histogram; live and shadow series stand side by side.

    `start` and `end` are whole spans of `minutes`, in UTC. Only series on the edges that the signals have now are
    read. None: all versions, all signals.
    """
    rows = _read(conn, model, start, end, version, minutes, signals, apart=False)
    return {key: histogram for key, _, histogram in rows}


def read_hours(
    conn: Connection,
    model: str,
    start: datetime,
    end: datetime,
    *,
    version: str | None = None,
    minutes: int = 60,
    signals: Collection[str] | None = None,
) -> dict[tuple[SeriesKey, datetime], Histogram]:
    """As `read`, but one histogram for each span of `minutes` (an hour, or a quarter) that holds something."""
    rows = _read(conn, model, start, end, version, minutes, signals, apart=True)
    return {(key, at.astimezone(UTC)): histogram for key, at, histogram in rows}


def _read(
    conn: Connection,
    model: str,
    start: datetime,
    end: datetime,
    version: str | None,
    minutes: int,
    signals: Collection[str] | None,
    *,
    apart: bool,
) -> Iterator[tuple[SeriesKey, datetime, Histogram]]:
    values = {
        "model": model,
        "start": start,
        "end": end,
        "version": version,
        "minutes": minutes,
        "signals": None if signals is None else list(signals),
        "edges": sorted({signal.edges.id for signal in SIGNALS.values()}),
        "apart": apart,
    }
    sums: dict[tuple[int, datetime], tuple[int, int, int]] = {}
    cells: dict[tuple[int, datetime], tuple[list[int], list[int]]] = {}
    for number, at, n, frames, total, bins, counts in conn.execute(_READ, values):
        if bins is None:
            sums[number, at] = int(n), int(frames), int(total)
        else:
            cells[number, at] = bins, counts
    # After the rows, so that no row speaks of a series that is not known yet.
    keys = {number: said for number, *said in conn.execute(_KEYS, values)}
    for (number, at), (n, frames, total) in sorted(sums.items()):
        *scope, signal, class_name, recipe, edges_id = keys[number]
        known = SIGNALS.get(signal)
        if known is None or known.edges.id != edges_id:
            continue
        dense = np.zeros(known.edges.count + 2, dtype=np.int64)
        if (number, at) in cells:
            bins, counts = cells[number, at]
            dense[bins] = counts
        yield SeriesKey(Scope(*scope), signal, class_name, recipe), at, Histogram(edges_id, dense, n, frames, total)
