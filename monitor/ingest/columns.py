"""Checked records → columns, judging every detection of the batch at once by its model's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.records import (
    OTHER,
    PIXEL_WEIGHT,
    DetectionRecord,
    Floats,
    FrameColumns,
    FrameRecord,
    ImageStatsRecord,
    Ints,
)
from monitor.stats.histogram import weigh

if TYPE_CHECKING:  # what reads lines must not load what reads contracts
    from monitor.spec.contract import Contract

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rules:
    """What intake asks of a contract, ready for look-ups. None: open, everything is taken in."""

    cameras: frozenset[str] | None
    listed: frozenset[str] | None
    """The cameras that are listed though others are taken in; None where none are."""
    classes: frozenset[str] | None
    stages: frozenset[str]
    conditions: dict[str, frozenset[str] | None]
    """Conditions of a frame by name, sorted: the order of a frame's slices."""
    free: frozenset[str]
    """Those that list no values."""
    oldest: datetime
    clip: bool
    tolerance: float

    @classmethod
    def of(cls, contract: Contract, now: datetime) -> Self:
        """The rules of one contract for what arrives at `now`."""
        cameras = frozenset(camera.name for camera in contract.cameras.list)
        classes = frozenset(each.name for each in contract.classes)
        named = {each.name: frozenset(each.values) or None for each in contract.conditions if each.of == "frame"}
        return cls(
            cameras=None if contract.cameras.policy == "open" else cameras,
            listed=cameras if contract.cameras.policy == "open" else None,
            classes=None if contract.class_policy == "open" else classes,
            stages=frozenset(contract.model.stages or ("",)),
            conditions={name: named[name] for name in sorted(named)},
            free=frozenset(name for name, values in named.items() if values is None),
            oldest=now - timedelta(days=contract.retention.raw_days),
            clip=contract.output.clip_boxes,
            tolerance=contract.output.box_tolerance_px,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A detection that was set aside; `frame` is the row of the frame that was kept."""

    frame: int
    reason: str
    detail: str
    raw: bytes
    """The detection alone, as JSON."""


@dataclass(slots=True)
class _Detections:
    """Every detection of the batch: its frame [d], box [d, 4] float64, and the reason for setting it aside [d]."""

    frame: Ints
    box: Floats
    reason: Ints
    """0: there is none; otherwise the number of the reason, from 1."""

    @property
    def refused(self) -> Flags:
        """[d] whether it was set aside."""
        return self.reason > 0


_REASONS = ("", "unknown_class", "box_degenerate", "box_outside_image")
_REMEDY = {
    "unknown_class": "add the class to the contract, or set class_policy to open",
    "box_degenerate": "write x1, y1, x2, y2 with x2 > x1 and y2 > y1",
    "box_outside_image": "write boxes in pixels of the original image, or set clip_boxes in [output]",
}


def columns_of(
    records: Sequence[FrameRecord], digests: Sequence[bytes], rules: Mapping[str, Rules]
) -> tuple[FrameColumns, list[Part]]:
    """The records as columns, without the detections that their contract does not admit; those come beside them."""
    said = transposed(FrameRecord, records)
    detections = list(chain.from_iterable(said["detections"]))
    of_detection = transposed(DetectionRecord, detections)
    width, height = (np.array(said[name], dtype=np.int64) for name in ("width", "height"))
    frame = np.repeat(np.arange(len(records)), np.fromiter(map(len, said["detections"]), np.int64, len(records)))
    judged = _judge(frame, of_detection, np.column_stack((width, height)), [rules[name] for name in said["model"]])
    refused = np.flatnonzero(judged.refused)
    kept = np.flatnonzero(~judged.refused)
    classes = of_detection["class_name"]
    as_said: dict[str, Any] = {name: list(said[name]) for name in _AS_SAID}
    columns = FrameColumns(
        **as_said,
        captured_us=microseconds_of(said["captured_at"]),
        shadow=np.array(said["shadow"], dtype=bool),
        slices=_slices(said["slices"], said["model"], rules),
        width=width,
        height=height,
        latency_ms=floats(said["latency_ms"]),
        queue_depth=floats(said["queue_depth"]),
        **_image_columns(said["image"]),
        boxes_rejected=np.bincount(judged.frame[refused], minlength=len(records)).astype(np.int64),
        left_out=np.zeros(len(records), dtype=np.int64),
        camera_said=[""] * len(records),
        det_frame=judged.frame[kept],
        det_class=[classes[i] for i in kept.tolist()] if len(refused) else list(classes),
        det_confidence=floats(of_detection["confidence"])[kept],
        det_box=judged.box[kept].astype(np.float32),
        digest=list(digests),
    )
    return columns, [_part(judged, detections[i], i) for i in refused.tolist()]


_AS_SAID = (
    *("event_id", "model", "version", "stage", "camera", "site", "line", "status", "image_uri"),
    *("camera_meta", "embedding"),
)
_OF_IMAGE = ("brightness", "contrast", "sharpness", "red_balance", "blue_balance")


def transposed(kind: type[msgspec.Struct], records: Sequence[msgspec.Struct]) -> dict[str, tuple[Any, ...]]:
    """The fields of records of one kind, each as a column."""
    names = kind.__struct_fields__
    if not records:
        return dict.fromkeys(names, ())
    return dict(zip(names, zip(*map(astuple, records), strict=True), strict=True))


def microseconds_of(times: Sequence[datetime]) -> Ints:
    """Aware times as microseconds since 1970-01-01 UTC; from 1970 to 2255 a double holds each exactly."""
    seconds = np.fromiter(map(datetime.timestamp, times), dtype=np.float64, count=len(times))
    return np.rint(seconds * 1e6).astype(np.int64)


def floats(values: Sequence[float | None]) -> Floats:
    """Numbers; NaN for None."""
    return np.array(values, dtype=np.float64)


def _image_columns(images: Sequence[ImageStatsRecord | None]) -> dict[str, Any]:
    """The columns of the image statistics, of frames that may have none."""
    known = [image for image in images if image is not None]
    said = transposed(ImageStatsRecord, known)
    counts = np.fromiter(chain.from_iterable(said["histogram"]), np.int64, len(known) * HISTOGRAM_BINS)
    weighed = weigh(counts.reshape(-1, HISTOGRAM_BINS), PIXEL_WEIGHT)
    if len(known) == len(images):
        whole: dict[str, Any] = {name: floats(said[name]) for name in _OF_IMAGE}
        return {"brightness_histogram": weighed, "recipe": list(said["recipe"]), **whole}
    seen = np.array([image is not None for image in images], dtype=bool)
    histogram = np.zeros((len(images), HISTOGRAM_BINS), dtype=np.int64)
    histogram[seen] = weighed
    columns: dict[str, Any] = {"brightness_histogram": histogram}
    for name in _OF_IMAGE:
        columns[name] = np.full(len(images), np.nan)
        columns[name][seen] = said[name]
    recipes = iter(said["recipe"])
    columns["recipe"] = [next(recipes) if each else "" for each in seen.tolist()]
    return columns


def _slices(
    said: Sequence[dict[str, str]], models: Sequence[str], rules: Mapping[str, Rules]
) -> list[dict[str, str]]:
    """What records say of the conditions that are declared, by name; what is not declared is not kept.

    Few combinations are ever said, so each is looked up once.
    """
    known: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, str]] = {}
    found = []
    for slices, model in zip(said, models, strict=True):
        key = model, tuple(slices.items())
        if (kept := known.get(key)) is None:
            kept = known[key] = _declared(slices, rules[model].conditions)
        found.append(kept)
    return found


def _declared(said: dict[str, str], conditions: Mapping[str, frozenset[str] | None]) -> dict[str, str]:
    return {
        name: said[name] if known is None or said[name] in known else OTHER
        for name, known in conditions.items()
        if said.get(name)
    }


def _part(judged: _Detections, said: DetectionRecord, i: int) -> Part:
    reason = _REASONS[judged.reason[i]]
    detail = f"the detection was set aside and its frame kept; {_REMEDY[reason]}"
    return Part(int(judged.frame[i]), reason, detail, msgspec.json.encode(said))


def _judge(frame: Ints, said: Mapping[str, tuple[Any, ...]], size: Ints, frame_rules: Sequence[Rules]) -> _Detections:
    """Judge the classes and boxes of all detections; boxes are cut to the image where the contract says so.

    `frame` [d] is the row of each detection's frame, `size` [n, 2] the frames' width and height.
    """
    box = np.fromiter(chain.from_iterable(said["box"]), dtype=np.float64).reshape(-1, 4)
    clip = np.array([rule.clip for rule in frame_rules], dtype=bool)[frame]
    slack = np.array([rule.tolerance for rule in frame_rules], dtype=np.float64)[frame]
    limit = np.tile(size.astype(np.float64), 2)[frame]
    degenerate = ~_has_area(box)
    outside = ((box < -slack[:, None]) | (box > limit + slack[:, None])).any(axis=1)
    box = np.where(clip[:, None], np.clip(box, 0, limit), box)
    outside = np.where(clip, ~_has_area(box), outside)
    # Boxes are stored in single precision, where a sliver may have no width left.
    degenerate |= ~outside & ~_has_area(np.where(outside[:, None], 0, box).astype(np.float32))
    unknown = _unknown_class(frame, said["class_name"], frame_rules)
    return _Detections(frame, box, np.select([unknown, degenerate, outside], [1, 2, 3], default=0))


def _has_area(box: npt.NDArray[np.floating[Any]]) -> Flags:
    return (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])


def _unknown_class(frame: Ints, classes: Sequence[str], frame_rules: Sequence[Rules]) -> Flags:
    known = {rule.classes for rule in frame_rules}
    if all(each is None or each.issuperset(classes) for each in known):
        return np.zeros(len(frame), dtype=bool)
    asked = [frame_rules[i].classes for i in frame.tolist()]
    return np.array(
        [each is not None and name not in each for each, name in zip(asked, classes, strict=True)], dtype=bool
    )
