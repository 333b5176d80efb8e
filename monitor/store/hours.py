"""Roll-ups hour by hour, many at a time: what season and ordinary days are learnt from, and days are judged by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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

_INT4_ARRAY, _INT8_ARRAY = 1007, 1016
_HEADER = 20
"""Bytes before the elements of a binary array of one dimension: dimensions, nulls, type, length, lower bound."""

_CHOSEN = """
    FROM series s
    WHERE s.model = %(model)s AND s.version = %(version)s AND NOT s.shadow AND s.slice_name = ''
      AND s.minutes = %(minutes)s AND s.signal = ANY(%(signals)s) AND s.edges_id = ANY(%(edges)s)
      AND (%(stage)s::text IS NULL OR s.stage = %(stage)s)
      AND (%(cameras)s::text[] IS NULL OR s.camera = ANY(%(cameras)s))
"""
# Each series is looked up in the index by itself, as in `histograms`, and is one row of the answer: a quarter of a
# hundred cameras has millions of roll-ups, and a row of Python for each would cost more than reading them. Of classes
# only the numbers are asked for. The cells of a series are the elements of its arrays, one after the other.
_ROWS = f"""
    SELECT chosen.series_id, r.slot, r.n, r.total, r.cells, coalesce(r.bins, ''), coalesce(r.counts, '')
    FROM (SELECT s.series_id, s.class_name = '' AS whole {_CHOSEN}) AS chosen CROSS JOIN LATERAL (
        SELECT array_agg((date_part('epoch', start_at) / 60 / %(minutes)s)::integer) AS slot, array_agg(n) AS n,
            array_agg(total) AS total, array_agg(CASE WHEN chosen.whole THEN cardinality(bins) ELSE 0 END) AS cells,
            string_agg(CASE WHEN chosen.whole THEN substr(array_send(bins), {_HEADER} + 1) END, '') AS bins,
            string_agg(CASE WHEN chosen.whole THEN substr(array_send(counts), {_HEADER} + 1) END, '') AS counts
        FROM rollup
        WHERE series_id = chosen.series_id AND start_at >= %(start)s AND start_at < %(end)s AND n > 0) r
    WHERE r.slot IS NOT NULL
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
    number, slot, n, total, cells, bins, counts = zip(*known, strict=True) if known else ((),) * 7
    slots = [_elements(one[_HEADER:], ">i4") for one in slot]
    return HourColumns(
        series=series,
        row_series=np.repeat([place[one] for one in number], [part.size for part in slots]).astype(np.int64),
        slot=_joined(slots),
        n=_joined([_elements(one[_HEADER:], ">i4") for one in n]),
        total=_joined([_elements(one[_HEADER:], ">i8") for one in total]),
        cells=_joined([_elements(one[_HEADER:], ">i4") for one in cells]),
        bins=_joined([_elements(one, ">i2") for one in bins]),
        counts=_joined([_elements(one, ">i4") for one in counts]),
    )


def _fetch(conn: Connection, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Rows in the binary form, arrays as the bytes that they arrive in: a hundred numbers cost as much as one."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor(binary=True) as cursor:
            for oid in (_INT4_ARRAY, _INT8_ARRAY):
                cursor.adapters.register_loader(oid, ByteaBinaryLoader)
            return cursor.execute(statement, values).fetchall()
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error) from error


def _elements(raw: bytes, form: str) -> Ints:
    """The elements of binary arrays without their headers; none is NULL."""
    item: npt.DTypeLike = np.dtype([("size", ">i4"), ("value", form)])
    return np.frombuffer(raw, dtype=item)["value"].astype(np.int64)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
