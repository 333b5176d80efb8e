"""A drawn packaging line: packages on a conveyor, seen from above, with their true boxes.

Every frame is 160 x 160 RGB. Three cameras look at three lines, each with its own belt, direction, package
scale and product mix. Cartons, pouches and bottles are the products. Interleaf sheets and foam pads travel
along and are no products; they have a product's outline and are told apart mostly by their paler tone. That
is what makes an ageing lamp costly here: a pale sheet under half the light looks like a carton under full light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Colour = tuple[float, float, float]
Thing = tuple[str, tuple[int, int, int, int]]
"""What was put on the belt, and its visible box (x1, y1, x2, y2 in pixels)."""

SIZE = 160
CLASSES = ("carton", "pouch", "bottle")
CAMERAS = ("cam-1", "cam-2", "cam-3")
FLICKER = 0.02  # relative sd of the light from one frame to the next
MOST_PACKAGES = 5
PACKAGE_WEIGHTS = (0.05, 0.15, 0.25, 0.27, 0.18, 0.10)  # of 0 to MOST_PACKAGES packages in a frame
STRAY_SHARE = 0.25  # of frames that carry a sheet, and of frames that carry a pad
LABELLED_SHARE = 0.5  # of cartons
LAMP_SLOPE = 0.15  # the lamp favours one side of the frame by up to this
SHADOWED_SHARE = 0.15  # of frames that somebody or something throws a shadow into
TILE = 2 * SIZE


@dataclass(frozen=True)
class Scene:
    """The conditions one frame is drawn under: the knobs of the plant.

    `light` multiplies all that the lamp lights (1.0 is a new lamp); `new_packaging` is the share of all packages
    on the line that come in the pouch's new paper look (at most the line's share of pouches); `blur_sigma` is in
    pixels, `noise_sigma` in grey levels; `seed` serves `draw` when it is given no generator.
    """

    camera: str = "cam-1"
    light: float = 1.0
    new_packaging: float = 0.0
    blur_sigma: float = 0.0
    noise_sigma: float = 2.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.camera not in CAMERAS:
            raise ValueError(f"unknown camera {self.camera!r}: use one of {', '.join(CAMERAS)}")
        if not 0.0 <= self.new_packaging <= 1.0:
            raise ValueError(f"new_packaging is a share: {self.new_packaging} must lie between 0 and 1")
        if min(self.light, self.blur_sigma, self.noise_sigma) < 0.0:
            raise ValueError("light, blur_sigma and noise_sigma must not be negative")


@dataclass(frozen=True)
class Line:
    """What one camera always sees: belt colour, ribs (pixels apart), direction, scale and product mix."""

    belt: Colour
    rail: Colour
    rib: int
    sideways: bool
    scale: float
    mix: tuple[float, float, float]


LINES = {
    "cam-1": Line((66, 69, 74), (128, 132, 138), 20, False, 1.00, (0.45, 0.25, 0.30)),
    "cam-2": Line((62, 84, 78), (120, 120, 116), 32, True, 0.92, (0.25, 0.50, 0.25)),
    "cam-3": Line((84, 80, 76), (150, 146, 136), 12, False, 1.10, (0.30, 0.30, 0.40)),
}


class Pose(NamedTuple):
    """Where a thing lies: centre and half extents in pixels, angle in radians."""

    x: float
    y: float
    along: float
    across: float
    angle: float


class Patch(NamedTuple):
    """The part of the canvas around a thing, with each pixel's place in the thing's own axes."""

    pixels: Floats  # [3, h, w], a view of the canvas
    u: Floats  # [h, w], pixels along the thing
    v: Floats  # [h, w], pixels across it
    left: int
    top: int


def draw(
    scene: Scene, rng: np.random.Generator | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Return one frame [160, 160, 3] uint8 RGB, its boxes [n, 4] (x1, y1, x2, y2 in pixels), class ids [n].

    Boxes enclose what is visible inside the frame. The same scene and the same state of the generator give the
    same frame; without a generator the scene's seed starts one.
    """
    return labelled(*draw_things(scene, np.random.default_rng(scene.seed) if rng is None else rng))


