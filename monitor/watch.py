"""Nouns of the watch over cameras: the lanes, as data, and the hours that they are read from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from monitor.records import Floats, Ints, SeriesKey


@dataclass(frozen=True, slots=True)
class Lane:
    """One way of watching a signal.

    `probe` says which number: `mean`, `log_mean`, `log1p_mean`, `below` (share of values under `at`), `above` (share
    above the baseline's `at` quantile), `classes` (the share of each class), `shape` (PSI of the whole histogram);
    `peak` (the largest quarter of an hour) and `bands` (reviews by band of confidence) have ways of their own.
    `floor` is the smallest change worth telling, in `unit`: `relative` to the level, or in the probe's own units.
    `fast` lanes also look at four hours.
    """

    name: str
    signal: str
    probe: str
    floor: float
    unit: str
    help: str
    at: float = 0.0
    fast: bool = False


LANES: dict[str, Lane] = {
    lane.name: lane
    for lane in (
        Lane("brightness_mean", "brightness", "mean", 0.02, "relative", "mean grey level of the frames", fast=True),
        Lane("sharpness_mean", "sharpness", "mean", 0.05, "ln variance", "mean sharpness of the frames", fast=True),
        Lane("confidence_mean", "confidence", "mean", 0.01, "confidence", "mean confidence of detections", fast=True),
        Lane("confidence_low", "confidence", "below", 0.01, "share", "share of detections under 0.5", at=0.5),
        Lane("confidence_shape", "confidence", "shape", 0.0, "PSI", "form of the histogram of confidence"),
        Lane("detections_mean", "detections", "log1p_mean", 0.05, "ln", "detections a frame, log1p", fast=True),
        Lane("latency_mean", "latency_ms", "log_mean", 0.05, "ln ms", "geometric mean of the latency", fast=True),
        Lane("latency_tail", "latency_ms", "above", 0.03, "share", "share above the baseline's p95", at=0.95),
        Lane("class_share", "class_share", "classes", 0.03, "share", "share of each class among detections"),
    )
}
"""Every lane that holds a day against the season of its hours, by name."""
APART: dict[str, Lane] = {
    lane.name: lane
    for lane in (
        Lane("queue_peak", "queue_depth", "peak", 1.0, "frames", "longest queue, over a quarter of an hour"),
        Lane("override", "override", "bands", 0.0, "share", "share of the reviewed detections that people overrode"),
    )
}
"""The lanes with ways of their own: a queue against its own history, reviews against those of the past."""
ALL_LANES = LANES | APART


@dataclass(slots=True)
class HourColumns:
    """r roll-up rows as they are read back; rows of one series and slot (spans since `EPOCH`) add up. Series by class
    have no cells; the rest is as in `RollupColumns`."""

    series: list[SeriesKey]
    row_series: Ints
    slot: Ints
    n: Ints
    total: Ints
    cells: Ints
    bins: Ints
    counts: Ints


@dataclass(frozen=True, slots=True)
class Reading:
    """How one lane, of one class (`""`: the whole), is read on one camera; frozen with the baseline.

    `recipe` is the one that the baseline's values were read under. `cuts`: the last fine bin of each group of a
    `shape`; the first bin that counts of an `above`; else empty.
    """

    stage: str
    lane: str
    class_name: str
    camera: str
    recipe: str
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """A reading's days by the hour: `n` values [days, 24] and the watched number `x`, [days, 24]; of a `shape` the
    counts by group, [days, 24, groups]. x is ignored where n is 0."""

    reading: Reading
    n: Floats
    x: Floats
    """Of a `peak` the means of each hour's quarters, [days, 24, 4], NaN where unknown."""

    def cut(self, days: int) -> Numbers:
        """The first `days` days."""
        return Numbers(self.reading, self.n[:days], self.x[:days])


Path = tuple[str, ...]
"""Where something hangs, from the widest to the narrowest name: site, group or line, camera; () is everything."""

GROUP = "__group__"
"""The slice under which a group of cameras is measured; its value is the `label` of the group's path."""

Z, EFFECT, ALARM, FAST = "z", "effect", "alarm", "fast"
UP, DOWN, RUN_UP, RUN_DOWN = "cusum_up", "cusum_down", "run_up", "run_down"
WATCH_MEASURES: dict[str, str] = {
    Z: "the day as a normal score against the season, on the scale of independent days",
    EFFECT: "how far the day lies from the season, in the lane's unit; `noise` is the practical floor",
    UP: "sum of the scores upwards; `noise` is the limit that the budget of false alarms buys",
    DOWN: "sum of the scores downwards; `noise` is the limit",
    RUN_UP: "effects added up since the upward sum was last 0; n counts the days",
    RUN_DOWN: "effects added up since the downward sum was last 0; n counts the days",
    ALARM: "+1 or -1 on a day on which a sum passed its limit and the effect its floor; else there is none",
    FAST: "the day's largest score of four hours, or longest queue; `noise` is the limit",
}
"""What is measured of a lane every day, by name. Its signal is the lane's name: a number derived from a signal."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What people were told of: `members` are the scopes that took part, `signals` in order of appearance.

    `told_size` is how far off its largest alarm was that they know of, as a multiple of the smallest change worth
    telling.
    """

    scope: Path
    cause: str
    opened_on: date
    onset: date
    signals: tuple[str, ...]
    members: frozenset[Path]
    last_alarm_on: date
    closed_on: date | None = None
    closed_because: str = ""
    told_size: float = 0.0


def label(path: Path) -> str:
    """A path in words: `north / line-2 / cam-1`; a level that a plant does not use is a dash."""
    return " / ".join(name or "–" for name in path)
