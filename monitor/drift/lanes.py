"""The calibrated alarms: which streams are watched how, and what they say of hourly histograms.

A lane watches one number of a signal, camera by camera. Daily lanes hold the day against the baseline's season, as a
normal score, and add the scores up; the `shape` lane does so with the PSI; the `override` lane with likelihood ratios
of reviews; fast lanes look at four hours. The limit of the daily lanes is what a camera's budget of false alarms buys
with its days of baseline. Nobody is told before the change is also big enough to matter: the practical floor.

Days run along one axis, the baseline's first; `cameras` is the axis that correlation and the fleet are pooled over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from monitor.records import Floats, Ints
from monitor.stats import fleet, null, rolling, seasonal, sequential, strata
from monitor.stats.divergence import psi, smooth
from monitor.stats.groups import equal_mass_cuts
from monitor.watch import LANES, Lane

BUDGET = 0.08
"""False alarms a camera-month over all of a camera's lanes, unless the contract says otherwise."""
FLEET_BUDGET = 0.08
"""False alarms a month of one group of cameras, over all of its fleet streams."""


OVERRIDE = "override"
"""The lane over reviews, which has no histogram: overrides by band of confidence."""
FIXED_RATES = {"override": 0.02, "fast": 0.004}
"""What the lanes with limits of their own take of the budget, false alarms of one camera in 30 days, in a simulated
plant: 137 in 7,600 camera-months of reviews; none in 740 of fast lanes, so at most 3 / 740 (the rule of three)."""
SHARES = ("below", "above")
"""Probes that are shares of a histogram, watched on the arcsine scale."""
WEEK = 7
"""Known days whose mean score says whether a stream is calm."""


@dataclass(frozen=True, slots=True)
class Series:
    """One signal of some cameras: counts [cameras, days, 24, bins] and the value that stands for each bin [bins].

    For `class_share` the bins are the classes, named by `names`, and the values are not looked at.
    """

    counts: Ints
    values: Floats
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are weekend [days], and how many of them, the first ones, are the baseline."""

    weekend: Ints
    baseline: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One lane (of one class) by camera and day.

    `z` [cameras, days] is on the scale of independent normal days; `effect` [cameras, days] in the lane's unit,
    signed, NaN without verdict; `m` [cameras] the days of baseline that count; `variance` the long-run one, pooled.
    `fast` holds the four-hour scores [cameras, days, 24] of lanes that have them, 0 where the floor is not reached.
    `level` [cameras, days] is what the season expects of the day's hours, in the number's own unit; a shape has none.
    """

    lane: Lane
    class_name: str
    z: Floats
    effect: Floats
    m: Floats
    variance: float
    fast: Floats | None = None
    level: Floats | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a lane says: `alarm` [cameras, days] is +1, -1 or 0; `limit` [cameras]; `path` the sums behind it."""

    stream: Stream
    limit: Floats
    path: sequential.Path
    alarm: Ints
    fast: Ints


def streams(series: Mapping[str, Series], calendar: Calendar, lanes: Sequence[Lane] = ()) -> list[Stream]:
    """All streams of the signals at hand, of `lanes` or else of `LANES`, in their order."""
    found = []
    for lane in lanes or LANES.values():
        if lane.signal in series:
            found += _streams(lane, series[lane.signal], calendar)
    return found


def _streams(lane: Lane, series: Series, calendar: Calendar) -> list[Stream]:
    if lane.probe == "shape":
        return [_shape(lane, series, calendar)]
    if lane.probe == "classes":
        n = series.counts.sum(axis=-1)
        hourly = [seasonal.shares(series.counts[..., i], n) for i in range(series.counts.shape[-1])]
        return [stream_of(lane, h, calendar, name) for h, name in zip(hourly, series.names, strict=True)]
    return [stream_of(lane, probe(lane, series, calendar.baseline), calendar)]


def probe(lane: Lane, series: Series, baseline: int) -> seasonal.Hourly:
    """The number that a daily lane watches, by the hour [cameras, days, 24]: all that it needs of a histogram.

    Not for `classes` (one stream a class, see `seasonal.shares`) and `shape` (which needs the histograms themselves).
    """
    past = series.counts[:, :baseline].sum(axis=(1, 2))
    counted = marks(lane, series.values, past)
    if lane.probe not in SHARES:
        return seasonal.means(series.counts, counted[0])
    hits = np.einsum("cdhb,cb->cdh", series.counts, counted.astype(np.int64))
    return seasonal.shares(hits, series.counts.sum(axis=-1))


def marks(lane: Lane, values: Floats, past: Ints) -> Floats:
    """What a value in each bin counts for in the sum behind a lane's number, [cameras, bins].

    `values` [bins] stand for the bins; `past` [cameras, bins] are the counts of the baseline, which say where the
    quantile of an `above` lane lies.
    """
    if lane.probe == "above":
        mass = np.cumsum(past, axis=-1)
        chosen = mass > lane.at * mass[:, -1:]
        return np.concatenate((np.zeros_like(chosen[:, :1]), chosen[:, :-1]), axis=-1).astype(np.float64)
    each = values
    if lane.probe == "log_mean":
        each = np.log(values)
    elif lane.probe == "log1p_mean":
        each = np.log1p(np.floor(values))
    elif lane.probe == "below":
        each = (values < lane.at).astype(np.float64)
    return np.broadcast_to(each, past.shape)


def stream_of(lane: Lane, hourly: seasonal.Hourly, calendar: Calendar, class_name: str = "") -> Stream:
    """A daily lane's stream from its hourly numbers: the season, the scores, the long-run scale, the effect."""
    of_shares = lane.probe in ("classes", *SHARES)
    if of_shares:
        hourly = seasonal.evened(hourly, calendar.weekend, calendar.baseline)
    days = seasonal.deviations(hourly, calendar.weekend, calendar.baseline)
    known = null.usual(days.steady, calendar.baseline)
    z = null.scores(days.steady, known, centre=False)
    variance = sequential.long_run_variance(days.steady, calendar.baseline)
    z = sequential.long_run(z, variance, known.m)
    effect, level = days.deviation, days.level
    if of_shares:
        effect, level = seasonal.share_moved(days.level, days.deviation), np.sin(days.level) ** 2
    elif lane.unit == "relative":
        effect = days.deviation / np.abs(days.level)
    fast = _fast(lane, hourly, calendar) if lane.fast else None
    return Stream(lane, class_name, z, effect, known.m, variance, fast, level)