def draw_things(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[Thing]]:
    """Return one frame [160, 160, 3] uint8 RGB and all that lies in it, strays too."""
    line = LINES[scene.camera]
    canvas = _background(scene.camera, rng)
    things: list[Thing] = []
    for kind, pose in _arrange(scene, line, rng):
        box = _put(canvas, kind, pose, rng)
        if box is not None:
            things.append((kind, box))
    return _expose(canvas, scene, rng), things


def labelled(
    frame: NDArray[np.uint8], things: list[Thing], taken_for: Mapping[str, str] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Return the frame with the boxes [n, 4] and class ids [n] of its things; `taken_for` names each kind's class."""
    classes = KIND_CLASS if taken_for is None else taken_for
    kept = [(box, CLASSES.index(classes[kind])) for kind, box in things if kind in classes]
    boxes = np.array([box for box, _ in kept], dtype=np.float64).reshape(-1, 4)
    return frame, boxes, np.array([label for _, label in kept], dtype=np.int64)


def _arrange(scene: Scene, line: Line, rng: np.random.Generator) -> list[tuple[str, Pose]]:
    """Choose what lies on the belt and where, strays first so that a product is never hidden by one."""
    new_look = min(1.0, scene.new_packaging / line.mix[1])
    count = int(rng.choice(MOST_PACKAGES + 1, p=PACKAGE_WEIGHTS))
    kinds = [stray for stray in ("sheet", "pad") if rng.random() < STRAY_SHARE]
    for class_id in rng.choice(len(CLASSES), size=count, p=line.mix):
        # The look is drawn for every package, so that the share alone moves nothing else in the scene.
        paper = rng.random() < new_look and CLASSES[class_id] == "pouch"
        kinds.append("paper pouch" if paper else CLASSES[class_id])
    placed: list[tuple[str, Pose]] = []
    for kind in kinds:
        for _ in range(12):
            pose = _pose(kind, line, rng)
            if all(_apart(pose, other) for _, other in placed):
                placed.append((kind, pose))
                break
    return placed


def _pose(kind: str, line: Line, rng: np.random.Generator) -> Pose:
    long, ratio = EXTENT[kind]
    along = 0.5 * long * line.scale * rng.uniform(0.88, 1.12)
    across = along * ratio * rng.uniform(0.92, 1.08)
    turned = (rng.random() < 0.35) ^ line.sideways
    angle = rng.normal(0.0, 0.22) + (0.0 if turned else np.pi / 2) + (np.pi if rng.random() < 0.5 else 0.0)
    margin = 14.0
    x, y = rng.uniform(margin, SIZE - margin, size=2)
    return Pose(float(x), float(y), float(along), float(across), float(angle))


def _apart(one: Pose, other: Pose) -> bool:
    gap = np.hypot(one.x - other.x, one.y - other.y)
    reach = 0.42 * (one.along + one.across + other.along + other.across)
    return bool(gap > reach)


def _put(canvas: Floats, kind: str, pose: Pose, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """Paint one thing with its shadow; return its visible box, or None where nothing of it is in the frame."""
    patch = _patch(canvas, pose)
    shade = _box_cover(patch.u, patch.v, pose.along + 2.5, pose.across + 2.5, 0.25)
    np.multiply(patch.pixels, 1.0 - np.float32(0.35) * shade, out=patch.pixels)
    seen = PAINTERS[kind](patch, pose, rng) > 0.5
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if rows.size == 0:
        return None
    left, top = patch.left, patch.top
    return int(columns[0]) + left, int(rows[0]) + top, int(columns[-1]) + left + 1, int(rows[-1]) + top + 1


def _patch(canvas: Floats, pose: Pose) -> Patch:
    reach = float(np.hypot(pose.along, pose.across)) + 4.0
    left, right = max(0, int(pose.x - reach)), min(SIZE, int(pose.x + reach) + 1)
    top, bottom = max(0, int(pose.y - reach)), min(SIZE, int(pose.y + reach) + 1)
    dx = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - pose.x))[None, :]
    dy = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - pose.y))[:, None]
    cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
    return Patch(canvas[:, top:bottom, left:right], dx * cos + dy * sin, dy * cos - dx * sin, left, top)


