"""Roll-ups become measurements: every window that is closed, settled and undone."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.drift import health
from monitor.drift.compare import ReadyBaseline, compare, make_ready
from monitor.drift.windows import Measured, undone
from monitor.measures import CLASS_SHARE, STATUS
from monitor.records import QUIET, Baseline, Window
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract
from monitor.store import baselines, histograms, hours, measurements
from monitor.store.database import Connection, Database, server_time
from monitor.store.measurements import MeasuredWindow


def run(database: Database, loaded: LoadedContract, now: datetime) -> int:
    """Measure what is undone for the model of one contract; returns the number of windows that were measured.

    Each window is one transaction, so a kill costs at most the window at hand. A window that got late records, or had
    no baseline and now has, is measured again; nothing else is.

    Raises:
        DependencyAway: Postgres is not there.
    """
    drift, model = loaded.contract.drift, loaded.contract.model.name
    # Intake refuses what is older than `raw_days`, so windows further back gain no frames; a week is for an outage.
    since = now - timedelta(days=loaded.contract.retention.raw_days) - QUIET
    with database.begin() as conn:
        frames = histograms.window_frames(conn, model, drift.window, since)
        clock = server_time(conn)
    done = 0
    for version, by_start in frames.items():
        with database.begin() as conn:
            baseline = baselines.active(conn, model, version)
            known = measurements.measured_windows(conn, model, version, drift.window, since)
        measured = {m.window: Measured(m.frames, m.baseline_id) for m in known}
        number = baseline.id if baseline else None
        due = [
            window
            for window in undone(by_start, measured, number, drift.window, drift.settle, now)
            # Silence in a window that has not passed yet by the server's clock is none: `now` is ahead.
            if window.start in by_start or window.end + drift.settle <= clock
        ]
        if not due:
            continue
        with database.begin() as conn:
            rows = baselines.histograms(conn, baseline.id) if baseline else {}
            by_hour = histograms.frames_by_hour(conn, model, period) if (period := _period(baseline)) else {}
        ready = make_ready(baseline, rows, version, drift.min_n, loaded.contract.model.stages)
        earlier = health.before(baseline, rows, version, by_hour)
        for window in due:
            with database.begin() as conn:
                _measure(conn, loaded, version, window, ready, earlier)
            done += 1
    return done


def _period(baseline: Baseline | None) -> Window | None:
    if baseline is None or baseline.period_start is None or baseline.period_end is None:
        return None
    return Window(baseline.period_start, baseline.period_end)


def _measure(
    conn: Connection,
    loaded: LoadedContract,
    version: str,
    window: Window,
    ready: ReadyBaseline,
    earlier: health.Before,
) -> None:
    model, watched = loaded.contract.model.name, loaded.contract.drift.signals
    # Frames are counted before the roll-ups are read: what arrives in between makes the window undone once more.
    frames = histograms.frames_between(conn, model, version, window)
    measurements.claim_window(conn, model, version, MeasuredWindow(window, frames, ready.baseline_id, loaded.hash))
    read = [STATUS, *(name for name in SIGNALS if name in watched and name != STATUS)]
    if CLASS_SHARE in watched and "confidence" not in read:
        read.append("confidence")
    found = histograms.read(conn, model, window.start, window.end, version=version, signals=read, shadow=False)
    measurements.save(conn, compare(found, ready, window, watched, loaded.hash))
    queues = health.QUEUE in watched
    facts = health.Facts(
        found,
        histograms.frames_by_hour(conn, model, Window(window.start - QUIET, window.end)) if earlier.habits else {},
        hours.read(conn, model, version, window.start, window.end, [health.QUEUE], minutes=15) if queues else None,
    )
    told = health.Told(window, ready, loaded.hash, loaded.contract.model.stages)
    measurements.save(conn, health.measure(facts, earlier, told))
