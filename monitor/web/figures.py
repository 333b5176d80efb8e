"""Histograms of a period → the headline numbers of the four pillars, each with the n it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.measures import mean_of
from monitor.records import Histogram, SeriesKey
from monitor.signals import SIGNALS
from monitor.stats.histogram import quantile

LOW_CONFIDENCE = 0.5
LEAST_N = {0.95: 300, 0.99: 3000}
"""Values below which a tail quantile is left out: fewer than about fifteen (thirty) would lie beyond it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: what it is, what it says (with its unit), what it rests on."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """A class and its part of all detections, 0 to 1."""

    name: str
    share: float
    n: int


@dataclass(frozen=True, slots=True)
class Pillar:
    """One of the four: its figures, or the sentence that says why there are none."""

    title: str
    question: str
    figures: tuple[Figure, ...]
    nothing: str
    shares: tuple[Share, ...] = ()


def pillars(histograms: Mapping[SeriesKey, Histogram], hours: float) -> tuple[Pillar, ...]:
    """The four pillars from the histograms of one scope over `hours` hours."""
    return (
        Pillar(
            "Inference health",
            "Does the model answer, in time and without errors?",
            _health(histograms, hours),
            "No frames in this period.",
        ),
        Pillar(
            "Predictions",
            "Does it see what it used to see, as surely as it used to?",
            _predictions(histograms),
            "No detections in this period.",
            class_shares(histograms),
        ),
        Pillar("Human overrides", "How often do people correct it?", (), "Nothing recorded yet: no reviews came in."),
        Pillar(
            "Business impact",
            "What are its findings worth to the plant?",
            (),
            "Nothing recorded yet: no work orders or other business events came in.",
        ),
    )


def merged(histograms: Mapping[SeriesKey, Histogram], signal: str, class_name: str = "") -> Histogram | None:
    """One signal's histogram; of several recipes, which are never added up, the one with the most values."""
    found = [one for key, one in histograms.items() if key.signal == signal and key.class_name == class_name]
    return max(found, key=lambda one: one.n, default=None)


def class_shares(histograms: Mapping[SeriesKey, Histogram]) -> tuple[Share, ...]:
    """Classes by their part of all detections, the largest first."""
    counts = {
        key.class_name: one.n for key, one in histograms.items() if key.signal == "confidence" and key.class_name
    }
    whole = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Share(name, n / whole, n) for name, n in ranked if n)


def _health(histograms: Mapping[SeriesKey, Histogram], hours: float) -> tuple[Figure, ...]:
    everything = merged(histograms, "status")
    if everything is None or everything.n == 0:
        return ()
    good = merged(histograms, "status", "ok")
    failed = everything.n - (0 if good is None else good.n)
    figures = [
        Figure("Throughput", f"{everything.n / hours:,.1f} frames an hour", f"n {everything.n:,} in {hours:g} h"),
        Figure("Error rate", f"{failed / everything.n:.2%}", f"{failed:,} of n {everything.n:,}"),
    ]
    latency = merged(histograms, "latency_ms")
    if latency is not None and (average := mean_of("latency_ms", latency)) is not None:
        figures.append(Figure("Mean latency", f"{average:,.1f} ms", f"n {latency.n:,}"))
        figures += [_tail(latency, q, least) for q, least in LEAST_N.items()]
    queue = merged(histograms, "queue_depth")
    if queue is not None and (depth := mean_of("queue_depth", queue)) is not None:
        figures.append(Figure("Mean queue depth", f"{depth:,.1f} frames", f"n {queue.n:,}"))
    return tuple(figures)


def _tail(latency: Histogram, q: float, least: int) -> Figure:
    name = f"Latency p{q * 100:g}"
    value = quantile(latency.counts, SIGNALS["latency_ms"].edges.values(), q)
    if latency.n < least or value is None:
        return Figure(name, "–", f"n {latency.n:,}; told from n {least:,} on")
    return Figure(name, f"{value:,.1f} ms", f"n {latency.n:,}")


def _predictions(histograms: Mapping[SeriesKey, Histogram]) -> tuple[Figure, ...]:
    confidence = merged(histograms, "confidence")
    if confidence is None or (average := mean_of("confidence", confidence)) is None:
        return ()
    edges = SIGNALS["confidence"].edges
    below = int(confidence.counts[: round(LOW_CONFIDENCE * edges.count) + 1].sum())
    figures = [
        Figure("Mean confidence", f"{average:.3f}", f"n {confidence.n:,} detections"),
        Figure(f"Below {LOW_CONFIDENCE:g}", f"{below / confidence.n:.1%}", f"{below:,} of n {confidence.n:,}"),
    ]
    detections = merged(histograms, "detections")
    if detections is not None and (rate := mean_of("detections", detections)) is not None:
        figures.append(Figure("Detections a frame", f"{rate:.2f}", f"n {detections.n:,} frames"))
    return tuple(figures)
