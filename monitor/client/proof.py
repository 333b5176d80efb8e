"""Proof of preprocessing: what a service says of the inputs that it makes, to be held against those of scoring.

from monitor.client import Preprocess, input_proof, preprocess

block = Preprocess(640, 640)
data = Path("golden/images/0001.png").read_bytes()      # an image of the golden set, once at the start of the service
tensor, _ = preprocess(decoded(data), block)            # or by the service's own code
logger.log(..., camera_meta=input_proof("0001.png", data=data, tensor=tensor, block=block))

Each part is optional: a tensor alone shows that something differs, the block and the image's hash show what.
"""

from __future__ import annotations

import hashlib

from monitor.imaging.preprocess import Preprocess, Tensor, tensor_sha256

FILE, IMAGE, TENSOR = "input_file", "input_image", "input_tensor"
WORDS: dict[str, tuple[str, ...]] = {
    "input_decode": ("decoder", "exif", "colour"),
    "input_fit": ("width", "height", "fit", "pad_value", "pad_place", "resize", "antialias"),
    "input_values": ("divide_by", "mean", "std", "layout", "dtype"),
}
"""The block's fields by the text that they are logged in: values of `camera_meta` have 128 characters."""


def input_proof(
    file: str, *, data: bytes | None = None, tensor: Tensor | None = None, block: Preprocess | None = None
) -> dict[str, float | str]:
    """What to log as (or add to) `camera_meta` when `file`, an image of the golden set, was made an input.

    `data` are the bytes that were decoded, `tensor` the input without its batch axis, `block` how it was declared:

        block = Preprocess(640, 640)  # the fields of the contract's [input]
        tensor, _ = preprocess(pixels, block)  # or your own code, and the tensor that it makes
        logger.log(..., camera_meta=input_proof("0001.png", data=file_bytes, tensor=tensor, block=block))
    """
    proof: dict[str, float | str] = {FILE: file}
    if data is not None:
        proof[IMAGE] = hashlib.sha256(data).hexdigest()
    if tensor is not None:
        proof[TENSOR] = tensor_sha256(tensor)
    if block is not None:
        for key, names in WORDS.items():
            proof[key] = " ".join(f"{name}={_plain(getattr(block, name))}" for name in names)
    return proof


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
