"""What is shown beside a finding: a few frames that speak of it, and single histograms then and now.

Asked when an alert turns, so every statement is bounded: frames are looked for in the last hour of the window in
which the series that turned has any, and in the half day before it where that hour holds too few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.feedback import BUSINESS, OVERRIDE, OVERRIDES
from monitor.records import Ints, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.store.database import Connection

_OF_SCOPE = """
    s.model = :model AND s.version = :version AND s.stage = :stage AND NOT s.shadow AND s.minutes = 60
    AND s.slice_name = :slice_name AND s.slice_value = :slice_value AND (:camera = '' OR s.camera = :camera)
"""
_LAST_HOUR = text(f"""
    SELECT max(r.start_at) FROM series s CROSS JOIN LATERAL (
        SELECT start_at FROM rollup WHERE series_id = s.series_id AND start_at >= :start AND start_at < :end AND n > 0
        ORDER BY start_at DESC LIMIT 1) r
    WHERE {_OF_SCOPE} AND s.signal = :signal AND CASE WHEN CAST(:class_of AS text) IS NULL
        THEN s.class_name NOT IN ('', 'ok') ELSE s.class_name = :class_of END
""")  # noqa: S608 - made of constants
_FRAMES = """
    SELECT event_id, source, captured_at, camera, image_uri FROM frame f
    WHERE captured_at >= greatest(:hour - CAST(:before AS interval), :start)
        AND captured_at < least(:hour + interval '1 hour', :end)
        AND model = :model AND version = :version AND stage = :stage AND NOT shadow
        AND (:camera = '' OR camera = :camera)
        AND (:slice_name = '' OR slice_value[array_position(slice_name, :slice_name)] = :slice_value)
"""
_REVIEWED = text("""
    SELECT event_id, frame_source, captured_at, camera, '' FROM review
    WHERE model = :model AND version = :version AND captured_at >= :start AND captured_at < :end
        AND stage = :stage AND NOT shadow AND (:camera = '' OR camera = :camera)
        AND (verdict && CAST(:overrides AS text[]) OR cardinality(missed_class) > 0)
        AND (:class_name = '' OR :class_name = ANY(class_name) OR :class_name = ANY(missed_class))
    ORDER BY captured_at DESC, event_id LIMIT :most
""")
_TOLD = text("""
    SELECT frame, frame_source, max(at), max(camera), '' FROM business_event
    WHERE model = :model AND at >= :start AND at < :end AND frame <> '' AND kind <> 'deployment'
        AND (:camera = '' OR camera = :camera) AND (:class_name = '' OR class_name = :class_name)
    GROUP BY frame, frame_source ORDER BY max(at) DESC, frame LIMIT :most
""")
_COLUMNS = frozenset(
    {"brightness", "contrast", "sharpness", "red_balance", "blue_balance", "latency_ms", "queue_depth"}
)
"""Signals that are a column of a frame."""
_BEFORE = timedelta(hours=12)

_LEAST_SURE = """
    (SELECT min(d.confidence) FROM unnest(det_class, det_confidence) AS d (name, confidence)
     WHERE :class_name = '' OR d.name = :class_name)
"""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A frame that speaks of a finding; `image_uri` is empty where the record named none."""

    event_id: str
    source: str
    captured_at: datetime
    camera: str
    image_uri: str


def frames(conn: Connection, series: SeriesKey, window: Window, *, up: bool, most: int = 5) -> list[Exhibit]:
    """Up to `most` live frames of a window that show what a series did: the highest or lowest values, the errors,
    the corrected ones, those of the class; else the newest."""
    values: dict[str, Any] = {
        **_scope(series.scope),
        "start": window.start,
        "end": window.end,
        "most": most,
        "class_name": series.class_name,
    }
    if series.signal in (OVERRIDE, BUSINESS):
        asked = _REVIEWED if series.signal == OVERRIDE else _TOLD
        return [Exhibit(*row) for row in conn.execute(asked, values | {"overrides": list(OVERRIDES)})]
    for signal, of_class in _counted(series):
        hour = conn.execute(_LAST_HOUR, values | {"signal": signal, "class_of": of_class}).scalar()
        if hour is not None:
            break
    else:
        return []
    statement = text(f"{_FRAMES} {_choice(series, up=up, errors=of_class is None)} LIMIT :most")
    found: list[Exhibit] = []
    for before in (timedelta(0), _BEFORE):
        if len(found) < most:
            rows = conn.execute(statement, values | {"hour": hour, "before": before})
            found = [Exhibit(*row) for row in rows]
    return found


def _scope(scope: Scope) -> dict[str, Any]:
    return {name: value for name, value in asdict(scope).items() if name != "shadow"}


