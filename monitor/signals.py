"""Signals: what is read off a record, as data. Each has fixed fine edges, so that histograms merge by addition.

A value v falls into fine bin i (1-based) where edges[i-1] <= v < edges[i]; bin 0 holds what lies below, the last bin
what lies at or above the top edge. Edges are float64 and carry an id: change an edge, change the id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.records import Floats, FrameColumns, Ints


@dataclass(frozen=True, slots=True)
class Edges:
    """`count` bins between `low` and `high`, of equal width or (`log`) of equal ratio."""

    name: str
    low: float
    high: float
    count: int
    log: bool = False

    @property
    def id(self) -> str:
        """Names these edges for good; histograms under different ids refuse to add."""
        kind = "log" if self.log else "lin"
        return f"{self.name}:{kind}:{self.low:g}:{self.high:g}:{self.count}"

    def values(self) -> Floats:
        """The count + 1 edges, ascending, float64."""
        return _edge_values(self)

    def bin_of(self, values: Floats) -> Ints:
        """Fine bin of each value, 0 to count + 1; values must be finite."""
        edges = self.values()
        if self.log:
            return np.searchsorted(edges, values, side="right").astype(np.int64)
        # Reckoned, then held against the very edges: much faster than a search, and the same bin.
        within = (np.clip(values, self.low, self.high) - self.low) * (self.count / (self.high - self.low))
        guess = np.minimum(within, self.count - 1).astype(np.int64)
        guess -= values < edges[guess]
        guess += values >= edges[guess + 1]
        return guess + 1

    def middles(self) -> Floats:
        """A value that stands for each of the count + 2 bins; the outer ones stand at their edge."""
        edges = self.values()
        inner = np.sqrt(edges[1:] * edges[:-1]) if self.log else (edges[1:] + edges[:-1]) / 2
        return np.concatenate((edges[:1], inner, edges[-1:]))


@cache
def _edge_values(edges: Edges) -> Floats:
    spaced = (
        np.geomspace(edges.low, edges.high, edges.count + 1)
        if edges.log
        else np.linspace(edges.low, edges.high, edges.count + 1)
    )
    spaced.setflags(write=False)
    return spaced


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing read off a record.

    `reader` gives one value a frame ([n], NaN where silent) or a detection ([d]). `scale` turns a value into the
    integer that roll-ups add up. `per` is `frame`, `detection` or `pixel` (the frame's own histogram, every frame
    weighing the same). `image` signals depend on the recipe of the image statistics. `service` signals are kept
    by the quarter of an hour too; `by_class` ones by class too: confidence alone, because every such signal makes a
    series a class, camera and slice, and all of them are written with every batch.
    """

    name: str
    unit: str
    per: str
    edges: Edges
    reader: Callable[[FrameColumns], Floats]
    scale: int
    help: str
    image: bool = False
    service: bool = False
    by_class: bool = False


def _meta(name: str) -> Callable[[FrameColumns], Floats]:
    def read(columns: FrameColumns) -> Floats:
        if not any(columns.camera_meta):
            return np.full(len(columns), np.nan)
        said = (meta.get(name) for meta in columns.camera_meta)
        return np.array([float(v) if isinstance(v, (int, float)) else np.nan for v in said], dtype=np.float64)

    return read


def _detections(columns: FrameColumns) -> Floats:
    counts = (np.bincount(columns.det_frame, minlength=len(columns)) + columns.left_out).astype(np.float64)
    if columns.status.count("ok") < len(columns):
        counts[np.array([status != "ok" for status in columns.status], dtype=bool)] = np.nan
    return counts


def _side(columns: FrameColumns) -> Floats:
    return np.sqrt(columns.width.astype(np.float64) * columns.height)


def _box_sides(columns: FrameColumns) -> tuple[Floats, Floats]:
    box = columns.det_box.astype(np.float64)
    return box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]


def _box_area(columns: FrameColumns) -> Floats:
    wide, high = _box_sides(columns)
    return wide * high / (columns.width * columns.height)[columns.det_frame]


