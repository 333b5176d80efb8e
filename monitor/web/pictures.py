"""Numbers → the geometry of small pictures. No markup here: the templates draw (and escape) what these say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from monitor.records import Floats, Histogram, Ints, Window
from monitor.signals import Edges

WIDTH, HEIGHT = 320, 110
LINE_WIDTH, LINE_HEIGHT = 220, 48
CHART_WIDTH, CHART_HEIGHT = 600, 140
_MOST_COLUMNS = 32
_TAIL = 0.001
_PAD = 4


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram now, and the baseline's outline over it; both as shares of their own whole, on one scale.

    Paths are SVG path data in a field of WIDTH × HEIGHT; empty where that histogram has no values.
    """

    now_path: str
    baseline_path: str
    low: str
    high: str
    highest_share: float
    """What the full height stands for: the share of the highest column."""


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity over time in a field of LINE_WIDTH × LINE_HEIGHT; a window without a value breaks the line."""

    path: str
    dots: tuple[tuple[float, float], ...]
    """Values that stand alone between two gaps: no line would show them."""
    level_y: float | None
    """Height of the dashed level (a baseline's mean, a threshold)."""
    last: float | None
    lowest: float | None
    highest: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One named line of a chart. `kind`: `now`, or `baseline` or `threshold`, which others are held against."""

    name: str
    kind: str
    path: str
    dots: tuple[tuple[float, float], ...]
    last: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: where it lies in the field, and what it was."""

    x: float
    at: datetime
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Several quantities on one scale over one period, in a field of CHART_WIDTH × CHART_HEIGHT."""

    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]
    period: Window
    low: float
    high: float


def chart(
    named: Sequence[tuple[str, str, Sequence[tuple[datetime, float | None]]]],
    period: Window,
    events: Sequence[tuple[datetime, str]] = (),
) -> Chart:
    """Lines (name, kind, points in time order) drawn over `period`, with a mark for each event within it.

    A line is broken where its points lie more than twice their usual distance apart.
    """
    values = [value for _, _, points in named for _, value in points if value is not None]
    low, high = span(values)
    low = 0.0 if values and low < 0 <= min(values) else low
    field = _Field(CHART_WIDTH, CHART_HEIGHT, period, low, high)
    curves = []
    for name, kind, points in named:
        runs = field.runs(points, _usual_step(points))
        known = [value for _, value in points if value is not None]
        curves.append(Curve(name, kind, _path(runs), _dots(runs), known[-1] if known else None))
    marks = [Mark(field.x(at), at, said) for at, said in events if period.start <= at < period.end]
    return Chart(tuple(curves), tuple(marks), period, low, high)


def distribution(edges: Edges, now: Histogram | None, baseline: Histogram | None) -> Distribution | None:
    """The picture of up to 32 columns over the range that holds all but the outermost thousandth of either; None if
    both are empty.

    Fine bins are added up into columns of equal numbers of bins; under- and overflow go into the outermost columns.
    """
    shares = [_shares(one) for one in (now, baseline)]
    if all(one is None for one in shares):
        return None
    first, last = _visible(edges, [one for one in shares if one is not None])
    step = -(-(last - first) // _MOST_COLUMNS)
    columns = -(-(last - first) // step)
    first = max(0, min(first, edges.count - columns * step))
    heights = [None if one is None else _columns(one, first, step, columns) for one in shares]
    highest = max(float(one.max()) for one in heights if one is not None)
    values = edges.values()
    return Distribution(
        now_path="" if heights[0] is None else _steps(heights[0] / highest, closed=True),
        baseline_path="" if heights[1] is None else _steps(heights[1] / highest, closed=False),
        low=_short(values[first]),
        high=_short(values[min(edges.count, first + columns * step)]),
        highest_share=highest,
    )


def line(
    points: Sequence[tuple[datetime, float | None]],
    period: Window,
    low: float,
    high: float,
    level: float | None = None,
) -> Line:
    """`points` in time order drawn over `period`, with `low` to `high` as the field's height."""
    field = _Field(LINE_WIDTH, LINE_HEIGHT, period, low, high)
    runs = field.runs(points)
    known = [value for _, value in points if value is not None]
    return Line(
        path=_path(runs),
        dots=_dots(runs),
        level_y=None if level is None else field.y(level),
        last=known[-1] if known else None,
        lowest=min(known, default=None),
        highest=max(known, default=None),
    )


def span(values: Sequence[float], *, floor: float | None = None) -> tuple[float, float]:
    """A range that holds `values` with a little room (`floor`: its lower end), never of width zero."""
    if not values:
        return (0.0, 1.0) if floor is None else (floor, floor + 1.0)
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    return (low - room if floor is None else floor, high + room)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of `width` × `height` that stands for a period and for the values from `low` to `high`."""

    width: int
    height: int
    period: Window
    low: float
    high: float

    def x(self, at: datetime) -> float:
        share = (at - self.period.start) / (self.period.end - self.period.start)
        return round(_PAD + share * (self.width - 2 * _PAD), 1)

    def y(self, value: float) -> float:
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return round(self.height - _PAD - share * (self.height - 2 * _PAD), 1)

    def runs(
        self, points: Sequence[tuple[datetime, float | None]], longest: timedelta | None = None
    ) -> list[list[tuple[float, float]]]:
        """Points without a gap between them; a gap is a point without a value, or more than `longest`."""
        runs: list[list[tuple[float, float]]] = [[]]
        before: datetime | None = None
        for at, value in points:
            if value is None or (longest is not None and before is not None and at - before > longest):
                runs.append([])
            if value is not None:
                runs[-1].append((self.x(at), self.y(value)))
                before = at
        return runs


def _usual_step(points: Sequence[tuple[datetime, float | None]]) -> timedelta | None:
    """Twice the median distance of neighbours, and a little; None where there are too few to say."""
    times = [at for at, value in points if value is not None]
    steps = sorted(later - earlier for earlier, later in pairwise(times))
    return steps[len(steps) // 2] * 2.1 if len(steps) > 1 else None


def _path(runs: Sequence[Sequence[tuple[float, float]]]) -> str:
    return " ".join("M" + " L".join(f"{x:g},{y:g}" for x, y in run) for run in runs if len(run) > 1)


def _dots(runs: Sequence[Sequence[tuple[float, float]]]) -> tuple[tuple[float, float], ...]:
    return tuple(run[0] for run in runs if len(run) == 1)


def _shares(histogram: Histogram | None) -> Floats | None:
    if histogram is None or histogram.counts.sum() <= 0:
        return None
    return histogram.counts / float(histogram.counts.sum())


def _visible(edges: Edges, shares: Sequence[Floats]) -> tuple[int, int]:
    """First and last (exclusive) of the inner bins, 0-based, that hold all but the tails."""
    masses = [np.cumsum(one) for one in shares]
    first = min(int(np.searchsorted(mass, _TAIL)) for mass in masses) - 2
    last = max(int(np.searchsorted(mass, 1 - _TAIL)) for mass in masses) + 1
    return max(0, min(first, edges.count - 1)), min(edges.count, max(last, 1))


def _columns(shares: Floats, first: int, step: int, columns: int) -> Floats:
    """Shares of the columns; what lies outside the visible range is in the outermost ones."""
    inner: Ints = np.arange(shares.size) - 1
    place = np.clip((inner - first) // step, 0, columns - 1)
    heights: Floats = np.bincount(place, weights=shares, minlength=columns).astype(np.float64)
    return heights


def _steps(heights: Floats, *, closed: bool) -> str:
    width = WIDTH / heights.size
    path = [f"M0,{HEIGHT}"]
    for place, share in enumerate(heights):
        y = round(HEIGHT - float(share) * (HEIGHT - 2), 1)
        path.append(f"V{y:g}H{(place + 1) * width:.1f}")
    path.append(f"V{HEIGHT}")
    return "".join(path) + ("Z" if closed else "")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
