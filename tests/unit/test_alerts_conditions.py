"""Bounds above and below, absolute and relative, and how the near end of an interval decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts.advice import Advice
from monitor.alerts.conditions import bounds, judged, limit, verdict, why_undecided, widened
from monitor.alerts.evaluate import decide
from monitor.alerts.evidence import Case, sentence
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.spec.rules import READY, AlertRule

START = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))


def rule(**said: Any) -> AlertRule:
    return AlertRule.model_validate({"name": "r", "signal": "latency_ms", "measure": "mean", "min_n": 100} | said)


def measured(value: float, like: AlertRule, **said: Any) -> Measurement:
    key = SeriesKey(Scope("m", "v1", camera="cam-2"), like.signal, "carton" if like.by_class else "")
    facts: dict[str, Any] = {"baseline_value": 40.0, "n": 500, "baseline_n": 50_000, "baseline_id": 1} | said
    return Measurement(key, like.measure, WINDOW, value, "ok", contract_hash="c0ffee", **facts)


def test_a_relative_bound_is_a_multiple_of_the_baseline() -> None:
    twice = rule(above=2.0, relative_to="baseline")
    assert twice.clear_below == 1.5, "halfway back"
    assert [verdict(twice, measured(v, twice)) for v in (81.0, 79.0, 61.0, 59.0)] == [
        "breach",
        "between",
        "between",
        "clear",
    ]
    assert limit(twice, measured(81.0, twice)) == 80.0


def test_two_bounds_watch_both_sides() -> None:
    both = rule(above=1.15, below=0.85, relative_to="baseline")
    said = {46.1: "breach", 45.9: "between", 40.0: "clear", 37.1: "clear", 35.0: "between", 33.9: "breach"}
    assert {v: verdict(both, measured(v, both)) for v in said} == said
    assert judged(both, measured(33.0, both), "breach") == (
        "mean latency 33.0 ms is below 34.0 ms (0.85 x 40.0 ms of the baseline)"
    )


def test_a_change_smaller_than_asked_for_is_none_whatever_its_multiple() -> None:
    share = READY["class-share-shift"]
    rare = measured(0.05, share, baseline_value=0.03)
    assert verdict(share, rare) != "breach", "two thirds more, and two points"
    assert verdict(share, measured(0.07, share, baseline_value=0.03)) == "breach"
    common = measured(0.68, share, baseline_value=0.6)
    assert verdict(share, common) == "between", "eight points, and less than 15 % more"
    assert verdict(share, replace(common, value=0.70)) == "breach"


def test_the_near_end_of_the_interval_must_lie_beyond_the_bound() -> None:
    errors = READY["error-rate"]
    sure = measured(0.03, errors, low=0.011, high=0.06)
    assert verdict(errors, sure) == "breach"
    assert verdict(errors, replace(sure, low=0.009)) == "between"
    assert verdict(errors, replace(sure, value=0.004, low=0.001)) == "clear"
    assert judged(errors, sure, "breach") == "error rate 3.0 % (95 % interval 1.1 % to 6.0 %) is above 1.0 %"


def test_the_baselines_own_uncertainty_is_allowed_for() -> None:
    """Of as many frames it is known no better than the window: reach 10 becomes hypot(10, 2 x 10) = 22.4."""
    twice = rule(above=2.0, relative_to="baseline")
    found = measured(100.0, twice, low=90.0, high=110.0, n=500, baseline_n=500)
    assert verdict(twice, found) == "between"
    assert verdict(twice, replace(found, baseline_n=50_000)) == "breach"
    assert verdict(twice, replace(found, value=103.0, low=93.0)) == "breach", "103 - 22.4 > 80"


def test_a_relative_rule_without_a_baseline_is_undecided() -> None:
    twice = rule(above=2.0, relative_to="baseline")
    lost = measured(100.0, twice, baseline_value=None)
    assert (verdict(twice, lost), bounds(twice, lost)) == ("undecided", None)
    assert why_undecided(twice, lost) == "the baseline does not know this measure here"
    thin = measured(100.0, twice, baseline_n=99)
    assert verdict(twice, thin) == "undecided"
    assert "99 frames of the baseline are fewer than the 100" in why_undecided(twice, thin)


def test_a_baseline_of_nought_has_a_smallest_change_and_clears() -> None:
    silent = READY["camera-silent"]
    said = {0.0: "clear", 1.0: "between", 2.0: "breach"}
    assert {v: verdict(silent, measured(v, silent, baseline_value=0.0)) for v in said} == said


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    value=st.floats(0, 1000),
    reach=st.floats(0, 500),
    base=st.floats(0.01, 1000),
    above=st.floats(1, 10),
    below=st.floats(0, 1),
)
def test_a_wider_interval_never_makes_a_breach_and_clear_is_never_one(
    value: float, reach: float, base: float, above: float, below: float
) -> None:
    either = rule(above=max(above, 1.01), below=min(below, 0.99), relative_to="baseline")
    wide = measured(value, either, low=value - reach, high=value + reach, baseline_value=base)
    exact = replace(wide, low=None, high=None)
    if verdict(either, wide) == "breach":
        assert verdict(either, exact) == "breach"
    if verdict(either, exact) == "clear":
        assert verdict(either, wide) == "clear"


@pytest.mark.parametrize("name", READY)
def test_the_sentence_of_every_ready_rule_says_where_since_when_how_sure_and_what_to_do(name: str) -> None:
    ready = READY[name]
    base = 1.0
    value = ready.above * 9 if ready.above else (ready.below or 1.0) / 3
    found = measured(value, ready, low=value * 0.95, high=value * 1.05, baseline_value=base)
    alert = decide(ready, None, found).alert
    first = {"causes": (), "failure_modes": (), "first": "Look at the frames."}
    case = Case("o", ready, "c0ffee", alert, found, [found], [], None)
    said = sentence(replace(case, advice=Advice(**first)))
    assert "cam-2 (m v1)" in said
    assert "since 2026-03-02 00:00 UTC" in said
    assert "How sure: " in said
    assert "First: Look at the frames." in said
    assert "n 500" in said
    mode = {"name": "lamp ageing", "description": "", "mitigation": "Look at the frames."}
    said = sentence(replace(case, advice=Advice(**first | {"failure_modes": (mode,)})))
    assert "First: Look at the frames. (So the contract says of lamp ageing.)" in said


def test_ordinary_windows_have_room_in_the_interval() -> None:
    """Five days with mean 40 and sd 2: t(4) = 2.7764, times 2 sqrt(1.2), is 6.083."""
    days = [38.0, 38.0, 40.0, 42.0, 42.0]
    twice = rule(above=1.1, relative_to="baseline")
    found = measured(46.0, twice, low=45.9, high=46.1)
    wide = widened(found, days)
    assert (wide.low, wide.high) == (pytest.approx(46 - 6.083, abs=1e-3), pytest.approx(46 + 6.083, abs=1e-3))
    assert (verdict(twice, found), verdict(twice, wide)) == ("breach", "between")
    assert widened(found, days[:4]) == found
    counted = replace(found, low=None, high=None)
    assert widened(counted, days) == counted
    assert verdict(twice, widened(replace(found, value=52.0, low=51.9), days)) == "breach"
