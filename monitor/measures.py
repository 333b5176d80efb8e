"""Measures: what is computed of a window, as data.

Most are read off the histogram of one series (`function` against the baseline, `figure` by itself) and hold for every
signal that has one. The others belong to one signal and are counted where its facts lie: outcomes of frames and their
hours beside the comparison with the baseline, verdicts of people and events of the business in the room of reviews.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy

from monitor.feedback import BANDS, BOUNDS, BUSINESS, MISSES, OVERRIDE, SHARES
from monitor.records import PIXEL_WEIGHT, Floats, Histogram
from monitor.scoring import SCORED, SCORING_MEASURES
from monitor.signals import SIGNALS
from monitor.stats import divergence
from monitor.stats.histogram import quantile
from monitor.stats.intervals import wilson

CLASS_SHARE = "class_share"
"""The mix of detected classes: a signal derived from the confidences counted by class, not one read off a record."""
STATUS = "status"
LOW_CONFIDENCE = 0.5
"""Confidence below which a detection counts as unsure."""
ONE_SIDED = 0.975
"""Two bounds of this confidence make an interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to put a number on a window.

    `function` takes the probability vectors of window and baseline [groups] (None: the number is not a comparison).
    `worse` says which way is bad: `higher`, `lower`, or `either` where only the signal's owner knows. `null_scale`
    scales the law of chance in `stats.null`, PSI's being 1. `figure` reads the number off one signal's histogram.
    `signals` are those that have it; empty: every signal with a histogram. Under `least` values there is no number.
    """

    name: str
    unit: str
    worse: str
    help: str
    function: Callable[[Floats, Floats], float] | None = None
    null_scale: float | None = None
    figure: Callable[[str, Histogram], Figure | None] | None = None
    signals: tuple[str, ...] = ()
    least: int = 0

    @property
    def needs_baseline(self) -> bool:
        return self.function is not None

    def fits(self, signal: str) -> bool:
        """Whether this can be said of a signal."""
        return signal in self.signals if self.signals else signal not in _COUNTED


_COUNTED = frozenset({STATUS, OVERRIDE, BUSINESS, *SCORED})
"""Signals without a histogram of values."""


def share(hits: float, n: float) -> Figure:
    """A share with Wilson's interval of 95 %; `n` may be an effective number, and so need not be whole."""
    return Figure(hits / n, *wilson(hits, n, ONE_SIDED))


def mean_of(signal: str, histogram: Histogram) -> float | None:
    """Mean of the values behind a histogram, in the signal's unit; None where there are none.

    Exact to the signal's integer unit: it comes from the sum, not from the bins.
    """
    if histogram.n == 0:
        return None
    known = SIGNALS[signal]
    weight = PIXEL_WEIGHT if known.per == "pixel" else 1
    return histogram.total / (histogram.n * weight * known.scale)


def _mean(signal: str, histogram: Histogram) -> Figure | None:
    """The mean, with an interval from the spread of the bins over the effective number of values."""
    mean = mean_of(signal, histogram)
    if mean is None or histogram.effective < 2:
        return None if mean is None else Figure(mean)
    filled = np.flatnonzero(histogram.counts)
    counts, middles = histogram.counts[filled], SIGNALS[signal].edges.middles()[filled]
    weights = counts / counts.sum()
    centre = float(weights @ middles)
    spread = float(weights @ (middles - centre) ** 2) / (histogram.effective - 1)
    reach = float(scipy.special.ndtri(ONE_SIDED)) * spread**0.5
    return Figure(mean, mean - reach, mean + reach)


def _quantile(q: float, signal: str, histogram: Histogram) -> Figure | None:
    """A quantile, with the interval of order statistics: ranks n q ± z sqrt(n q (1 - q)) (Conover 1999, §3.2)."""
    edges = SIGNALS[signal].edges.values()
    value = quantile(histogram.counts, edges, q)
    if value is None:
        return None
    reach = float(scipy.special.ndtri(ONE_SIDED)) * (q * (1 - q) / max(histogram.effective, 1.0)) ** 0.5
    low, high = (quantile(histogram.counts, edges, min(1.0, max(0.0, q + side * reach))) for side in (-1, 1))
    return Figure(value, low, high)


