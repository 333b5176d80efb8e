"""Roll-ups become measurements: every window that is closed, settled and undone."""

from __future__ import annotations

from datetime import datetime

from monitor.drift.compare import UNMEASURED, References, compare, references
from monitor.drift.windows import Measured, undone
from monitor.measures import CLASS_SHARE
from monitor.records import Baseline, Window
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract
from monitor.store import baselines, histograms, measurements
from monitor.store.database import Connection, Database
from monitor.store.measurements import MeasuredWindow


def run(database: Database, loaded: LoadedContract, now: datetime) -> int:
    """Measure what is undone for the model of one contract; returns the number of windows that were measured.

    Each window is one transaction, so a kill costs at most the window at hand. A window that got late records, or had
    no baseline and now has, is measured again; nothing else is.

    Raises:
        DependencyAway: Postgres is not there.
    """
    drift, model = loaded.contract.drift, loaded.contract.model.name
    with database.begin() as conn:
        frames = measurements.window_frames(conn, model, drift.window)
    done = 0
    for version, by_start in frames.items():
        with database.begin() as conn:
            baseline = baselines.active(conn, model, version)
            known = measurements.measured_windows(conn, model, version, drift.window)
        measured = {m.window: Measured(m.frames, m.baseline_id) for m in known}
        number = baseline.id if baseline else None
        due = undone(by_start, measured, number, drift.window, drift.settle, now)
        if not due:
            continue
        with database.begin() as conn:
            ready = _references(conn, baseline, version, drift.min_n)
        for window in due:
            with database.begin() as conn:
                _measure(conn, loaded, version, window, ready)
            done += 1
    return done


def _references(conn: Connection, baseline: Baseline | None, version: str, min_n: int) -> References:
    if baseline is None:
        return references(None, {}, version, min_n)
    return references(baseline.id, baselines.histograms(conn, baseline.id), version, min_n)


def _measure(conn: Connection, loaded: LoadedContract, version: str, window: Window, ready: References) -> None:
    model, watched = loaded.contract.model.name, loaded.contract.drift.signals
    # Frames are counted before the roll-ups are read: what arrives in between makes the window undone once more.
    frames = measurements.frames_between(conn, model, version, window)
    measurements.claim_window(conn, model, version, MeasuredWindow(window, frames, ready.baseline_id, loaded.hash))
    read = [name for name in SIGNALS if name in watched and name not in UNMEASURED]
    if CLASS_SHARE in watched and "confidence" not in read:
        read.append("confidence")
    found = histograms.read(conn, model, window.start, window.end, version=version, signals=read)
    live = {key: histogram for key, histogram in found.items() if not key.scope.shadow}
    measurements.save(conn, compare(live, ready, window, watched, loaded.hash))
