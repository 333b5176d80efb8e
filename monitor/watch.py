"""Nouns of the watch over cameras: the lanes, as data, and the hours that they are read from."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.records import Ints, SeriesKey


@dataclass(frozen=True, slots=True)
class Lane:
    """One way of watching a signal.

    `probe` says which number: `mean`, `log_mean`, `log1p_mean`, `below` (share of values under `at`), `above` (share
    above the baseline's `at` quantile), `classes` (the share of each class), `shape` (PSI of the whole histogram).
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
"""Every lane over histograms by name."""


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
