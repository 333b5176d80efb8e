"""The block that makes a model's input: against Pillow, against worked numbers, and by laws."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from monitor.imaging.preprocess import Preprocess, placement, preprocess, tensor_sha256
from monitor.imaging.resize import KERNELS, resized
from monitor.spec.contract import InputSpec

PILLOW = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SIDE = st.integers(1, 60)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from(sorted(KERNELS)), st.integers(0, 1000))
def test_antialiased_passes_are_pillows(h: int, w: int, high: int, wide: int, kernel: str, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    across = Image.fromarray(pixels).resize((wide, h), PILLOW[kernel])
    assert np.array_equal(
        resized(pixels, wide, high, kernel, antialias=True), across.resize((wide, high), PILLOW[kernel])
    )


@settings(derandomize=True, max_examples=40, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from([*KERNELS, "nearest"]), st.booleans(), st.integers(0, 255))
def test_an_even_image_stays_even(
    h: int, w: int, high: int, wide: int, kernel: str, antialias: bool, level: int
) -> None:
    made = resized(np.full((h, w), level, dtype=np.uint8), wide, high, kernel, antialias)
    assert made.shape == (high, wide)
    assert (made == level).all()


def test_without_antialias_only_the_neighbours_are_read() -> None:
    row = np.array([[0, 0, 0, 100, 200, 0, 0, 0]], dtype=np.uint8)
    # Two pixels of eight: their centres lie on the edges between 1 and 2 and between 5 and 6; each reads two pixels.
    assert resized(row, 2, 1, "bilinear").tolist() == [[0, 0]]
    # With antialias the first reads 0 to 5 with weights 5 7 7 5 3 1, of 28: (5 * 100 + 3 * 200) / 28.
    assert resized(row, 2, 1, "bilinear", antialias=True)[0, 0] == round(1100 / 28)
    assert resized(row, 4, 1, "area").tolist() == [[0, 50, 100, 0]]
    assert resized(row, 4, 1, "nearest").tolist() == [[0, 100, 0, 0]]


def test_worked_letterbox() -> None:
    frame = np.full((20, 40, 3), (10, 20, 30), dtype=np.uint8)
    block = Preprocess(32, 32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.125), colour="bgr")
    tensor, where = preprocess(frame, block)
    assert tensor.shape == (3, 32, 32)
    assert tensor.dtype == np.float32
    assert (where.pad_x, where.pad_y, where.ratio_x, where.ratio_y) == (0, 8, 0.8, 0.8)
    inner = [(30 / 255 - 0.5) / 0.5, (20 / 255 - 0.5) / 0.25, (10 / 255 - 0.5) / 0.125]
    for channel, (value, std) in enumerate(zip(inner, (0.5, 0.25, 0.125), strict=True)):
        assert tensor[channel, 8:24] == pytest.approx(value)
        assert tensor[channel, :8] == pytest.approx((114 / 255 - 0.5) / std)
    corner = preprocess(frame, replace(block, pad_place="corner"))[0]
    assert corner[0, :16] == pytest.approx(inner[0])
    assert corner[0, 16:] == pytest.approx((114 / 255 - 0.5) / 0.5)


def test_crop_stretch_none_and_grey() -> None:
    frame = np.zeros((10, 30, 3), dtype=np.uint8)
    frame[:, 10:20] = 255
    middle = preprocess(frame, Preprocess(10, 10, fit="crop", dtype="uint8", layout="nhwc"))[0]
    assert middle.shape == (10, 10, 3)
    assert (middle == 255).all()
    assert placement(30, 10, Preprocess(60, 60, fit="stretch")).ratio_y == 6.0
    assert preprocess(frame[..., 0], Preprocess(colour="grey", fit="none", divide_by=1.0))[0].max() == 255.0
    with pytest.raises(ValueError, match="30x10"):
        preprocess(frame, Preprocess(10, 10, fit="none"))
    with pytest.raises(ValueError, match="uint8"):
        preprocess(frame.astype(np.float32), Preprocess())


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.integers(2, 80),
    st.integers(2, 80),
    st.sampled_from(["letterbox", "stretch", "crop"]),
    st.sampled_from(["centre", "corner"]),
)
def test_a_mark_lands_where_its_placement_says(w: int, h: int, fit: str, place: str) -> None:
    block = Preprocess(96, 64, fit=fit, pad_place=place, pad_value=0, resize="nearest", colour="grey", dtype="uint8")
    where = placement(w, h, block)
    y, x = np.mgrid[0:h, 0:w]
    for axis, source, ratio, pad in ((2, x, where.ratio_x, where.pad_x), (1, y, where.ratio_y, where.pad_y)):
        made = preprocess((source + 1).astype(np.uint8), block)[0]
        for i in np.argwhere(made[0] > 0)[::97]:
            mark = (int(made[0][tuple(i)]) - 1 + 0.5) * ratio + pad
            assert abs(mark - (i[axis - 1] + 0.5)) <= max(1.0, ratio)


def test_the_block_is_the_contracts_input_and_every_field_counts_in_its_hash() -> None:
    assert Preprocess(**InputSpec().model_dump()) == Preprocess()
    assert {field.name for field in fields(Preprocess)} == set(InputSpec.model_fields)
    other = Preprocess(
        8, 8, "stretch", 0, "corner", "area", True, "opencv", "ignore", "bgr", 1.0, (0.0,), (2.0,), "nhwc", "uint8"
    )
    changed = {
        replace(Preprocess(), **{field.name: getattr(other, field.name)}).sha256 for field in fields(Preprocess)
    }
    assert len(changed | {Preprocess().sha256}) == len(fields(Preprocess)) + 1


def test_the_tensors_hash_is_of_type_shape_and_bytes() -> None:
    tensor = np.array([[1.0, 2.0]], dtype=np.float32)
    assert tensor_sha256(tensor) == hashlib.sha256(b"<f4[1, 2]" + b"\0\0\x80?\0\0\0@").hexdigest()
    assert tensor_sha256(tensor.astype(">f4")) == tensor_sha256(tensor)
    assert tensor_sha256(tensor.T) != tensor_sha256(tensor)
