"""Explanations: what the words and the picture say of streams whose change is known."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.drift import history, lanes
from monitor.drift.explain import Explanation, amount, bin_names, explain, in_words, parts, plain
from monitor.drift.portrait import portrait
from monitor.signals import SIGNALS
from monitor.stats import null
from monitor.watch import LANES

FIRST = date(2026, 3, 2)
BASELINE, DAYS, CHANGED = 28, 50, 38
EDGES = SIGNALS["brightness"].edges
CUTS = [100, 115, 120, 125, 257]
SVG = "{http://www.w3.org/2000/svg}"


def explained(
    size: float = -6.0, ramp: float = 0.0, day: int = DAYS - 1, name: str = "brightness_mean"
) -> Explanation:
    """Three cameras; the second one's grey level moves by `size` at once, or by `ramp` a day."""
    draw = np.random.default_rng(7)
    level = 120 + draw.normal(0, 0.6, (3, DAYS))
    since = np.maximum(0, np.arange(DAYS) - CHANGED + 1)
    level[1] += np.where(since > 0, size, 0) + ramp * since
    values = level[..., None, None] + draw.normal(0, 8, (3, DAYS, 24, 40))
    counts = np.zeros((3, DAYS, 24, EDGES.count + 2), dtype=np.int64)
    np.add.at(counts, (*np.indices(values.shape)[:3], EDGES.bin_of(values)), 1)
    calendar = history.calendar(FIRST, DAYS, BASELINE)
    (stream,) = lanes.streams({"brightness": lanes.Series(counts, EDGES.middles())}, calendar, [LANES[name]])
    verdict = lanes.decide(stream, np.full(3, 5.0), BASELINE)
    starts = [0, *(cut + 1 for cut in CUTS[:-1])]
    groups = np.add.reduceat(counts[1], starts, axis=-1)
    return explain(verdict, 1, "cam-1", FIRST, calendar, day, groups, bin_names(EDGES, CUTS))


def test_a_step_is_told_with_its_day_its_size_and_its_direction() -> None:
    first = next(day for day in range(CHANGED, DAYS) if explained(day=day).alarm)
    said = explained(day=first)
    assert (said.alarm, said.sign, said.n, said.m) == (-1, -1, 960, BASELINE)
    assert first - CHANGED <= 3
    assert abs((said.began - FIRST).days - CHANGED) <= 1
    assert said.onset.shape == "step"
    assert said.effect == pytest.approx(-6 / 120, abs=0.012)
    assert said.level == pytest.approx(120, abs=0.5)
    assert said.now == pytest.approx(114, abs=1.5)
    assert said.band.low < 0 < said.band.high
    assert said.effect < said.band.low
    assert said.path.days[0] == FIRST + timedelta(days=BASELINE)
    assert len(said.path.days) == first - BASELINE + 1


def test_a_ramp_is_called_one() -> None:
    day = next(day for day in range(DAYS - 1, CHANGED, -1) if explained(size=0, ramp=-0.4, day=day).alarm)
    said = explained(size=0, ramp=-0.4, day=day)
    assert said.onset.shape == "ramp"
    assert said.onset.size < 0
    assert abs((said.began - FIRST).days - CHANGED) <= 3
    assert f"as a ramp of {said.onset.size:+.2f} sd a day" in " ".join(in_words(said).split())


def test_the_words_fit_a_terminal_and_say_what_was_decided() -> None:
    text = in_words(explained(day=CHANGED + 3))
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("brightness_mean on cam-1, 2026-04-12")
    for said in ("was expected", "An ordinary day", "the limit is 5.00", "most likely began on", "reaches the floor"):
        assert said in " ".join(text.split()), said
    assert "under 119" not in text
    assert " points" in text


def test_a_quiet_day_is_explained_too() -> None:
    said = explained(size=0.0)
    assert said.alarm == 0
    text = " ".join(in_words(said).split())
    assert "no alarm" in text
    assert "does not reach the floor" in text or "The sums: 0.00 up, 0.00 down" in text


