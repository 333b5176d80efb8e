"""Checked records → columns, judging every detection of the batch at once by its model's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.records import (
    PIXEL_WEIGHT,
    DetectionRecord,
    Floats,
    FrameColumns,
    FrameRecord,
    ImageStatsRecord,
    Ints,
    microseconds,
)
from monitor.spec.contract import OTHER, Contract
from monitor.stats.histogram import weigh

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rules:
    """What intake asks of a contract, ready for look-ups. None: open, everything is taken in."""

    cameras: frozenset[str] | None
    classes: frozenset[str] | None
    stages: frozenset[str]
    conditions: dict[str, frozenset[str] | None]
    """Conditions of a frame by name, sorted: the order of a frame's slices."""
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
            classes=None if contract.class_policy == "open" else classes,
            stages=frozenset(contract.model.stages or ("",)),
            conditions={name: named[name] for name in sorted(named)},
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
    """Every detection of the batch: its frame [d], box [d, 4] float64, and the reasons for setting some aside [d]."""

    frame: Ints
    box: Floats
    reason: list[str]


_REMEDY = {
    "unknown_class": "add the class to the contract, or set class_policy to open",
    "box_degenerate": "write x1, y1, x2, y2 with x2 > x1 and y2 > y1",
    "box_outside_image": "write boxes in pixels of the original image, or set clip_boxes in [output]",
}


def columns_of(
    records: Sequence[FrameRecord], digests: Sequence[bytes], rules: Mapping[str, Rules]
) -> tuple[FrameColumns, list[Part]]:
    """The records as columns, without the detections that their contract does not admit; those come beside them."""
    judged = _judge(records, rules)
    said = [detection for record in records for detection in record.detections]
    refused = np.array([bool(reason) for reason in judged.reason], dtype=bool)
    kept = np.flatnonzero(~refused)
    image = [record.image for record in records]
    columns = FrameColumns(
        event_id=[r.event_id for r in records],
        captured_us=np.array([microseconds(r.captured_at) for r in records], dtype=np.int64),
        model=[r.model for r in records],
        version=[r.version for r in records],
        stage=[r.stage for r in records],
        camera=[r.camera for r in records],
        site=[r.site for r in records],
        line=[r.line for r in records],
        shadow=np.array([r.shadow for r in records], dtype=bool),
        status=[r.status for r in records],
        image_uri=[r.image_uri for r in records],
        recipe=["" if i is None else i.recipe for i in image],
        slices=[_slices(r, rules[r.model]) for r in records],
        camera_meta=[r.camera_meta for r in records],
        embedding=[r.embedding for r in records],
        width=np.array([r.width for r in records], dtype=np.int64),
        height=np.array([r.height for r in records], dtype=np.int64),
        latency_ms=_floats([r.latency_ms for r in records]),
        queue_depth=_floats([r.queue_depth for r in records]),
        brightness=_floats([None if i is None else i.brightness for i in image]),
        contrast=_floats([None if i is None else i.contrast for i in image]),
        sharpness=_floats([None if i is None else i.sharpness for i in image]),
        red_balance=_floats([None if i is None else i.red_balance for i in image]),
        blue_balance=_floats([None if i is None else i.blue_balance for i in image]),
        brightness_histogram=_histograms(image),
        boxes_rejected=np.bincount(judged.frame[refused], minlength=len(records)).astype(np.int64),
        left_out=np.zeros(len(records), dtype=np.int64),
        camera_said=[""] * len(records),
        det_frame=judged.frame[kept],
        det_class=[said[i].class_name for i in kept.tolist()],
        det_confidence=np.array([said[i].confidence for i in kept.tolist()], dtype=np.float64),
        det_box=judged.box[kept].astype(np.float32),
        digest=list(digests),
    )
    return columns, [_part(judged, said[i], i) for i in np.flatnonzero(refused).tolist()]


def _part(judged: _Detections, said: DetectionRecord, i: int) -> Part:
    reason = judged.reason[i]
    detail = f"the detection was set aside and its frame kept; {_REMEDY[reason]}"
    return Part(int(judged.frame[i]), reason, detail, msgspec.json.encode(said))


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)


def _slices(record: FrameRecord, rules: Rules) -> dict[str, str]:
    """What the record says of the conditions that are declared, by name; what is not declared is not kept."""
    said = record.slices
    if not said:
        return {}
    return {
        name: said[name] if known is None or said[name] in known else OTHER
        for name, known in rules.conditions.items()
        if said.get(name)
    }


def _histograms(images: Sequence[ImageStatsRecord | None]) -> Ints:
    none = [0] * HISTOGRAM_BINS
    counts = np.array([none if i is None else i.histogram for i in images], dtype=np.int64)
    return weigh(counts.reshape(-1, HISTOGRAM_BINS), PIXEL_WEIGHT)


def _judge(records: Sequence[FrameRecord], rules: Mapping[str, Rules]) -> _Detections:
    """Judge the classes and boxes of all detections; boxes are cut to the image where the contract says so."""
    frame = np.repeat(np.arange(len(records)), [len(r.detections) for r in records])
    box = np.array([d.box for r in records for d in r.detections], dtype=np.float64).reshape(-1, 4)
    frame_rules = [rules[r.model] for r in records]
    clip = np.array([rule.clip for rule in frame_rules], dtype=bool)[frame]
    slack = np.array([rule.tolerance for rule in frame_rules])[frame]
    size = np.array([(r.width, r.height) for r in records], dtype=np.float64).reshape(-1, 2)
    limit = np.tile(size, 2)[frame]
    degenerate = ~_has_area(box)
    outside = ((box < -slack[:, None]) | (box > limit + slack[:, None])).any(axis=1)
    box = np.where(clip[:, None], np.clip(box, 0, limit), box)
    outside = np.where(clip, ~_has_area(box), outside)
    # Boxes are stored in single precision, where a sliver may have no width left.
    degenerate |= ~outside & ~_has_area(np.where(outside[:, None], 0, box).astype(np.float32))
    unknown = _unknown_class(records, frame_rules)
    reason = np.select(
        [unknown, degenerate, outside], ["unknown_class", "box_degenerate", "box_outside_image"], default=""
    )
    return _Detections(frame, box, reason.tolist())


def _has_area(box: npt.NDArray[np.floating[Any]]) -> Flags:
    return (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])


def _unknown_class(records: Sequence[FrameRecord], rules: Sequence[Rules]) -> Flags:
    return np.array(
        [
            rule.classes is not None and detection.class_name not in rule.classes
            for record, rule in zip(records, rules, strict=True)
            for detection in record.detections
        ],
        dtype=bool,
    )
