"""What a golden set is to the code that scores it: numbers, and the names that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.stats.boxes import Bools
from monitor.stats.matching import Truth

Id = int | str
"""What files call an image or a class."""


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """Verified truth. Places in `images` and `classes`, both ascending, are the numbers that `truth` uses.

    `slices` says for each condition and value which images [images] have it. `set_aside` holds a sentence for each
    object that could not be taken.
    """

    name: str
    images: tuple[Id, ...]
    classes: tuple[Id, ...]
    class_names: tuple[str, ...]
    truth: Truth
    slices: dict[str, dict[str, Bools]]
    set_aside: tuple[str, ...] = ()
