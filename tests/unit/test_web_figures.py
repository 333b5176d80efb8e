"""Headline numbers from histograms of which the values are known."""

import numpy as np

from monitor.records import Histogram, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.web import figures

SCOPE = Scope("m", "v1")


def series(signal: str, values: list[float], class_name: str = "") -> tuple[SeriesKey, Histogram]:
    known = SIGNALS[signal]
    counts = np.zeros(known.edges.count + 2, dtype=np.int64)
    np.add.at(counts, known.edges.bin_of(np.array(values)), 1)
    total = sum(round(value * known.scale) for value in values)
    return SeriesKey(SCOPE, signal, class_name), Histogram(known.edges.id, counts, len(values), len(values), total)


def counted(n: int, class_name: str = "") -> tuple[SeriesKey, Histogram]:
    empty = np.zeros(SIGNALS["status"].edges.count + 2, dtype=np.int64)
    return SeriesKey(SCOPE, "status", class_name), Histogram(SIGNALS["status"].edges.id, empty, n, n, 0)


def by_name(pillar: figures.Pillar) -> dict[str, figures.Figure]:
    return {one.name: one for one in pillar.figures}


def test_no_frames_gives_sentences_instead_of_zeros():
    health, predictions, overrides, business = figures.pillars({}, 24)
    for pillar in (health, predictions, overrides, business):
        assert pillar.figures == ()
        assert pillar.nothing.endswith(".")


def test_inference_health():
    latencies = [float(ms) for ms in range(1, 401)]
    found = dict([counted(400), counted(396, "ok"), counted(4, "timeout"), series("latency_ms", latencies)])
    health = by_name(figures.pillars(found, 8)[0])
    assert health["Throughput"].value == "50.0 frames an hour"
    assert health["Error rate"].value == "1.00%"
    assert health["Error rate"].note == "4 of n 400"
    assert health["Mean latency"].value == "200.5 ms"
    p95 = float(health["Latency p95"].value.removesuffix(" ms"))
    assert abs(p95 - np.percentile(latencies, 95)) < 0.02 * p95, "buckets are 2 % wide"


def test_a_tail_is_told_only_where_n_allows_it():
    for n, has_p95, has_p99 in ((299, False, False), (300, True, False), (2999, True, False), (3000, True, True)):
        found = dict([counted(n), counted(n, "ok"), series("latency_ms", [10.0] * n)])
        health = by_name(figures.pillars(found, 24)[0])
        assert (health["Latency p95"].value != "–") is has_p95
        assert (health["Latency p99"].value != "–") is has_p99
        assert f"n {n:,}" in health["Latency p99"].note


def test_predictions_with_shares_and_n():
    values = [0.2, 0.4, 0.49, 0.5, 0.8, 0.9, 0.95, 0.96]
    found = dict([
        series("confidence", values),
        series("confidence", values[:6], "dent"),
        series("confidence", values[6:], "scratch"),
        series("detections", [2.0, 2.0, 4.0, 0.0]),
    ])  # fmt: skip
    pillar = figures.pillars(found, 24)[1]
    assert by_name(pillar)["Mean confidence"].value == "0.650"
    assert by_name(pillar)["Below 0.5"].value == "37.5%"
    assert by_name(pillar)["Below 0.5"].note == "3 of n 8"
    assert by_name(pillar)["Detections a frame"].value == "2.00"
    assert [(one.name, one.share, one.n) for one in pillar.shares] == [("dent", 0.75, 6), ("scratch", 0.25, 2)]


def test_recipes_are_never_added_up():
    key, few = series("brightness", [10.0])
    other = SeriesKey(SCOPE, "brightness", recipe="other")
    many = series("brightness", [200.0] * 5)[1]
    found = figures.merged({key: few, other: many}, "brightness")
    assert found is many
