"""The images of a golden set as small pictures that a page can hold."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from monitor.client.folder import image_paths
from monitor.errors import UsageError
from monitor.golden.frames import Frame

WIDEST = 420
"""Pixels of the longer side."""
QUALITY = 72


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as data: an address that holds it, and its original's width and height in pixels."""

    address: str
    width: int
    height: int


class Folder:
    """A folder of images, asked by the names that a truth gives them.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            paths = image_paths(folder)
        except OSError as error:
            raise UsageError(f"{folder} cannot be read ({error.strerror}); name the folder of the images") from None
        self._paths = {path.stem: path for path in paths} | {path.name: path for path in paths}
        self._paths |= {path.relative_to(folder).as_posix(): path for path in paths}

    def picture(self, of: Frame) -> Picture | None:
        """The picture of a frame; None if its file is not there or is no image."""
        names = (of.file, Path(of.file).name, str(of.image))
        path = next((self._paths[name] for name in names if name in self._paths), None)
        if path is None:
            return None
        try:
            with Image.open(path) as opened:
                width, height = ImageOps.exif_transpose(opened).size
                opened.draft("RGB", (WIDEST, WIDEST))
                small = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            return None
        small.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        small.save(data, "JPEG", quality=QUALITY)
        return Picture(f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}", width, height)
