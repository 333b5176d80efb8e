"""Records → flat columns, just as they were said: the one place that walks over records and all that hangs on them.

A record is some seventy small objects. Walked over a few hundred at a time, right after they were made, they are
still in the processor's cache, and are gone before the next ones come; what is judged afterwards are arrays.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import chain, starmap
from typing import Any, Self, get_type_hints

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import asdict, astuple

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.records import DetectionRecord, Floats, FrameRecord, ImageStatsRecord, Ints

Flags = npt.NDArray[np.bool_]
Pairs = tuple[tuple[str, str], ...]
OF_IMAGE = ("brightness", "contrast", "sharpness", "red_balance", "blue_balance")
"""The numbers of the image statistics, in the order of their columns."""
_REPEATED = ("model", "version", "stage", "camera", "site", "line", "status")
_AS_SAID = ("event_id", "image_uri", "camera_meta", "embedding")
_pack_counts = struct.Struct(f"={HISTOGRAM_BINS}i").pack
_read_slices = msgspec.json.Decoder(get_type_hints(FrameRecord, include_extras=True)["slices"]).decode
_read_wholly = msgspec.json.Decoder(FrameRecord).decode
_pack_box = struct.Struct("=4d").pack


class Hasty(FrameRecord, forbid_unknown_fields=True, gc=False):
    """A record whose slices are left as they are written: few spellings are ever met, and each is read once."""

    slices: msgspec.Raw = msgspec.Raw(b"{}")  # type: ignore[assignment]


_read_hastily = msgspec.json.Decoder(Hasty).decode


def read_one(line: bytes) -> FrameRecord:
    """The record that a line holds, just as it is read hastily: of `slices` that stand twice the last are all.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it holds none.
    """
    try:
        return _read_wholly(line)
    except msgspec.ValidationError:
        if line.count(b'"slices"') < 2:
            raise
        hasty = _read_hastily(line)
        return FrameRecord(**asdict(hasty) | {"slices": _read_slices(hasty.slices)})


@dataclass(slots=True)
class Flat:
    """n records, k of them with image statistics, with d detections."""

    event_id: list[str]
    captured_us: Ints
    """Microseconds since 1970-01-01 UTC."""
    model: list[str]
    version: list[str]
    stage: list[str]
    camera: list[str]
    site: list[str]
    line: list[str]
    shadow: Flags
    status: list[str]
    image_uri: list[str]
    slices: list[Pairs]
    camera_meta: list[dict[str, float | str]]
    embedding: list[list[float] | None]
    width: Ints
    height: Ints
    latency_ms: Floats
    queue_depth: Floats
    has_image: Flags
    recipe: list[str]
    """[k], as are the two that follow."""
    image: Floats
    """[k, 5], as `OF_IMAGE` names them."""
    histogram: npt.NDArray[np.int32]
    """[k, 32]"""
    detections: Ints
    """[n] how many."""
    det_class: list[str]
    det_confidence: Floats
    det_box: Floats
    """[d, 4]"""

    def __len__(self) -> int:
        return len(self.event_id)

    @classmethod
    def of(cls, records: Sequence[FrameRecord]) -> Self:
        """The columns of records, all `Hasty` or none; a float column holds NaN for None.

        Raises:
            msgspec.DecodeError: what a hasty one has for slices is something else.
        """
        said = _transposed(type(records[0]) if records else FrameRecord, records)
        images = [image for image in said["image"] if image is not None]
        of_image = _transposed(ImageStatsRecord, images)
        detections: list[DetectionRecord] = list(chain.from_iterable(said["detections"]))
        counts: bytes = b"".join(starmap(_pack_counts, of_image["histogram"]))
        box: bytes = b"".join(starmap(_pack_box, [one.box for one in detections]))
        texts: dict[str, Any] = {name: _shared(said[name]) for name in _REPEATED}
        texts |= {name: list(said[name]) for name in _AS_SAID}
        return cls(
            **texts,
            captured_us=microseconds_of(said["captured_at"]),
            shadow=np.array(said["shadow"], dtype=bool),
            slices=_shared_pairs(said["slices"]),
            width=np.array(said["width"], dtype=np.int64),
            height=np.array(said["height"], dtype=np.int64),
            latency_ms=np.array(said["latency_ms"], dtype=np.float64),
            queue_depth=np.array(said["queue_depth"], dtype=np.float64),
            has_image=np.array([image is not None for image in said["image"]], dtype=bool),
            recipe=_shared(of_image["recipe"]),
            image=np.array([of_image[name] for name in OF_IMAGE], dtype=np.float64).T,
            histogram=np.frombuffer(counts, dtype=np.int32).reshape(-1, HISTOGRAM_BINS),
            detections=np.fromiter(map(len, said["detections"]), np.int64, len(records)),
            det_class=_shared([one.class_name for one in detections]),
            det_confidence=np.array([one.confidence for one in detections], dtype=np.float64),
            det_box=np.frombuffer(box, dtype=np.float64).reshape(-1, 4),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The records of one part after those of the other; of one part at least."""
        together: dict[str, Any] = {}
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            whole = isinstance(values[0], np.ndarray)
            together[column.name] = np.concatenate(values) if whole else list(chain.from_iterable(values))
        return cls(**together)


def microseconds_of(times: Sequence[datetime]) -> Ints:
    """Aware times as microseconds since 1970-01-01 UTC; from 1970 to 2255 a double holds each exactly."""
    seconds = np.fromiter(map(datetime.timestamp, times), dtype=np.float64, count=len(times))
    return np.rint(seconds * 1e6).astype(np.int64)


def _transposed(kind: type[msgspec.Struct], records: Sequence[msgspec.Struct]) -> dict[str, tuple[Any, ...]]:
    """The fields of records of one kind, each as a column."""
    names = kind.__struct_fields__
    if not records:
        return dict.fromkeys(names, ())
    return dict(zip(names, zip(*map(astuple, records), strict=True), strict=True))


def _shared(texts: Sequence[str]) -> list[str]:
    """The same texts, equal ones as one object: few differ, and what is looked up later is then in the cache."""
    if texts and texts.count(texts[0]) == len(texts):
        return [sys.intern(texts[0])] * len(texts)
    return list(map(sys.intern, texts))


def _shared_pairs(slices: Sequence[Any]) -> list[Pairs]:
    """What each says, in its own order; equal ones as one object."""
    if slices and isinstance(slices[0], msgspec.Raw):
        written = list(map(bytes, slices))
        read = {text: tuple(_read_slices(text).items()) for text in set(written)}
        return list(map(read.__getitem__, written))
    said: list[Pairs] = list(map(tuple, map(dict.items, slices)))
    distinct = dict(zip(said, said, strict=True))
    return list(map(distinct.__getitem__, said))