def test_a_shape_has_a_one_sided_band_and_no_level() -> None:
    said = explained(name="brightness_mean")
    lane = LANES["confidence_shape"]
    assert said.level is not None
    assert amount(0.123, lane) == "0.123"
    known = null.band([0.01, 0.02, 0.04, 0.02], log=True)
    # ln: -4.605, -3.912, -3.219, -3.912: mean -3.912, sd 0.566; t(0.99, 3) = 4.541; sqrt(1 + 1/4) = 1.118.
    assert known.high == pytest.approx(math.exp(-3.912 + 4.541 * 0.566 * 1.118), rel=1e-3)
    assert (known.median, known.low) == (0.02, 0.0)


def test_a_band_worked_by_hand() -> None:
    # Mean 2, sd 1, three days: t(0.995, 2) = 9.925, sqrt(1 + 1/3) = 1.1547.
    known = null.band([1.0, math.nan, 2.0, 3.0])
    assert (known.median, known.high) == (2.0, pytest.approx(2 + 9.925 * 1.1547, rel=1e-3))
    assert known.high - 2 == pytest.approx(2 - known.low)
    assert math.isnan(null.band([1.0, 2.0]).high)
    with pytest.raises(ValueError, match="between 0 and 1"):
        null.band([1.0, 2.0, 3.0], level=1.0)


@settings(max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.integers(10, 40))
def test_a_band_holds_about_99_of_100_further_days(seed: int, days: int) -> None:
    draw = np.random.default_rng(seed)
    held = [null.band(draw.normal(5, 2, days)) for _ in range(100)]
    further = draw.normal(5, 2, 100)
    assert sum(band.low <= x <= band.high for band, x in zip(held, further, strict=True)) >= 94


def test_parts_are_shares_of_the_same_hours() -> None:
    # Frames of one kind by day and of the other by night; the later day has a night alone, and nothing moved.
    groups = np.zeros((22, 24, 2), dtype=np.int64)
    groups[:, :12, 0] = groups[:, 12:, 1] = 50
    groups[21, :12] = 0
    calendar = history.calendar(FIRST, 22, 21)
    kinds = parts(groups, ["a", "b"], calendar, 21, 21)
    assert [(p.name, round(p.before, 6), round(p.now, 6)) for p in kinds] == [("a", 0.0, 0.0), ("b", 1.0, 1.0)]
    assert parts(np.zeros_like(groups), ["a", "b"], calendar, 21, 21) == ()


def test_groups_of_bins_are_called_by_their_values() -> None:
    assert bin_names(EDGES, CUTS) == ["under 100", "100 to 115", "115 to 120", "120 to 125", "125 and over"]


@pytest.mark.parametrize(
    ("lane", "value", "amounted", "said"),
    [
        ("brightness_mean", 0.098, "+9.8 %", "0.098"),
        ("class_share", 0.031, "+3.1 points", "3.1 %"),
        ("latency_mean", 3.0, "+3 ln ms", "20.09 ms"),
        ("detections_mean", 1.0, "+1 ln", "1.718"),
        ("confidence_mean", 0.02, "+0.02", "0.02"),
    ],
)
def test_numbers_are_in_units_that_people_know(lane: str, value: float, amounted: str, said: str) -> None:
    assert amount(value, LANES[lane]) == amounted
    assert plain(value, LANES[lane]) == said


@pytest.mark.parametrize(
    "said", [explained(), explained(size=0.0), explained(day=BASELINE)], ids=["step", "quiet", "first"]
)
def test_the_picture_is_svg_that_a_strict_page_may_hold(said: Any) -> None:
    drawn = ElementTree.fromstring(portrait(said))
    assert {node.tag.removeprefix(SVG) for node in drawn.iter()} <= {
        "svg", "title", "desc", "text", "path", "rect", "circle"
    }  # fmt: skip
    assert all("style" not in node.attrib and "href" not in node.attrib for node in drawn.iter())
    width, height = (float(v) for v in drawn.attrib["viewBox"].split()[2:])
    for bar in drawn.iter(f"{SVG}rect"):
        assert 0 <= float(bar.attrib["x"]) <= width
        assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= height
    alarms = int((said.path.alarm != 0).sum())
    assert len(list(drawn.iter(f"{SVG}circle"))) == 2 * alarms
    assert "cam-1" in (drawn.findtext(f"{SVG}title") or "")
