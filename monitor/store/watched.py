"""The watch over cameras: a baseline's ordinary hours, which days were watched, and where the sums stood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from sqlalchemy import text

from monitor.records import Floats
from monitor.signals import SIGNALS
from monitor.store.database import Connection
from monitor.watch import ALARM, ALL_LANES, DOWN, GROUP, RUN_DOWN, RUN_UP, UP, WATCH_MEASURES, Numbers, Reading, Z

_DAY = timedelta(days=1)
_STOOD = (UP, DOWN, RUN_UP, RUN_DOWN, ALARM)
_STORED = np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class WatchedDay:
    """A day that was watched: over how many frames, against which baseline; under 24 `hours`: it is not over."""

    day: date
    hours: int
    frames: int
    baseline_id: int


def hold(conn: Connection, model: str, version: str) -> None:
    """Wait until nobody else watches this version, and keep others waiting until the transaction ends."""
    key = "SELECT pg_advisory_xact_lock(hashtextextended('monitor.watch.' || :model || '.' || :version, 0))"
    conn.execute(text(key), {"model": model, "version": version})


def days(conn: Connection, model: str, version: str) -> list[WatchedDay]:
    """Every day that was watched of a version, oldest first."""
    rows = conn.execute(
        text(
            "SELECT day, hours, frames, baseline_id FROM watched_day WHERE model = :model AND version = :version"
            " ORDER BY day"
        ),
        {"model": model, "version": version},
    )
    return [WatchedDay(*row) for row in rows]


def enter(conn: Connection, model: str, version: str, done: Sequence[WatchedDay], contract_hash: str) -> None:
    """Note days as watched, clear what was measured of them, and make undone what rests on them: the days after."""
    values = {"model": model, "version": version, "first": done[0].day, "last": done[-1].day}
    for one in done:
        conn.execute(
            text(
                "INSERT INTO watched_day (model, version, day, hours, frames, baseline_id, contract_hash)"
                " VALUES (:model, :version, :day, :hours, :frames, :baseline_id, :contract_hash)"
                " ON CONFLICT (model, version, day) DO UPDATE SET hours = :hours, frames = :frames,"
                " baseline_id = :baseline_id, contract_hash = :contract_hash"
            ),
            {
                **values,
                "day": one.day,
                "hours": one.hours,
                "frames": one.frames,
                "baseline_id": one.baseline_id,
                "contract_hash": contract_hash,
            },
        )
    conn.execute(
        text(
            "UPDATE watched_day SET frames = -1 WHERE model = :model AND version = :version AND day > :last"
            " AND frames >= 0"
        ),
        values,
    )
    conn.execute(
        text(
            "DELETE FROM measurement WHERE model = :model AND version = :version AND window_start >= :start"
            " AND window_start < :end AND measure = ANY(:measures) AND NOT shadow"
        ),
        {
            **values,
            "start": midnight(done[0].day),
            "end": midnight(done[-1].day) + _DAY,
            "measures": list(WATCH_MEASURES),
        },
    )


def midnight(day: date) -> datetime:
    """The first moment of a day of UTC."""
    return datetime.combine(day, time(), UTC)


def stood(
    conn: Connection, model: str, version: str, stage: str, day: date, baseline_id: int
) -> dict[tuple[str, str, str, str], dict[str, tuple[float, int]]]:
    """Where the sums stood at the end of a day: (value, n) by measure, of (camera, group, lane, class)."""
    rows = conn.execute(
        text(
            "SELECT camera, slice_name, slice_value, signal, class_name, measure, value, n FROM measurement"
            " WHERE model = :model AND window_start = :start AND version = :version AND stage = :stage"
            " AND measure = ANY(:measures) AND baseline_id = :baseline AND slice_name IN ('', :group) AND NOT shadow"
        ),
        {
            "model": model,
            "version": version,
            "stage": stage,
            "start": midnight(day),
            "measures": list(_STOOD),
            "baseline": baseline_id,
            "group": GROUP,
        },
    )
    found: dict[tuple[str, str, str, str], dict[str, tuple[float, int]]] = {}
    for camera, _, group, lane, class_name, measure, value, n in rows:
        found.setdefault((camera, group, lane, class_name), {})[measure] = float(value), int(n)
    return found


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a version's cameras have been watched: streams that are judged, those still learnt, and the limits."""

    day: date
    judged: int
    learnt: int
    lowest: float | None
    highest: float | None

    def __str__(self) -> str:
        day = f"watched up to {self.day}"
        if not self.judged:
            return f"{day}: learning, {self.learnt} streams have under 14 days of baseline and are not judged yet"
        learning = f"; {self.learnt} more are still learnt" if self.learnt else ""
        limits = f"{self.lowest:.2f}" if self.lowest == self.highest else f"{self.lowest:.2f} to {self.highest:.2f}"
        return f"{day}: {self.judged} streams of single cameras are judged, limit {limits}{learning}"


