"""Frames and roll-ups as rows of binary COPY, ready to be sent; nothing here speaks to the database.

The number of the batch stands first in every row, so that it can be written in when it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.records import DIGEST_BYTES, FrameColumns, Ints
from monitor.store import encoding
from monitor.store.encoding import Alike, Flags, Ragged
from monitor.upkeep import RollupColumns

_encode = msgspec.json.Encoder(order="deterministic").encode

FRAME = (
    *("batch_id", "captured_at", "shadow", "width", "height", "boxes_rejected", "left_out"),
    *("source", "model", "version", "stage", "camera", "site", "line", "status", "recipe"),
    *("latency_ms", "queue_depth", "brightness", "contrast", "sharpness", "red_balance", "blue_balance"),
    *("brightness_histogram", "event_id", "image_uri", "slice_name", "slice_value", "camera_meta", "embedding"),
    *("camera_said", "det_class", "det_confidence", "det_box"),
)
"""The columns of a frame's row; what has one width in most logs stands together and is moved at once."""
KEY = ("source", "event_id", "captured_at", "digest")
ROLLUP = ("batch_id", "series_id", "start_at", "n", "frames", "total", "squares", "bins", "counts")
_HOUR_US = 3_600_000_000


@dataclass(slots=True)
class FrameRows:
    """n frames of one source, ready to be sent."""

    rows: Ragged
    """Rows of `frame`."""
    keys: Ragged
    """Rows of `frame_key`, in the order of `order`."""
    order: Ints
    """[n] the frames by event id: everyone takes keys in one order, so that no two loads wait in a circle."""
    event_ids: str
    """Every id, with NUL between; they are needed apart where some are there already."""
    captured_us: Ints
    digests: npt.NDArray[np.uint8]
    """[16 n]"""

    def __len__(self) -> int:
        return len(self.order)


@dataclass(slots=True)
class RollupRows:
    """r roll-up rows, ready to be sent."""

    rows: Ragged
    numbers: Ints
    """[s] the number of each series, and `names` what is behind it, with NUL between."""
    names: str
    claims: list[tuple[str, str, int]]
    """The hours of cameras that the rows are of: model, camera, start in microseconds since 1970-01-01 UTC."""
    claim: Ints
    """[r] the place of each row's hour among them."""


def frame_rows(source: str, columns: FrameColumns) -> FrameRows:
    """Frames as rows; the batch is to be stamped in."""
    event_id = columns.event_id
    order = np.array(sorted(range(len(event_id)), key=event_id.__getitem__), dtype=np.int64)
    digests = np.frombuffer(b"".join(columns.digest), dtype=np.uint8)
    keys = (
        Alike(source.encode()),
        encoding.texts([event_id[i] for i in order.tolist()]),
        encoding.times(columns.captured_us[order]),
        encoding.fixed_bytes(digests.reshape(-1, DIGEST_BYTES)[order]),
    )
    fields = {"source": Alike(source.encode()), **_plain(columns), **_arrays(columns)}
    rows = encoding.encode([fields[name] for name in FRAME])
    return FrameRows(rows, encoding.encode(keys), order, "\0".join(event_id), columns.captured_us, digests)


