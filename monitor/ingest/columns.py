"""What checked records say → columns, judging every detection of the batch at once by its model's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.imaging.stats import HISTOGRAM_BINS
from monitor.ingest.flat import OF_IMAGE, Flags, Flat, Pairs
from monitor.records import OTHER, PIXEL_WEIGHT, DetectionRecord, FrameColumns, Ints
from monitor.stats.histogram import weigh

if TYPE_CHECKING:  # what reads lines must not load what reads contracts
    from monitor.spec.contract import Contract


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
    """Every detection of the batch: its frame [d], box [d, 4] float32, and the reason for setting it aside [d]."""

    frame: Ints
    box: npt.NDArray[np.float32]
    reason: Ints
    """0: there is none; otherwise the number of the reason, from 1."""


_REASONS = ("", "unknown_class", "box_degenerate", "box_outside_image")
_REMEDY = {
    "unknown_class": "add the class to the contract, or set class_policy to open",
    "box_degenerate": "write x1, y1, x2, y2 with x2 > x1 and y2 > y1",
    "box_outside_image": "write boxes in pixels of the original image, or set clip_boxes in [output]",
}
_STRIP = 512
"""Histograms that are weighed at a time, which takes many times their memory."""
_AS_SAID = (
    *("event_id", "model", "version", "stage", "camera", "site", "line", "status", "image_uri", "shadow"),
    *("camera_meta", "embedding", "captured_us", "width", "height", "latency_ms", "queue_depth"),
)


def columns_of(said: Flat, digests: Sequence[bytes], rules: Mapping[str, Rules]) -> tuple[FrameColumns, list[Part]]:
    """The frames as columns, without the detections that their contract does not admit; those come beside them."""
    judged = _judge(said, rules)
    refused = judged.reason > 0
    as_said: dict[str, Any] = {name: getattr(said, name) for name in _AS_SAID}
    columns = FrameColumns(
        **as_said,
        slices=_slices(said.slices, said.model, rules),
        **_image_columns(said),
        boxes_rejected=np.bincount(judged.frame[refused], minlength=len(said)).astype(np.int64),
        left_out=np.zeros(len(said), dtype=np.int64),
        camera_said=[""] * len(said),
        det_frame=judged.frame,
        det_class=said.det_class,
        det_confidence=said.det_confidence,
        det_box=judged.box,
        digest=list(digests),
    )
    if not refused.any():
        return columns, []
    kept = np.flatnonzero(~refused)
    columns.det_frame, columns.det_box = judged.frame[kept], judged.box[kept]
    columns.det_class = [said.det_class[i] for i in kept.tolist()]
    columns.det_confidence = said.det_confidence[kept]
    return columns, [_part(judged, said, i) for i in np.flatnonzero(refused).tolist()]


def _image_columns(said: Flat) -> dict[str, Any]:
    """The columns of the image statistics, of frames that may have none."""
    seen = said.has_image
    strips = range(0, max(len(said.histogram), 1), _STRIP)
    weighed = np.concatenate([weigh(said.histogram[at : at + _STRIP], PIXEL_WEIGHT) for at in strips])
    if seen.all():
        of_image = dict(zip(OF_IMAGE, np.ascontiguousarray(said.image.T), strict=True))
        return {"brightness_histogram": weighed, "recipe": said.recipe, **of_image}
    histogram = np.zeros((len(said), HISTOGRAM_BINS), dtype=np.int64)
    histogram[seen] = weighed
    columns: dict[str, Any] = {"brightness_histogram": histogram}
    for place, name in enumerate(OF_IMAGE):
        columns[name] = np.full(len(said), np.nan)
        columns[name][seen] = said.image[:, place]
    recipes = iter(said.recipe)
    columns["recipe"] = [next(recipes) if each else "" for each in seen.tolist()]
    return columns


def _slices(said: Sequence[Pairs], models: Sequence[str], rules: Mapping[str, Rules]) -> list[dict[str, str]]:
    """What records say of the conditions that are declared, by name; what is not declared is not kept.

    Few combinations are ever said, so each is looked up once.
    """
    if len(distinct := set(models)) == 1:
        conditions = rules[distinct.pop()].conditions
        alike = {pairs: _declared(dict(pairs), conditions) for pairs in set(said)}
        return list(map(alike.__getitem__, said))
    keys = list(zip(models, said, strict=True))
    kept = {(model, pairs): _declared(dict(pairs), rules[model].conditions) for model, pairs in set(keys)}
    return list(map(kept.__getitem__, keys))


def _declared(said: dict[str, str], conditions: Mapping[str, frozenset[str] | None]) -> dict[str, str]:
    return {
        name: said[name] if known is None or said[name] in known else OTHER
        for name, known in conditions.items()
        if said.get(name)
    }


def _part(judged: _Detections, said: Flat, i: int) -> Part:
    reason = _REASONS[judged.reason[i]]
    detail = f"the detection was set aside and its frame kept; {_REMEDY[reason]}"
    x1, y1, x2, y2 = said.det_box[i].tolist()
    record = DetectionRecord(said.det_class[i], float(said.det_confidence[i]), (x1, y1, x2, y2))
    return Part(int(judged.frame[i]), reason, detail, msgspec.json.encode(record))


def _judge(said: Flat, rules: Mapping[str, Rules]) -> _Detections:
    """Judge the classes and boxes of all detections; boxes are cut to the image where the contract says so."""
    frame = np.repeat(np.arange(len(said)), said.detections)
    models = list(dict.fromkeys(said.model))
    own = [rules[name] for name in models]
    place = {name: i for i, name in enumerate(models)}
    rule = np.fromiter(map(place.__getitem__, said.model), np.int64, len(said))[frame]
    clip = np.array([each.clip for each in own], dtype=bool)[rule]
    slack = np.array([each.tolerance for each in own], dtype=np.float64)[rule]
    # Side by side, x1 of all, then y1 of all, ...: numpy is slow along an axis of four.
    sides = np.ascontiguousarray(said.det_box.T)
    limit = np.stack((said.width, said.height)).astype(np.float64)[:, frame][[0, 1, 0, 1]]
    degenerate = ~_has_area(sides)
    outside = ((sides < -slack) | (sides > limit + slack)).any(axis=0)
    sides = np.where(clip, np.minimum(np.maximum(sides, 0), limit), sides)
    outside = np.where(clip, ~_has_area(sides), outside)
    # Boxes are stored in single precision, where a sliver may have no width left.
    box = np.where(outside, 0, sides).astype(np.float32)
    degenerate |= ~outside & ~_has_area(box)
    unknown = _unknown_class(said.det_class, rule, own)
    reason = np.select([unknown, degenerate, outside], [1, 2, 3], default=0)
    return _Detections(frame, np.ascontiguousarray(box.T), reason)


def _has_area(sides: npt.NDArray[np.floating[Any]]) -> Flags:
    """[d] of [4, d]."""
    area: Flags = (sides[2] > sides[0]) & (sides[3] > sides[1])
    return area


def _unknown_class(classes: Sequence[str], rule: Ints, rules: Sequence[Rules]) -> Flags:
    """[d] whether the class is none of those in `rules` at `rule` [d]."""
    said = set(classes)
    if all(each.classes is None or each.classes >= said for each in rules):
        return np.zeros(len(classes), dtype=bool)
    asked = [rules[i].classes for i in rule.tolist()]
    return np.array(
        [each is not None and name not in each for each, name in zip(asked, classes, strict=True)], dtype=bool
    )