def progress(conn: Connection, model: str, version: str) -> Progress | None:
    """How far the watch over a version is; None: no day of it was watched yet."""
    last = conn.execute(
        text("SELECT max(day) FROM watched_day WHERE model = :model AND version = :version AND hours = 24"),
        {"model": model, "version": version},
    ).scalar()
    if last is None:
        return None
    # A stream that is judged has sums, on a day without a value too; one that is learnt has a score and no sums.
    judged, learnt, lowest, highest = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE judged), count(*) FILTER (WHERE NOT judged), min(lowest), max(highest)"
            " FROM (SELECT bool_or(measure = :up) AS judged, min(noise) FILTER (WHERE measure = :up) AS lowest,"
            " max(noise) FILTER (WHERE measure = :up) AS highest FROM measurement"
            " WHERE model = :model AND window_start = :start AND version = :version AND camera <> ''"
            " AND measure IN (:z, :up) GROUP BY stage, camera, signal, class_name) AS stream"
        ),
        {"model": model, "version": version, "start": midnight(last), "z": Z, "up": UP},
    ).one()
    return Progress(last, judged, learnt, lowest, highest)


def keep_ordinary(conn: Connection, baseline_id: int, numbers: Iterable[Numbers]) -> None:
    """Store a baseline's days by the hour with the baseline."""
    rows = [
        {
            "id": baseline_id,
            "stage": one.reading.stage,
            "lane": one.reading.lane,
            "class_name": one.reading.class_name,
            "camera": one.reading.camera,
            "recipe": one.reading.recipe,
            "edges_id": _edges_id(one.reading.lane),
            "days": len(one.n),
            "cuts": list(one.reading.cuts),
            "n": one.n.astype(_STORED).tobytes(),
            "x": one.x.astype(_STORED).tobytes(),
        }
        for one in numbers
    ]
    if rows:
        conn.execute(
            text(
                "INSERT INTO baseline_hour (baseline_id, stage, lane, class_name, camera, recipe, edges_id, days,"
                " cuts, n, x) VALUES (:id, :stage, :lane, :class_name, :camera, :recipe, :edges_id, :days, :cuts, :n,"
                " :x) ON CONFLICT DO NOTHING"
            ),
            rows,
        )


def ordinary(conn: Connection, baseline_id: int) -> list[Numbers]:
    """A baseline's days by the hour, as they were kept, by stage, lane, class and camera.

    Lanes that are no more, and those whose signal has other edges now, are left out.
    """
    rows = conn.execute(
        text(
            "SELECT stage, lane, class_name, camera, recipe, cuts, edges_id, days, n, x FROM baseline_hour"
            " WHERE baseline_id = :id ORDER BY stage, lane, class_name, camera"
        ),
        {"id": baseline_id},
    )
    found = []
    for stage, lane, class_name, camera, recipe, cuts, edges_id, count, n, x in rows:
        if lane in ALL_LANES and edges_id == _edges_id(lane):
            reading = Reading(stage, lane, class_name, camera, recipe, tuple(cuts))
            found.append(Numbers(reading, _by_hour(n, count), _by_hour(x, count)))
    return found


def _by_hour(raw: bytes, count: int) -> Floats:
    flat = np.frombuffer(raw, dtype=_STORED).astype(np.float64)
    return flat.reshape(count, 24) if flat.size == count * 24 else flat.reshape(count, 24, -1)


def _edges_id(lane: str) -> str:
    signal = SIGNALS.get(ALL_LANES[lane].signal)
    return signal.edges.id if signal else ALL_LANES[lane].signal
