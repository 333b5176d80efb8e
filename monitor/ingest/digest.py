"""A digest of what each record says, however it is spelt: order of keys, 1 or 1.0, offset from UTC.

It is taken of the columns, because spelling a record anew costs as much as reading it. Every number has its place and
width, every text ends before a NUL, which none can hold, and all that is repeated is counted: equal bytes mean equal
content.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise

import msgspec
import numpy as np

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.ingest.flat import OF_IMAGE, Flat
from monitor.records import DIGEST_BYTES

_NUMBERS = np.dtype(
    [
        ("captured_us", "<i8"),
        ("latency_ms", "<f8"),
        ("queue_depth", "<f8"),
        ("image", "<f8", (len(OF_IMAGE),)),
        ("histogram", "<i4", (HISTOGRAM_BINS,)),
        ("width", "<i4"),
        ("height", "<i4"),
        ("detections", "<i4"),
        ("shadow", "u1"),
        ("has_image", "u1"),
    ]
)
_TEXTS = ("event_id", "model", "version", "stage", "camera", "site", "line", "status", "image_uri")
_encode = msgspec.json.Encoder(order="deterministic").encode


def digests(said: Flat) -> list[bytes]:
    """16 bytes that stand for the content of each record [n]: the first of its SHA-256."""
    pieces = zip(_numbers(said), _detections(said), _texts(said), strict=True)
    return [sha256(b"".join(each)).digest()[:DIGEST_BYTES] for each in pieces]


def _numbers(said: Flat) -> list[bytes]:
    """The numbers of which every record has one."""
    table = np.zeros(len(said), dtype=_NUMBERS)
    for name in ("captured_us", "latency_ms", "queue_depth", "width", "height", "detections", "shadow", "has_image"):
        table[name] = getattr(said, name)
    seen = slice(None) if said.has_image.all() else said.has_image
    table["image"][seen], table["histogram"][seen] = said.image, said.histogram
    rows: list[bytes] = table.view(f"V{_NUMBERS.itemsize}").tolist()
    return rows


def _detections(said: Flat) -> list[bytes]:
    """Confidence and box of the detections of each."""
    table = np.empty((len(said.det_confidence), 5), dtype="<f8")
    table[:, 0], table[:, 1:] = said.det_confidence, said.det_box
    flat, ends = table.tobytes(), [0, *(np.cumsum(said.detections) * table.strides[0]).tolist()]
    return [flat[start:end] for start, end in pairwise(ends)]


def _texts(said: Flat) -> Iterator[bytes]:
    """The texts of each; what few records have stands last."""
    ends = [0, *np.cumsum(said.detections).tolist()]
    classes = ["\0".join(said.det_class[start:end]) for start, end in pairwise(ends)]
    recipes = iter(said.recipe)
    recipe = said.recipe if said.has_image.all() else [next(recipes) if seen else "" for seen in said.has_image]
    sliced = {pairs: "\0".join(text for pair in sorted(pairs) for text in pair) for pairs in set(said.slices)}
    slices = map(sliced.__getitem__, said.slices)
    columns = [*(getattr(said, name) for name in _TEXTS), recipe, classes, slices]
    texts = map(str.encode, map("\0".join, zip(*columns, strict=True)))
    if not any(said.camera_meta) and not any(said.embedding):
        return texts
    rest = zip(texts, said.camera_meta, said.embedding, strict=True)
    return (text + b"\0\0" + _encode((meta, e)) if meta or e else text for text, meta, e in rest)
