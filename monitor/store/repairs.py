"""Roll-ups as a recount sees them: read cell by cell, put right, and the evidence of it kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from monitor.errors import TryAgain
from monitor.records import Scope, SeriesKey
from monitor.store import days, histograms
from monitor.store.database import Connection, Database
from monitor.store.rows import rollup_rows
from monitor.upkeep import RollupCell, RollupColumns, RollupPlace


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """One transaction that sees the database as it is at its first query, whatever others commit meanwhile.

    No day of frames can be taken away while it is open. A batch commits frames and roll-ups together, so a recount
    within one snapshot never catches it half-way; what comes later adds rows of its own and is not touched by a
    repair.

    Raises:
        DependencyAway: the database cannot be used now.
        TryAgain: somebody changed the very rows that were to be repaired; nothing was kept.
    """
    try:
        with database.begin() as conn:
            conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            # Before the first query, which freezes the view: which partitions there are is not part of that view.
            conn.execute(text("LOCK TABLE ONLY frame IN ACCESS SHARE MODE"))
            yield conn
    except IntegrityError as error:
        raise TryAgain(
            "roll-ups that were to be repaired were written just now, nothing was kept; try again"
        ) from error


_STORED = text("""
    SELECT s.model, s.version, s.stage, s.camera, s.slice_name, s.slice_value, s.shadow, s.signal, s.class_name,
        s.recipe, s.edges_id, s.minutes, CAST(extract(epoch FROM r.start_at) * 1000000 AS bigint),
        r.n, r.frames, r.total, r.squares, r.bins, r.counts
    FROM series s JOIN rollup r USING (series_id)
    WHERE r.start_at >= :start AND r.start_at < :end
      AND (CAST(:model AS text) IS NULL OR s.model = :model)
      AND (CAST(:signal AS text) IS NULL OR s.signal = :signal)
""")


def stored(
    conn: Connection, start: datetime, end: datetime, *, model: str | None = None, signal: str | None = None
) -> dict[RollupPlace, RollupCell]:
    """What is rolled up over spans that start in [start, end), on whatever edges, summed over the batches."""
    values = {"start": start, "end": end, "model": model, "signal": signal}
    found: dict[RollupPlace, RollupCell] = {}
    for (
        *scope,
        of_signal,
        class_name,
        recipe,
        edges_id,
        minutes,
        start_us,
        n,
        frames,
        total,
        squares,
        bins,
        counts,
    ) in conn.execute(_STORED, values):
        series = SeriesKey(Scope(*scope), of_signal, class_name, recipe)
        cell = found.setdefault(RollupPlace(series, edges_id, minutes, start_us), RollupCell())
        cell.add(RollupCell(n, frames, total, squares, dict(zip(bins, counts, strict=True))))
    return found


def count_nameless(conn: Connection, start: datetime, end: datetime) -> int:
    """How many roll-up rows that start in [start, end) are of a series that is not entered: nobody reads them.

    No foreign key keeps them out: it would cost every batch a look-up a row.
    """
    count = text("""
        SELECT count(*) FROM rollup r
        WHERE r.start_at >= :start AND r.start_at < :end
          AND NOT EXISTS (SELECT FROM series s WHERE s.series_id = r.series_id)
    """)
    return int(conn.execute(count, {"start": start, "end": end}).scalar_one())


def replace(conn: Connection, places: Sequence[RollupPlace], rows: RollupColumns) -> None:
    """Put `rows` in the stead of what stands at `places`. Call it within `snapshot`, while merges are held off."""
    delete = text("""
        DELETE FROM rollup r
        USING unnest(CAST(:ids AS bigint[]), CAST(:us AS bigint[])) AS k (series_id, us)
        WHERE r.series_id = k.series_id AND r.start_at = timestamptz 'epoch' + k.us * interval '1 microsecond'
    """)
    ids = [histograms.series_id(place.series, place.edges_id, place.minutes) for place in places]
    conn.execute(delete, {"ids": ids, "us": [place.start_us for place in places]})
    if len(rows):
        histograms.append(conn, 0, rollup_rows(rows))


@dataclass(frozen=True, slots=True)
class Repair:
    """One hour put right: why it was looked at, how much was compared and repaired, and what it was before."""

    occasion: str
    """`audit` or `rebuild`."""
    model: str
    signal: str
    start: datetime
    end: datetime
    compared: int
    repaired: int
    evidence: Sequence[dict[str, Any]]


def note(conn: Connection, repair: Repair, now: datetime) -> None:
    """Keep the evidence of a repair."""
    insert = text(
        "INSERT INTO rollup_repair (occasion, model, signal, period_start, period_end, rows_compared, rows_repaired,"
        " evidence, repaired_at) VALUES (:occasion, :model, :signal, :start, :end, :compared, :repaired,"
        " CAST(:evidence AS jsonb), :now)"
    )
    values = {name: getattr(repair, name) for name in Repair.__dataclass_fields__}
    conn.execute(insert, {**values, "evidence": json.dumps(list(repair.evidence)), "now": now})


def measure_again(conn: Connection, model: str, version: str, start: datetime, end: datetime) -> None:
    """Make the measured windows of a version that touch [start, end) undone: they rest on numbers that were wrong."""
    # A window is undone when it holds more frames than it was measured over.
    update = text(
        "UPDATE measured_window SET frames = -1 WHERE model = :model AND version = :version"
        " AND window_start < :end AND window_end > :start"
    )
    values = {"model": model, "version": version, "start": start, "end": end}
    conn.execute(update, values)
    watched = (
        "UPDATE watched_day SET frames = -1 WHERE model = :model AND version = :version"
        " AND day < :end AT TIME ZONE 'UTC' AND day + 1 > :start AT TIME ZONE 'UTC'"
    )
    conn.execute(text(watched), values)
    days.forget(conn, model, version, start, end)