def _box_aspect(columns: FrameColumns) -> Floats:
    wide, high = _box_sides(columns)
    return np.log(wide / high)


def _no_value(columns: FrameColumns) -> Floats:
    return np.zeros(len(columns))


_GREY = Edges("grey", 0, 256, 256)
_BALANCE = Edges("balance", -1, 1, 200)

SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal(
            "brightness",
            "grey level 0-255",
            "frame",
            _GREY,
            lambda c: c.brightness,
            1000,
            "mean grey level of the frame",
            image=True,
        ),
        Signal(
            "pixel_brightness",
            "grey level 0-255",
            "pixel",
            Edges("grey", 0, 256, HISTOGRAM_BINS),
            _no_value,
            1,
            "grey levels of the frame's pixels, every frame weighing the same",
            image=True,
        ),
        Signal(
            "contrast",
            "grey levels",
            "frame",
            Edges("contrast", 0, 128, 128),
            lambda c: c.contrast,
            1000,
            "standard deviation of the frame's grey levels",
            image=True,
        ),
        Signal(
            "sharpness",
            "ln variance",
            "frame",
            Edges("sharpness", -2, 12, 350),
            lambda c: c.sharpness,
            1000,
            "natural logarithm of the variance of the Laplacian",
            image=True,
        ),
        Signal(
            "red_balance",
            "ln ratio",
            "frame",
            _BALANCE,
            lambda c: c.red_balance,
            10_000,
            "ln(mean red / mean green)",
            image=True,
        ),
        Signal(
            "blue_balance",
            "ln ratio",
            "frame",
            _BALANCE,
            lambda c: c.blue_balance,
            10_000,
            "ln(mean blue / mean green)",
            image=True,
        ),
        Signal(
            "resolution",
            "pixels",
            "frame",
            Edges("side", 8, 65_536, 260, log=True),
            _side,
            1000,
            "side of the square with as many pixels as the frame",
        ),
        Signal(
            "exposure_ms",
            "ms",
            "frame",
            Edges("exposure", 0.001, 10_000, 160, log=True),
            _meta("exposure_ms"),
            1000,
            "exposure time that the camera reports",
        ),
        Signal(
            "gain_db",
            "dB",
            "frame",
            Edges("gain", -20, 80, 200),
            _meta("gain_db"),
            1000,
            "gain that the camera reports",
        ),
        Signal(
            "detections",
            "a frame",
            "frame",
            Edges("count", 0, 128, 128),
            _detections,
            1,
            "detections in a frame that was processed without error",
        ),
        Signal(
            "confidence",
            "0-1",
            "detection",
            Edges("unit", 0, 1, 100),
            lambda c: c.det_confidence,
            1_000_000,
            "confidence of a detection",
            by_class=True,
        ),
        Signal(
            "box_area",
            "share of the frame",
            "detection",
            Edges("share", 1e-6, 1, 120, log=True),
            _box_area,
            1_000_000,
            "area of a detection's box",
        ),
        Signal(
            "box_aspect",
            "ln ratio",
            "detection",
            Edges("aspect", -3, 3, 120),
            _box_aspect,
            10_000,
            "ln(width / height) of a detection's box",
        ),
        Signal(
            "latency_ms",
            "ms",
            "frame",
            Edges("latency", 0.1, 600_000, 788, log=True),
            lambda c: c.latency_ms,
            1000,
            "time from frame to result; buckets of 2 %",
            service=True,
        ),
        Signal(
            "queue_depth",
            "frames",
            "frame",
            Edges("depth", 0.5, 1_000_000, 200, log=True),
            lambda c: c.queue_depth,
            1,
            "frames that waited for the model",
            service=True,
        ),
        Signal(
            "status",
            "frames",
            "frame",
            Edges("status", 0, 1, 1),
            _no_value,
            1,
            "frames by outcome: ok or the kind of error",
            service=True,
        ),
    )
}
"""Every signal by name. `status` is counted by its kind in the place of the class."""
