"""What the business says, counted: worked numbers, and tables of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.feedback import BusinessEvent
from monitor.records import Measurement, Scope, Window
from monitor.review.business import Period, measure, of_version
from monitor.stats.intervals import average, poisson

START = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
ALL_CAMERAS = Scope("m", "v1")
CAM = Scope("m", "v1", camera="cam-1")


def event(kind: str, **said: object) -> BusinessEvent:
    return BusinessEvent(kind, START, "v1", **said)  # type: ignore[arg-type]


def measured(now: list[BusinessEvent], then: list[BusinessEvent], frames: int = 2000) -> list[Measurement]:
    counts = {ALL_CAMERAS: frames, CAM: frames // 2}
    before = Period(then, {ALL_CAMERAS: 10_000, CAM: 5_000}, 7)
    return list(measure(Period(now, counts), before, "m", "v1", WINDOW, 30, "c0ffee"))


def one(found: list[Measurement], name: str, scope: Scope = ALL_CAMERAS, class_name: str = "") -> Measurement:
    (only,) = [m for m in found if (m.key.scope, m.key.class_name, m.measure) == (scope, class_name, name)]
    return only


def test_work_orders_are_told_for_a_thousand_frames_by_camera_and_class() -> None:
    now = [event("work_order", camera="cam-1", class_name="dent"), event("work_order", class_name="dent")] * 5
    found = measured(now, [event("work_order")] * 20)
    whole = one(found, "work_order_rate")
    assert (whole.value, whole.n, whole.baseline_value, whole.baseline_n) == (5.0, 2000, 2.0, 10_000)
    # Garwood's interval of 10 events is 4.795 to 18.39 (tables of the Poisson distribution).
    assert (whole.low, whole.high) == (pytest.approx(4.795 / 2, abs=1e-3), pytest.approx(18.391 / 2, abs=1e-3))
    assert one(found, "work_order_rate", CAM).value == 5.0
    assert one(found, "work_order_rate", class_name="dent").value == 5.0
    assert {m.measure for m in found} == {"work_order_rate"}, "of what nobody tells, nothing is said"


def test_a_kind_that_began_after_the_baseline_has_nothing_to_be_held_against() -> None:
    found = measured([event("missed_defect")] * 4, [event("work_order")])
    assert one(found, "catches").value == 2.0
    assert one(found, "catches").baseline_value is None
    assert one(found, "work_order_rate").value == 0.0


def test_false_alarms_cost_minutes_and_three_of_them_are_the_least() -> None:
    now = [event("false_alarm", minutes=m) for m in (8.0, 10.0, 12.0)]
    cost = one(measured(now, []), "minutes_per_false_alarm")
    assert (cost.value, cost.n) == (10.0, 3)
    # Student's t, two degrees of freedom: 4.3027; sd 2: 10 ± 4.3027 * 2 / sqrt(3).
    assert (cost.low, cost.high) == (pytest.approx(10 - 4.9683, abs=1e-3), pytest.approx(10 + 4.9683, abs=1e-3))
    few = one(measured(now[:2], []), "minutes_per_false_alarm")
    assert (few.state, few.value, few.n) == ("insufficient", None, 2)


def test_the_gain_in_throughput_is_that_of_all_items_together() -> None:
    now = [event("throughput", before=100.0, after=120.0), event("throughput", before=300.0, after=320.0)]
    assert one(measured(now, []), "throughput_gain").value == pytest.approx(0.1)


def test_events_without_a_version_belong_to_the_one_that_most_frames_of_the_hour_went_through() -> None:
    hour = timedelta(hours=1)
    events = [BusinessEvent("work_order", START + n * hour + hour / 2) for n in range(-1, 6)]
    named = [event("work_order"), BusinessEvent("work_order", START, "v2")]
    hours = {"v1": {START: 50, START + hour: 30}, "v2": {START + hour: 20, START + 3 * hour: 60}}
    own = {name: [one.at for one in of_version(events + named, name, hours)] for name in ("v1", "v2", "v3")}
    # Before the first hour the first; an hour without frames is the last one's before it.
    assert own["v1"] == [*(one.at for one in events[:4]), START]
    assert own["v2"] == [*(one.at for one in events[4:]), START]
    assert own["v3"] == []
    assert of_version(events, "v1", {}) == []


def test_poisson_bounds_are_those_of_the_tables() -> None:
    assert poisson(0, 0.975) == (0.0, pytest.approx(3.689, abs=1e-3))
    low, high = poisson(1, 0.975)
    assert (low, high) == (pytest.approx(0.0253, abs=1e-4), pytest.approx(5.572, abs=1e-3))
    assert average([5.0])[0] == 5.0
