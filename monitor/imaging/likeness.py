"""Do two images show the same thing? Gradients of a tiny grey copy, as bits that stay when an image is saved anew.

The difference hash (Krawetz 2013, "Kind of like that"), at 16 by 16 and in both directions: frames of one fixed
camera share most of their picture, and 64 bits would call them all alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.imaging.resize import resized
from monitor.imaging.stats import Pixels

SIDE = 16
BITS = 2 * SIDE * SIDE
NEAR = 60
"""Bits, of 512, within which two images count as copies of each other."""


def dhash(pixels: Pixels) -> str:
    """The hash of an image uint8 [h, w, 3] or [h, w] as 128 hexadecimal digits."""
    grey = pixels if pixels.ndim == 2 else (pixels[..., :3] @ np.array([77, 150, 29], dtype=np.int32) >> 8)
    small = resized(grey.astype(np.uint8), SIDE + 1, SIDE + 1, "bilinear", antialias=True).astype(np.int16)
    right = small[:SIDE, 1:] > small[:SIDE, :-1]
    down = small[1:, :SIDE] > small[:-1, :SIDE]
    return np.packbits(np.concatenate((right.ravel(), down.ravel()))).tobytes().hex()


def distances(some: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.int64]:
    """In how many bits each of `some` differs from each of `others` [some, others]."""
    one, other = (_signs(hashes) for hashes in (some, others))
    return ((BITS - one @ other.T) / 2).astype(np.int64)


def _signs(hashes: Sequence[str]) -> npt.NDArray[np.float32]:
    """Bits as -1 and 1 [hashes, bits], so that one product of matrices compares all with all."""
    rows = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), BITS // 8)
    return np.unpackbits(rows, axis=1).astype(np.float32) * 2 - 1