def _counted(series: SeriesKey) -> list[tuple[str, str | None]]:
    """The series whose hours hold such frames, the first choice first: of classes their detections, of outcomes the
    errors (None: of any kind) before all frames."""
    if series.signal == "class_share" or (series.signal == "confidence" and series.class_name):
        return [("confidence", series.class_name)]
    if series.signal == "status":
        return [("status", series.class_name or None), ("status", "")]
    return [(series.signal, "")] if series.signal in SIGNALS else [("status", "")]


def _choice(series: SeriesKey, *, up: bool, errors: bool) -> str:
    """Which frames of the hour, and in which order; made of constants."""
    way = "DESC" if up else "ASC"
    if series.signal in _COLUMNS:
        return f"AND {series.signal} IS NOT NULL ORDER BY {series.signal} {way}, event_id"
    if errors or (series.signal == "status" and series.class_name):
        return "AND status <> 'ok' AND :class_name IN ('', status) ORDER BY captured_at DESC, event_id"
    if series.signal == "confidence":
        return f"AND cardinality(det_class) > 0 ORDER BY {_LEAST_SURE} {way} NULLS LAST, event_id"
    if series.signal == "class_share" and series.class_name:
        return "AND :class_name = ANY(det_class) ORDER BY captured_at DESC, event_id"
    if series.signal == "detections":
        return f"ORDER BY cardinality(det_class) {way}, event_id"
    return "ORDER BY captured_at DESC, event_id"


_NOW = text(f"""
    SELECT s.class_name, c.bin, sum(c.count)::bigint FROM series s
    JOIN rollup r ON r.series_id = s.series_id AND r.start_at >= :start AND r.start_at < :end
    CROSS JOIN LATERAL unnest(r.bins, r.counts) AS c (bin, count)
    WHERE {_OF_SCOPE} AND s.signal = :signal AND s.class_name = :class_name AND s.edges_id = :edges
    GROUP BY 1, 2
""")  # noqa: S608 - made of constants
_COUNTS = text(f"""
    SELECT s.class_name, sum(r.n)::bigint FROM series s
    JOIN rollup r ON r.series_id = s.series_id AND r.start_at >= :start AND r.start_at < :end
    WHERE {_OF_SCOPE} AND s.signal = :signal AND s.class_name <> '' GROUP BY 1
""")  # noqa: S608 - made of constants
_BASELINE = text("""
    SELECT class_name, n, bins, counts, cuts FROM baseline_histogram
    WHERE baseline_id = :baseline AND stage = :stage AND camera = :camera AND slice_name = :slice_name
        AND slice_value = :slice_value AND signal = :signal AND edges_id = :edges
    ORDER BY n DESC
""")


@dataclass(frozen=True, slots=True)
class Pair:
    """A signal's fine counts [bins + 2] in a window and in the baseline, and the baseline's groups by their last
    bins."""

    now: Ints
    then: Ints
    cuts: Ints


def histograms(conn: Connection, series: SeriesKey, window: Window, baseline_id: int) -> Pair | None:
    """One series' histogram now and then; None where either holds nothing."""
    edges = SIGNALS[series.signal].edges
    values = _scope(series.scope) | {
        "start": window.start,
        "end": window.end,
        "signal": series.signal,
        "class_name": series.class_name,
        "edges": edges.id,
        "baseline": baseline_id,
    }
    now = np.zeros(edges.count + 2, dtype=np.int64)
    for _, place, count in conn.execute(_NOW, values):
        now[place] += count
    rows = [row for row in conn.execute(_BASELINE, values).mappings() if row["class_name"] == series.class_name]
    if not rows or not now.any():
        return None
    then = np.zeros(edges.count + 2, dtype=np.int64)
    then[np.array(rows[0]["bins"], dtype=np.int64)] = rows[0]["counts"]
    return Pair(now, then, np.array(rows[0]["cuts"], dtype=np.int64))


def class_counts(
    conn: Connection, scope: Scope, signal: str, window: Window, baseline_id: int | None
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Values of a signal by class, in a window and in the baseline; of `status` frames by outcome."""
    values = _scope(scope) | {
        "start": window.start,
        "end": window.end,
        "signal": signal,
        "edges": SIGNALS[signal].edges.id,
        "baseline": baseline_id,
    }
    now = {name: int(n) for name, n in conn.execute(_COUNTS, values)}
    then: dict[str, int] = {}
    for row in conn.execute(_BASELINE, values).mappings() if baseline_id else ():
        if row["class_name"]:
            then[row["class_name"]] = then.get(row["class_name"], 0) + int(row["n"])
    return now, then
