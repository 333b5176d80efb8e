"""Recounts roll-ups from the frames, hour by hour, and puts right what differs.

Each hour is read within one snapshot and repaired in the same transaction, beside a row of evidence. Batches that
are taken in meanwhile add rows of their own and are not touched. A day whose frames are gone is left alone: a recount
would find nothing and take its roll-ups away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from monitor.errors import UsageError
from monitor.ingest.recount import Difference, differences, is_current, recount, rows_of, whereabouts
from monitor.records import Window
from monitor.signals import SIGNALS
from monitor.store import frames, histograms, repairs, retention
from monitor.store.database import Connection, Database
from monitor.store.repairs import Repair

SHOWN = 100
"""Differences that a report holds in full."""
KEPT = 10_000
"""Rows of one hour whose former state the evidence of a repair keeps."""
_HOUR = timedelta(hours=1)
Progress = Callable[[Window, int, int, int], None]
"""Is told of an hour that was recounted: how many rows differ, how many hours are done, and of how many."""


@dataclass(slots=True)
class Audit:
    """What a recount found."""

    hours: int = 0
    compared: int = 0
    """Roll-up rows that stand, or should stand."""
    differing: int = 0
    repaired: int = 0
    blind: int = 0
    """Rows that were left alone because some of the detections that they count are not stored."""
    nameless: int = 0
    """Rows of the period, of whatever model, that are of no known series, so that nobody reads them; after a repair,
    those that are left."""
    shown: list[Difference] = field(default_factory=list)
    """The first SHOWN of those that differ."""
    without_frames: list[date] = field(default_factory=list)
    """Days that were left alone because their frames are gone, wholly or in part."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to recount. `signal`: that one alone, and then rows on edges it no longer has count as differing."""

    period: Window
    model: str | None = None
    signal: str | None = None
    repair: bool = False


def run(database: Database, task: Task, now: datetime, progress: Progress | None = None) -> Audit:
    """Recount the hours of a period, which is widened to whole ones; `progress` is told of each.

    Repaired hours make the windows they belong to undone, so that drift is measured on the right numbers; alerts
    that were decided stay as they are.

    Raises:
        UsageError: no such signal.
        DependencyAway, TryAgain: the database cannot be used now, or somebody changed the same roll-ups; the hours
            before are repaired, run it again for the rest.
    """
    if task.signal is not None and task.signal not in SIGNALS:
        raise UsageError(f"there is no signal {task.signal!r}; there are {', '.join(SIGNALS)}")
    with database.begin() as conn:
        complete = set(retention.days_with_frames(conn)) - set(retention.dropped_days(conn))
        held = retention.days_with_rollups(conn, task.period.start, task.period.end, task.model)
    audit = Audit()
    gone = set(held) - complete
    hours = list(_hours(task.period, complete))
    for done, hour in enumerate(hours, start=1):
        seen = _look(database, task, hour, now)
        if seen is None:
            gone.add(hour.start.date())  # taken away since this began
        compared, blind, found = seen or (0, 0, [])
        audit.hours += seen is not None
        audit.compared += compared
        audit.blind += blind
        audit.differing += len(found)
        audit.repaired += len(found) if task.repair else 0
        audit.shown += found[: SHOWN - len(audit.shown)]
        if progress is not None:
            progress(hour, len(found), done, len(hours))
    with database.begin() as conn:
        audit.nameless = repairs.count_nameless(conn, _whole(task.period.start), task.period.end)
    audit.without_frames = sorted(gone)
    return audit


def _look(database: Database, task: Task, hour: Window, now: datetime) -> tuple[int, int, list[Difference]] | None:
    """Recount one hour, and repair it if that is asked; as `_compare`, None where not all of its frames are there."""
    with ExitStack() as stack:
        if task.repair:
            # In a transaction of its own: the snapshot must not be older than the merge that was waited for.
            histograms.hold_merges(stack.enter_context(database.begin()))
        conn = stack.enter_context(repairs.snapshot(database))
        if not retention.has_all_frames(conn, hour.start.date()):
            return None
        compared, blind, found = _compare(conn, task, hour)
        if task.repair and found:
            _repair(conn, task, hour, compared, found, now)
        return compared, blind, found


def _hours(period: Window, days: set[date]) -> Iterator[Window]:
    at = _whole(period.start)
    while at < period.end:
        if at.date() in days:
            yield Window(at, at + _HOUR)
        at += _HOUR


def _whole(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _compare(conn: Connection, task: Task, hour: Window) -> tuple[int, int, list[Difference]]:
    """How many rows were compared, how many cannot be, and what differs."""
    stored = repairs.stored(conn, hour.start, hour.end, model=task.model, signal=task.signal)
    if task.signal is None:
        stored = {place: cell for place, cell in stored.items() if is_current(place)}
    counted, blind = recount(frames.read_frames(conn, hour.start, hour.end, model=task.model), task.signal)
    places = stored.keys() | counted.keys()
    unseen = {place for place in places if whereabouts(place) in blind} if blind else set()
    for place in unseen:
        stored.pop(place, None)
        counted.pop(place, None)
    return len(places) - len(unseen), len(unseen), differences(stored, counted)


def _repair(
    conn: Connection, task: Task, hour: Window, compared: int, found: list[Difference], now: datetime
) -> None:
    right = {one.place: one.counted for one in found if one.counted.n}
    repairs.replace(conn, [one.place for one in found], rows_of(right))
    repairs.note(
        conn,
        Repair(
            occasion="audit" if task.signal is None else "rebuild",
            model=task.model or "",
            signal=task.signal or "",
            start=hour.start,
            end=hour.end,
            compared=compared,
            repaired=len(found),
            evidence=[one.plain() for one in found[:KEPT]],
        ),
        now,
    )
    for model, version in sorted({(s.model, s.version) for s in (one.place.series.scope for one in found)}):
        repairs.measure_again(conn, model, version, hour.start, hour.end)
