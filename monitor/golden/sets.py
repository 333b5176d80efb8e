"""What a golden set is to the code that scores it: numbers, and the names that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from monitor.imaging.likeness import BITS
from monitor.records import Name, Value
from monitor.stats.boxes import Bools
from monitor.stats.matching import Truth

Id = int | str
"""What files call an image or a class."""
Kind = Literal["golden", "challenge", "training"]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """Verified truth. Places in `images` and `classes`, both ascending, are the numbers that `truth` uses.

    `slices` says for each condition and value which images [images] have it. `set_aside` holds a sentence for each
    object that could not be taken. `files` [images] are the image files, where they are known, and `occluded`
    [images] whether the truth says that something in the image is; empty where it says nothing of the kind. So with
    `captured` [images], when they were taken.
    """

    name: str
    images: tuple[Id, ...]
    classes: tuple[Id, ...]
    class_names: tuple[str, ...]
    truth: Truth
    slices: dict[str, dict[str, Bools]]
    set_aside: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    occluded: tuple[bool, ...] = ()
    captured: tuple[datetime | None, ...] = ()


class ManifestImage(msgspec.Struct, forbid_unknown_fields=True):
    """An image: its file (relative to the folder of images), hash, size, conditions, and hash of what it shows."""

    file: Annotated[str, msgspec.Meta(min_length=1)]
    sha256: Sha256
    width: Annotated[int, msgspec.Meta(ge=1)]
    height: Annotated[int, msgspec.Meta(ge=1)]
    camera: Value = ""
    captured_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    slices: dict[Name, Value] = {}
    dhash: Annotated[str, msgspec.Meta(pattern=f"^([0-9a-f]{{{BITS // 4}}})?$")] = ""


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """A set of images. `truth` is a COCO JSON file, relative to the manifest; a training set needs none."""

    name: Name
    version: Name
    kind: Kind
    images: Annotated[list[ManifestImage], msgspec.Meta(min_length=1)]
    truth: str = ""
    truth_sha256: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""
