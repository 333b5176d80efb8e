"""Outcomes and hours of frames → how the service is: errors, throughput, silence, queue, the stages of a pipeline.

Silence is judged by a camera's own habit: of the hours of a day, on working days and on weekends, those in which it
nearly always sent frames over the baseline. What it does in other hours is nobody's alarm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from monitor.drift.compare import ReadyBaseline, with_all_cameras
from monitor.measures import STATUS, share
from monitor.records import ALL, QUIET, Baseline, BaselineHistogram, Histogram, Measurement, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.stats.histogram import quantile
from monitor.watch import HourColumns

HOUR = timedelta(hours=1)
OK = "ok"
LATENCY, QUEUE = "latency_ms", "queue_depth"
ALIKE_DAYS = 4
"""Days of a kind (working days, weekends) from which on a habit can be told."""
_HABIT = 0.95
_QUARTER_FRAMES = 10
"""Frames of a quarter of an hour from which on its mean queue is told."""
_SATURDAY = 5
Place = tuple[str, str]
"""A stage and a camera."""
Hours = Mapping[datetime, int]
"""Frames by hour, of the hours that have any."""


@dataclass(frozen=True, slots=True)
class Habit:
    """When a camera sends: the mean frames of each (weekend, hour) in which it nearly always does, and the most of
    these hours in a row that it has been silent in the baseline."""

    expected: Mapping[tuple[bool, int], float]
    longest: int
    frames: int


@dataclass(frozen=True, slots=True)
class Before:
    """What the baseline knows of the service. `hours` is its length; None of a baseline from images, or of none."""

    outcomes: Mapping[Scope, Mapping[str, int]] = field(default_factory=dict)
    hours: float | None = None
    habits: Mapping[Place, Habit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a window says of the service: histograms by camera, frames by place and hour from a week before the window
    on, and queues by the quarter of an hour."""

    histograms: Mapping[SeriesKey, Histogram]
    by_hour: Mapping[Place, Hours]
    quarters: HourColumns | None


@dataclass(frozen=True, slots=True)
class Told:
    """What measurements of one window bear."""

    window: Window
    known: ReadyBaseline
    contract_hash: str
    stages: Sequence[str]

    def row(self, key: SeriesKey, measure: str, n: int, before: int = 0) -> Measurement:
        """A measurement that has no number yet."""
        state = "insufficient" if n else "no_data"
        number = self.known.baseline_id if before else None
        return Measurement(key, measure, self.window, None, state, n, before, number, self.contract_hash)


def before(
    baseline: Baseline | None,
    rows: Mapping[SeriesKey, BaselineHistogram],
    version: str,
    by_hour: Mapping[Place, Hours],
) -> Before:
    """What a baseline knows, for windows of `version`; `by_hour` are the frames of the baseline's own period."""
    if baseline is None or baseline.period_start is None or baseline.period_end is None:
        return Before()
    period = Window(baseline.period_start, baseline.period_end)
    named = {replace(key, scope=replace(key.scope, version=version)): row.histogram for key, row in rows.items()}
    habits = {place: one for place, hours in by_hour.items() if (one := habit(hours, period)) is not None}
    return Before(outcomes(named), (period.end - period.start) / HOUR, habits)


def outcomes(histograms: Mapping[SeriesKey, Histogram]) -> dict[Scope, dict[str, int]]:
    """Frames by outcome of each scope; `""` are all of them."""
    found: dict[Scope, dict[str, int]] = defaultdict(dict)
    for key, histogram in histograms.items():
        if key.signal == STATUS:
            found[key.scope][key.class_name] = histogram.n
    return dict(found)


def measure(facts: Facts, earlier: Before, told: Told) -> list[Measurement]:
    """Every measurement of the service in one window: by camera and of all cameras, whole and by slice."""
    everywhere = with_all_cameras(facts.histograms)
    now = outcomes(everywhere)
    found: list[Measurement] = []
    for scope in sorted(now.keys() | earlier.outcomes.keys(), key=str):
        found += _service(scope, now.get(scope, {}), earlier, told)
    found += _passed_on(now, earlier.outcomes, told)
    found += _whole_latency(everywhere, told)
    found += _silence(facts.by_hour, earlier, told)
    return found + (_queues(facts.quarters, told) if facts.quarters is not None else [])


def _service(scope: Scope, now: Mapping[str, int], earlier: Before, told: Told) -> Iterator[Measurement]:
    """Errors, as a whole and by kind, and frames an hour."""
    then, hours = earlier.outcomes.get(scope, {}), (told.window.end - told.window.start) / HOUR
    n, n_then = now.get(ALL, 0), then.get(ALL, 0)
    key = SeriesKey(scope, STATUS)
    for kind in (ALL, *sorted((now.keys() | then.keys()) - {ALL, OK})):
        row = told.row(replace(key, class_name=kind), "error_rate", n, n_then)
        if n >= told.known.min_n:
            said = share(_failed(now, kind), n)
            was = _failed(then, kind) / n_then if n_then else None
            row = replace(row, value=said.value, low=said.low, high=said.high, baseline_value=was, state="ok")
        yield row
    pace = told.row(key, "throughput", n, n_then)
    was = n_then / earlier.hours if earlier.hours and n_then else None
    yield replace(pace, value=n / hours, baseline_value=was, state="ok") if n else pace


def _failed(counts: Mapping[str, int], kind: str) -> int:
    return counts.get(kind, 0) if kind else counts.get(ALL, 0) - counts.get(OK, 0)