def _box_cover(u: Floats, v: Floats, along: float, across: float, hardness: float = 1.0) -> Floats:
    """Cover (0 to 1) of a rectangle with smooth edges."""
    depth = np.minimum(np.float32(along) - np.abs(u), np.float32(across) - np.abs(v))
    depth *= np.float32(hardness)
    depth += np.float32(0.5)
    return _unit(depth)


def _round_cover(u: Floats, v: Floats, along: float, across: float) -> Floats:
    """Cover of a rectangle with well-rounded corners (a superellipse of degree four)."""
    a, b = (u / np.float32(along)) ** 2, (v / np.float32(across)) ** 2
    return _unit((1.0 - np.sqrt(a * a + b * b)) * np.float32(0.5 * across) + np.float32(0.5))


def _unit(values: Floats) -> Floats:
    """Clip to 0..1 in place (np.clip takes twice as long on arrays this small)."""
    np.maximum(values, 0.0, out=values)
    return np.minimum(values, 1.0, out=values)


def _blend(pixels: Floats, cover: Floats, colour: Floats) -> None:
    step = colour - pixels
    step *= cover
    pixels += step


def _tone(colour: Colour, rng: np.random.Generator, spread: float = 0.03) -> Floats:
    return _ink(colour) * np.float32(1.0 + spread * np.clip(rng.standard_normal(), -3.0, 3.0))


def _ink(colour: Colour) -> Floats:
    return np.array(colour, dtype=np.float32).reshape(3, 1, 1)


def _paint_board(patch: Patch, pose: Pose, colour: Floats) -> Floats:
    """A cardboard rectangle with a darker rim and a paler strip along its middle."""
    cover = _box_cover(patch.u, patch.v, pose.along, pose.across)
    _blend(patch.pixels, cover, colour * np.float32(0.8))
    _blend(patch.pixels, _box_cover(patch.u, patch.v, pose.along - 1.8, pose.across - 1.8), colour)
    strip = _box_cover(patch.u, patch.v, pose.along, 0.13 * pose.across + 0.8)
    _blend(patch.pixels, strip, colour * np.float32(1.18))
    return cover


def _paint_carton(patch: Patch, pose: Pose, rng: np.random.Generator) -> Floats:
    cover = _paint_board(patch, pose, _tone((142, 104, 66), rng, 0.08))
    if rng.random() < LABELLED_SHARE:
        side = 0.55 * pose.across * (1.0 if rng.random() < 0.5 else -1.0)
        u, v = patch.u - np.float32(0.45 * pose.along), patch.v - np.float32(side)
        label = _box_cover(u, v, 0.32 * pose.along, 0.24 * pose.across)
        _blend(patch.pixels, label, _tone((182, 182, 176), rng))
    return cover


def _paint_sheet(patch: Patch, pose: Pose, rng: np.random.Generator) -> Floats:
    return _paint_board(patch, pose, _tone((188, 140, 90), rng, 0.08))


def _paint_film(patch: Patch, pose: Pose, rng: np.random.Generator, film: Floats, band: Floats) -> Floats:
    """A soft bag with crimped ends, creases and a printed band across."""
    cover = _round_cover(patch.u, patch.v, pose.along, pose.across)
    phase, pitch = np.float32(rng.uniform(0.0, 6.3)), np.float32(rng.uniform(0.35, 0.55))
    crease = 1.0 + np.float32(0.06) * np.sin(pitch * (patch.u + np.float32(0.6) * patch.v) + phase)
    _blend(patch.pixels, cover, film * crease)
    ends = _unit(np.abs(patch.u) - np.float32(0.78 * pose.along)) * cover
    _blend(patch.pixels, ends * np.float32(0.6), film * np.float32(0.72))
    middle = _box_cover(patch.u, patch.v, 0.26 * pose.along, pose.across + 2.0) * cover
    _blend(patch.pixels, middle * np.float32(0.85), band)
    return cover


