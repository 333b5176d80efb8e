"""Reviews meet their frames, are counted in the hour of the frame, and revise what is measured of its window.

Each step asks the database what is undone: reviews that wait and whose frame has come; windows whose counts or frames
have changed since they were measured. So the order in which frames and reviews come does not matter, and a kill at
any point costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitor.feedback import REVIEW_MEASURES, SettledReview
from monitor.records import Window
from monitor.review.overrides import count, counting, find, hour_of, reviewer
from monitor.review.rates import COUNTED, measurements, shares, tally
from monitor.review.weights import weigh
from monitor.spec.load import LoadedContract
from monitor.stats.accuracy import Reviewer
from monitor.store import histograms, overrides, reviews
from monitor.store import measurements as stored
from monitor.store.database import Connection, Database
from monitor.store.reviews import Pending

AT_ONCE = 2000
"""Reviews that meet their frames in one transaction."""
SETTLED_WITHIN = timedelta(days=90)
"""Reviewers are measured over so long."""


def settle(database: Database) -> int:
    """Settle every review whose frame has come, and count the hours of those frames anew; returns how many reviews.

    A transaction settles some reviews and counts all their hours, so that counts are never behind what is settled.

    Raises:
        DependencyAway, TryAgain: as `Database.begin`; what was settled stays so.
    """
    done = 0
    while True:
        with database.begin() as conn:
            overrides.hold_counting(conn)
            settled = [_settled(one) for one in reviews.pending(conn, AT_ONCE)]
            if not settled:
                return done
            reviews.settle(conn, settled)
            hours = {(one.model, one.version, hour_of(one.captured_at)) for one in settled}
            overrides.replace(conn, hours, count(reviews.of_hours(conn, sorted(hours))))
        done += len(settled)


def _settled(one: Pending) -> SettledReview:
    frame = one.frame
    found = find(one.said["detections"], frame.class_name, frame.box, frame.whole)
    return SettledReview(
        source=one.source,
        review_id=one.review_id,
        frame_source=one.frame_source,
        event_id=one.event_id,
        reviewer=one.reviewer,
        finished_at=one.finished_at,
        settles=one.settles,
        review_prob=one.review_prob,
        captured_at=frame.captured_at,
        model=frame.model,
        version=frame.version,
        stage=frame.stage,
        camera=frame.camera,
        shadow=frame.shadow,
        slices=frame.slices,
        index=found.index,
        class_name=tuple(frame.class_name[i] for i in found.index),
        confidence=tuple(frame.confidence[i] for i in found.index),
        verdict=found.verdict,
        missed_class=tuple(missed["class"] for missed in one.said["missed"]),
        unmatched=found.unmatched,
    )


def run(database: Database, loaded: LoadedContract, now: datetime) -> int:
    """Measure the windows of one model that are closed, settled, and undone; returns how many that were.

    Each is one transaction. A window is undone when it was never measured, when a review of one of its frames has
    come since, or when it holds other frames than it did.

    Raises:
        DependencyAway, TryAgain: as `Database.begin`; what was measured stays so.
    """
    drift, model = loaded.contract.drift, loaded.model
    with database.begin() as conn:
        held = overrides.windows(conn, model, drift.window)
        known = overrides.measured(conn, model, drift.window)
        frames = histograms.window_frames(conn, model, drift.window, min((w.start for _, w in held), default=now))
    due = [
        (version, window)
        for version, window in held
        if window.end + drift.settle <= now
        # Frames that retention took away make no window undone.
        and frames.get(version, {}).get(window.start, 0) > known.get((version, window), overrides.UNDONE)
    ]
    if not due:
        return 0
    with database.begin() as conn:
        first, last = min(w.end for _, w in due), max(w.end for _, w in due)
        settled = reviews.of_settled_frames(conn, model, first - SETTLED_WITHIN, last)
    for version, window in due:
        with database.begin() as conn:
            overrides.hold_counting(conn)
            _measure(conn, loaded, version, window, known_error(settled, window.end))
    return len(due)


def _measure(conn: Connection, loaded: LoadedContract, version: str, window: Window, error: Reviewer) -> None:
    # Frames are counted before the roll-ups are read: what arrives in between makes the window undone once more.
    frames = histograms.frames_between(conn, loaded.model, version, window)
    overrides.claim_window(conn, loaded.model, version, window, frames, loaded.hash, REVIEW_MEASURES)
    counts = overrides.counted(conn, window.start, window.end, model=loaded.model, version=version)
    found = histograms.read(
        conn, loaded.model, window.start, window.end, version=version, signals=[COUNTED], shadow=False
    )
    said = reviews.between(conn, window.start, window.end, loaded.model)
    weighed = weigh(counting(one for one in said if one.version == version))
    rates = shares(tally(counts, found), weighed, error)
    stored.save(conn, list(measurements(rates, window, loaded.contract.drift.min_n, loaded.hash)))


def known_error(settled: Iterable[SettledReview], end: datetime) -> Reviewer:
    """What reviewers get right, by the settled frames of the 90 days before `end`."""
    return reviewer(one for one in settled if end - SETTLED_WITHIN <= one.captured_at < end)