def _passed_on(
    now: Mapping[Scope, Mapping[str, int]], then: Mapping[Scope, Mapping[str, int]], told: Told
) -> Iterator[Measurement]:
    """Of each stage but the last: the share of its frames that the next one has too."""
    for scope, counts in now.items():
        following = next((b for a, b in pairwise(told.stages) if a == scope.stage), None)
        if following is None:
            continue
        after = replace(scope, stage=following)
        n, old = counts.get(ALL, 0), then.get(scope, {}).get(ALL, 0)
        row = told.row(SeriesKey(scope, STATUS), "passed_on", n, old)
        if n >= told.known.min_n:
            said = share(min(n, now.get(after, {}).get(ALL, 0)), n)
            was = min(1.0, then.get(after, {}).get(ALL, 0) / old) if old else None
            row = replace(row, value=said.value, low=said.low, high=said.high, baseline_value=was, state="ok")
        yield row


def _whole_latency(found: Mapping[SeriesKey, Histogram], told: Told) -> Iterator[Measurement]:
    """Mean time that a frame takes through all stages: what all took together, for each frame at the first one.

    The mean alone: which frames of two stages are one item no record says, and so no quantile can be told.
    """
    if not told.stages:
        return
    known = {key: one.histogram for key, one in told.known.by_key.items() if one.histogram is not None}
    for key in found:
        whole = replace(key, scope=replace(key.scope, stage=ALL))
        if key.signal != LATENCY or key.scope.stage != told.stages[0] or whole in found:
            continue
        n, mean = _through(found, key, told.stages)
        n_then, was = _through(known, key, told.stages)
        row = told.row(whole, "mean", n, n_then)
        if mean is not None and n >= told.known.min_n:
            row = replace(row, value=mean, state="ok", now_mean=mean, baseline_mean=was, baseline_value=was)
        yield row


def _through(
    found: Mapping[SeriesKey, Histogram], first: SeriesKey, stages: Sequence[str]
) -> tuple[int, float | None]:
    """Frames at the first stage, and what all stages took for each of them."""
    one = found.get(first)
    if one is None or not one.n:
        return 0, None
    keys = [replace(first, scope=replace(first.scope, stage=stage)) for stage in stages]
    total = sum(found[key].total for key in keys if key in found)
    return one.n, total / one.n / SIGNALS[LATENCY].scale


def habit(hours: Hours, period: Window) -> Habit | None:
    """The habit that shows in a period of whole hours; None where no hour of the day is one of it."""
    sent: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for at in _each(period):
        sent[_cell(at)].append(hours.get(at, 0))
    expected = {
        cell: sum(counts) / len(counts)
        for cell, counts in sent.items()
        if len(counts) >= ALIKE_DAYS and sum(n > 0 for n in counts) >= _HABIT * len(counts)
    }
    frames = sum(hours.values())
    return Habit(expected, silent_hours(hours, expected, period, period.start), frames) if expected else None


def silent_hours(
    hours: Hours, expected: Mapping[tuple[bool, int], float], period: Window, counted_from: datetime
) -> int:
    """The longest run of silent hours in `period` that lasts into `counted_from` or later; hours in which nothing is
    expected neither end a run nor add to it."""
    run = longest = 0
    for at in _each(period):
        if hours.get(at, 0):
            run = 0
        elif _cell(at) in expected:
            run += 1
            longest = max(longest, run) if at >= counted_from else longest
    return longest


def _each(period: Window) -> Iterator[datetime]:
    return (period.start + i * HOUR for i in range((period.end - period.start) // HOUR))


def _cell(at: datetime) -> tuple[bool, int]:
    return at.weekday() >= _SATURDAY, at.hour


def _silence(by_hour: Mapping[Place, Hours], earlier: Before, told: Told) -> Iterator[Measurement]:
    window, any_scope = told.window, next(iter(earlier.outcomes), None)
    for (stage, camera), habit_of in earlier.habits.items():
        if any_scope is None:
            return
        expected = sum(habit_of.expected.get(_cell(at), 0.0) for at in _each(window))
        scope = Scope(any_scope.model, any_scope.version, stage, camera)
        row = told.row(SeriesKey(scope, STATUS), "silence", round(expected), habit_of.frames)
        if expected >= told.known.min_n:
            since = Window(window.start - QUIET, window.end)
            hours = silent_hours(by_hour.get((stage, camera), {}), habit_of.expected, since, window.start)
            row = replace(row, value=float(hours), baseline_value=float(habit_of.longest), state="ok")
        yield row


def _queues(quarters: HourColumns, told: Told) -> list[Measurement]:
    """The longest queue of each camera and of all, as the mean of a quarter of an hour with frames enough."""
    sums: dict[SeriesKey, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    rows = zip(
        quarters.row_series.tolist(),
        quarters.slot.tolist(),
        quarters.n.tolist(),
        quarters.total.tolist(),
        strict=True,
    )
    for place, slot, n, total in rows:
        own = quarters.series[place]
        for key in (own, replace(own, scope=replace(own.scope, camera=ALL))):
            both = sums[key][slot]
            both[0] += n
            both[1] += total
    edges, scale = SIGNALS[QUEUE].edges.values(), SIGNALS[QUEUE].scale
    found = []
    for key, by_slot in sums.items():
        known = told.known.of(key)
        then = known.histogram if known else None
        peaks = [total / n / scale for n, total in by_slot.values() if n >= _QUARTER_FRAMES]
        row = told.row(key, "peak", sum(n for n, _ in by_slot.values()), then.n if then else 0)
        if peaks and row.n >= told.known.min_n:
            was = quantile(then.counts, edges, 0.99) if then else None
            row = replace(row, value=max(peaks), baseline_value=was, state="ok")
        found.append(row)
    return found
