"""Image files as statistics: what a training set looks like, read by the same code as production.

Needs Pillow. Files are read as they are stored, without turning them by their EXIF orientation: no statistic of the
full recipe depends on it, and `resolution` is that of a square with as many pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np

from monitor.imaging.resize import resized
from monitor.imaging.stats import ImageStats, Pixels, image_stats, recipe_name

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 100_000_000
"""A larger image is refused before it is decoded: 300 MB once it is."""

_TOO_LARGE = f"has more than {MAX_PIXELS:,} pixels; scale it as for the model"
_ORIENTATION = 0x0112
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""How a picture of each EXIF orientation is put upright."""
_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr")


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image that was read; `stats` holds its width and height."""

    path: Path
    stats: ImageStats


@dataclass(frozen=True, slots=True)
class ImageFault:
    """One image that was not read. `reason` says why and what to do, without the path."""

    path: Path
    reason: str


class _Unreadable(Exception):
    """Why a file gives no pixels."""


def image_paths(path: Path) -> list[Path]:
    """The image files in a folder and the folders below it, known by their suffix, sorted; a file is itself.

    Hidden files and folders are left out; links to folders are not followed.

    Raises:
        OSError: there is no such path, or a folder cannot be read.
    """
    if not path.is_dir():
        path.stat()
        return [path]
    found = []
    for folder, inner, names in os.walk(path, onerror=_refuse):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".") and _is_image(name)]
    return sorted(found)


def listed_images(listing: Path, folder: Path | None = None) -> list[Path]:
    """The image files that a text file names, one a line, in its order; blank lines and lines after `#` do not count.

    A name is looked for in `folder`, by default the list's own, with its suffix or without (`IMG_7` finds
    `IMG_7.png`). A name without a file is returned too, so that reading it says so.

    Raises:
        OSError: the list or the folder cannot be read.
        UnicodeDecodeError: the list is not UTF-8.
    """
    root = listing.parent if folder is None else folder
    lines = (line.strip() for line in listing.read_text(encoding="utf-8").splitlines())
    named = [root / line for line in lines if line and not line.startswith("#")]
    if all(path.exists() for path in named):
        return named
    by_stem = {found.with_suffix(""): found for found in image_paths(root)}
    return [path if path.exists() else by_stem.get(path, path) for path in named]


def read_folder(
    paths: Iterable[Path], step: int = 1, workers: int | None = None
) -> Iterator[ImageResult | ImageFault]:
    """Read image files in the order given, in `workers` threads (by default one a core, up to 8).

    A file that cannot be read gives an `ImageFault`, and the rest goes on. `step` is that of `image_stats`. Grey
    images of 8 bits are read as grey, colour ones as RGB; grey of 16 bits or in floats is refused: a reduction
    to 8 bits would be a guess.

    Raises, when the first result is asked for:
        ModuleNotFoundError: Pillow is not installed.
        ValueError: `step` or `workers` below 1.
    """
    recipe_name(step)
    if workers is None:
        workers = min(8, len(os.sched_getaffinity(0)))
    _pillow()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="images") as pool:
        waiting = iter(paths)
        ahead: deque[Future[ImageResult | ImageFault]] = deque()
        try:
            ahead.extend(pool.submit(_read, path, step) for path in islice(waiting, 2 * workers))
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(_read, path, step) for path in islice(waiting, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _read(path: Path, step: int) -> ImageResult | ImageFault:
    try:
        pixels = _decode(path)
    except _Unreadable as refusal:
        return ImageFault(path, str(refusal))
    except Exception as error:  # noqa: BLE001 - on broken bytes a decoder raises whatever it stumbles over
        return ImageFault(path, f"cannot be read ({str(error) or repr(error)}); export it again or leave it out")
    return ImageResult(path, image_stats(pixels, step))


def _decode(path: Path) -> Pixels:
    """uint8 [h, w, 3] or, of a grey image, [h, w]."""
    if not path.is_file():
        raise _Unreadable("is not a regular file" if path.exists() else "does not exist; check the path or the list")
    return _pixels(path, turned=False)


def decoded(data: bytes, turned: bool = True) -> Pixels:
    """The pixels of an image file's bytes: uint8 [h, w, 3] or, of a grey image, [h, w].

    `turned`: as its EXIF orientation says, if it says anything.

    Raises:
        ValueError: they are no image that can be read, or not one of 8 bits; the sentence begins with the verb.
        ModuleNotFoundError: Pillow is not installed.
    """
    try:
        return _pixels(BytesIO(data), turned)
    except _Unreadable as refusal:
        raise ValueError(str(refusal)) from None
    except ModuleNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001 - on broken bytes a decoder raises whatever it stumbles over
        raise ValueError(f"cannot be read ({str(error) or repr(error)}); export it again or leave it out") from None


def _pixels(source: Path | BytesIO, turned: bool) -> Pixels:
    pillow = _pillow()
    try:
        image = pillow.open(source, formats=FORMATS)
    except pillow.UnidentifiedImageError:
        raise _Unreadable(f"is not an image of a known format ({', '.join(FORMATS)}); convert it") from None
    except pillow.DecompressionBombError:
        raise _Unreadable(_TOO_LARGE) from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _Unreadable(_TOO_LARGE)
        if image.mode not in _GREY_MODES + _COLOUR_MODES:
            raise _Unreadable(f"is not 8-bit grey or colour (mode {image.mode}); convert it as for the model")
        plain = image.convert("L" if image.mode in _GREY_MODES else "RGB")
        way = getattr(pillow.Transpose, _TURNS.get(image.getexif().get(_ORIENTATION), ""), None) if turned else None
        return np.asarray(plain if way is None else plain.transpose(way))


def scaled(pixels: Pixels, width: int, height: int, kernel: str, antialias: bool) -> Pixels:
    """What `monitor.imaging.resize.resized` gives, by Pillow where that gives the same bits sooner."""
    filters = {"area": "BOX", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "lanczos": "LANCZOS"}
    if kernel not in filters or not (antialias or kernel == "area") or min(width, height) < 1:
        return resized(pixels, width, height, kernel, antialias)
    pillow = _pillow()
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    image, way = pillow.fromarray(np.ascontiguousarray(flat)), getattr(pillow.Resampling, filters[kernel])
    # In two steps: Pillow's releases differ in which side comes first.
    made = np.asarray(image.resize((width, image.height), way).resize((width, height), way))
    return made.reshape(height, width, *pixels.shape[2:])


def decoder_name() -> str:
    """Which release of what decodes: levels of a JPEG may differ by one from library to library."""
    pillow = _pillow()
    from PIL import features

    turbo = features.version("libjpeg_turbo")
    return f"pillow {pillow.__version__}, " + (f"libjpeg-turbo {turbo}" if turbo else "libjpeg")


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading image files needs Pillow: pip install pillow") from error
    return Image


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _refuse(error: OSError) -> None:
    raise error
