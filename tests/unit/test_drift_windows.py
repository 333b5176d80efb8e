"""Which windows are due, and which of those are undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.drift.windows import Measured, due, undone
from monitor.records import EPOCH, QUIET, Window

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def ends(windows: list[Window]) -> list[datetime]:
    return [window.end for window in windows]


def start_of(moment: datetime, length: timedelta) -> datetime:
    return moment - (moment - EPOCH) % length


def test_a_window_is_due_once_it_has_settled() -> None:
    frames = {at(5): 60}
    assert due(frames, DAY, HOUR, at(6, 0, 59)) == []
    assert due(frames, DAY, HOUR, at(6, 1)) == [Window(at(5), at(6))]


def test_silence_is_measured_for_a_week_and_then_no_more() -> None:
    found = due({at(5): 60}, DAY, HOUR, at(30))
    assert ends(found) == [at(day) for day in range(6, 14)]


def test_a_stray_ancient_frame_does_not_call_up_the_years_between() -> None:
    ancient = datetime(2001, 1, 1, tzinfo=UTC)
    assert len(due({ancient: 1, at(5): 60}, DAY, HOUR, at(6, 1))) == 9


def test_windows_longer_than_the_silence_that_counts() -> None:
    start = start_of(at(5), 14 * DAY)
    assert due({start: 5}, 14 * DAY, HOUR, start + 100 * DAY) == [Window(start, start + 14 * DAY)]


def test_what_makes_a_window_undone() -> None:
    frames = {at(5): 60, at(6): 61, at(7): 60, at(8): 60}
    measured = {
        Window(at(5), at(6)): Measured(60, 1),
        Window(at(6), at(7)): Measured(60, 1),  # a frame came late
        Window(at(7), at(8)): Measured(60, None),  # there was no baseline
    }
    assert ends(undone(frames, measured, 1, DAY, HOUR, at(9, 2))) == [at(7), at(8), at(9)]
    assert ends(undone(frames, measured, None, DAY, HOUR, at(9, 2))) == [at(7), at(9)]
    # What waits for a baseline may lie too far back for its frames to be read.
    assert ends(undone({at(8): 60}, measured, 1, DAY, HOUR, at(9, 2))) == [at(8), at(9)]
    # A newer baseline judges what comes, not what was judged.
    assert ends(undone(frames, measured, 2, DAY, HOUR, at(9, 2))) == [at(7), at(8), at(9)]


def test_rollups_that_retention_took_away_undo_nothing() -> None:
    measured = {Window(at(5), at(6)): Measured(60, 1)}
    assert undone({at(5): 12}, measured, 1, DAY, HOUR, at(6, 2)) == []


@settings(derandomize=True, max_examples=100)
@given(
    st.dictionaries(st.integers(0, 60), st.integers(1, 99), max_size=20),
    st.sampled_from([HOUR, 6 * HOUR, DAY, 7 * DAY]),
    st.integers(0, 90),
)
def test_due_windows_are_settled_in_order_and_once(days: dict[int, int], length: timedelta, now: int) -> None:
    origin = at(1)
    frames = {start_of(origin + day * DAY, length): n for day, n in days.items()}
    moment = origin + now * DAY
    found = due(frames, length, HOUR, moment)
    assert found == sorted(set(found), key=lambda window: window.start)
    assert all(window.end - window.start == length and window.end + HOUR <= moment for window in found)
    # Every start that a running version may be silent at, counted one by one.
    steps = range(int(QUIET / length) + 1)
    starts = {start + step * length for start in frames for step in steps}
    assert {window.start for window in found} == {s for s in starts if s + length + HOUR <= moment}
    assert {s for s in frames if s + length + HOUR <= moment} <= {window.start for window in found}
    assert undone(frames, {w: Measured(frames.get(w.start, 0), 1) for w in found}, 1, length, HOUR, moment) == []
