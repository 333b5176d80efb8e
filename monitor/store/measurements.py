"""Measurements: one narrow table of everything known, and which windows it covers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.store.database import Connection

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
)
_LIVE_FRAMES = (
    "s.model = :model AND s.signal = 'status' AND s.class_name = '' AND s.slice_name = '' AND NOT s.shadow"
    " AND s.minutes = 60"
)


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """A window that was measured: over how many frames, against which baseline, under which contract."""

    window: Window
    frames: int
    baseline_id: int | None
    contract_hash: str


def window_frames(conn: Connection, model: str, length: timedelta) -> dict[str, dict[datetime, int]]:
    """Live frames of each version by start of the window, for the windows that have any; from roll-ups.

    Windows of `length` are counted from 1970-01-01 UTC.
    """
    rows = conn.execute(
        text(
            "SELECT s.version, date_bin(:length, r.start_at, timestamptz '1970-01-01 00:00+00') AS start, sum(r.n)"  # noqa: S608 - constants
            f" FROM series s JOIN rollup r USING (series_id) WHERE {_LIVE_FRAMES} GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"model": model, "length": length},
    )
    found: dict[str, dict[datetime, int]] = {}
    for version, start, frames in rows:
        found.setdefault(version, {})[start] = int(frames)
    return found


def frames_between(conn: Connection, model: str, version: str, window: Window) -> int:
    """Live frames of one version in a window of whole hours; from roll-ups."""
    return int(
        conn.execute(
            text(
                f"SELECT coalesce(sum(r.n), 0) FROM series s JOIN rollup r USING (series_id) WHERE {_LIVE_FRAMES}"  # noqa: S608 - constants
                " AND s.version = :version AND r.start_at >= :start AND r.start_at < :end"
            ),
            {"model": model, "version": version, "start": window.start, "end": window.end},
        ).scalar_one()
    )


def measured_windows(conn: Connection, model: str, version: str, length: timedelta) -> list[MeasuredWindow]:
    """The windows of `length` that were measured, oldest first."""
    rows = conn.execute(
        text(
            "SELECT window_start, window_end, frames, baseline_id, contract_hash FROM measured_window"
            " WHERE model = :model AND version = :version AND window_end - window_start = :length"
            " ORDER BY window_start"
        ),
        {"model": model, "version": version, "length": length},
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
            " AND window_end = :end AND NOT shadow"
        ),
        key,
    )


def save(conn: Connection, measurements: Iterable[Measurement]) -> None:
    """Add measurements; those of a window that is measured anew are cleared by `claim_window` first."""
    driver: Any = conn.connection.driver_connection
    statement = f"COPY measurement ({', '.join(_COLUMNS)}) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for m in measurements:
            copy.write_row(_row(m))


def _row(m: Measurement) -> tuple[Any, ...]:
    scope = m.key.scope
    return (
        scope.model,
        scope.version,
        scope.stage,
        scope.camera,
        scope.slice_name,
        scope.slice_value,
        scope.shadow,
        m.key.signal,
        m.key.class_name,
        m.key.recipe,
        m.measure,
        m.window.start,
        m.window.end,
        m.value,
        m.state,
        m.n,
        m.baseline_n,
        m.baseline_id,
        m.contract_hash,
        m.noise,
        m.now_mean,
        m.baseline_mean,
    )


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
    last: int | None = None,
) -> list[Measurement]:
    """Live measurements of a model, by end of the window, version, stage, camera, slice, signal, class and measure.

    None leaves a filter out; `""` is a value (camera `""`: all cameras together; class and slice `""`: whole).
    Windows lie within [`start`, `end`]; `last`: only the newest so many that the other filters leave.
    """
    wanted = {
        "model": model,
        "version": version,
        "camera": camera,
        "slice_name": slice_name,
        "slice_value": slice_value,
        "signal": signal,
        "class_name": class_name,
        "measure": measure,
    }
    where = [f"{name} = :{name}" for name, value in wanted.items() if value is not None] + ["NOT shadow"]
    where += ["window_start >= :start"] if start else []
    where += ["window_end <= :end"] if end else []
    filters = " AND ".join(where)
    if last is not None:
        newest = f"SELECT DISTINCT window_end FROM measurement WHERE {filters} ORDER BY 1 DESC LIMIT :last"  # noqa: S608 - names are constants
        filters += f" AND window_end IN ({newest})"
    rows = conn.execute(
        text(
            f"SELECT {', '.join(_COLUMNS)} FROM measurement WHERE {filters}"  # noqa: S608 - names are constants
            " ORDER BY window_end, version, stage, camera, slice_name, slice_value, signal, class_name, measure,"
            " recipe"
        ),
        {name: value for name, value in wanted.items() if value is not None}
        | {"start": start, "end": end, "last": last},
    )
    return [_measurement(tuple(row)) for row in rows]


def _measurement(row: tuple[Any, ...]) -> Measurement:
    key = SeriesKey(Scope(*row[:7]), *row[7:10])
    measure, start, end, *rest = row[10:]
    return Measurement(key, measure, Window(start, end), *rest)
