"""The state machine of alerts, worked by hand and under hypothesis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts.conditions import verdict
from monitor.alerts.evaluate import alert_key, decide, matches, one_each, retire, silence
from monitor.records import Alert, Measurement, Scope, SeriesKey, Window
from monitor.spec.rules import AlertRule

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SERIES = SeriesKey(Scope("packaging-line", "v1", camera="cam-2"), "brightness", recipe="full")


def rule(**given: Any) -> AlertRule:
    """Breach above 0.2, clear below 0.1, each plus the allowance; 50 frames; two windows either way."""
    said = {"name": "brightness-drift", "signal": "brightness", "measure": "psi", "above": 0.2, "min_n": 50}
    return AlertRule.model_validate(said | given)


def window(day: int) -> Window:
    return Window(START + day * DAY, START + (day + 1) * DAY)


def measured(day: int, value: float | None, **given: Any) -> Measurement:
    """A window of 60 frames with an allowance of 0.3: a breach above 0.5, clear below 0.4."""
    state = given.pop("state", "ok")
    facts: dict[str, Any] = {"n": 60, "baseline_n": 1680, "baseline_id": 1, "contract_hash": "c", "noise": 0.3}
    return Measurement(SERIES, "psi", window(day), value, state, **(facts | given))


def of(letter: str, day: int) -> Measurement:
    """b breach, c clear, m in between, u too few, n no data."""
    said = {"b": (0.6, {}), "c": (0.1, {}), "m": (0.45, {}), "u": (0.9, {"n": 20}), "n": (None, {"n": 0})}
    value, facts = said[letter]
    return measured(day, value, state="no_data" if letter == "n" else "ok", **facts)


def walk(letters: str, the_rule: AlertRule) -> tuple[list[Alert], list[tuple[int, str]]]:
    """The alert after each window, and (day, state) of what was told."""
    alert: Alert | None = None
    rows: list[Alert] = []
    told: list[tuple[int, str]] = []
    for day, letter in enumerate(letters):
        decision = decide(the_rule, alert, of(letter, day))
        alert = decision.alert
        rows.append(alert)
        told += [(day, alert.state)] if decision.left is not None else []
    return rows, told


@pytest.mark.parametrize(
    ("letters", "states"),
    [
        ("c", "ok"),
        ("m", "ok"),
        ("u", "undecided"),
        ("n", "no-data"),
        ("bb", "pending firing"),
        ("bc", "pending ok"),
        ("bm", "pending ok"),
        ("bmb", "pending ok pending"),
        ("bub", "pending pending firing"),
        ("bnb", "pending pending firing"),
        ("bunub", "pending pending pending pending pending"),
        ("buuun", "pending pending pending pending no-data"),
        ("bbc", "pending firing firing"),
        ("bbcc", "pending firing firing resolved"),
        ("bbcbcc", "pending firing firing firing firing resolved"),
        ("bbcmcc", "pending firing firing firing firing resolved"),
        ("bbmmm", "pending firing firing firing firing"),
        ("bbunun", "pending firing firing firing firing firing"),
        ("bbcuc", "pending firing firing firing resolved"),
        ("bbccc", "pending firing firing resolved ok"),
        ("bbccm", "pending firing firing resolved resolved"),
        ("bbccu", "pending firing firing resolved undecided"),
        ("bbccbb", "pending firing firing resolved pending flapping"),
        ("bbcc" + "m" * 8 + "bb", "pending firing firing resolved" + 8 * " resolved" + " pending firing"),
        ("unc", "undecided no-data ok"),
    ],
)
def test_what_each_window_makes_of_an_alert(letters: str, states: str) -> None:
    rows, _ = walk(letters, rule())
    assert [row.state for row in rows] == states.split()


def test_since_is_the_start_of_the_first_breaching_window_of_the_episode() -> None:
    rows, _ = walk("cbbccbb", rule())
    assert [row.since for row in rows] == [
        None,
        *[START + 1 * DAY] * 4,
        *[START + 5 * DAY] * 2,
    ]
    assert [row.episode for row in rows] == [0, 1, 1, 1, 1, 2, 2]


def test_breaches_that_lie_too_far_apart_do_not_add_up() -> None:
    rows, told = walk("buuubb", rule())
    assert [row.state for row in rows][-2:] == ["pending", "firing"]
    assert rows[-1].since == START + 4 * DAY
    assert told == [(5, "firing")]


def test_a_rule_of_one_window_fires_and_resolves_at_once() -> None:
    rows, told = walk("bcb", rule(for_windows=1, clear_windows=1))
    assert [row.state for row in rows] == ["firing", "resolved", "flapping"]
    assert [row.episode for row in rows] == [1, 1, 2]
    assert told == [(0, "firing"), (1, "resolved"), (2, "flapping")]


@pytest.mark.parametrize("turn", ["bc", "bbcc", "bbbcccc", "bbmccuu"])
def test_what_goes_to_and_fro_a_hundred_times_is_told_three_times(turn: str) -> None:
    the_rule = rule(for_windows=1, clear_windows=1) if len(turn) == 2 else rule()
    rows, told = walk(turn * 100, the_rule)
    assert [state for _, state in told] == ["firing", "resolved", "flapping"]
    assert rows[-1].state == "flapping"
    assert "flapping" in rows[-1].reason
    assert "flapping" in rows[told[2][0]].reason
    # Then it comes to rest, and that is told once.
    calm = turn * 100 + "c" * 12
    assert [state for _, state in walk(calm, the_rule)[1]] == ["firing", "resolved", "flapping", "resolved"]


def test_flapping_is_over_after_five_times_as_many_clear_windows_and_starts_afresh() -> None:
    rows, told = walk("bbccbb" + "c" * 9 + "bb" + "c" * 10 + "bb", rule())
    assert told == [(1, "firing"), (3, "resolved"), (5, "flapping"), (26, "resolved"), (28, "firing")]
    assert [row.episode for row in rows][-1] == 3


@pytest.mark.parametrize(
    ("value", "facts", "expected"),
    [
        (0.5, {}, "between"),  # exactly at the limit is not above it
        (0.5001, {}, "breach"),
        (0.4, {}, "between"),  # exactly at the lower bound is not below it
        (0.3999, {}, "clear"),
        (0.21, {"noise": None}, "breach"),
        (0.9, {"n": 49}, "undecided"),
        (0.9, {"n": 50}, "breach"),
        (None, {"state": "insufficient"}, "undecided"),
        (None, {"state": "no_baseline"}, "undecided"),
        (None, {"state": "no_data", "n": 0}, "no-data"),
        (float("nan"), {}, "undecided"),
        (float("inf"), {}, "undecided"),
    ],
)
def test_what_a_window_says(value: float | None, facts: dict[str, Any], expected: str) -> None:
    assert verdict(rule(), measured(0, value, **facts)) == expected


def test_the_lower_bound_can_be_given() -> None:
    assert verdict(rule(clear_below=0.05), measured(0, 0.36)) == "between"
    assert verdict(rule(clear_below=0.05), measured(0, 0.34)) == "clear"


def test_the_reason_says_the_numbers() -> None:
    first = decide(rule(), None, measured(0, 0.6)).alert
    assert first.reason == "PSI 0.6 is above 0.5 (0.2 + 0.3 for chance at 60 frames), window 1 of 2"
    second = decide(rule(), first, measured(1, 0.6)).alert
    assert second.reason == "PSI 0.6 is above 0.5 (0.2 + 0.3 for chance at 60 frames)"
    third = decide(rule(), second, of("u", 2)).alert
    assert third.reason == "still firing: 20 frames are fewer than the 50 that the rule asks for"
    fourth = decide(rule(), third, of("n", 3)).alert
    assert fourth.reason == "still firing: no frame gave a value in this window"
    assert (fourth.value, fourth.n, fourth.window_end) == (None, 0, START + 4 * DAY)
    fifth = decide(rule(), fourth, measured(4, 0.1)).alert
    assert fifth.reason == "still firing: PSI 0.1 is below 0.4 (0.1 + 0.3 for chance at 60 frames), window 1 of 2"


def test_a_late_revision_changes_nothing() -> None:
    rows, _ = walk("cc", rule())
    for day in (0, 1):
        decision = decide(rule(), rows[-1], measured(day, 9.0))
        assert decision.alert is rows[-1]
        assert decision.left is None


def test_what_is_retired() -> None:
    firing = walk("bb", rule())[0][-1]
    ended = retire(firing, "rule removed")
    assert (ended.alert.state, ended.left, ended.alert.reason) == ("resolved", "firing", "rule removed")
    assert ended.alert.since == firing.since
    pending = retire(walk("b", rule())[0][-1], "rule removed")
    assert (pending.alert.state, pending.left, pending.alert.since) == ("ok", None, None)


def test_a_series_that_fell_silent_without_a_measurement_has_no_data() -> None:
    ok = walk("c", rule())[0][-1]
    assert decide(rule(), ok, silence(ok, window(1), "c")).alert.state == "no-data"


@pytest.mark.parametrize(
    ("asked", "scope", "class_name", "watched"),
    [
        ({}, {"camera": "cam-2"}, "", True),
        ({}, {}, "", False),
        ({}, {"camera": "cam-2"}, "carton", False),
        ({}, {"camera": "cam-2", "shadow": True}, "", False),
        ({}, {"camera": "cam-2", "slice_name": "lighting", "slice_value": "day"}, "", False),
        ({"scope": "model"}, {}, "", True),
        ({"scope": "model"}, {"camera": "cam-2"}, "", False),
        ({"scope": "slice"}, {"slice_name": "lighting", "slice_value": "day"}, "", True),
        ({"scope": "slice"}, {"camera": "cam-2", "slice_name": "lighting", "slice_value": "day"}, "", False),
        ({"by_class": True}, {"camera": "cam-2"}, "carton", True),
        ({"by_class": True}, {"camera": "cam-2"}, "", False),
    ],
)
def test_which_series_a_rule_watches(
    asked: dict[str, Any], scope: dict[str, Any], class_name: str, watched: bool
) -> None:
    the_rule = rule(signal="confidence", **asked)
    assert matches(the_rule, SeriesKey(Scope("m", "v1", **scope), "confidence", class_name)) is watched
    assert not matches(the_rule, SeriesKey(Scope("m", "v1", **scope), "box_area", class_name))


def test_keys_can_be_read() -> None:
    assert alert_key("brightness-drift", SERIES) == "packaging-line/brightness-drift/v1/cam-2/-/-"
    scope = Scope("m", "v1", "screening", "", "lighting", "day/night")
    assert (
        alert_key("r", SeriesKey(scope, "confidence", "carton")) == "m/r/v1/-/lighting=day%2Fnight/carton/screening"
    )
    assert alert_key("r", SeriesKey(Scope("m", "v1", camera="-\n"), "x")) == "m/r/v1/-%0A/-/-"


names = st.text(alphabet="a-/%=\n", max_size=3)


@settings(derandomize=True, max_examples=300)
@given(*[st.tuples(names, names, names, names, names, names)] * 2)
def test_two_series_never_share_a_key(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    def series(parts: tuple[str, ...]) -> SeriesKey:
        version, stage, camera, slice_name, slice_value, class_name = parts
        # A value without a name is no slice.
        return SeriesKey(
            Scope("m", version, stage, camera, slice_name, slice_value if slice_name else ""), "s", class_name
        )

    same = alert_key("r", series(one)) == alert_key("r", series(other))
    assert same == (series(one) == series(other))


def test_of_two_recipes_the_one_that_says_most_is_judged() -> None:
    other = replace(SERIES, recipe="quarter")
    compared = measured(0, 0.1)
    foreign = replace(measured(0, None, state="no_baseline", n=500), key=other)
    assert one_each([foreign, compared]) == [compared]
    larger = replace(compared, key=other, n=61)
    assert one_each([compared, larger]) == [larger]


letters = st.text(alphabet="bcmun", max_size=40)
counts = st.integers(1, 4)


@settings(derandomize=True, max_examples=300)
@given(letters, counts, counts)
def test_laws_of_a_life(said: str, for_windows: int, clear_windows: int) -> None:
    """Firing (or flapping) and resolved take turns; neither comes before enough windows spoke for it, in a row."""
    rows, told = walk(said, rule(for_windows=for_windows, clear_windows=clear_windows))
    active = ("firing", "flapping")
    assert all((state in active) == (i % 2 == 0) for i, (_, state) in enumerate(told))
    for i, (day, state) in enumerate(told):
        spoken = [letter for letter in said[: day + 1] if letter in "bcm"]
        calm = 5 * clear_windows if told[i - 1][1] == "flapping" else clear_windows
        wanted, count = ("b", for_windows) if state in active else ("c", calm)
        assert spoken[-count:] == [wanted] * count
    keys = [(rows[day].episode, state) for day, state in told]
    assert len(set(keys)) == len(keys)
    firing = False
    for day, row in enumerate(rows):
        firing = (dict(told).get(day) in active) or (firing and dict(told).get(day) != "resolved")
        assert (row.state in active) is firing
        assert (row.since is not None) == (row.state in ("pending", "resolved", *active))
        assert row.state != "ok" or said[day] in "cm"


@settings(derandomize=True, max_examples=200)
@given(letters, st.data())
def test_a_window_counts_once_however_often_it_comes(said: str, data: st.DataObject) -> None:
    alert: Alert | None = None
    told: list[tuple[int, str]] = []
    for day, _ in enumerate(said):
        again = data.draw(st.lists(st.integers(0, day), max_size=3))
        for number in (day, *again):
            decision = decide(rule(), alert, of(said[number], number))
            alert = decision.alert
            told += [(number, alert.state)] if decision.left is not None else []
    rows, once = walk(said, rule())
    assert told == once
    assert alert == (rows[-1] if rows else None)
