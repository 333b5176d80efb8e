"""Six ways to preprocess wrongly: each is seen from the tensor's hash alone, and named where the block is logged."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from PIL import Image

from monitor.client import input_proof, preprocess, tensor_sha256
from monitor.client.folder import decoded, scaled
from monitor.client.record import encode, frame_record
from monitor.golden.parity import parity
from monitor.imaging.preprocess import Preprocess
from monitor.records import FrameRecord

BLOCK = Preprocess(64, 64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def jpeg(quality: int = 92) -> bytes:
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(
        (120, 90), Image.Resampling.BICUBIC
    )
    file = io.BytesIO()
    coarse.save(file, "JPEG", quality=quality)
    return file.getvalue()


def again(data: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, "JPEG", quality=75)
    return file.getvalue()


DATA = jpeg()
INPUTS = {
    "a.jpg": {
        "image": hashlib.sha256(DATA).hexdigest(),
        "tensor": tensor_sha256(preprocess(decoded(DATA), BLOCK, scaled)[0]),
    }
}
FAULTS = {
    "fit": replace(BLOCK, fit="stretch"),
    "colour": replace(BLOCK, colour="bgr"),
    "divide_by": replace(BLOCK, divide_by=1.0),
    "width": replace(BLOCK, width=96, height=96),
    "resize": replace(BLOCK, resize="bicubic"),
    "image": BLOCK,
}


@pytest.mark.parametrize("field", FAULTS)
def test_every_fault_is_detected_and_its_field_is_named(field: str) -> None:
    block = FAULTS[field]
    data = again(DATA) if field == "image" else DATA
    tensor, _ = preprocess(decoded(data), block)
    only = parity(BLOCK, INPUTS, [input_proof("a.jpg", tensor=tensor)])
    assert (only.compared, only.differing) == (1, 1)
    assert only.differences[0].startswith("tensor: ")
    full = parity(BLOCK, INPUTS, [input_proof("a.jpg", data=data, tensor=tensor, block=block)])
    named = {said.split(":")[0] for said in full.differences}
    assert named == ({"width", "height", "tensor"} if field == "width" else {field, "tensor"})


def test_the_same_code_gives_no_difference() -> None:
    tensor, _ = preprocess(decoded(DATA), BLOCK)
    proof = input_proof("a.jpg", data=DATA, tensor=tensor, block=BLOCK)
    assert parity(BLOCK, INPUTS, [proof] * 3).differing == 0
    assert parity(BLOCK, INPUTS, [input_proof("elsewhere.jpg", data=b"x", tensor=tensor[:, :8])]).differing == 0
    assert parity(BLOCK, INPUTS, []).compared == 0


def test_a_proof_fits_into_a_record() -> None:
    tensor, _ = preprocess(decoded(DATA), BLOCK)
    longest = Preprocess(
        65535, 65535, "letterbox", 255, "centre", "bilinear", False, "opencv", "ignore", "grey", 255.0,
        (0.485123,) * 3, (0.229123,) * 3, "nchw", "float16",
    )  # fmt: skip
    proof = input_proof("a.jpg", data=DATA, tensor=tensor, block=longest)
    assert max(len(value) for value in proof.values() if isinstance(value, str)) <= 128
    line = encode(
        frame_record(
            captured_at=datetime(2026, 11, 1, tzinfo=UTC),
            model="m",
            version="v",
            camera="c",
            width=4,
            height=4,
            camera_meta=proof,
        )
    )
    assert msgspec.json.decode(line, type=FrameRecord).camera_meta == json.loads(json.dumps(proof))
