"""Images made larger or smaller in whole numbers: the same pixels give the same pixels on every machine.

Weights are fixed-point with 22 bits and every sum is rounded once: first across, then down. With `antialias` each of
the two passes is Pillow's bit for bit (Pillow itself has changed which comes first). Without it a kernel keeps its
width however much smaller the image gets, as OpenCV and most accelerators have it (their weights have fewer bits:
they differ by a level here and there).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from monitor.imaging.stats import Pixels

_BITS = 22
Weights = npt.NDArray[np.int32]


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    """Keys' cubic with a = -0.5 (Keys 1981, "Cubic convolution interpolation for digital image processing")."""
    a, x = -0.5, abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


KERNELS: dict[str, tuple[Callable[[float], float], float]] = {
    "area": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Each kernel and how far it reaches; `nearest` has none. `area` averages whole pixels and always grows with them."""


def resized(pixels: Pixels, width: int, height: int, kernel: str = "bilinear", antialias: bool = False) -> Pixels:
    """`pixels` uint8 [h, w, ...] as [height, width, ...].

    Raises:
        ValueError: no such kernel, or a side without pixels.
    """
    if kernel != "nearest" and kernel not in KERNELS:
        raise ValueError(f"{kernel!r} is no kernel; write nearest, {', '.join(KERNELS)}")
    if min(width, height, *pixels.shape[:2]) < 1:
        raise ValueError(f"{list(pixels.shape[:2])} cannot become {[height, width]}; every side has a pixel at least")
    if kernel == "nearest":
        return np.ascontiguousarray(pixels[_nearest(pixels.shape[0], height)][:, _nearest(pixels.shape[1], width)])
    down, right = (
        None if old == new else _weights(old, new, kernel, antialias or kernel == "area")
        for old, new in zip(pixels.shape[:2], (height, width), strict=True)
    )
    if right is not None:
        # Rows that no output reads need not be made; which are read is known beforehand.
        rows = np.arange(len(pixels)) if down is None else np.unique(down[0])
        across = np.zeros((len(pixels), width, *pixels.shape[2:]), dtype=np.uint8)
        across[rows] = _summed(pixels[rows].swapaxes(0, 1), *right).swapaxes(0, 1)
        pixels = across
    return pixels if down is None else _summed(pixels, *down)


def _nearest(old: int, new: int) -> npt.NDArray[np.int64]:
    return (2 * np.arange(new) + 1) * old // (2 * new)


def _weights(old: int, new: int, kernel: str, antialias: bool) -> tuple[npt.NDArray[np.int64], Weights]:
    """For each of `new` places which of the `old` it reads, and the weight of each in 2⁻²², both [taps, new]."""
    function, reach = KERNELS[kernel]
    scale = old / new
    stretch = max(scale, 1.0) if antialias else 1.0
    support = reach * stretch
    taps = math.ceil(support) * 2 + 1
    index = np.zeros((taps, new), dtype=np.int64)
    weight = np.zeros((taps, new), dtype=np.int32)
    for place in range(new):
        centre = (place + 0.5) * scale
        first, end = max(0, int(centre - support + 0.5)), min(old, int(centre + support + 0.5))
        values = [function((x - centre + 0.5) / stretch) for x in range(first, end)]
        total = sum(values)
        index[:, place] = np.minimum(first + np.arange(taps), old - 1)
        for tap, value in enumerate(values):
            share = value / total if total else value
            weight[tap, place] = int(share * (1 << _BITS) + (0.5 if share >= 0 else -0.5))
    used = weight.any(axis=1)
    return index[used], weight[used]


def _summed(pixels: Pixels, index: npt.NDArray[np.int64], weight: Weights) -> Pixels:
    """Weighted sums of the rows of `pixels`, rounded and cut to 0..255."""
    shape = (index.shape[1], *[1] * (pixels.ndim - 1))
    total = np.full((index.shape[1], *pixels.shape[1:]), 1 << (_BITS - 1), dtype=np.int32)
    for rows, share in zip(index, weight, strict=True):
        total += pixels[rows] * share.reshape(shape)
    total >>= _BITS
    return np.clip(total, 0, 255).astype(np.uint8)
