"""What a baseline is made of: histograms with their groups, and the hash of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from monitor.drift.compare import UNMEASURED, with_all_cameras
from monitor.imaging.stats import ImageStats
from monitor.records import ALL, PIXEL_WEIGHT, BaselineHistogram, Floats, Histogram, Ints, Scope, SeriesKey
from monitor.signals import SIGNALS, Signal
from monitor.stats.groups import equal_mass_cuts
from monitor.stats.histogram import weigh

NO_CUTS: Ints = np.array([], dtype=np.int64)


def freeze(histograms: Mapping[SeriesKey, Histogram], groups: int) -> dict[SeriesKey, BaselineHistogram]:
    """The rows of a baseline: each series by camera and summed over the cameras, with about `groups` groups each.

    Live frames only. Series on edges that the signal no longer has are left out: no window has them any more.
    """
    kept = {
        key: histogram
        for key, histogram in histograms.items()
        if not key.scope.shadow and histogram.edges_id == SIGNALS[key.signal].edges.id and histogram.frames
    }
    return {
        key: BaselineHistogram(
            histogram, NO_CUTS if key.signal in UNMEASURED else equal_mass_cuts(histogram.counts, groups)
        )
        for key, histogram in with_all_cameras(kept).items()
    }


def frames_of(rows: Mapping[SeriesKey, BaselineHistogram]) -> int:
    """Frames behind the rows of a baseline from logs: of all cameras and stages, whatever their outcome."""
    return sum(
        row.histogram.n
        for key, row in rows.items()
        if key.signal == "status" and key.class_name == ALL and not (key.scope.camera or key.scope.slice_name)
    )


def image_histograms(model: str, images: Sequence[ImageStats]) -> dict[SeriesKey, Histogram]:
    """Histograms of a set of images: one series for each signal that is read off pixels, camera and version `""`.

    Images of several recipes give several series; they are never mixed.
    """
    series: dict[SeriesKey, Histogram] = {}
    scope = Scope(model, ALL)
    for recipe in sorted({image.recipe for image in images}):
        same = [image for image in images if image.recipe == recipe]
        for signal in SIGNALS.values():
            if signal.image and signal.per == "frame":
                values = np.array([getattr(image, signal.name) for image in same], dtype=np.float64)
                series[SeriesKey(scope, signal.name, recipe=recipe)] = _of_values(signal, values)
        pixels = np.array([image.histogram for image in same], dtype=np.int64)
        series[SeriesKey(scope, "pixel_brightness", recipe=recipe)] = _of_pixels(pixels)
    sides = np.sqrt(np.array([image.width * image.height for image in images], dtype=np.float64))
    series[SeriesKey(scope, "resolution")] = _of_values(SIGNALS["resolution"], sides)
    return series


def _of_values(signal: Signal, values: Floats) -> Histogram:
    counts = np.bincount(signal.edges.bin_of(values), minlength=signal.edges.count + 2)
    total = int(np.rint(values * signal.scale).sum())
    return Histogram(signal.edges.id, counts, len(values), len(values), total, squares=len(values))


def _of_pixels(pixels: Ints) -> Histogram:
    edges = SIGNALS["pixel_brightness"].edges
    counts = np.concatenate(([0], weigh(pixels, PIXEL_WEIGHT).sum(axis=0), [0]))
    total = int(np.rint(counts @ edges.middles()))
    return Histogram(edges.id, counts, len(pixels), len(pixels), total, squares=len(pixels))


def content_hash(rows: Mapping[SeriesKey, BaselineHistogram]) -> str:
    """sha256, in hex, over the rows in a canonical order and form; the same content has the same hash everywhere."""
    lines = []
    for key, row in rows.items():
        scope, histogram = key.scope, row.histogram
        filled = np.flatnonzero(histogram.counts)
        place = (scope.stage, scope.camera, scope.slice_name, scope.slice_value)
        identity = (*place, key.signal, key.class_name, key.recipe, histogram.edges_id)
        numbers = (histogram.n, histogram.frames, histogram.total, histogram.squares)
        arrays = (filled.tolist(), histogram.counts[filled].tolist(), row.cuts.tolist())
        lines.append(json.dumps([*identity, *numbers, *arrays], separators=(",", ":")))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
