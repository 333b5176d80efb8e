"""Statistics of one frame, in integers as long as possible: the same pixels give the same numbers on every machine.

Grey is ITU-R BT.601 luma with weights in 256ths, (77 R + 150 G + 29 B + 128) >> 8. Mean and standard deviation come
from the 256 exact counts, sharpness from exact sums of the Laplacian, so neither the order of adding nor the threads
of a library can change a digit. Only the last step is in floating point, rounded to six decimals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

HISTOGRAM_BINS = 32
"""Bins of the brightness histogram: grey level 0 to 255, 8 levels a bin."""
SHARPNESS_FLOOR = -2.0
"""Sharpness of a frame without any detail, and the least that is reported."""
COLOUR_FLOOR = 1.0
"""A channel's mean counts as at least one level: below that there is noise and no colour."""

_LEVELS = 256
_WEIGHTS = (77, 150, 29)
_BAND_PIXELS, _BAND_ROWS = 1 << 17, 256
"""What is worked on at a time: it stays in the cache, and the sums over a band's columns in narrow integers hold."""
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class ImageStats:
    """What is read off one frame. `recipe` names how; numbers of different recipes are never compared."""

    recipe: str
    width: int
    """Pixels of the whole frame, also where only some of them were read."""
    height: int
    brightness: float
    """Mean grey level, 0 to 255."""
    contrast: float
    """Standard deviation of the grey levels, 0 to 127.5."""
    sharpness: float
    """Natural logarithm of the variance of the Laplacian, at least `SHARPNESS_FLOOR`."""
    red_balance: float
    """ln(mean red / mean green); 0 for a grey frame."""
    blue_balance: float
    """ln(mean blue / mean green); 0 for a grey frame."""
    histogram: tuple[int, ...]
    """Pixels read, by grey level: 32 counts, 8 levels each."""


def recipe_name(step: int = 1) -> str:
    """Name how `image_stats` reads a frame: `grey601-full-1`, or `grey601-every4-1` for every 4th row and column.

    Raises:
        ValueError: `step` is not a whole number of at least 1.
    """
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise ValueError(f"step is {step!r}; give 1 for every pixel or n for every n-th row and column")
    return "grey601-full-1" if step == 1 else f"grey601-every{step}-1"


def image_stats(frame: Pixels, step: int = 1) -> ImageStats:
    """Read the statistics off `frame`: uint8 [height, width, 3], red, green, blue, or [height, width] grey.

    A fourth channel (alpha) is ignored. For OpenCV's blue, green, red give `frame[..., ::-1]`. With `step` n only
    every n-th row and column is read, with the true neighbours of each pixel for the Laplacian: faster, nearly the
    same numbers, and another recipe.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al., 2000), kernel 0 1 0 / 1 -4 1 / 0 1 0 on grey
    levels, over the pixels that have all four neighbours.

    Raises:
        TypeError: not an array of uint8.
        ValueError: an array of another shape, without pixels, or `step` below 1.
    """
    recipe = recipe_name(step)
    frame = _checked(frame)
    height, width = frame.shape[:2]
    read = frame[::step, ::step]
    grey, sums = _grey(read)
    levels = _levels(grey)
    brightness, contrast = _mean_and_deviation(levels)
    red_balance, blue_balance = _balances(sums, grey.size)
    sharpness = _sharpness(_centre_and_neighbours(frame, grey, step))
    return ImageStats(
        recipe=recipe,
        width=width,
        height=height,
        brightness=round(brightness, _DECIMALS),
        contrast=round(contrast, _DECIMALS),
        sharpness=round(sharpness, _DECIMALS),
        red_balance=round(red_balance, _DECIMALS),
        blue_balance=round(blue_balance, _DECIMALS),
        histogram=tuple(levels.reshape(HISTOGRAM_BINS, -1).sum(axis=1).tolist()),
    )


