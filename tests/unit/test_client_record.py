"""Frame records as the client builds them, read back by the decoder of the intake."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitor.client
from monitor.client import frame_record, image_stats
from monitor.client.record import REQUIRED, FrameFields, encode
from monitor.records import FrameRecord

WHEN = datetime(2026, 3, 1, 6, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
LEAST: dict[str, Any] = {"captured_at": WHEN, "model": "packages", "version": "3", "camera": "cam-1"}
SIZED: dict[str, Any] = {**LEAST, "width": 64, "height": 48}


def decoded(record: dict[str, object]) -> FrameRecord:
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return msgspec.json.decode(line, type=FrameRecord)


def test_a_full_record_says_what_was_given() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    stats = image_stats(frame)
    record = frame_record(
        **LEAST,
        event_id="e-1",
        image=stats,
        status="ok",
        latency_ms=12.5,
        queue_depth=3,
        stage="sorting",
        shadow=True,
        site="north",
        line="2",
        image_uri="s3://frames/e-1",
        slices={"lighting": "evening"},
        camera_meta={"exposure_ms": 4.0, "firmware": "1.2"},
        detections=[{"class": "carton", "confidence": 0.75, "box": (1, 2, 30.5, 40)}],
        embedding=[0.5, -1.0],
    )
    found = decoded(record)
    assert (found.event_id, found.captured_at, found.width, found.height) == ("e-1", WHEN, 64, 48)
    assert found.image is not None
    assert (found.image.recipe, tuple(found.image.histogram)) == (stats.recipe, stats.histogram)
    assert (found.image.brightness, found.image.sharpness) == (stats.brightness, stats.sharpness)
    assert (found.latency_ms, found.queue_depth, found.stage, found.shadow) == (12.5, 3, "sorting", True)
    assert (found.site, found.line, found.image_uri) == ("north", "2", "s3://frames/e-1")
    assert (found.slices, found.camera_meta) == ({"lighting": "evening"}, {"exposure_ms": 4.0, "firmware": "1.2"})
    assert [(d.class_name, d.confidence, d.box) for d in found.detections] == [("carton", 0.75, (1, 2, 30.5, 40))]
    assert found.embedding == [0.5, -1.0]


def test_the_least_record_gets_an_id_of_its_own() -> None:
    first, second = decoded(frame_record(**SIZED)), decoded(frame_record(**SIZED))
    assert first.event_id != second.event_id
    assert (first.status, first.shadow, first.image, first.detections) == ("ok", False, None, [])


def test_none_leaves_a_field_out() -> None:
    record = frame_record(**SIZED, latency_ms=None, image=None, event_id=None, queue_depth=0)
    assert "latency_ms" not in record
    assert decoded(record).queue_depth == 0


def test_numbers_and_arrays_of_numpy_are_taken() -> None:
    boxes = np.array([[1, 2, 3, 4]], dtype=np.float32)
    record = frame_record(
        **SIZED,
        latency_ms=np.float32(2.5),
        queue_depth=np.int64(7),
        detections=({"class": "c", "confidence": np.float32(0.5), "box": box} for box in boxes),
        embedding=np.array([1.0, 2.0], dtype=np.float16),
    )
    found = decoded(record)
    assert (found.latency_ms, found.queue_depth, found.embedding) == (2.5, 7, [1.0, 2.0])
    assert found.detections[0].box == (1, 2, 3, 4)


def test_the_client_knows_every_field_of_the_record() -> None:
    fields = msgspec.structs.fields(FrameRecord)
    required = {field.encode_name for field in fields if field.required}
    assert set(REQUIRED) == required
    assert required | set(FrameFields.__annotations__) | {"schema_version"} == {f.encode_name for f in fields}


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({**SIZED, "captured_at": WHEN.replace(tzinfo=None)}, ValueError, "no offset from UTC"),
        (LEAST, ValueError, r"image=image_stats\(frame\)"),
        ({**LEAST, "width": 64}, ValueError, "width and height are missing"),
        ({**SIZED, "exposure": 4}, TypeError, "has no exposure; put it into slices or camera_meta"),
    ],
)
def test_a_record_that_cannot_be_built_is_a_sentence(fields: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        frame_record(**fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latency_ms": float("nan")}, "frame 'e-1' cannot be logged: latency_ms is not a finite number"),
        ({"embedding": [0.0, np.inf]}, r"embedding\[1\] is not a finite number"),
        ({"embedding": np.array([0.0, np.nan])}, r"embedding\[1\] is not a finite number"),
        ({"detections": [{"class": "c", "box": [0, float("-inf")]}]}, r"detections\[0\].box\[1\] is not a finite"),
        ({"image_uri": Path("frame.jpg")}, "is not a number, text, list or mapping"),
        ({"camera": "cam-\udc80"}, "surrogates not allowed"),
        ({"camera": ""}, "the record lacks camera"),
        ({"model": None, "width": None}, "the record lacks model, width"),
    ],
)
def test_a_record_that_is_not_json_is_a_sentence(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode({**frame_record(**SIZED, event_id="e-1"), **change})


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(camera=text, slices=st.dictionaries(text, text, max_size=3), meta=st.dictionaries(text, finite, max_size=3))
def test_text_and_numbers_survive(camera: str, slices: dict[str, str], meta: dict[str, float]) -> None:
    record = frame_record(**{**SIZED, "camera": camera}, slices=slices, camera_meta=meta)
    found = decoded(record)
    assert (found.camera, found.slices, found.camera_meta) == (camera, slices, meta)


def test_the_example_in_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = textwrap.dedent((monitor.client.__doc__ or "").split("\n\n", 1)[1])
    exec(compile(example, "monitor.client", "exec"), {"frame": np.zeros((48, 64, 3), dtype=np.uint8)})
    (written,) = (tmp_path / "state" / "spool" / "incoming").iterdir()
    (line,) = written.read_bytes().splitlines()
    found = msgspec.json.decode(line, type=FrameRecord)
    assert (found.camera, found.detections[0].class_name) == ("cam-1", "carton")
    assert abs(found.captured_at - datetime.now(UTC)) < timedelta(minutes=1)
