"""Errors, silence by habit, stages of a pipeline: worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitor.drift.compare import ReadyBaseline
from monitor.drift.health import Before, Facts, Told, habit, measure, silent_hours
from monitor.records import Histogram, Measurement, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.watch import HourColumns

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WINDOW = Window(MONDAY + 14 * DAY, MONDAY + 15 * DAY)


def shifts(days: int, frames: int = 20) -> dict[datetime, int]:
    """Frames from 6 to 14 o'clock of working days."""
    at = (MONDAY + i * HOUR for i in range(days * 24))
    return {one: frames for one in at if one.weekday() < 5 and 6 <= one.hour < 14}


def counted(signal: str, n: int, total: int = 0) -> Histogram:
    edges = SIGNALS[signal].edges
    counts = np.zeros(edges.count + 2, dtype=np.int64)
    counts[1] = n
    return Histogram(edges.id, counts, n, n, total, n)


def told(stages: tuple[str, ...] = ()) -> Told:
    return Told(WINDOW, ReadyBaseline(7, {}, 30, False), "c0ffee", stages)


def status(camera: str, stage: str = "", **outcomes: int) -> dict[SeriesKey, Histogram]:
    scope = Scope("m", "v1", stage, camera)
    whole = {SeriesKey(scope, "status"): counted("status", sum(outcomes.values()))}
    return whole | {SeriesKey(scope, "status", kind): counted("status", n) for kind, n in outcomes.items()}


def one(found: list[Measurement], name: str, camera: str = "cam-1", stage: str = "", kind: str = "") -> Measurement:
    wanted = Scope("m", "v1", stage, camera)
    (only,) = [m for m in found if (m.key.scope, m.key.class_name, m.measure) == (wanted, kind, name)]
    return only


def test_a_habit_is_the_hours_in_which_it_nearly_always_sends() -> None:
    found = habit(shifts(14), Window(MONDAY, MONDAY + 14 * DAY))
    assert found is not None
    assert set(found.expected) == {(False, hour) for hour in range(6, 14)}
    assert (found.expected[False, 6], found.longest) == (20.0, 0)


def test_two_weekends_are_no_habit_and_one_slip_in_ten_days_ends_that_of_an_hour() -> None:
    hours = shifts(14)
    del hours[MONDAY + 9 * HOUR]
    found = habit(hours, Window(MONDAY, MONDAY + 14 * DAY))
    assert found is not None
    assert (False, 9) not in found.expected


def test_a_week_has_no_habit_of_working_days_under_four() -> None:
    assert habit(shifts(3), Window(MONDAY, MONDAY + 3 * DAY)) is None
    assert habit(shifts(4), Window(MONDAY, MONDAY + 4 * DAY)) is not None


def test_silence_counts_the_accustomed_hours_and_goes_through_the_night() -> None:
    expected = {(False, hour): 20.0 for hour in range(6, 14)}
    hours = shifts(15)
    for hour in (12, 13):  # the end of one shift ...
        del hours[MONDAY + 3 * DAY + hour * HOUR]
    for hour in (6, 7, 8):  # ... and the beginning of the next
        del hours[MONDAY + 4 * DAY + hour * HOUR]
    week = Window(MONDAY, MONDAY + 5 * DAY)
    assert silent_hours(hours, expected, week, MONDAY) == 5
    assert silent_hours(hours, expected, week, MONDAY + 4 * DAY) == 5, "it lasts into the day"
    assert silent_hours(hours, expected, Window(MONDAY, MONDAY + 4 * DAY), MONDAY) == 2
    assert silent_hours(shifts(15), expected, week, MONDAY) == 0


def test_a_silent_camera_is_told_against_its_own_habit() -> None:
    own = habit(shifts(14), Window(MONDAY, MONDAY + 14 * DAY))
    assert own is not None
    scope = Scope("m", "v1", camera="cam-1")
    earlier = Before({scope: {"": 1600, "ok": 1600}}, 336.0, {("", "cam-1"): own})
    by_hour = shifts(15)
    for hour in range(8, 12):
        del by_hour[WINDOW.start + hour * HOUR]
    found = measure(Facts(status("cam-1", ok=80), {("", "cam-1"): by_hour}, None), earlier, told())
    silence = one(found, "silence")
    assert (silence.value, silence.baseline_value, silence.n, silence.state) == (4.0, 0.0, 160, "ok")
    throughput = one(found, "throughput")
    assert (throughput.value, throughput.baseline_value) == (pytest.approx(80 / 24), pytest.approx(1600 / 336))


def test_errors_have_kinds_that_add_up_and_wilsons_interval() -> None:
    found = measure(Facts(status("cam-1", ok=190, timeout=6, oom=4), {}, None), Before(), told())
    whole = one(found, "error_rate")
    assert (whole.value, whole.n) == (0.05, 200)
    # Wilson 95 % at 10 of 200, by hand: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964.
    assert (whole.low, whole.high) == (pytest.approx(0.02739, abs=2e-5), pytest.approx(0.08957, abs=2e-5))
    kinds = [one(found, "error_rate", kind=kind).value for kind in ("timeout", "oom")]
    assert kinds == [0.03, 0.02]
    assert one(found, "error_rate", camera="").value == 0.05


def test_too_few_frames_are_no_rate() -> None:
    found = measure(Facts(status("cam-1", ok=20, timeout=9), {}, None), Before(), told())
    assert (one(found, "error_rate").state, one(found, "error_rate").value) == ("insufficient", None)


def test_a_pipeline_says_what_it_passes_on_and_what_a_frame_takes_through_all_of_it() -> None:
    first, second = ("screening", "verification")
    histograms = status("cam-1", first, ok=400) | status("cam-1", second, ok=100)
    for stage, n, ms in ((first, 400, 10), (second, 100, 60)):
        key = SeriesKey(Scope("m", "v1", stage, "cam-1"), "latency_ms")
        histograms[key] = counted("latency_ms", n, n * ms * SIGNALS["latency_ms"].scale)
    found = measure(Facts(histograms, {}, None), Before(), told((first, second)))
    passed = one(found, "passed_on", stage=first)
    assert (passed.value, passed.n) == (0.25, 400)
    assert passed.low < 0.25 < passed.high
    whole = one(found, "mean")
    assert (whole.value, whole.n) == (pytest.approx(10 + 60 / 4), 400)


def test_the_longest_queue_is_that_of_a_quarter_with_frames_enough() -> None:
    key = SeriesKey(Scope("m", "v1", camera="cam-1"), "queue_depth")
    n, depth = np.array([20, 20, 3]), np.array([2, 9, 500])
    nothing = np.zeros(0, dtype=np.int64)
    columns = HourColumns([key], np.zeros(3, dtype=np.int64), np.arange(3), n, n * depth, nothing, nothing, nothing)
    found = measure(Facts({}, {}, columns), Before(), told())
    assert (one(found, "peak").value, one(found, "peak").n) == (9.0, 43)
