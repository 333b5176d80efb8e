"""Image statistics: worked numbers, an oracle in floating point with scipy's convolution, what must not matter."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from monitor.imaging.stats import HISTOGRAM_BINS, SHARPNESS_FLOOR, image_stats, recipe_name
from monitor.records import ImageStatsRecord
from monitor.signals import SIGNALS

Frame = npt.NDArray[np.uint8]

sides = st.integers(1, 12)
colour_frames = st.tuples(sides, sides).flatmap(lambda hw: arrays(np.uint8, (*hw, 3)))
grey_frames = st.tuples(sides, sides).flatmap(lambda hw: arrays(np.uint8, hw))
frames = st.one_of(colour_frames, grey_frames)
steady = settings(derandomize=True, max_examples=60, deadline=None)


def noise(height: int, width: int, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected(frame: Frame, step: int = 1) -> dict[str, Any]:
    """The same statistics the slow way, in float64."""
    pixels = frame.astype(np.float64)
    grey = pixels if pixels.ndim == 2 else np.floor((pixels @ np.array([77.0, 150.0, 29.0]) + 128) / 256)
    read = grey[::step, ::step]
    kernel = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    inner = ndimage.convolve(grey, kernel)[1:-1, 1:-1][::step, ::step]
    variance = inner.var() if inner.size else 0.0
    red, green, blue = (
        np.maximum(pixels[::step, ::step].mean(axis=(0, 1)), 1.0) if pixels.ndim == 3 else (1.0, 1.0, 1.0)
    )
    return {
        "brightness": read.mean(),
        "contrast": read.std(),
        "sharpness": max(-2.0, math.log(variance)) if variance > 1e-9 else -2.0,
        "red_balance": math.log(red / green),
        "blue_balance": math.log(blue / green),
        "histogram": tuple(np.histogram(read, bins=32, range=(0, 256))[0].tolist()),
    }


def check(frame: Frame, step: int = 1) -> None:
    found = image_stats(frame, step)
    assert (found.height, found.width) == frame.shape[:2]
    for name, value in expected(frame, step).items():
        assert getattr(found, name) == pytest.approx(value, abs=2e-6), name


def test_worked_numbers_of_a_grey_frame() -> None:
    """One level of 10 in 12 pixels; the Laplacian is 40 there and 10 the other way beside it: variance 25²."""
    frame = np.zeros((3, 4), dtype=np.uint8)
    frame[1, 1] = 10
    found = image_stats(frame)
    assert (found.width, found.height) == (4, 3)
    assert found.brightness == 0.833333
    assert found.contrast == 2.763854
    assert found.sharpness == round(2 * math.log(25), 6) == 6.437752
    assert (found.red_balance, found.blue_balance) == (0.0, 0.0)
    assert found.histogram == (11, 1, *[0] * 30)


def test_worked_numbers_of_a_coloured_pixel() -> None:
    """(77 · 200 + 150 · 100 + 29 · 50 + 128) / 256 = 124.9, cut to 124, which is in the bin of 120 to 127."""
    found = image_stats(np.array([[[200, 100, 50]]], dtype=np.uint8))
    assert found.brightness == 124.0
    assert found.contrast == 0.0
    assert found.red_balance == 0.693147
    assert found.blue_balance == -0.693147
    assert found.histogram[15] == 1 == sum(found.histogram)


def test_a_grey_level_in_three_channels_is_that_level() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert image_stats(np.dstack([ramp] * 3)) == image_stats(ramp)


@steady
@given(frame=frames, step=st.integers(1, 4))
def test_equals_the_slow_way(frame: Frame, step: int) -> None:
    check(frame, step)


@pytest.mark.parametrize("shape", [(701, 513), (40, 4000), (3000, 5), (2, 140_000)])
@pytest.mark.parametrize("step", [1, 4])
def test_equals_the_slow_way_over_many_bands(shape: tuple[int, int], step: int) -> None:
    check(noise(*shape), step)


def test_extreme_frames_do_not_overflow() -> None:
    """A chessboard's Laplacian is 1,020 up and down on every pixel; white sums to the most a band can hold."""
    chessboard = (np.indices((602, 302)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert image_stats(chessboard).sharpness == round(2 * math.log(1020), 6)
    white = image_stats(np.full((1000, 600, 3), 255, dtype=np.uint8))
    assert (white.brightness, white.contrast, white.red_balance, white.sharpness) == (255.0, 0.0, 0.0, -2.0)
    red = np.zeros((1000, 600, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert image_stats(red).red_balance == round(math.log(255), 6)
    assert image_stats(red).blue_balance == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 2), (3, 3), (50, 50, 3)])
def test_a_frame_without_detail_has_the_least_sharpness(shape: tuple[int, ...]) -> None:
    assert image_stats(np.full(shape, 77, dtype=np.uint8)).sharpness == SHARPNESS_FLOOR


@steady
@given(frame=frames)
def test_turning_and_mirroring_change_nothing_but_the_sides(frame: Frame) -> None:
    found = image_stats(frame)
    turned = image_stats(np.rot90(frame))
    assert replace(turned, width=found.width, height=found.height) == found
    assert image_stats(frame[:, ::-1]) == found


def test_the_layout_in_memory_does_not_matter() -> None:
    frame = noise(33, 21)
    found = image_stats(frame)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    assert image_stats(bgr[..., ::-1]) == found
    assert image_stats(np.asfortranarray(frame)) == found
    assert image_stats(np.dstack([frame, np.full((33, 21), 9, dtype=np.uint8)])) == found
    padded = np.zeros((40, 30, 3), dtype=np.uint8)
    padded[:33, :21] = frame
    view = padded[:33, :21]
    view.setflags(write=False)
    assert image_stats(view) == found


def test_the_frame_is_left_as_it_was() -> None:
    frame = noise(20, 20)
    before = frame.copy()
    image_stats(frame)
    image_stats(frame, step=2)
    assert np.array_equal(frame, before)


def test_less_light_and_less_focus_show_where_they_should() -> None:
    frame = noise(120, 160)
    found = image_stats(frame)
    dim = image_stats((frame * 0.5).astype(np.uint8))
    blurred = image_stats(ndimage.gaussian_filter(frame, sigma=(1.5, 1.5, 0)))
    assert dim.brightness == pytest.approx(found.brightness / 2, abs=1)
    assert blurred.sharpness < found.sharpness - 3
    assert blurred.brightness == pytest.approx(found.brightness, abs=2)
    assert image_stats(ndimage.gaussian_filter(frame, sigma=(1.5, 1.5, 0)), step=4).sharpness < found.sharpness - 3


def test_every_step_is_a_recipe_of_its_own() -> None:
    frame = noise(64, 48)
    assert image_stats(frame).recipe == recipe_name() == "grey601-full-1"
    strided = image_stats(frame, step=4)
    assert strided.recipe == "grey601-every4-1"
    assert (strided.width, strided.height) == (48, 64)
    assert sum(strided.histogram) == 16 * 12
    assert len({recipe_name(step) for step in range(1, 9)}) == 8


@pytest.mark.parametrize("step", [0, -1, 1.5, True, "4"])
def test_a_wrong_step_is_a_sentence(step: Any) -> None:
    with pytest.raises(ValueError, match="give 1 for every pixel"):
        image_stats(noise(4, 4), step)


@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        ([[1, 2], [3, 4]], TypeError, "needs a numpy array and got list"),
        (np.zeros((4, 4, 3)), TypeError, "needs uint8 .* got float64"),
        (np.zeros((4, 4), dtype=np.uint16), TypeError, "got uint16"),
        (np.zeros((4, 4), dtype=bool), TypeError, "got bool"),
        (np.zeros(16, dtype=np.uint8), ValueError, r"got \[16\]"),
        (np.zeros((4, 4, 1), dtype=np.uint8), ValueError, r"got \[4, 4, 1\]"),
        (np.zeros((3, 8, 8), dtype=np.uint8), ValueError, "channels last"),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), ValueError, "one frame at a time"),
        (np.zeros((0, 8, 3), dtype=np.uint8), ValueError, "without pixels"),
    ],
)
def test_what_is_not_a_frame_is_a_sentence(frame: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        image_stats(frame)


def test_it_agrees_with_the_record_and_the_signals() -> None:
    record = ImageStatsRecord("r", 0, 0, 0, 0, 0, list(image_stats(noise(4, 4)).histogram))
    assert msgspec.json.decode(msgspec.json.encode(record), type=ImageStatsRecord) == record
    assert len(record.histogram) == HISTOGRAM_BINS == SIGNALS["pixel_brightness"].edges.count
    assert SIGNALS["sharpness"].edges.low == SHARPNESS_FLOOR


def test_statistics_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        image_stats(noise(4, 4)).brightness = 0.0  # type: ignore[misc]
