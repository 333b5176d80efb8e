"""Stored history for those who look back: what the lanes watch of a model version, read and not written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from monitor.drift import history, ordinary
from monitor.drift.ordinary import Span
from monitor.errors import UsageError
from monitor.records import Baseline, Window
from monitor.spec.load import LoadedContract
from monitor.store import baselines, histograms, hours, watched
from monitor.store.database import Connection
from monitor.watch import LANES, HourColumns, Lane, Numbers

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Past:
    """One version's stage since its baseline: the baseline's days and the later ones as numbers by the hour.

    `found` are the later days' roll-ups of the signals that were asked for.
    """

    baseline: Baseline
    stage: str
    usual: Sequence[Numbers]
    seen: Sequence[Numbers]
    found: HourColumns
    days: Span
    later: Span


def baseline_of(conn: Connection, model: str, version: str, number: int | None = None) -> Baseline:
    """The baseline from logs that a version is compared with, or the one of this number.

    Raises:
        UsageError: there is none.
    """
    known = baselines.active(conn, model, version)
    if number is not None:
        known = next((b for b in baselines.listing(conn, model) if b.id == number and b.version == version), None)
    if known is None or known.period_start is None:
        which = "no baseline from logs" if number is None else f"no baseline {number} from logs"
        raise UsageError(
            f"{model} {version} has {which}; `monitor baseline list` shows what there is, and "
            "`monitor baseline freeze --version ... --from ... --to ...` makes one"
        )
    return known


def version_of(conn: Connection, model: str, version: str | None) -> str:
    """The version asked for, or else the one with the newest frames.

    Raises:
        UsageError: the model has no frames.
    """
    if version is not None:
        return version
    newest = {name: max(days) for name, days in histograms.window_frames(conn, model, DAY).items() if days}
    if not newest:
        raise UsageError(f"no frame of {model} was taken in yet; `monitor ingest logs` loads old logs")
    return max(newest, key=lambda name: (newest[name], name))


def read(
    conn: Connection,
    loaded: LoadedContract,
    baseline: Baseline,
    end: date | None,
    chosen: Sequence[Lane],
    stage: str | None = None,
) -> Past:
    """What the lanes `chosen` watch, from the baseline to the day `end` (exclusive), or to the end of data.

    Raises:
        UsageError: nothing of the baseline's days is left, or nothing lies after them.
    """
    days = span_of(baseline)
    first = days.first + days.days * DAY
    # Days without a frame after the last one say nothing, and would make false alarms look rare.
    last = min(_end(conn, loaded.model, baseline.version), end or date.max)
    if last <= first:
        raise UsageError(f"baseline {baseline.id} ends with {first - DAY} and no day lies after it; name a later end")
    everything = usual_of(conn, baseline, stage, loaded.stages)
    names = {lane.name for lane in chosen}
    usual = [one for one in everything if one.reading.lane in names]
    if not usual:
        raise UsageError(
            f"baseline {baseline.id} knows no hours of {', '.join(sorted(names))}; its signals gave no value, or its "
            "roll-ups are gone: freeze a baseline from a later period"
        )
    where = usual[0].reading.stage
    later = Span(first, (last - first).days)
    signals = history.signals_of(chosen)
    period = Window(watched.midnight(first), watched.midnight(last))
    found = hours.read(conn, loaded.model, baseline.version, period.start, period.end, signals, stage=where)
    seen = ordinary.observe(found, [one.reading for one in usual], later.first, later.days)
    return Past(baseline, where, usual, seen, found, days, later)


def span_of(baseline: Baseline) -> Span:
    """The days of a baseline from logs, as the daemon counts them: a last day that is there in part counts."""
    assert baseline.period_start is not None
    assert baseline.period_end is not None
    first, end = baseline.period_start.astimezone(UTC), baseline.period_end.astimezone(UTC)
    whole = end if end == _midnight(end) else _midnight(end) + DAY
    return Span(first.date(), (whole.date() - first.date()).days)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def usual_of(
    conn: Connection, baseline: Baseline, stage: str | None = None, order: Sequence[str] = ()
) -> list[Numbers]:
    """The baseline's hours of one stage (None: the first of `order`), as the daemon keeps them.

    Learnt afresh, and not kept, where it has not done so yet.
    """
    kept = watched.ordinary(conn, baseline.id) or _learnt(conn, baseline)
    where = first_of((one.reading.stage for one in kept), order) if stage is None else stage
    return [one for one in kept if one.reading.stage == where]


def first_of(stages: Iterable[str], order: Sequence[str]) -> str:
    """The one that comes first in a pipeline of this order, which names not all of them; empty if there is none."""
    return min(stages, key=lambda one: (order.index(one) if one in order else len(order), one), default="")


def _learnt(conn: Connection, baseline: Baseline) -> list[Numbers]:
    days = span_of(baseline)
    every = list(LANES.values())
    found = baseline_hours(conn, baseline, history.signals_of(every))
    stages = sorted({key.scope.stage for key in found.series})
    return [
        one
        for stage in stages
        for one in ordinary.learn(history.of_stage(found, stage), stage, days.first, days.days, every)
    ]


def baseline_hours(
    conn: Connection,
    baseline: Baseline,
    signals: Collection[str],
    stage: str | None = None,
    cameras: Collection[str] | None = None,
) -> HourColumns:
    """The roll-ups of a baseline's own period, as far as they are still stored."""
    assert baseline.period_start is not None
    assert baseline.period_end is not None
    return hours.read(
        conn,
        baseline.model,
        baseline.version,
        baseline.period_start,
        baseline.period_end,
        signals,
        stage=stage,
        cameras=cameras,
    )


def _end(conn: Connection, model: str, version: str) -> date:
    days = histograms.window_frames(conn, model, DAY).get(version, {})
    if not days:
        raise UsageError(f"{model} {version} has no frames; `monitor drift show` names what was measured")
    return max(days).date() + DAY
