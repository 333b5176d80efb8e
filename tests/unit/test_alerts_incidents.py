"""From alarms to what people are told: worked days, and laws of the one open incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts import incidents
from monitor.alerts.incidents import Alarm, Day, Incident, Scope, State, advance
from monitor.drift.lanes import LANES, OVERRIDE
from monitor.spec.contract import CameraSpec

CAMERAS: list[Scope] = [("v1", site, f"{site}-{i}") for site in ("north", "south") for i in range(10)]
START = date(2026, 3, 2)


def on(day: int) -> date:
    return START + timedelta(days=day)


def alarm(day: int, camera: int, signal: str = "brightness") -> Alarm:
    return Alarm(on(day), CAMERAS[camera], signal, signal, on(day - 3))


def play(by_day: dict[int, list[Alarm]], days: int, calm: bool = False) -> list[Day]:
    state, played = State(), []
    for day in range(days):
        keys = {(i.scope, i.cause): calm for i in state.open}
        played.append(advance(state, on(day), by_day.get(day, []), CAMERAS, keys))
        state = played[-1].state
    return played


def told(played: list[Day]) -> list[Incident]:
    return [incident for day in played for incident in day.opened]


def test_every_lane_has_a_cause() -> None:
    assert {lane.signal for lane in LANES.values()} | {OVERRIDE} <= set(incidents.CAUSES)


def test_one_camera_one_cause_one_incident() -> None:
    played = play({0: [alarm(0, 1)], 2: [alarm(2, 1, "sharpness")], 3: [alarm(3, 1, "latency_ms")]}, 5)
    first, second = told(played)
    assert (first.scope, first.cause, first.onset) == (CAMERAS[1], "optics", on(-3))
    assert second.cause == "service"
    assert [a.signal for a in played[2].silent] == ["sharpness"]
    assert played[2].state.open[0].signals == ("brightness", "sharpness")


def test_what_goes_to_and_fro_is_told_thrice() -> None:
    """A hundred alternations, nine days each: an alarm, seven quiet days and the close, and it is back."""
    played = play({9 * n: [alarm(9 * n, 1)] for n in range(100)}, 900, calm=True)
    assert [i.opened_on for i in told(played)] == [on(0), on(9)]
    over = [(n, i.closed_because) for n, day in enumerate(played) for i in day.closed]
    assert over == [(7, "7 quiet days")], "it has not been quiet since"
    played = play({9 * n: [alarm(9 * n, 1)] for n in range(3)}, 100, calm=True)
    assert [(n, i.closed_because) for n, day in enumerate(played) for i in day.closed] == [
        (7, "7 quiet days"),
        (18 + 35, "35 quiet days"),
    ]


def restless(days: int, *more: Alarm) -> list[Day]:
    """A camera that went to and fro twice, so that it is kept open; with what else happens there."""
    by_day = {0: [alarm(0, 1)], 9: [alarm(9, 1)], 18: [alarm(18, 1)]}
    for one in more:
        by_day.setdefault((one.day - START).days, []).append(one)
    return play(by_day, days, calm=True)


def sized(day: int, size: float, signal: str = "brightness") -> Alarm:
    return replace(alarm(day, 1, signal), size=size)


def test_something_new_at_a_restless_place_is_told_once_more() -> None:
    played = restless(60, *(sized(day, 1.0, "sharpness") for day in range(30, 50, 4)))
    assert [(i.opened_on, i.signals) for i in told(played)] == [
        (on(0), ("brightness",)),
        (on(9), ("brightness",)),
        (on(30), ("brightness", "sharpness")),
    ]
    over = [(n, i.closed_because) for n, day in enumerate(played) for i in day.closed]
    assert over == [(7, "7 quiet days"), (30, "clearly worse: sharpness moved too")]
    (last,) = played[-1].state.open
    assert last.onset == on(27), "since when the new thing is there"


@pytest.mark.parametrize(("size", "told_on"), [(1.9, [0, 9]), (2.1, [0, 9, 30])])
def test_what_is_more_than_twice_as_far_off_as_people_know_is_told_anew(size: float, told_on: list[int]) -> None:
    played = restless(60, sized(30, size))
    assert [(i.opened_on - START).days for i in told(played)] == told_on
    assert all(i.closed_because == "clearly worse: 2.1 times as far off as was known" for i in played[30].closed)


def test_a_restless_place_is_told_anew_once_in_seven_days() -> None:
    played = restless(80, *(sized(day, 3.0 ** (day - 29)) for day in range(30, 60)))
    days = [(i.opened_on - START).days for i in told(played)][2:]
    assert days[:2] == [30, 37]
    assert all(later - earlier >= 7 for earlier, later in pairwise(days))


def test_what_goes_on_or_is_new_is_not_told_anew() -> None:
    """People know of what has not rested; of what is back, for a week what it comes to."""
    played = play({day: [sized(day, 1.0 + day)] for day in range(60)}, 60)
    assert len(told(played)) == 1
    played = play({0: [sized(0, 1)], 9: [sized(9, 1)], 12: [sized(12, 9)], 20: [sized(20, 17)]}, 30, calm=True)
    assert [i.opened_on for i in told(played)] == [on(0), on(9)]


@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from([1.0, 3.0, 9.0, 27.0])), max_size=60))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_no_place_is_told_twice_in_seven_days(happened: list[tuple[int, float]]) -> None:
    by_day: dict[int, list[Alarm]] = {}
    for day, size in happened:
        by_day.setdefault(day, []).append(sized(day, size))
    days = [i.opened_on for i in told(play(by_day, 130, calm=True))]
    assert all((later - earlier).days >= 7 for earlier, later in pairwise(days))


def test_what_comes_back_after_a_long_rest_is_an_incident_like_the_first() -> None:
    played = play({0: [alarm(0, 1)], 7 + 35: [alarm(7 + 35, 1)]}, 60, calm=True)
    assert [i.closed_because for day in played for i in day.closed] == ["7 quiet days", "7 quiet days"]


def test_three_of_ten_at_one_site_are_the_sites() -> None:
    (one,) = told(play({0: [alarm(0, c) for c in (0, 3, 7)]}, 1))
    assert one.scope == ("v1", "north")
    assert one.members == {("v1", "north"), CAMERAS[0], CAMERAS[3], CAMERAS[7]}


def test_cameras_of_both_sites_are_the_versions() -> None:
    (one,) = told(play({0: [alarm(0, c) for c in (0, 3, 7, 12, 15, 18)]}, 1))
    assert one.scope == ("v1",)


def test_two_are_two_and_a_third_the_day_after_makes_them_one() -> None:
    played = play({0: [alarm(0, 0), alarm(0, 1)], 1: [alarm(1, 2)]}, 3)
    assert [len(day.opened) for day in played] == [2, 1, 0]
    assert played[1].opened[0].scope == ("v1", "north")
    assert {i.closed_because for i in played[1].closed} == {"part of a wider incident"}
    assert len(played[2].state.open) == 1


def test_a_third_two_days_later_is_one_more() -> None:
    played = play({0: [alarm(0, 0), alarm(0, 1)], 2: [alarm(2, 2)]}, 3)
    assert len(played[2].state.open) == 3


def test_children_of_an_open_fleet_incident_are_silent() -> None:
    fleet = Alarm(on(0), ("v1",), "brightness", "brightness_mean", on(-1), group=True)
    played = play({0: [fleet], 1: [alarm(1, 4)], 3: [alarm(3, 5, "sharpness")], 4: [alarm(4, 5, "confidence")]}, 5)
    assert [i.scope for i in told(played)] == [("v1",), CAMERAS[5]]
    assert told(played)[1].cause == "model"
    assert CAMERAS[4] in played[1].state.open[0].members


def test_an_older_trouble_of_one_camera_stays_its_own() -> None:
    fleet = Alarm(on(5), ("v1",), "brightness", "brightness_mean", on(5), group=True)
    played = play({0: [alarm(0, 4)], 5: [fleet]}, 6)
    assert {i.scope for i in played[5].state.open} == {CAMERAS[4], ("v1",)}


def test_closed_after_seven_calm_days_and_not_while_it_lasts() -> None:
    played = play({0: [alarm(0, 1)], 3: [alarm(3, 1)]}, 14, calm=True)
    assert [day for day, done in enumerate(played) if done.closed] == [10]
    assert played[10].closed[0].closed_because == "7 quiet days"
    assert not any(day.closed for day in play({0: [alarm(0, 1)]}, 14, calm=False))


def test_an_accepted_baseline_closes_what_lies_under_it() -> None:
    state = play({0: [alarm(0, 1), alarm(0, 12)]}, 1)[0].state
    done = incidents.accept(state, ("v1", "north"), on(1))
    assert [i.scope for i in done.closed] == [CAMERAS[1]]
    assert [i.scope for i in done.state.open] == [CAMERAS[12]]


some = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 19), st.sampled_from(["brightness", "sharpness", "confidence"])),
    max_size=30,
)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(some, st.randoms(use_true_random=False))
def test_one_open_incident_a_scope_and_cause_in_any_order(found: list[tuple[int, int, str]], order: object) -> None:
    by_day: dict[int, list[Alarm]] = {}
    for day, camera, signal in found:
        by_day.setdefault(day, []).append(alarm(day, camera, signal))
    played = play(by_day, 10)
    for day in played:
        keys = [(i.scope, i.cause) for i in day.state.open]
        assert len(keys) == len(set(keys))
    shuffled = {}
    for day_number, alarms in by_day.items():
        shuffled[day_number] = list(alarms)
        order.shuffle(shuffled[day_number])  # type: ignore[attr-defined]
    assert play(shuffled, 10) == played
    assert len(told(played)) <= len(found)


def plant(policy: str, *cameras: tuple[str, str, str]) -> CameraSpec:
    """Cameras as (name, site, group)."""
    listed = [{"name": name, "site": site, "group": group} for name, site, group in cameras]
    return CameraSpec.model_validate({"policy": policy, "list": listed})


PRESSES = (("cam-1", "north", "line-1"), ("cam-2", "north", "line-2"))


@pytest.mark.parametrize(
    ("policy", "cameras", "scope", "why"),
    [
        ("declared", PRESSES, ("north", "line-1", "cam-1"), None),
        ("declared", PRESSES, ("north", "line-1"), None),
        ("declared", PRESSES, (), None),
        ("declared", PRESSES, ("north", "line-2", "cam-1"), "camera cam-1 hangs elsewhere in the contract now"),
        ("declared", PRESSES, ("cam-1",), "camera cam-1 hangs elsewhere in the contract now"),
        ("declared", PRESSES, ("north", "line-1", "cam-9"), "north / line-1 / cam-9 is not in the contract any more"),
        ("declared", PRESSES, ("south",), "south is not in the contract any more"),
        ("open", PRESSES, ("", "", "cam-9"), None),
        ("open", PRESSES, ("",), None),
        ("open", PRESSES, ("north", "line-1", "cam-9"), "north / line-1 / cam-9 is not in the contract any more"),
        ("open", (), ("cam-9",), None),
        ("open", (), ("north", "line-1", "cam-1"), "north / line-1 / cam-1 is not in the contract any more"),
        ("declared", (), ("cam-9",), "cam-9 is not in the contract any more"),
    ],
)
def test_an_incident_has_its_place_in_the_contract_or_closes(
    policy: str, cameras: tuple[tuple[str, str, str], ...], scope: Scope, why: str | None
) -> None:
    assert incidents.homeless(scope, plant(policy, *cameras)) == why