def _paint_pouch(patch: Patch, pose: Pose, rng: np.random.Generator) -> Floats:
    film = _tone((132, 142, 158), rng, 0.08)
    inks = (_ink((150, 58, 52)), _ink((52, 84, 148)), _ink((64, 120, 78)), film * np.float32(0.88))
    return _paint_film(patch, pose, rng, film, inks[int(rng.integers(len(inks)))])


def _paint_pad(patch: Patch, pose: Pose, rng: np.random.Generator) -> Floats:
    film = _tone((174, 187, 206), rng, 0.08)
    return _paint_film(patch, pose, rng, film, film * np.float32(0.88))


def _paint_paper_pouch(patch: Patch, pose: Pose, rng: np.random.Generator) -> Floats:
    """The pouch's new look: brown paper in place of film, squarer, the band printed in one ink."""
    cover = _paint_board(patch, pose, _tone((150, 116, 79), rng, 0.08))
    ends = _unit(np.abs(patch.u) - np.float32(0.80 * pose.along)) * cover
    _blend(patch.pixels, ends * np.float32(0.5), _tone((112, 86, 58), rng))
    middle = _box_cover(patch.u, patch.v, 0.22 * pose.along, 0.8 * pose.across) * cover
    _blend(patch.pixels, middle * np.float32(0.8), _tone((102, 92, 69), rng))
    return cover


def _paint_bottle(patch: Patch, pose: Pose, rng: np.random.Generator) -> Floats:
    """A lying bottle: round-ended body, neck and cap, with the lamp's reflection along it."""
    u, v, along, across = patch.u, patch.v, pose.along, pose.across
    glass = ((96, 60, 28), (44, 92, 56), (58, 78, 110))[int(rng.integers(3))]
    body = _round_cover(u + np.float32(0.25 * along), v, 0.75 * along, across)
    neck = _box_cover(u - np.float32(0.62 * along), v, 0.32 * along, 0.42 * across)
    cap = _box_cover(u - np.float32(0.86 * along), v, 0.14 * along, 0.52 * across)
    cover = np.maximum(np.maximum(body, neck), cap)
    colour = _tone(glass, rng, 0.06)
    _blend(patch.pixels, np.maximum(body, neck), colour)
    label = _box_cover(u + np.float32(0.3 * along), v, 0.28 * along, across) * body
    _blend(patch.pixels, label, _tone((176, 168, 148), rng, 0.05))
    gleam = _box_cover(u + np.float32(0.2 * along), v + np.float32(0.45 * across), 0.6 * along, 0.8, 0.6) * body
    _blend(patch.pixels, gleam * np.float32(0.6), _ink((205, 210, 215)))
    _blend(patch.pixels, cap, _tone(((186, 186, 190), (150, 46, 40))[int(rng.integers(2))], rng))
    return cover


PAINTERS: dict[str, Callable[[Patch, Pose, np.random.Generator], Floats]] = {
    "carton": _paint_carton,
    "pouch": _paint_pouch,
    "bottle": _paint_bottle,
    "paper pouch": _paint_paper_pouch,
    "sheet": _paint_sheet,
    "pad": _paint_pad,
}
EXTENT = {  # length in pixels at scale 1, width over length
    "carton": (44.0, 0.76),
    "pouch": (42.0, 0.68),
    "bottle": (50.0, 0.34),
    "paper pouch": (42.0, 0.70),
    "sheet": (42.0, 0.76),
    "pad": (40.0, 0.70),
}
KIND_CLASS = {"carton": "carton", "pouch": "pouch", "bottle": "bottle", "paper pouch": "pouch"}


