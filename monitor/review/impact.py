"""Business events meet the frames of their window: what the model is worth to the plant, measured.

As with reviews the database is asked what is undone: windows that hold more events or frames than they did when they
were measured, or that never were. From the first event of a model on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from monitor.feedback import BUSINESS_MEASURES, BusinessEvent
from monitor.measures import STATUS
from monitor.records import ALL, EPOCH, QUIET, Baseline, Scope, Window
from monitor.review.business import Period, measure, of_version
from monitor.spec.load import LoadedContract
from monitor.store import baselines, business, histograms
from monitor.store import measurements as stored
from monitor.store.business import Held
from monitor.store.database import Connection, Database

_NOTHING = Held(-1, -1)
_HOUR = timedelta(hours=1)


def run(database: Database, loaded: LoadedContract, now: datetime) -> int:
    """Measure the windows of one model that are closed, settled and undone; returns how many that were.

    Raises:
        DependencyAway, TryAgain: as `Database.begin`; what was measured stays so.
    """
    drift, model = loaded.contract.drift, loaded.model
    with database.begin() as conn:
        first = business.first_of_kinds(conn, model)
        if not first:
            return 0
        # Intake refuses what is older than `raw_days`, so windows further back gain no frames.
        oldest = max(min(first.values()), now - timedelta(days=loaded.contract.retention.raw_days) - QUIET)
        since = EPOCH + (oldest - EPOCH) // drift.window * drift.window
        frames = histograms.window_frames(conn, model, drift.window, since)
        events = business.counts(conn, model, drift.window, since)
        known = business.measured(conn, model, drift.window, since)
    did = 0
    for version, by_start in frames.items():
        due = []
        for start, count in sorted(by_start.items()):
            window = Window(start, start + drift.window)
            had = known.get((version, window), _NOTHING)
            if window.end + drift.settle <= now and (count > had.frames or events.get(start, 0) > had.events):
                due.append(window)
        if not due:
            continue
        with database.begin() as conn:
            then = {kind: _baseline(conn, loaded, version, begun) for kind, begun in first.items()}
        for window in due:
            with database.begin() as conn:
                _measure(conn, loaded, version, window, then)
            did += 1
    return did


def _baseline(conn: Connection, loaded: LoadedContract, version: str, first: datetime) -> Period:
    """The baseline's own period, from the day on which the plant began to tell of a kind of event (`first`)."""
    known = baselines.active(conn, loaded.model, version)
    period = _period(known)
    if known is None or period is None:
        return Period([], {})
    begun = Window(max(period.start, _day(first)), period.end)
    if begun.start >= begun.end:
        return Period([], {})
    events = business.events(conn, loaded.model, begun)
    return Period(_own(conn, loaded, version, begun, events), _frames(conn, loaded, version, begun), known.id)


def _own(
    conn: Connection, loaded: LoadedContract, version: str, period: Window, events: Sequence[BusinessEvent]
) -> list[BusinessEvent]:
    """The events of a period that are a version's."""
    if all(one.version for one in events):
        return of_version(events, version, {})
    hours = histograms.window_frames(conn, loaded.model, _HOUR, period.start, period.end)
    return of_version(events, version, hours)


def _period(baseline: Baseline | None) -> Window | None:
    if baseline is None or baseline.period_start is None or baseline.period_end is None:
        return None
    return Window(baseline.period_start, baseline.period_end)


def _day(at: datetime) -> datetime:
    return EPOCH + (at - EPOCH) // timedelta(days=1) * timedelta(days=1)


def _measure(
    conn: Connection,
    loaded: LoadedContract,
    version: str,
    window: Window,
    then: Mapping[str, Period],
) -> None:
    # Events and frames are counted before they are read: what comes in between makes the window undone once more.
    model = loaded.model
    everything: list[BusinessEvent] = business.events(conn, model, window)
    held = Held(histograms.frames_between(conn, model, version, window), len(everything))
    business.claim_window(conn, model, version, window, held, loaded.hash, BUSINESS_MEASURES)
    now = Period(_own(conn, loaded, version, window, everything), _frames(conn, loaded, version, window))
    least = loaded.contract.drift.min_n
    for kind, before in then.items():
        stored.save(conn, list(measure(now, before, model, version, window, least, loaded.hash, [kind])))


def _frames(conn: Connection, loaded: LoadedContract, version: str, period: Window) -> dict[Scope, int]:
    """Frames by scope: of a camera and of all, of a slice and of all; of a pipeline as a whole those of its first
    stage."""
    found = histograms.read(
        conn, loaded.model, period.start, period.end, version=version, signals=[STATUS], shadow=False
    )
    stages = loaded.contract.model.stages
    counted: dict[Scope, int] = {}
    for key, histogram in found.items():
        if key.class_name:
            continue
        own = key.scope
        for stage in dict.fromkeys((own.stage, ALL if not stages or own.stage == stages[0] else own.stage)):
            for camera in (own.camera, ALL):
                scope = Scope(own.model, own.version, stage, camera, own.slice_name, own.slice_value)
                counted[scope] = counted.get(scope, 0) + histogram.n
    return counted
