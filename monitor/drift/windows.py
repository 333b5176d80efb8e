"""Which windows are due: tumbling, half-open, UTC, closed and settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.records import QUIET, Window


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a window that was measured: over how many frames, and against which baseline."""

    frames: int
    baseline_id: int | None


def due(frames: Mapping[datetime, int], length: timedelta, settle: timedelta, now: datetime) -> list[Window]:
    """Windows of one model version that can be measured at `now`, oldest first.

    `frames` maps the start of each window that has frames to how many. A window is due once `settle` has passed since
    its end. Windows in which a running version was silent are due too (silence is a finding), up to seven days after
    its last frame.
    """
    last = now - settle - length
    found = []
    at = min(frames, default=now)
    for start in sorted(frames):
        at = max(at, start)
        while at <= min(start + QUIET, last):
            found.append(Window(at, at + length))
            at += length
    return found


def undone(
    frames: Mapping[datetime, int],
    measured: Mapping[Window, Measured],
    baseline_id: int | None,
    length: timedelta,
    settle: timedelta,
    now: datetime,
) -> list[Window]:
    """The windows that were never measured, have gained frames since, or had no baseline where there now is one.

    `frames` and `measured` may leave out what lies too far back to gain a frame; of `measured`, never a window that
    had no baseline. Frames that retention has removed make no window undone, and neither does a newer baseline: what
    was judged by another keeps its number.
    """
    grown = {
        window
        for window in due(frames, length, settle, now)
        if (done := measured.get(window)) is None or frames.get(window.start, 0) > done.frames
    }
    waiting = {
        window
        for window, done in measured.items()
        if done.baseline_id is None and baseline_id is not None and window.end + settle <= now
    }
    return sorted(grown | waiting, key=lambda window: window.start)
