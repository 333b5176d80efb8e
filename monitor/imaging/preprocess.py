"""How a decoded frame becomes a model's input: one declared block, hashed, one code for production and scoring.

A wrong block is the costliest silent fault there is: boxes stay plausible while the accuracy falls. So the block has
a hash, the tensor that it makes has a hash, and both can be logged beside a detection and compared.

It works in whole numbers, so that one image and one block have one hash on every machine. Each pass of its resizing
is Pillow's to the bit; Pillow's releases differ in the order of the two, which is why they are two here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from monitor.imaging.resize import resized
from monitor.imaging.stats import Pixels

Tensor = npt.NDArray[np.generic]
Resize = Callable[[Pixels, int, int, str, bool], Pixels]
"""What `resized` does: pixels, width, height, kernel, antialias. Another may stand in for it that gives the same."""
RECIPE = "preprocess-1"
"""Changes when the same block would give other numbers."""
_GREY = np.array([77, 150, 29], dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The block, field by field as in a contract's [input]. Sides None: those of the frame.

    `fit`: letterbox keeps the shape and pads, stretch fills, crop keeps the shape and cuts off evenly what sticks
    out, none takes frames that have the size already. First the levels are divided by `divide_by`, then `mean` is
    taken off, then they are divided by `std`; of uint8 they stay as they are.
    """

    width: int | None = None
    height: int | None = None
    fit: str = "letterbox"
    pad_value: int = 114
    pad_place: str = "centre"
    resize: str = "bilinear"
    antialias: bool = False
    decoder: str = "pillow"
    exif: str = "apply"
    colour: str = "rgb"
    divide_by: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = "nchw"
    dtype: str = "float32"

    @property
    def sha256(self) -> str:
        """The block's hash, 64 hexadecimal digits: of its fields and of the recipe that carries them out."""
        text = json.dumps({"recipe": RECIPE, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame of `width` by `height` pixels lies in the input: input = ratio * frame + pad, in pixels."""

    width: int
    height: int
    input_width: int
    input_height: int
    ratio_x: float
    ratio_y: float
    pad_x: int
    pad_y: int


def preprocess(frame: Pixels, block: Preprocess, resize: Resize = resized) -> tuple[Tensor, Placement]:
    """One frame uint8 [h, w, 3] (red, green, blue) or [h, w] (grey) as the model's input without its batch axis.

    Each level's value is worked out in double and rounded once to the block's dtype.

    Raises:
        ValueError: the frame is not such an array, or has not the size that fit = "none" asks for.
    """
    if frame.dtype != np.uint8 or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
        raise ValueError(
            f"a frame is uint8 [height, width, 3] or [height, width], not {frame.dtype} {list(frame.shape)}; give "
            "it as it was decoded"
        )
    where = placement(frame.shape[1], frame.shape[0], block)
    placed = _placed(_coloured(frame, block.colour), where, block, resize)
    values = np.stack([row[placed[..., k]] for k, row in enumerate(_levels(block))])
    return np.ascontiguousarray(values if block.layout == "nchw" else values.transpose(1, 2, 0)), where


def placement(width: int, height: int, block: Preprocess) -> Placement:
    """Where a frame of `width` by `height` pixels comes to lie.

    Raises:
        ValueError: fit = "none", and the frame has another size.
    """
    wide, high = block.width or width, block.height or height
    if block.fit == "none" and (wide, high) != (width, height):
        raise ValueError(
            f'a frame of {width}x{height} comes where the input is {wide}x{high} and fit is "none"; scale it before, '
            "or declare another fit"
        )
    if block.fit in ("stretch", "none"):
        return Placement(width, height, wide, high, wide / width, high / height, 0, 0)
    pick = min if block.fit == "letterbox" else max
    ratio = pick(wide / width, high / height)
    inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    pads = (wide - inner[0], high - inner[1])
    centred = block.fit == "crop" or block.pad_place == "centre"
    pad_x, pad_y = (pad // 2 if centred else 0 for pad in pads)
    return Placement(width, height, wide, high, inner[0] / width, inner[1] / height, pad_x, pad_y)


def tensor_sha256(tensor: Tensor) -> str:
    """The hash of one image's input: dtype, shape without the batch axis, and the bytes, little-endian."""
    plain = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
    head = f"{plain.dtype.str}{list(plain.shape)}".encode()
    return hashlib.sha256(head + plain.tobytes()).hexdigest()


def _coloured(frame: Pixels, colour: str) -> Pixels:
    """[h, w, channels] in the model's order; grey is BT.601 luma in 256ths, rounded."""
    if colour == "grey":
        grey = frame if frame.ndim == 2 else ((frame @ _GREY + 128) >> 8).astype(np.uint8)
        return grey[..., None]
    full = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
    return full[..., ::-1] if colour == "bgr" else full


def _placed(frame: Pixels, where: Placement, block: Preprocess, resize: Resize) -> Pixels:
    wide, high = round(where.ratio_x * where.width), round(where.ratio_y * where.height)
    if (wide, high) != (where.width, where.height):
        frame = resize(frame, wide, high, block.resize, block.antialias)
    if (wide, high) == (where.input_width, where.input_height):
        return frame
    shape = (where.input_height, where.input_width, frame.shape[2])
    canvas = np.full(shape, block.pad_value, dtype=np.uint8)
    left, top = max(0, where.pad_x), max(0, where.pad_y)
    cut = frame[max(0, -where.pad_y) :, max(0, -where.pad_x) :][: shape[0] - top, : shape[1] - left]
    canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return canvas


def _levels(block: Preprocess) -> Tensor:
    """What each level 0..255 becomes in each channel [channels, 256]."""
    channels = 1 if block.colour == "grey" else 3
    level = np.arange(256, dtype=np.float64)
    if block.dtype == "uint8":
        return np.tile(level, (channels, 1)).astype(np.uint8)
    mean, std = (
        np.array(said or (usual,) * channels, dtype=np.float64)[:, None]
        for said, usual in ((block.mean, 0.0), (block.std, 1.0))
    )
    values: Tensor = ((level / block.divide_by - mean) / std).astype(block.dtype)
    return values
