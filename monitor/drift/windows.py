"""Which windows are due: tumbling, half-open, UTC, closed and settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitor.records import Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUIET = timedelta(days=7)
"""A version without a frame for this long is out of use: its silence is no longer measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a window that was measured: over how many frames, and against which baseline."""

    frames: int
    baseline_id: int | None


def window_of(moment: datetime, length: timedelta) -> Window:
    """The window that `moment` falls into; windows are counted from 1970-01-01 UTC, so a day's starts at midnight."""
    start = EPOCH + (moment - EPOCH) // length * length
    return Window(start, start + length)


def due(frames: Mapping[datetime, int], length: timedelta, settle: timedelta, now: datetime) -> list[Window]:
    """Windows of one model version that can be measured at `now`, oldest first.

    `frames` maps the start of each window that has frames to how many. A window is due once `settle` has passed since
    its end. Windows in which a running version was silent are due too (silence is a finding), up to seven days after
    its last frame.
    """
    starts = {start + step * length for start in frames for step in range(QUIET // length + 1)}
    return [Window(start, start + length) for start in sorted(starts) if start + length + settle <= now]


def undone(
    frames: Mapping[datetime, int],
    measured: Mapping[Window, Measured],
    baseline_id: int | None,
    length: timedelta,
    settle: timedelta,
    now: datetime,
) -> list[Window]:
    """The due windows that were never measured, have gained frames since, or had no baseline where there now is one.

    Frames that retention has removed make no window undone, and neither does a newer baseline: what was judged by
    another keeps its number.
    """
    return [
        window
        for window in due(frames, length, settle, now)
        if (done := measured.get(window)) is None
        or frames.get(window.start, 0) > done.frames
        or (done.baseline_id is None and baseline_id is not None)
    ]
