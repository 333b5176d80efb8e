"""The geometry of the small pictures: what is drawn is what was counted."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.records import Histogram, Window
from monitor.signals import SIGNALS
from monitor.web import pictures

UNIT = SIGNALS["confidence"].edges
START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = Window(START, START + timedelta(days=10))


def histogram(values: list[float]) -> Histogram:
    counts = np.zeros(UNIT.count + 2, dtype=np.int64)
    np.add.at(counts, UNIT.bin_of(np.array(values)), 1)
    return Histogram(UNIT.id, counts, len(values), len(values), 0)


def heights(path: str) -> list[float]:
    """The columns' heights in a path, as shares of the field: read back from the text alone."""
    tops = [float(y) for y in re.findall(r"V([\d.]+)H", path)]
    return [(pictures.HEIGHT - y) / (pictures.HEIGHT - 2) for y in tops]


def test_nothing_to_draw():
    assert pictures.distribution(UNIT, None, None) is None
    assert pictures.distribution(UNIT, histogram([]), histogram([])) is None


def test_two_equal_columns_and_one_of_half_the_height():
    drawn = pictures.distribution(UNIT, histogram([0.505] * 2 + [0.515] * 2 + [0.525]), None)
    assert drawn is not None
    assert [h for h in heights(drawn.now_path) if h > 0] == pytest.approx([1, 1, 0.5], abs=0.01)
    assert drawn.highest_share == pytest.approx(0.4)
    assert drawn.baseline_path == ""


def test_both_are_drawn_on_one_scale_as_shares_of_their_own_whole():
    drawn = pictures.distribution(UNIT, histogram([0.5] * 30), histogram([0.5] * 500 + [0.7] * 500))
    assert drawn is not None
    assert max(heights(drawn.now_path)) == pytest.approx(1, abs=0.01)
    assert max(heights(drawn.baseline_path)) == pytest.approx(0.5, abs=0.01)
    assert drawn.now_path.endswith("Z")
    assert not drawn.baseline_path.endswith("Z")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=60),
    st.lists(st.floats(-0.5, 1.5), max_size=60),
)
def test_columns_sum_to_the_whole_whatever_lies_outside(now, before):
    drawn = pictures.distribution(UNIT, histogram(now), histogram(before))
    assert drawn is not None
    for path, values in ((drawn.now_path, now), (drawn.baseline_path, before)):
        if values:
            columns = heights(path)
            assert len(columns) <= 32
            assert sum(columns) * drawn.highest_share == pytest.approx(1, abs=0.01 * len(columns))


def test_a_line_breaks_at_a_gap_and_keeps_single_values_as_dots():
    values = [0.0, 1.0, None, 0.5, None, 1.0, 0.0]
    points = [(START + timedelta(days=day), value) for day, value in enumerate(values)]
    line = pictures.line(points, PERIOD, 0.0, 1.0, level=0.5)
    assert line.path.count("M") == 2
    assert len(line.dots) == 1
    assert line.dots[0][1] == line.level_y == pictures.LINE_HEIGHT / 2
    assert (line.lowest, line.highest, line.last) == (0.0, 1.0, 0.0)


def test_later_is_further_right_and_more_is_higher():
    line = pictures.line([(START, 1.0), (START + timedelta(days=10), 3.0)], PERIOD, 1.0, 3.0)
    (x0, y0), (x1, y1) = (tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", line.path))
    assert (x0, x1) == (4, pictures.LINE_WIDTH - 4)
    assert (y0, y1) == (pictures.LINE_HEIGHT - 4, 4)


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_a_span_holds_its_values_and_is_never_flat(values):
    low, high = pictures.span(values)
    assert low < high
    assert all(low <= value <= high for value in values)


def test_a_chart_has_one_scale_marks_what_happened_and_breaks_where_nothing_came():
    def at(day: float) -> datetime:
        return START + timedelta(days=day)

    low = [(at(day), 1.0) for day in (0, 1, 2, 5, 6)]
    drawn = pictures.chart(
        [("now", "now", low), ("limit", "threshold", [(at(0), 3.0), (at(10), 3.0)])],
        PERIOD,
        [(at(5), "v2"), (at(11), "v3"), (at(-1), "v1")],
    )
    assert (drawn.low <= 1.0, drawn.high >= 3.0) == (True, True)
    now, limit = drawn.curves
    assert now.path.count("M") == 2, "three days without a point break the line"
    assert (now.last, limit.last, limit.kind) == (1.0, 3.0, "threshold")
    (mark,) = drawn.marks
    assert (mark.said, mark.x) == ("v2", pictures.CHART_WIDTH / 2)
    heights = [float(y) for path in (now.path, limit.path) for _, y in re.findall(r"([\d.]+),([\d.]+)", path)]
    assert max(heights[:5]) > min(heights[5:]), "more is higher"


def test_a_chart_of_shares_begins_at_zero_and_not_below():
    drawn = pictures.chart([("share", "now", [(START, 0.0), (START + timedelta(days=1), 0.2)])], PERIOD)
    assert drawn.low == 0.0
