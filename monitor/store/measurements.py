"""Measurements: one narrow table of everything known, and which windows it covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.feedback import BUSINESS_MEASURES, REVIEW_MEASURES
from monitor.records import Measurement, Scope, SeriesKey, Window, microseconds
from monitor.scoring import SCORING_MEASURES
from monitor.store import binary, encoding
from monitor.store.database import Connection
from monitor.watch import WATCH_MEASURES

_COLUMNS = (
    "model",
    "version",
    "stage",
    "camera",
    "slice_name",
    "slice_value",
    "shadow",
    "signal",
    "class_name",
    "recipe",
    "measure",
    "window_start",
    "window_end",
    "value",
    "state",
    "n",
    "baseline_n",
    "baseline_id",
    "contract_hash",
    "noise",
    "now_mean",
    "baseline_mean",
    "low",
    "high",
    "baseline_value",
)


_ORDER = "window_end, version, stage, camera, slice_name, slice_value, signal, class_name, measure, recipe"


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """A window that was measured: over how many frames, against which baseline, under which contract."""

    window: Window
    frames: int
    baseline_id: int | None
    contract_hash: str


def measured_windows(
    conn: Connection, model: str, version: str, length: timedelta, since: datetime
) -> list[MeasuredWindow]:
    """The windows of `length` that were measured, oldest first: those that end after `since`, and those that had no
    baseline."""
    rows = conn.execute(
        text(
            "SELECT window_start, window_end, frames, baseline_id, contract_hash FROM measured_window"
            " WHERE model = :model AND version = :version AND window_end - window_start = :length"
            " AND (window_end > :since OR baseline_id IS NULL) ORDER BY window_start"
        ),
        {"model": model, "version": version, "length": length, "since": since},
    )
    return [MeasuredWindow(Window(start, end), *rest) for start, end, *rest in rows]


def claim_window(conn: Connection, model: str, version: str, measured: MeasuredWindow) -> None:
    """Enter a window as measured and clear what stood there; another worker at it waits for this transaction."""
    key = {"model": model, "version": version, "start": measured.window.start, "end": measured.window.end}
    conn.execute(
        text(
            "INSERT INTO measured_window"
            " (model, version, window_start, window_end, frames, baseline_id, contract_hash)"
            " VALUES (:model, :version, :start, :end, :frames, :baseline_id, :contract_hash)"
            " ON CONFLICT (model, version, window_start, window_end) DO UPDATE"
            " SET frames = :frames, baseline_id = :baseline_id, contract_hash = :contract_hash"
        ),
        {
            **key,
            "frames": measured.frames,
            "baseline_id": measured.baseline_id,
            "contract_hash": measured.contract_hash,
        },
    )
    conn.execute(
        text(
            "DELETE FROM measurement WHERE model = :model AND version = :version AND window_start = :start"
            " AND window_end = :end AND NOT shadow AND measure <> ALL(:watch)"
        ),
        {**key, "watch": [*WATCH_MEASURES, *REVIEW_MEASURES, *BUSINESS_MEASURES, *SCORING_MEASURES]},
    )


def save(conn: Connection, measurements: Sequence[Measurement]) -> None:
    """Add measurements; those of a window that is measured anew are cleared by `claim_window` first."""
    if not measurements:
        return
    scopes = [m.key.scope for m in measurements]
    judged = np.array([m.baseline_id is not None for m in measurements])
    ids = np.array([m.baseline_id for m in measurements if m.baseline_id is not None], dtype=np.int64)
    columns = {
        "model": encoding.texts([s.model for s in scopes]),
        "version": encoding.texts([s.version for s in scopes]),
        "stage": encoding.texts([s.stage for s in scopes]),
        "camera": encoding.texts([s.camera for s in scopes]),
        "slice_name": encoding.texts([s.slice_name for s in scopes]),
        "slice_value": encoding.texts([s.slice_value for s in scopes]),
        "shadow": encoding.flags(np.array([s.shadow for s in scopes], dtype=bool)),
        "signal": encoding.texts([m.key.signal for m in measurements]),
        "class_name": encoding.texts([m.key.class_name for m in measurements]),
        "recipe": encoding.texts([m.key.recipe for m in measurements]),
        "measure": encoding.texts([m.measure for m in measurements]),
        "window_start": _times([m.window.start for m in measurements]),
        "window_end": _times([m.window.end for m in measurements]),
        "value": _numbers([m.value for m in measurements]),
        "state": encoding.texts([m.state for m in measurements]),
        "n": encoding.fixed(np.array([m.n for m in measurements]), encoding.INT8),
        "baseline_n": encoding.fixed(np.array([m.baseline_n for m in measurements]), encoding.INT8),
        "baseline_id": encoding.sparse(encoding.fixed(ids, encoding.INT8), judged),
        "contract_hash": encoding.texts([m.contract_hash for m in measurements]),
        "noise": _numbers([m.noise for m in measurements]),
        "now_mean": _numbers([m.now_mean for m in measurements]),
        "baseline_mean": _numbers([m.baseline_mean for m in measurements]),
        "low": _numbers([m.low for m in measurements]),
        "high": _numbers([m.high for m in measurements]),
        "baseline_value": _numbers([m.baseline_value for m in measurements]),
    }
    binary.copy_in(conn, "measurement", columns)


def _times(moments: Sequence[datetime]) -> encoding.Ragged:
    return encoding.times(np.array([microseconds(at) for at in moments], dtype=np.int64))


def _numbers(values: Sequence[float | None]) -> encoding.Ragged:
    return encoding.nullable(np.array(values, dtype=np.float64))


def read(
    conn: Connection,
    model: str,
    *,
    version: str | None = None,
    camera: str | None = None,
    slice_name: str | None = None,
    slice_value: str | None = None,
    signal: str | None = None,
    class_name: str | None = None,
    measure: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    starts: Sequence[datetime] | None = None,
    last: int | None = None,
    beyond: bool = False,
) -> list[Measurement]:
    """Live measurements of a model, by end of the window, version, stage, camera, slice, signal, class and measure.

    None leaves a filter out; `""` is a value (camera `""`: all cameras together; class and slice `""`: whole).
    Windows lie within [`start`, `end`] and begin at one of `starts`; `beyond`: of values beyond their noise; `last`:
    only the newest so many that are left.
    """
    given = {
        "model": model,
        "version": version,
        "camera": camera,
        "slice_name": slice_name,
        "slice_value": slice_value,
        "signal": signal,
        "class_name": class_name,
        "measure": measure,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    where = [f"{name} = :{name}" for name in wanted] + ["NOT shadow"]
    where += ["window_start >= :start"] if start else []
    # What starts at the end or later cannot end before it; said, it bounds the scan of the key.
    where += ["window_end <= :end AND window_start < :end"] if end else []
    where += ["window_start = ANY(:starts)"] if starts is not None else []
    where += ["abs(value) > coalesce(noise, 0)"] if beyond else []
    filters = " AND ".join(where)
    if last is not None:
        newest = f"SELECT DISTINCT window_end FROM measurement WHERE {filters} ORDER BY 1 DESC LIMIT :last"  # noqa: S608 - names are constants
        filters += f" AND window_end IN ({newest})"
    query = f"SELECT {', '.join(_COLUMNS)} FROM measurement WHERE {filters} ORDER BY {_ORDER}"  # noqa: S608 - likewise
    rows = conn.execute(text(query), {**wanted, "start": start, "end": end, "starts": starts, "last": last})
    return [_measurement(tuple(row)) for row in rows]


def _measurement(row: tuple[Any, ...]) -> Measurement:
    key = SeriesKey(Scope(*row[:7]), *row[7:10])
    measure, start, end, *rest = row[10:]
    return Measurement(key, measure, Window(start, end), *rest)
