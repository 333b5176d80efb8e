"""Fourteen weeks of the packaging line: four clean ones, then ten in which the lamps age and new packages come.

Light falls on all lines alike from 1.0 to 0.5 of a new lamp's; on the line of cam-2 the share of packages in the
new look grows from 0 to 35 %. On the second day after the clean weeks the lens of cam-3 is swapped for one that
nobody focused, and is set right four days later; on one day of week 8 a fifth of cam-1's frames come back with an
error. The undrifted replay is the same plant, the same days and the same wobble without any of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from detector import Truth
from numpy.typing import NDArray
from plant import CAMERAS, Scene, draw

DAYS = 14 * 7
CLEAN_DAYS = 4 * 7
LAST_LIGHT = 0.5
LAST_NEW_PACKAGING = 0.35
NEW_PACKAGING_CAMERA = "cam-2"
LENS_CAMERA, LENS_DAYS, LENS_BLUR = "cam-3", range(CLEAN_DAYS + 1, CLEAN_DAYS + 5), 1.2
ERROR_CAMERA, ERROR_DAY, ERROR_SHARE = "cam-1", 7 * 7 + 2, 0.2
DAY_WOBBLE = 0.005  # relative sd of the light from one day to the next
SHIFT_START_S, SHIFT_END_S = 6 * 3600, 22 * 3600  # UTC


class Shot(NamedTuple):
    """One frame of production: pixels, truth, seconds after the day's midnight UTC, and how it was drawn."""

    frame: NDArray[np.uint8]
    truth: Truth
    captured_offset_s: float
    scene: Scene


def produce_day(day_index: int, camera: str, frames: int, drifted: bool, seed: int) -> list[Shot]:
    """Draw one camera's day (`day_index` 0 to 97), `frames` of them spread over the shift from 06:00 to 22:00 UTC.

    Every frame has its own generator, made from (seed, day, camera, frame): any day can be drawn alone, in any
    process, and a longer day changes none of the generators.
    """
    if not 0 <= day_index < DAYS:
        raise ValueError(f"day {day_index} is not in the story: use 0 to {DAYS - 1}")
    scene = day_scene(day_index, camera, drifted, seed)
    spacing = (SHIFT_END_S - SHIFT_START_S) / frames
    shots = []
    for index in range(frames):
        rng = _generator(seed, day_index, camera, index + 1)
        offset = SHIFT_START_S + spacing * (index + rng.random())
        frame, boxes, class_ids = draw(scene, rng)
        shots.append(Shot(frame, Truth(boxes, class_ids), offset, scene))
    return shots


def day_scene(day_index: int, camera: str, drifted: bool, seed: int) -> Scene:
    """Return the conditions of one camera's day: how far the story has come, and the day's own wobble of light."""
    wobble = 1.0 + DAY_WOBBLE * float(_generator(seed, day_index, camera, 0).standard_normal())
    clean = Scene(camera=camera, light=wobble, seed=seed)
    if not drifted:
        return clean
    way = max(0, day_index - CLEAN_DAYS + 1) / (DAYS - CLEAN_DAYS)
    arriving = LAST_NEW_PACKAGING if camera == NEW_PACKAGING_CAMERA else 0.0
    blur = LENS_BLUR if camera == LENS_CAMERA and day_index in LENS_DAYS else 0.0
    light = wobble * (1.0 - (1.0 - LAST_LIGHT) * way)
    return replace(clean, light=light, new_packaging=arriving * way, blur_sigma=blur)


def fails(day_index: int, camera: str, frame: int, drifted: bool) -> bool:
    """Whether the service gives an error for a frame: on one day, for every fifth frame of one camera."""
    return drifted and (camera, day_index) == (ERROR_CAMERA, ERROR_DAY) and frame % round(1 / ERROR_SHARE) == 0


def _generator(seed: int, day_index: int, camera: str, part: int) -> np.random.Generator:
    """`part` 0 is the day itself, 1 and up are its frames."""
    key = (seed, day_index, CAMERAS.index(camera), part)
    return np.random.default_rng(np.random.SeedSequence(key))