def _low_share(signal: str, histogram: Histogram) -> Figure | None:
    """Share of the values below LOW_CONFIDENCE, which is an edge of the signal's bins."""
    if histogram.n == 0:
        return None
    below = SIGNALS[signal].edges.bin_of(np.array([LOW_CONFIDENCE]))[0]
    part = float(histogram.counts[:below].sum()) / histogram.n
    return share(part * histogram.effective, histogram.effective)


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
            "mean",
            "the signal's unit",
            "either",
            "mean of the window's values; of a class: its share of detections",
            figure=_mean,
        ),
        Measure(
            "p95",
            "ms",
            "higher",
            "latency that 19 of 20 frames stay under, from merged buckets of 2 %",
            figure=partial(_quantile, 0.95),
            signals=("latency_ms",),
            least=300,
        ),
        Measure(
            "p99",
            "ms",
            "higher",
            "latency that 99 of 100 frames stay under, from merged buckets of 2 %",
            figure=partial(_quantile, 0.99),
            signals=("latency_ms",),
            least=3000,
        ),
        Measure(
            "peak",
            "frames",
            "higher",
            "longest queue of the window, as the mean of a quarter of an hour; its baseline is the p99 of frames",
            signals=("queue_depth",),
        ),
        Measure(
            "low_share",
            "share",
            "higher",
            "share of detections with a confidence under 0.5",
            figure=_low_share,
            signals=("confidence",),
        ),
        Measure(
            "error_rate",
            "share",
            "higher",
            "share of frames that ended in an error; of a class: in this kind of error",
            signals=(STATUS,),
        ),
        Measure("throughput", "frames an hour", "lower", "frames an hour of the window's length", signals=(STATUS,)),
        Measure(
            "silence",
            "hours",
            "higher",
            "hours in a row without a frame, of those in which the camera's habit is to send some",
            signals=(STATUS,),
        ),
        Measure(
            "passed_on",
            "share",
            "either",
            "frames at the next stage of the pipeline for each frame at this one",
            signals=(STATUS,),
        ),
        *(
            Measure(name, "share", "higher", help_of, signals=(OVERRIDE,))
            for name, help_of in {
                "raw": "share of the reviewed detections that people corrected",
                "honest": "share of all detections that people would correct, estimated from reviews whose choice "
                "is known",
                **{name: f"{name.replace('_', ' ')}: the share in this direction" for name in SHARES[2:]},
                MISSES: "share of the objects in reviewed frames that the model missed",
                **{
                    name: f"share corrected of the reviewed detections, band {name[-1]} of confidence"
                    for name in BANDS
                },
                **{name: f"end of the 95 % interval: {name.replace('_', ' ')}" for name in BOUNDS},
            }.items()
        ),
        Measure("work_order_rate", "per 1,000 frames", "either", "work orders for 1,000 frames", signals=(BUSINESS,)),
        Measure(
            "catches",
            "per 1,000 frames",
            "lower",
            "defects found for 1,000 frames that people had missed",
            signals=(BUSINESS,),
        ),
        Measure(
            "minutes_per_false_alarm",
            "minutes",
            "higher",
            "mean of the minutes that a false alarm cost",
            signals=(BUSINESS,),
        ),
        Measure(
            "throughput_gain",
            "share",
            "lower",
            "items an hour after against before, less 1",
            signals=(BUSINESS,),
        ),
        *(
            Measure(name, "share", worse, help_of, signals=SCORED)
            for name, (worse, help_of) in SCORING_MEASURES.items()
        ),
    )
}
"""Every measure by name."""


def measures_of(signal: str, *, by_class: bool) -> Iterator[Measure]:
    """The measures read off a signal's histogram; of a mix of classes: divergences as a whole, a mean by class."""
    for measure in MEASURES.values():
        if not (measure.function or measure.figure) or not measure.fits(signal):
            continue
        if signal != CLASS_SHARE or measure.needs_baseline != by_class:
            yield measure