def _checked(frame: Pixels) -> Pixels:
    """The frame as [h, w, 3] or [h, w], or a sentence."""
    if not isinstance(frame, np.ndarray):
        raise TypeError(
            f"image_stats needs a numpy array and got {type(frame).__name__}; "
            'for a Pillow image give np.asarray(image.convert("RGB"))'
        )
    if frame.dtype != np.uint8:
        raise TypeError(
            f"image_stats needs uint8 levels 0 to 255 and got {frame.dtype}; "
            "give the frame as the camera delivered it, before it is scaled for the model"
        )
    if not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] in (3, 4))):
        raise ValueError(
            f"image_stats needs [height, width, 3] or [height, width] and got {list(frame.shape)}; "
            "give one frame at a time, channels last"
        )
    if frame.size == 0:
        raise ValueError(f"image_stats got a frame without pixels, {list(frame.shape)}; leave the image out instead")
    return frame[..., :3] if frame.ndim == 3 else np.ascontiguousarray(frame)


def _bands(frame: Pixels) -> Iterator[slice]:
    """The rows of a frame, cut into bands."""
    rows = min(_BAND_ROWS, max(1, _BAND_PIXELS // max(1, frame.shape[1])))
    return (slice(top, top + rows) for top in range(0, len(frame), rows))


def _grey(frame: Pixels) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Grey levels [h, w] and the sums of red, green and blue.

    The weighted sum is at most 65,408 and a band's column of one channel at most 65,280: both fit in 16 bits.
    """
    if frame.ndim == 2:
        return frame, np.zeros(3, dtype=np.int64)
    grey = np.empty(frame.shape[:2], dtype=np.uint8)
    sums = np.zeros(3, dtype=np.int64)
    for rows in _bands(frame):
        band = frame[rows]
        total = np.full(band.shape[:2], 128, dtype=np.uint16)
        for channel, weight in enumerate(_WEIGHTS):
            part = band[..., channel].astype(np.uint16)
            sums[channel] += part.sum(axis=0, dtype=np.uint16).sum(dtype=np.int64)
            part *= weight
            total += part
        total >>= 8
        grey[rows] = total
    return grey, sums


def _levels(grey: Pixels) -> npt.NDArray[np.int64]:
    """How many pixels have each of the 256 grey levels."""
    counts = np.zeros(_LEVELS, dtype=np.int64)
    for rows in _bands(grey):
        counts += np.bincount(grey[rows].ravel(), minlength=_LEVELS)
    return counts


def _mean_and_deviation(levels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Mean and population standard deviation of grey levels from their 256 counts, exact up to the last division."""
    level = np.arange(_LEVELS)
    n = int(levels.sum())
    total = int(levels @ level)
    return total / n, math.sqrt(_variance(n, total, int(levels @ level**2)))


def _variance(n: int, total: int, squares: int) -> float:
    """Population variance from exact integer sums; the difference is taken before anything is rounded."""
    return (n * squares - total * total) / (n * n)


def _balances(sums: npt.NDArray[np.int64], pixels: int) -> tuple[float, float]:
    """ln(mean red / mean green) and ln(mean blue / mean green) from the sums of the three channels."""
    red, green, blue = (max(int(total) / pixels, COLOUR_FLOOR) for total in sums)
    return math.log(red / green), math.log(blue / green)


def _centre_and_neighbours(frame: Pixels, grey: Pixels, step: int) -> tuple[Pixels, ...]:
    """Grey levels of the read pixels that have four neighbours, and of those above, below, left, right."""
    height, width = frame.shape[:2]
    places = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    # At step 1 the five overlap: they are views of the one grey plane.
    source = grey if step == 1 else frame
    views = [
        source[1 + down : max(1, height - 1) + down : step, 1 + right : max(1, width - 1) + right : step]
        for down, right in places
    ]
    return tuple(_grey(view)[0] for view in views)


def _sharpness(planes: tuple[Pixels, ...]) -> float:
    """ln of the variance of 4 × centre − the neighbours; |Laplacian| <= 1,020, so a band's sums fit in 32 bits."""
    n, total, squares = planes[0].size, 0, 0
    if n == 0:
        return SHARPNESS_FLOOR
    for rows in _bands(planes[0]):
        centre, *neighbours = (plane[rows].astype(np.int16) for plane in planes)
        laplacian = centre * np.int16(4)
        for neighbour in neighbours:
            laplacian -= neighbour
        total += int(laplacian.sum(axis=0, dtype=np.int32).sum(dtype=np.int64))
        squared = laplacian.astype(np.int32)
        squared *= squared
        squares += int(squared.sum(axis=0, dtype=np.int32).sum(dtype=np.int64))
    variance = _variance(n, total, squares)
    return max(SHARPNESS_FLOOR, math.log(variance)) if variance > 0 else SHARPNESS_FLOOR