def _fast(lane: Lane, hourly: seasonal.Hourly, calendar: Calendar) -> Floats:
    hours = rolling.fast(hourly, calendar.weekend, calendar.baseline)
    moved = np.abs(hours.moved / hours.level) if lane.unit == "relative" else np.abs(hours.moved)
    return np.where(moved >= lane.floor, hours.score, 0.0)


def _shape(lane: Lane, series: Series, calendar: Calendar) -> Stream:
    grouped = []
    for counts in series.counts:
        cuts = equal_mass_cuts(counts[: calendar.baseline].sum(axis=(0, 1)))
        grouped.append(np.add.reduceat(counts, np.concatenate(([0], cuts[:-1] + 1)), axis=-1))
    return shape_of(lane, grouped, calendar)


def shape_of(lane: Lane, grouped: Sequence[Ints], calendar: Calendar) -> Stream:
    """The `shape` lane's stream from each camera's counts by group [days, 24, groups], groups being cut as the
    baseline's histogram is."""
    value = np.full((len(grouped), calendar.weekend.size), np.nan)
    for camera, groups in enumerate(grouped):
        total = groups[: calendar.baseline].sum()
        usual = seasonal.expected_shares(groups, calendar.weekend, calendar.baseline)
        for day in np.flatnonzero(np.isfinite(usual[:, 0]) & (groups.sum(axis=(1, 2)) > 0)):
            value[camera, day] = psi(smooth(groups[day].sum(axis=0)), smooth(usual[day] * total))
    n = np.stack([groups.sum(axis=(1, 2)) for groups in grouped])
    z = null.divergence_scores(value, n, calendar.baseline)
    m = np.isfinite(z[:, : calendar.baseline]).sum(axis=1).astype(np.float64)
    variance = sequential.long_run_variance(z, calendar.baseline)
    return Stream(lane, "", sequential.long_run(z, variance, m), value, m, variance)


def limits(found: Sequence[Stream], budget: float = BUDGET, with_override: bool = True) -> Floats:
    """The limit of the daily lanes of each camera [cameras]: what its streams and baseline days make of the budget.

    Only streams that are judged count: those with at least 14 days of baseline. A `shape` stream counts as a whole
    one although it looks one way only: neighbouring days are alike, so that production lies a little further from the
    season than the baseline's own days do, and its false alarms come out near those of two sides.
    """
    fixed = FIXED_RATES["override"] * with_override
    fixed += FIXED_RATES["fast"] * any(stream.fast is not None for stream in found)
    bought: dict[tuple[float, ...], float] = {}
    answer = []
    for m in np.stack([stream.m for stream in found], axis=-1):
        days = tuple(sorted(m[m >= sequential.SMALLEST_BASELINE].tolist()))
        if days not in bought:
            bought[days] = sequential.limit_for(budget, days, fixed)
        answer.append(bought[days])
    return np.array(answer)


def recent(values: Floats, days: int = WEEK) -> Floats:
    """The mean of the last `days` known values along the last axis, NaN before the first."""
    answer = np.full_like(values, np.nan)
    last = np.full((*values.shape[:-1], days), np.nan)
    for t in range(values.shape[-1]):
        new = np.concatenate((last[..., 1:], values[..., t, None]), axis=-1)
        last = np.where(np.isfinite(values[..., t, None]), new, last)
        count = np.isfinite(last).sum(axis=-1)
        answer[..., t] = np.where(count > 0, np.nansum(last, axis=-1) / np.maximum(count, 1), np.nan)
    return answer


