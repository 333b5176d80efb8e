"""Measures: what is computed from a window's histogram, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monitor.records import PIXEL_WEIGHT, Floats, Histogram
from monitor.signals import SIGNALS
from monitor.stats import divergence

CLASS_SHARE = "class_share"
"""The mix of detected classes: a signal derived from the confidences counted by class, not one read off a record."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to put a number on a window.

    `function` takes the probability vectors of window and baseline [groups] (None: the number is not a comparison).
    `worse` says which way is bad: `higher`, or `either` where only the signal's owner knows. `null_scale` scales the
    law of chance in `stats.null`, PSI's being 1.
    """

    name: str
    unit: str
    worse: str
    help: str
    function: Callable[[Floats, Floats], float] | None = None
    null_scale: float | None = None

    @property
    def needs_baseline(self) -> bool:
        return self.function is not None


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "psi",
            "nats",
            "higher",
            "population stability index of the window against the baseline",
            divergence.psi,
            1.0,
        ),
        Measure(
            "kl",
            "nats",
            "higher",
            "Kullback-Leibler divergence of the window from the baseline",
            divergence.kl,
            0.5,
        ),
        Measure(
            "js",
            "nats",
            "higher",
            "Jensen-Shannon divergence of window and baseline",
            divergence.js,
            0.125,
        ),
        Measure(
            "mean", "the signal's unit", "either", "mean of the window's values; of a class: its share of detections"
        ),
    )
}
"""Every measure by name."""


def mean_of(signal: str, histogram: Histogram) -> float | None:
    """Mean of the values behind a histogram, in the signal's unit; None where there are none.

    Exact to the signal's integer unit: it comes from the sum, not from the bins.
    """
    if histogram.n == 0:
        return None
    known = SIGNALS[signal]
    weight = PIXEL_WEIGHT if known.per == "pixel" else 1
    return histogram.total / (histogram.n * weight * known.scale)