def _background(camera: str, rng: np.random.Generator) -> Floats:
    belt, fixed, opaque = _camera_layers(camera)
    start = int(rng.integers(TILE - SIZE))
    moving = belt[:, :, start : start + SIZE] if LINES[camera].sideways else belt[:, start : start + SIZE]
    canvas = moving * opaque
    canvas += fixed
    return canvas


@cache
def _camera_layers(camera: str) -> tuple[Floats, Floats, Floats]:
    """A camera's unchanging layers: the belt's tile (long in its direction), rails [3, 160, 160], belt's weight."""
    line = LINES[camera]
    rng = np.random.default_rng(CAMERAS.index(camera))
    grain = rng.normal(0.0, 3.0, (TILE // 2, SIZE // 2)).repeat(2, axis=0).repeat(2, axis=1)
    grain += rng.normal(0.0, 4.0, (1, SIZE)) + rng.normal(0.0, 1.5, (TILE, 1))
    phase = np.arange(TILE)[:, None] % line.rib
    grain += np.where(phase < 2, -9.0, np.where(phase < 3, 6.0, 0.0))
    belt = _ink(line.belt) + (grain.T if line.sideways else grain)
    yy, xx = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1.0) - 0.5
    across = np.abs(yy if line.sideways else xx)
    rail = (across > 0.465).astype(np.float64)
    vignette = 1.0 - 0.35 * (xx**2 + yy**2)
    rails = rail * vignette * (1.0 - 9.0 * np.abs(across - 0.483)) * _ink(line.rail)
    return belt.astype(np.float32), rails.astype(np.float32), ((1.0 - rail) * vignette).astype(np.float32)


def _expose(canvas: Floats, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, blur and sensor noise turn reflectance into a frame."""
    light = scene.light * (1.0 + FLICKER * rng.standard_normal())
    canvas *= _lamp(rng) * np.float32(max(light, 0.0))
    if scene.blur_sigma > 0.0:
        canvas = _blurred(canvas, scene.blur_sigma)
    # A crop of one fixed tile of noise: drawing 76,800 normals would cost more than all the rest.
    top, left = rng.integers(TILE - SIZE, size=2)
    canvas += _noise_tile()[:, top : top + SIZE, left : left + SIZE] * np.float32(scene.noise_sigma)
    np.clip(canvas, 0.0, 255.0, out=canvas)
    frame = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    for channel in range(3):
        frame[..., channel] = canvas[channel]
    return frame


def _lamp(rng: np.random.Generator) -> Floats:
    """How the light falls on the frame [160, 160]: a slope, and now and then a soft-edged shadow from one side."""
    ticks = np.linspace(-1.0, 1.0, SIZE, dtype=np.float32)
    down, right = rng.uniform(-LAMP_SLOPE, LAMP_SLOPE, size=2).astype(np.float32)
    field: Floats = (1.0 + down * ticks)[:, None] + right * ticks
    angle, edge, depth = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-0.2, 0.9), rng.uniform(0.1, 0.4)
    if rng.random() < SHADOWED_SHARE:
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        beyond = (sin * ticks)[:, None] + (cos * ticks - np.float32(edge))
        field *= 1.0 - np.float32(depth) * _unit(beyond * np.float32(8.0) + np.float32(0.5))
    return field


@cache
def _noise_tile() -> Floats:
    return np.random.default_rng(2024).standard_normal((3, TILE, TILE), dtype=np.float32)


def _blurred(canvas: Floats, sigma: float) -> Floats:
    """A Gaussian blur, one axis after the other, the border repeated."""
    radius = max(1, int(3.0 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        wide = np.pad(canvas, pad, mode="edge")
        canvas = np.zeros_like(canvas)
        for k, weight in enumerate(kernel):
            canvas += weight * (wide[:, k : k + SIZE] if axis == 1 else wide[:, :, k : k + SIZE])
    return canvas