def rollup_rows(columns: RollupColumns) -> RollupRows:
    """Roll-ups as rows; the batch is to be stamped in."""
    known = list(map(_series, columns.names))
    numbers = np.array([number for number, _ in known], dtype=np.int64)
    cameras = [camera for _, camera in known]
    places = {camera: i for i, camera in enumerate(dict.fromkeys(cameras))}
    place = np.fromiter(map(places.__getitem__, cameras), np.int64, len(cameras))
    fields = (
        encoding.fixed(np.zeros(len(columns), dtype=np.int64), encoding.INT8),
        encoding.fixed(numbers[columns.series_row], encoding.INT8),
        encoding.times(columns.start_us),
        encoding.fixed(columns.n, encoding.INT4),
        encoding.fixed(columns.frames, encoding.INT4),
        encoding.fixed(columns.total, encoding.INT8),
        encoding.fixed(columns.squares, encoding.INT8),
        encoding.number_arrays(columns.bins, columns.cells, encoding.INT2),
        encoding.number_arrays(columns.counts, columns.cells, encoding.INT4),
    )
    hours, hour = np.unique(columns.start_us // _HOUR_US, return_inverse=True)
    codes, claim = np.unique(place[columns.series_row] * len(hours) + hour, return_inverse=True)
    named = list(places)
    claims = [(*named[code // len(hours)], int(hours[code % len(hours)]) * _HOUR_US) for code in codes.tolist()]
    # In the order of their index, which Postgres then walks through once.
    order = np.argsort(numbers[columns.series_row], kind="stable")
    rows = encoding.picked(encoding.encode(fields), order)
    return RollupRows(rows, numbers, "\0".join(columns.names), claims, claim[order])


def series_number(name: str) -> int:
    """The number of a series, 0 to 2^63 - 1: a hash of its name (`SeriesKey.named`), so the same everywhere."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


@lru_cache(maxsize=1 << 16)
def _series(name: str) -> tuple[int, tuple[str, str]]:
    """A series' number, and its model and camera."""
    model, _, _, _, camera, _ = name.split("\0", 5)
    return series_number(name), (model, camera)


def _plain(c: FrameColumns) -> dict[str, Ragged | Alike]:
    """The columns of one value a frame."""
    texts = ("model", "version", "stage", "camera", "site", "line", "status", "recipe", "event_id", "image_uri")
    numbers = ("latency_ms", "queue_depth", "brightness", "contrast", "sharpness", "red_balance", "blue_balance")
    counts = ("width", "height", "boxes_rejected", "left_out")
    fields: dict[str, Ragged | Alike] = {name: encoding.texts_or_alike(getattr(c, name)) for name in texts}
    fields |= {name: encoding.nullable(getattr(c, name)) for name in numbers}
    fields |= {name: encoding.fixed(getattr(c, name), encoding.INT4) for name in counts}
    fields["batch_id"] = encoding.fixed(np.zeros(len(c), dtype=np.int64), encoding.INT8)
    fields["captured_at"] = encoding.times(c.captured_us)
    fields["camera_said"] = encoding.sparse(encoding.texts(list(filter(None, c.camera_said))), _filled(c.camera_said))
    fields["shadow"] = encoding.flags(c.shadow)
    return fields


def _arrays(c: FrameColumns) -> dict[str, Ragged]:
    """The columns of many values a frame, and of none in some."""
    detections = np.bincount(c.det_frame, minlength=len(c))
    # Without image statistics there is no histogram: NULL, not zeros.
    seen = c.brightness_histogram.sum(axis=1) > 0
    histogram = c.brightness_histogram[seen]
    bins = np.full(len(histogram), histogram.shape[1])
    counts = encoding.number_arrays(histogram.ravel(), bins, encoding.INT4)
    embedded = np.zeros(len(c), dtype=bool)
    if c.embedding.count(None) < len(c):
        embedded = np.array([e is not None for e in c.embedding], dtype=bool)
    embedding = [e for e in c.embedding if e is not None] if embedded.any() else []
    lengths = np.array([len(e) for e in embedding], dtype=np.int64)
    elements = np.array([v for e in embedding for v in e], dtype=np.float64)
    meta = [b"\x01" + _encode(m) for m in filter(None, c.camera_meta)]
    said, place = _distinct(c.slices)
    return {
        "brightness_histogram": encoding.sparse(counts, seen),
        "slice_name": encoding.picked(encoding.text_arrays([list(s) for s in said]), place),
        "slice_value": encoding.picked(encoding.text_arrays([list(s.values()) for s in said]), place),
        "camera_meta": encoding.sparse(encoding.raw(meta), _filled(c.camera_meta)),
        "embedding": encoding.sparse(encoding.number_arrays(elements, lengths, encoding.FLOAT4), embedded),
        "det_class": encoding.arrays(encoding.texts(c.det_class), detections, encoding.TEXT),
        "det_confidence": encoding.number_arrays(c.det_confidence, detections, encoding.FLOAT8),
        "det_box": encoding.number_arrays(c.det_box.ravel(), detections * 4, encoding.FLOAT4),
    }


def _filled(values: Sequence[object]) -> Flags:
    """[n] whether each is anything but empty."""
    return np.fromiter(map(bool, values), bool, len(values))


def _distinct(slices: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], Ints]:
    """The few dictionaries that frames share, and the place of each frame's among them."""
    shared = dict(zip(map(id, slices), slices, strict=True))
    place = {number: i for i, number in enumerate(shared)}
    return list(shared.values()), np.fromiter(map(place.__getitem__, map(id, slices)), np.int64, len(slices))