def on(stream: Stream, first: int, end: int | None = None) -> Stream:
    """The days of a stream from `first` on, up to `end`."""
    days = slice(first, end)
    fast, level = (None if part is None else part[:, days] for part in (stream.fast, stream.level))
    return replace(stream, z=stream.z[:, days], effect=stream.effect[:, days], fast=fast, level=level)


def of(stream: Stream, cameras: Sequence[int]) -> Stream:
    """The cameras of a stream at these places."""
    own = list(cameras)
    fast, level = (None if part is None else part[own] for part in (stream.fast, stream.level))
    return replace(stream, z=stream.z[own], effect=stream.effect[own], m=stream.m[own], fast=fast, level=level)


def decide(stream: Stream, limit: Floats, baseline: int, start: sequential.Sums | None = None) -> Verdict:
    """What a stream's days after the baseline say; the arrays of the verdict are over all days, silent before.

    Under 14 days of baseline a stream is learnt and stays silent. `start`: where the sums stood before the first day.
    """
    learnt = (stream.m >= sequential.SMALLEST_BASELINE)[:, None]
    judged = (np.arange(stream.z.shape[-1]) >= baseline) & learnt
    live = np.where(judged, stream.z, np.nan)
    path = sequential.cusum(
        live,
        limit,
        effect=stream.effect,
        floor=stream.lane.floor,
        one_sided=stream.lane.probe == "shape",
        start=start,
    )
    fast = np.zeros(live.shape, dtype=np.int64)
    if stream.fast is not None:
        hit = np.where(np.abs(stream.fast) > rolling.LIMIT, stream.fast, 0.0)
        fast = np.where(judged, np.sign(hit.sum(axis=-1)), 0).astype(np.int64)
    return Verdict(stream, limit, path, path.alarm.astype(np.int64), fast)


def calm(stream: Stream) -> npt.NDArray[np.bool_]:
    """Whether the mean of a stream's last seven known days lies within ±1 sd, [cameras, days]; without any: no."""
    return np.abs(recent(stream.z)) <= 1


def onset_of(verdict: Verdict, camera: int, day: int, baseline: int) -> sequential.Onset:
    """Where the change that alarmed on `day` most likely began; a fast alarm's began that day, as a step."""
    sign = int(verdict.alarm[camera, day])
    if sign == 0:
        return sequential.Onset(day, "step", float(verdict.fast[camera, day]) * rolling.LIMIT)
    return sequential.onset(verdict.stream.z[camera], day, sign, first=baseline)


def decide_fleet(found: Sequence[Stream], baseline: int, budget: float = FLEET_BUDGET) -> list[Verdict]:
    """The verdicts of a group of cameras as one: each stream's median camera, with one limit for the whole group.

    Arrays are [1, days]. A group of fewer than three cameras has none.
    """
    merged = fleet_streams(found, baseline)
    if not merged:
        return []
    limit = limits(merged, budget, with_override=False)
    return [decide(stream, limit, baseline) for stream in merged]


def fleet_streams(found: Sequence[Stream], baseline: int) -> list[Stream]:
    """Each stream's median camera as a stream of one; none for fewer than three cameras."""
    if not found or found[0].m.size < fleet.SMALLEST:
        return []
    return [_merged(stream, baseline) for stream in found]


def _merged(stream: Stream, baseline: int) -> Stream:
    z = fleet.stream(stream.z, baseline)[None]
    m = np.isfinite(z[:, :baseline]).sum(axis=1).astype(float)
    effect = null.nanmedian(stream.effect.T)[None]
    z = sequential.long_run(z, stream.variance, m)
    return Stream(stream.lane, stream.class_name, z, effect, m, stream.variance)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the override lane says of some cameras: `path` over [cameras, days], `p` the past rates by band."""

    path: strata.Path
    p: Floats
    dispersion: float


def decide_overrides(reviewed: Ints, overridden: Ints, baseline: int) -> Overrides:
    """The override lane over daily counts [cameras, days, bands]; its sum starts on the first day after the baseline.

    Needs no least number of days: a camera without reviews of its own is held against the fleet's.
    """
    steps, p, spread = override_steps(reviewed, overridden, baseline)
    steps[:, :baseline] = np.nan
    return Overrides(strata.shiryaev_roberts(steps), p, spread)


def override_steps(reviewed: Ints, overridden: Ints, baseline: int) -> tuple[Floats, Floats, float]:
    """What each day adds to the sum [cameras, days], the past rates by band, and their dispersion."""
    past_x, past_n = overridden[:, :baseline], reviewed[:, :baseline]
    p = strata.rates(past_x.sum(axis=1), past_n.sum(axis=1))
    spread = strata.dispersion(past_x, past_n, p)
    return strata.increments(overridden, reviewed, p, spread), p, spread
