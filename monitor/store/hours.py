"""Roll-ups hour by hour, many at a time: what season and ordinary days are learnt from, and days are judged by."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.types.string import ByteaBinaryLoader
from sqlalchemy.exc import DBAPIError

from monitor.records import Ints, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.store.database import Connection
from monitor.watch import HourColumns

_INT2_ARRAY, _INT4_ARRAY = 1005, 1007
_HEADER = 20
"""Bytes before the elements of a binary array of one dimension: dimensions, nulls, type, length, lower bound."""

_CHOSEN = """
    FROM series s
    WHERE s.model = %(model)s AND s.version = %(version)s AND NOT s.shadow AND s.slice_name = ''
      AND s.minutes = %(minutes)s AND s.signal = ANY(%(signals)s) AND s.edges_id = ANY(%(edges)s)
      AND (%(stage)s::text IS NULL OR s.stage = %(stage)s)
      AND (%(cameras)s::text[] IS NULL OR s.camera = ANY(%(cameras)s))
"""
# Each series is looked up in the index by itself, as in `histograms`. Of classes only the numbers are asked for.
_ROWS = f"""
    SELECT r.series_id, (extract(epoch FROM r.start_at) / 60 / %(minutes)s)::integer, r.n, r.total,
        CASE WHEN chosen.class_name = '' THEN r.bins ELSE '{{}}'::smallint[] END,
        CASE WHEN chosen.class_name = '' THEN r.counts ELSE '{{}}'::integer[] END
    FROM (SELECT s.series_id, s.class_name {_CHOSEN}) AS chosen CROSS JOIN LATERAL (
        SELECT * FROM rollup
        WHERE series_id = chosen.series_id AND start_at >= %(start)s AND start_at < %(end)s AND n > 0 OFFSET 0) r
"""  # noqa: S608 - made of constants
_KEYS = (
    "SELECT s.series_id, s.model, s.version, s.stage, s.camera, s.slice_name, s.slice_value, s.shadow, s.signal,"
    f" s.class_name, s.recipe, s.edges_id {_CHOSEN} ORDER BY s.series_id"
)


def read(
    conn: Connection,
    model: str,
    version: str,
    start: datetime,
    end: datetime,
    signals: Collection[str],
    *,
    stage: str | None = None,
    cameras: Collection[str] | None = None,
    minutes: int = 60,
) -> HourColumns:
    """The live roll-ups of a version over [start, end), whole and by class, hour by hour as columns.

    An hour may stand in several rows, which add up. Series by class come without bins. None: every stage, every
    camera. `minutes`: 60, or 15 for the signals that are kept so.
    """
    values = {
        "model": model,
        "version": version,
        "start": start,
        "end": end,
        "signals": list(signals),
        "edges": sorted({SIGNALS[name].edges.id for name in signals}),
        "stage": stage,
        "cameras": None if cameras is None else list(cameras),
        "minutes": minutes,
    }
    rows = _fetch(conn, _ROWS, values)
    keys = {number: said for number, *said in _fetch(conn, _KEYS, values)}
    place: dict[int, int] = {}
    series: list[SeriesKey] = []
    for number, (*scope, signal, class_name, recipe, edges_id) in keys.items():
        if SIGNALS[signal].edges.id == edges_id:
            place[number] = len(series)
            series.append(SeriesKey(Scope(*scope), signal, class_name, recipe))
    known = [row for row in rows if row[0] in place]
    number, slot, n, total, bins, counts = zip(*known, strict=True) if known else ((),) * 6
    inner, cells = _elements(bins, ">i2")
    count, _ = _elements(counts, ">i4")
    return HourColumns(
        series=series,
        row_series=np.array([place[one] for one in number], dtype=np.int64),
        slot=np.array(slot, dtype=np.int64),
        n=np.array(n, dtype=np.int64),
        total=np.array(total, dtype=np.int64),
        cells=cells,
        bins=inner,
        counts=count,
    )


def _fetch(conn: Connection, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Rows in the binary form, arrays as the bytes that they arrive in: a hundred numbers cost as much as one."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor(binary=True) as cursor:
            for oid in (_INT2_ARRAY, _INT4_ARRAY):
                cursor.adapters.register_loader(oid, ByteaBinaryLoader)
            return cursor.execute(statement, values).fetchall()
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error) from error


def _elements(arrays: tuple[bytes, ...], form: str) -> tuple[Ints, Ints]:
    """The elements of binary arrays, one after the other, and how many each has. None holds a NULL."""
    item: npt.DTypeLike = np.dtype([("size", ">i4"), ("value", form)])
    width = np.dtype(item).itemsize
    joined = b"".join([one[_HEADER:] for one in arrays])
    sizes = np.array([max(len(one) - _HEADER, 0) // width for one in arrays], dtype=np.int64)
    return np.frombuffer(joined, dtype=item)["value"].astype(np.int64), sizes
