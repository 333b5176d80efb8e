"""One frame as one line of a log, version 1 of the record; `monitor spec record-schema` prints its JSON Schema."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypedDict, Unpack

import numpy as np

from monitor.imaging.stats import ImageStats

REQUIRED = ("event_id", "captured_at", "model", "version", "camera", "width", "height")
"""What the intake refuses a line without."""


class FrameFields(TypedDict, total=False):
    """What `frame_record` takes beside the required fields. Numbers may be numpy's."""

    event_id: str | None
    """Names the frame for good, so that sending it again changes nothing; without one a random id is made."""
    image: ImageStats | None
    """What `image_stats` read off it."""
    width: int
    """Pixels of the original image; width and height come from `image` unless given."""
    height: int
    status: str
    """`ok`, or the kind of error in small letters."""
    latency_ms: float | None
    queue_depth: int | None
    stage: str
    """The stage of a pipeline of models."""
    shadow: bool
    """The model runs beside the live one and decides nothing."""
    site: str
    line: str
    image_uri: str
    slices: Mapping[str, str]
    """The operating conditions that the contract declares: `{"lighting": "evening"}`."""
    camera_meta: Mapping[str, float | str]
    """What the camera says of itself; `exposure_ms` and `gain_db` are watched."""
    detections: Iterable[Mapping[str, Any]]
    """Each with `class`, `confidence` (0 to 1) and `box` (x1, y1, x2, y2 in pixels of the original image)."""
    embedding: Iterable[float] | None


def frame_record(
    *, captured_at: datetime, model: str, version: str, camera: str, **fields: Unpack[FrameFields]
) -> dict[str, object]:
    """Build the record of one frame that `camera` took at `captured_at`, a time with its offset from UTC.

    The other fields are those of `FrameFields`; what is left out, or None, is left out of the line.

    Raises:
        TypeError: a field is not one of these.
        ValueError: `captured_at` has no offset, or neither `image` nor width and height are given.
    """
    if unknown := fields.keys() - FrameFields.__annotations__.keys():
        raise TypeError(f"a frame record has no {', '.join(sorted(unknown))}; put it into slices or camera_meta")
    if captured_at.utcoffset() is None:
        raise ValueError("captured_at has no offset from UTC; use for example datetime.now(timezone.utc)")
    record: dict[str, object] = {
        "schema_version": 1,
        "event_id": fields.pop("event_id", None) or uuid.uuid4().hex,
        "captured_at": captured_at.isoformat(),
        "model": model,
        "version": version,
        "camera": camera,
    }
    if image := fields.pop("image", None):
        seen = asdict(image)
        record |= {"width": seen.pop("width"), "height": seen.pop("height"), "image": seen}
    record |= {name: value for name, value in fields.items() if value is not None}
    if "width" not in record or "height" not in record:
        raise ValueError("width and height are missing; give both, or image=image_stats(frame)")
    return record


def encode(record: Mapping[str, object]) -> bytes:
    """One record as one line of UTF-8 JSON, its newline included; arrays and their numbers become plain ones.

    Raises:
        ValueError: a field is missing, a number is not finite, or something in it is not JSON; the sentence names it.
    """
    missing = [name for name in REQUIRED if record.get(name) in (None, "")]
    if missing:
        raise ValueError(f"the record lacks {', '.join(missing)}; frame_record() asks for everything that is needed")
    try:
        text = json.dumps(record, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8") + b"\n"
    except (ValueError, TypeError) as error:
        where = _not_finite(record)
        reason = f"{where} is not a finite number; leave the field out instead" if where else str(error)
        raise ValueError(f"frame {record['event_id']!r} cannot be logged: {reason}") from error


def _plain(value: object) -> object:
    """What JSON makes of a value that it does not know: arrays and their numbers, mappings, iterables, times."""
    if callable(tolist := getattr(value, "tolist", None)):
        return tolist()
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise TypeError(f"{value!r} is not a number, text, list or mapping; convert it first")


def _not_finite(value: object, path: str = "") -> str | None:
    """Where in a record the first number stands that is NaN or infinite."""
    if isinstance(value, Mapping):
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple, np.ndarray)):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    elif isinstance(value, (float, np.floating)):
        return None if math.isfinite(value) else path
    else:
        return None
    return next((where for name, item in items if (where := _not_finite(item, name))), None)
