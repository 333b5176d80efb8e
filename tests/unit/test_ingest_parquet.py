"""Parquet rows as lines: every kind of column, nulls, and what Python has no word for."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import FileBroken
from monitor.ingest import parquet
from monitor.ingest.parquet import lines_of

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
PLAIN = {
    "event_id": "e1",
    "captured_at": AT,
    "model": "line",
    "version": "v1",
    "camera": "c",
    "width": 64,
    "height": 48,
}
SAID = PLAIN | {"captured_at": "2026-03-02T08:00:00+00:00"}


def written(**columns: Any) -> bytes:
    """A file with one row of PLAIN; `columns` replace or add some, as arrays or lists of the one value."""
    every = {name: [value] for name, value in PLAIN.items()} | columns
    out = io.BytesIO()
    pq.write_table(pa.table(every), out)
    return out.getvalue()


def read(data: bytes) -> list[bytes]:
    return list(lines_of(io.BytesIO(data)))


def one(**columns: Any) -> Any:
    [line] = read(written(**columns))
    assert line.endswith(b"\n")
    return json.loads(line)


BOX = {"class": "carton", "confidence": 0.5, "box": [1.0, 2.0, 3.0, 4.5]}
TEXTS = pa.map_(pa.string(), pa.string())


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("camera", pa.array(["c"]).dictionary_encode(), "c"),
        ("captured_at", ["2026-03-02T10:00:00+02:00"], "2026-03-02T10:00:00+02:00"),
        ("captured_at", pa.array([1_772_438_400_123_456_789], pa.timestamp("ns", "UTC")), None),
        ("captured_at", pa.array([1_772_438_400], pa.timestamp("s", "Europe/Berlin")), "2026-03-02T09:00:00+01:00"),
        ("latency_ms", pa.array([1.5], pa.float32()), 1.5),
        ("latency_ms", [Decimal("2.50")], 2.5),
        ("shadow", [True], True),
        ("queue_depth", pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        ("slices", [{"lighting": "day", "shift": None}], {"lighting": "day"}),
        ("slices", pa.array([[("lighting", "ü")]], TEXTS), {"lighting": "ü"}),
        ("slices", ['{"lighting": "day"}'], {"lighting": "day"}),
        ("camera_meta", pa.array([[("gain_db", 1.5)]], pa.map_(pa.string(), pa.float64())), {"gain_db": 1.5}),
        ("embedding", pa.array([np.array([0.25, 0.5], np.float32)]), [0.25, 0.5]),
        ("embedding", pa.array([[0.25, 0.5]], pa.list_(pa.float32(), 2)), [0.25, 0.5]),
        ("embedding", pa.array([[0.25, None]], pa.large_list(pa.float64())), [0.25, None]),
        ("detections", [[BOX, {**BOX, "class": None}]], [BOX, {"confidence": 0.5, "box": BOX["box"]}]),
        ("detections", [json.dumps([BOX])], [BOX]),
        ("detections", pa.array([[]], pa.list_(pa.struct([("class", pa.string())]))), []),
        ("image", [{"recipe": "r1", "histogram": [1, 2]}], {"recipe": "r1", "histogram": [1, 2]}),
    ],
)
def test_a_column_becomes_a_field(name: str, column: Any, said: Any) -> None:
    assert one(**{name: column})[name] == ("2026-03-02T08:00:00.123456+00:00" if said is None else said)


def test_a_null_is_a_field_left_out() -> None:
    nothing = {
        "latency_ms": pa.array([None], pa.float64()),
        "image": pa.array([None], pa.struct([("recipe", pa.string())])),
        "slices": pa.array([None], TEXTS),
        "embedding": pa.array([None], pa.list_(pa.float32())),
        "camera": pa.array([None], pa.string()),
    }
    assert one(**nothing) == {name: value for name, value in SAID.items() if name != "camera"}


def bad_text(data: bytes = b"a\xff\xfe") -> pa.Array:
    """A column of text that is not UTF-8, which Arrow takes unseen."""
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, len(data)], "<i4")), data_of(data)])


def data_of(data: bytes) -> Any:
    return pa.py_buffer(data)


@pytest.mark.parametrize(
    ("columns", "piece"),
    [
        ({"event_id": bad_text()}, b'"event_id":"a\xff\xfe"'),
        (
            {"detections": pa.ListArray.from_arrays([0, 1], pa.StructArray.from_arrays([bad_text()], ["class"]))},
            b'{"class":"a\xff\xfe"}',
        ),
        ({"slices": pa.MapArray.from_arrays([0, 1], pa.array(["a"]), bad_text())}, b"beyond all bounds"),
        ({"event_id": pa.array([b"\0x"])}, b'"event_id":"\\u0000x"'),
        ({"slices": ['{"lighting": "\\ud800"}']}, b'"\\ud800"'),
        ({"latency_ms": [float("nan")]}, b'"latency_ms":NaN'),
        ({"embedding": [[float("-inf")]]}, b'"embedding":[-Infinity]'),
        ({"captured_at": pa.array([2**60], pa.timestamp("us", "UTC"))}, b"beyond all bounds"),
        ({"slices": pa.array([[(b"a", "x")]], pa.map_(pa.binary(), pa.string()))}, b'"unreadable"'),
        ({"embedding": ["[" * 100_000]}, b'"embedding":"[[['),
    ],
)
def test_what_no_record_may_hold_stays_for_the_check_of_the_line(columns: dict[str, Any], piece: bytes) -> None:
    [line] = read(written(**columns))
    assert piece in line


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"colour": [1]}, "column 'colour' is no field of a record"),
        ({"captured_at": pa.array([1], pa.timestamp("us"))}, "column 'captured_at' has no time zone"),
    ],
)
def test_a_file_of_the_wrong_columns_is_refused_before_a_row_is_read(columns: Any, sentence: str) -> None:
    with pytest.raises(FileBroken, match=sentence):
        read(written(**columns))


def test_missing_and_double_columns_are_all_said() -> None:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, names=["width", "width"]), out)
    with pytest.raises(FileBroken, match=r"'width' stands there twice; column 'camera' is missing; .*'version'"):
        read(out.getvalue())


def test_a_file_of_more_rows_than_the_bound_is_refused_by_its_footer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MOST_ROWS", 0)
    with pytest.raises(FileBroken, match="it has 1 rows"):
        read(written())


def test_all_rows_of_all_row_groups_come_in_order() -> None:
    count = 1000
    rows = {name: [value] * count for name, value in PLAIN.items()} | {"event_id": [f"e{i}" for i in range(count)]}
    rows["detections"] = [[BOX] * (i % 3) if i % 5 else None for i in range(count)]
    out = io.BytesIO()
    pq.write_table(pa.table(rows), out, row_group_size=170)
    found = [json.loads(line) for line in read(out.getvalue())]
    assert [row["event_id"] for row in found] == rows["event_id"]
    assert [row.get("detections") for row in found] == rows["detections"]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 9))
def test_a_spoilt_file_gives_lines_or_a_sentence(flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(written(detections=[[BOX]], latency_ms=[1.0])[: None if cut else 100])
    for at, value in flips:
        data[at % len(data)] = value
    with suppress(FileBroken):
        assert all(line.endswith(b"\n") for line in read(bytes(data)))
