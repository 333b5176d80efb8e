"""What streams tell of the causes: their sizes, which way they went, and sharpness that only goes with the light."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from math import log

import pytest

from monitor.alerts.account import Witness, story
from monitor.alerts.incidents import Alarm
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.watch import ALARM, ALL_LANES, EFFECT

DAY = date(2026, 4, 1)


def witness(lane: str, effect: float | None, shape: str = "ramp", days: int = 22) -> Witness:
    start = datetime(2026, 4, 1, tzinfo=UTC)
    window = Window(start, start + timedelta(days=1))
    key = SeriesKey(Scope("line", "v1", camera="cam-2"), lane)
    own = ALL_LANES[lane]
    up = (effect or 1.0) > 0
    told = Measurement(key, ALARM, window, 1.0 if up else -1.0, "ok", 60, 840, 1, "c0", noise=5.0)
    found = None
    if effect is not None:
        found = Measurement(key, EFFECT, window, effect, "ok", 60, 840, 1, "c0", noise=own.floor)
    alarm = Alarm(DAY, ("north", "cam-2"), own.signal, lane, DAY - timedelta(days=days - 1))
    return Witness(alarm, shape, told, (), found)


def test_a_signal_is_told_with_its_size_and_how_long_it_lasts() -> None:
    (one,) = story([witness("brightness_mean", -0.3)], DAY).moved
    assert (one.signal, one.up, one.step, one.days) == ("brightness", False, False, 22)
    assert one.size == pytest.approx(15), "0.3 is fifteen times the floor of 0.02"
    (unknown,) = story([witness("brightness_mean", None, "step", 1)], DAY).moved
    assert (unknown.size, unknown.step, unknown.days) == (1.0, True, 1)


def test_more_values_below_a_mark_are_a_lower_signal_and_a_mere_shape_says_nothing() -> None:
    (one,) = story([witness("confidence_low", 0.05), witness("confidence_shape", 0.2)], DAY).moved
    assert (one.signal, one.up) == ("confidence", False)


@pytest.mark.parametrize(
    ("light", "sharpness", "of_its_own"),
    [
        (0.5, 2 * log(0.5), False),  # exactly what half the light does to the logarithm of a variance
        (0.5, -1.0, False),  # noise in the dark keeps it from falling all the way
        (0.5, -3.0, True),  # out of focus as well
        (0.5, +0.3, True),
        (1.2, 2 * log(1.2), False),
        (0.97, -1.7, True),
    ],
)
def test_sharpness_that_goes_with_the_light_tells_nothing_of_its_own(
    light: float, sharpness: float, of_its_own: bool
) -> None:
    seen = story([witness("brightness_mean", light - 1), witness("sharpness_mean", sharpness)], DAY)
    assert ("sharpness" in {one.signal for one in seen.moved}) is of_its_own
    assert seen.with_light == (frozenset() if of_its_own else {"sharpness"})
