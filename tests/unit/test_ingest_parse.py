"""Lines of a log → frames and rejects: every kind of bad input, and that nothing is lost or raised."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest import parse as parse_module
from monitor.ingest.parse import MAX_LINE, RAW_KEPT, Parsed, parse, rules_of
from monitor.spec.load import LoadedContract, parse_contract

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
class_policy = "declared"
[model]
name = "line"
[cameras]
[[cameras.list]]
name = "cam-1"
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
values = ["day", "night"]
[[conditions]]
name = "shift"
[retention]
raw_days = 30
"""


def loaded(text: str = CONTRACT) -> dict[str, LoadedContract]:
    """The contract in force, by model."""
    contract = parse_contract(text)
    return {contract.model.name: LoadedContract(contract, text, "0" * 16, Path("line.toml"))}


CONTRACTS = loaded()
STAGED = loaded(CONTRACT.replace("[cameras]", 'stages = ["screen", "check"]\n[cameras]'))
IMAGE = {
    "recipe": "r1",
    "brightness": 100.5,
    "contrast": 20,
    "sharpness": 4.5,
    "red_balance": 0.1,
    "blue_balance": -0.1,
    "histogram": [1] * 32,
}
BOX = {"class": "carton", "confidence": 0.9, "box": [10, 10, 50, 40]}


def record(**said: Any) -> dict[str, Any]:
    """A good record; `said` replaces or adds fields."""
    good: dict[str, Any] = {
        "event_id": "e1",
        "captured_at": "2026-03-02T10:30:00+02:00",
        "model": "line",
        "version": "v1",
        "camera": "cam-1",
        "width": 100,
        "height": 80,
    }
    return good | said


def line(**said: Any) -> bytes:
    return json.dumps(record(**said)).encode()


def parsed(*lines: bytes, contracts: dict[str, LoadedContract] = CONTRACTS) -> Parsed:
    result = parse(lines, 1, rules_of(contracts, NOW), NOW)
    rejected = sum(reject.whole_line for reject in result.rejects)
    assert result.lines == len(lines) == len(result.columns) + result.duplicate + rejected + result.blank
    return result


def test_a_good_record_becomes_a_row() -> None:
    columns = parsed(line(image=IMAGE, detections=[BOX], latency_ms=12, camera_meta={"gain_db": 3})).columns
    assert columns.event_id == ["e1"]
    assert columns.captured_us.tolist() == [int(datetime(2026, 3, 2, 8, 30, tzinfo=UTC).timestamp()) * 1_000_000]
    assert columns.det_box.tolist() == [[10, 10, 50, 40]]
    assert columns.latency_ms.tolist() == [12]
    assert np.isnan(columns.queue_depth).all()
    # 1000 counts over 32 equal bins: 31 each, and the 8 that are left go to the first bins.
    assert columns.brightness_histogram[0].tolist() == [32] * 8 + [31] * 24


BAD = {
    "a truncated line": (line()[:-9], "not_json"),
    "two objects": (line() + line(), "not_json"),
    "no object": (b"[1, 2]", "invalid"),
    "NaN": (line(latency_ms=float("nan")), "not_finite"),
    "Infinity": (line(latency_ms=float("inf")), "not_finite"),
    "a number beyond double precision": (line().replace(b'"width"', b'"latency_ms": 1e999, "width"'), "out_of_range"),
    "a number beyond sense": (line(latency_ms=1e18), "out_of_range"),
    "a meta number beyond sense": (line(camera_meta={"gain_db": -1e300}), "out_of_range"),
    "an embedding beyond single precision": (line(embedding=[1.0, -1e39]), "out_of_range"),
    "not UTF-8": (line().replace(b"e1", b"\xe9\xff"), "not_utf8"),
    "a surrogate in UTF-8": (line().replace(b"e1", b"\xed\xa0\x80"), "not_utf8"),
    "not UTF-8 and no JSON": (b"\xff\xfe{", "not_utf8"),
    "half a surrogate pair": (line().replace(b"e1", b"\\ud800"), "bad_text"),
    "a NUL in the id": (line(event_id="a\0b"), "bad_text"),
    "a NUL in what the camera says": (line(camera_meta={"lens": "\0"}), "bad_text"),
    "a NUL in a class": (line(detections=[BOX | {"class": "\0"}]), "bad_text"),
    "a NUL in a slice": (line(slices={"shift": "a\0"}), "bad_text"),
    "a NUL in the recipe": (line(image=IMAGE | {"recipe": "\0"}), "bad_text"),
    "a name too long in UTF-8": (line(version="\U0001f4a1" * 100), "name_too_long"),
    "an unknown field": (line(colour="red"), "invalid"),
    "a NUL in a field's name": (b'{"a\\u0000b": 1}', "invalid"),
    "what turns a terminal around in a field's name": ('{"\u202e\\u001b[2J": 1}'.encode(), "invalid"),
    "a missing field": (line().replace(b'"model"', b'"module"'), "invalid"),
    "a time without its offset": (line(captured_at="2026-03-02T10:30:00"), "invalid"),
    "a later schema": (line(schema_version=2), "unknown_schema"),
    "a line too long": (line(image_uri="x" * MAX_LINE), "line_too_long"),
    "an unknown model": (line(model="other"), "unknown_model"),
    "an unknown camera": (line(camera="cam-2"), "unknown_camera"),
    "an unknown stage": (line(stage="check"), "unknown_stage"),
    "a clock ahead": (line(captured_at="2026-03-03T12:00:01Z"), "future"),
    "the year 9999": (line(captured_at="9999-12-31T23:59:59-14:00"), "future"),
    "older than is kept": (line(captured_at="2026-01-31T11:59:59Z"), "too_late"),
    "the year 1": (line(captured_at="0001-01-01T00:00:00+14:00"), "too_late"),
    "a histogram of zeros": (line(image=IMAGE | {"histogram": [0] * 32}), "empty_histogram"),
    "a histogram of 31 bins": (line(image=IMAGE | {"histogram": [1] * 31}), "invalid"),
    "a confidence above 1": (line(detections=[BOX | {"confidence": 1.5}]), "invalid"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_set_aside_and_its_neighbours_are_not(bad: bytes, reason: str) -> None:
    result = parsed(line(event_id="before"), bad, line(event_id="after"))
    assert result.columns.event_id == ["before", "after"]
    assert result.line_number == [1, 3]
    [reject] = result.rejects
    assert (reject.line_number, reject.reason, reject.whole_line) == (2, reason, True)
    assert reject.raw == bad[:RAW_KEPT]
    assert len(reject.detail) > 20
    assert reject.detail.isprintable()


def test_what_looks_like_an_escaped_nul_is_text() -> None:
    assert parsed(line(image_uri="C:\\u0000.jpg")).columns.image_uri == ["C:\\u0000.jpg"]


def test_a_declared_stage_is_taken_in() -> None:
    result = parsed(line(stage="check"), line(event_id="e2"), contracts=STAGED)
    assert result.columns.stage == ["check"]
    assert [reject.reason for reject in result.rejects] == ["unknown_stage"]


def test_blank_lines_and_a_byte_order_mark_are_no_faults() -> None:
    result = parsed(b"\xef\xbb\xbf" + line(), b"", b"  \r", line(event_id="e2") + b"\r")
    assert (len(result.columns), result.blank, result.rejects) == (2, 2, [])


def test_open_policies_take_in_what_is_not_declared() -> None:
    opened = loaded(CONTRACT.replace("declared", "open").replace("[cameras]", '[cameras]\npolicy = "open"'))
    result = parsed(line(camera="new", detections=[BOX | {"class": "new"}]), contracts=opened)
    assert (result.columns.camera, result.columns.det_class, result.rejects) == (["new"], ["new"], [])


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 10, 10, 40], "box_degenerate"),
        ([50, 40, 10, 10], "box_degenerate"),
        ([10, 10, 10.0000001, 40], "box_degenerate"),  # no width left in single precision
        ([-1.5, 10, 50, 40], "box_outside_image"),
        ([10, 10, 101.5, 40], "box_outside_image"),
        ([10, 10, 50, 1e300], "box_outside_image"),
    ],
)
def test_a_bad_box_is_set_aside_and_its_frame_kept(box: list[float], reason: str) -> None:
    result = parsed(line(event_id="e0"), line(detections=[BOX, BOX | {"box": box}, BOX]))
    assert result.columns.det_frame.tolist() == [1, 1]
    assert result.columns.boxes_rejected.tolist() == [0, 1]
    [reject] = result.rejects
    assert (reject.line_number, reject.reason, reject.whole_line) == (2, reason, False)
    assert json.loads(reject.raw)["box"] == box


def test_a_box_within_the_tolerance_stays_as_it_is() -> None:
    result = parsed(line(detections=[BOX | {"box": [-1, 0, 101, 80]}]))
    assert result.columns.det_box.tolist() == [[-1, 0, 101, 80]]


def test_boxes_are_clipped_where_the_contract_says_so() -> None:
    clipping = loaded(CONTRACT + "[output]\nclip_boxes = true\n")
    outside = [BOX | {"box": [-20, 70, 50, 99]}, BOX | {"box": [150, 10, 160, 20]}]
    result = parsed(line(detections=outside), contracts=clipping)
    assert result.columns.det_box.tolist() == [[0, 70, 50, 80]]
    assert [reject.reason for reject in result.rejects] == ["box_outside_image"]


def test_an_undeclared_class_is_set_aside() -> None:
    result = parsed(line(detections=[BOX, BOX | {"class": "crate"}]))
    assert result.columns.det_class == ["carton"]
    assert [reject.reason for reject in result.rejects] == ["unknown_class"]


def test_slices_are_what_the_contract_declares() -> None:
    said = {"weather": "rain", "shift": "late", "lighting": "dusk"}
    result = parsed(line(slices=said), line(event_id="e2", slices={"lighting": "day", "shift": ""}))
    assert result.columns.slices == [{"lighting": "__other__", "shift": "late"}, {"lighting": "day"}]


def test_a_repeat_within_a_batch_is_a_duplicate_however_it_is_spelt() -> None:
    same = json.dumps(dict(reversed(record(captured_at="2026-03-02T08:30:00Z", latency_ms=1.0).items()))).encode()
    result = parsed(line(latency_ms=1), same)
    assert (len(result.columns), result.duplicate, result.rejects) == (1, 1, [])


@pytest.mark.parametrize("other", [{"width": 101}, {"captured_at": "2026-03-02T08:30:00.000001Z"}])
def test_an_id_with_other_content_or_time_is_a_conflict(other: dict[str, Any]) -> None:
    result = parsed(line(), line(**other), line())
    assert (len(result.columns), result.duplicate) == (1, 1)
    assert [(reject.line_number, reject.reason) for reject in result.rejects] == [(2, "conflict")]


def test_the_digest_does_not_depend_on_the_contract() -> None:
    said = line(detections=[BOX, BOX | {"class": "crate"}], slices={"weather": "rain"})
    opened = loaded(CONTRACT.replace("declared", "open"))
    assert parsed(said).columns.digest == parsed(said, contracts=opened).columns.digest


NAMES = st.text(st.characters(codec=None), max_size=4) | st.sampled_from(["line", "cam-1", "carton", "\0", "\ud800"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
DETECTIONS = st.lists(
    st.fixed_dictionaries(
        {"class": NAMES, "confidence": st.floats(0, 1), "box": st.lists(st.floats(), min_size=4, max_size=4)}
    ),
    max_size=3,
)
RECORDS = st.builds(
    lambda base, name, value, drop: {k: v for k, v in (base | {name: value}).items() if k != drop},
    st.builds(
        record,
        event_id=st.sampled_from(["a", "b", "c"]),
        detections=DETECTIONS,
        captured_at=st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | st.just("2026-03-02T08:00:00Z"),
    ),
    st.sampled_from([*record(), "slices", "camera_meta", "image", "embedding", "latency_ms"]),
    JSON,
    st.sampled_from([*record(), "none", "none", "none", "none"]),
)
LINES = (
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))
    | RECORDS.map(lambda said: json.dumps(said).encode())
    | st.just(line(event_id="a"))
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(LINES, max_size=6))
def test_no_line_raises_and_none_is_lost(lines: list[bytes]) -> None:
    columns = parsed(*lines).columns
    assert len(set(columns.event_id)) == len(columns.event_id)
    finite = [columns.det_confidence, columns.det_box.ravel(), columns.det_frame]
    assert all(np.isfinite(values).all() for values in finite)
    low, high = (NOW - timedelta(days=30)).timestamp() * 1e6, (NOW + timedelta(days=1)).timestamp() * 1e6
    assert all(low <= at <= high for at in columns.captured_us.tolist())


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=8), st.data())
def test_taking_rows_is_parsing_only_those_lines(records: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = parsed(*(json.dumps(said).encode() for said in records))
    rows = data.draw(st.sets(st.sampled_from(range(len(whole.columns))))) if len(whole.columns) else set()
    taken = whole.columns.take(np.array(sorted(rows), dtype=np.int64))
    direct = parsed(*(json.dumps(records[whole.line_number[i] - 1]).encode() for i in sorted(rows))).columns
    for name in taken.__dataclass_fields__:
        np.testing.assert_equal(getattr(taken, name), getattr(direct, name), err_msg=name)


def test_lines_read_together_are_what_each_is_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rules_of(CONTRACTS, NOW)
    good = [record(event_id=f"e{i}", image=IMAGE, detections=[BOX]) for i in range(12)]
    odd = [
        {"latency_ms": 2e9},
        {"image": IMAGE | {"sharpness": -2e9}},
        {"image": IMAGE | {"red_balance": 2e9}},
        {"image": IMAGE | {"blue_balance": -2e9}},
        {"image": IMAGE | {"histogram": [0] * 32}},
        {"embedding": [1e39]},
        {"camera_meta": {"gain_db": 1}},
        {"camera_meta": {"gain_db": -2e9}},
        {"captured_at": "2031-01-01T00:00:00+02:00"},
        {"captured_at": (NOW - timedelta(days=4000)).isoformat()},
        {"camera": "nobody"},
        {"model": "nobody"},
        {"event_id": "e1"},
        {"event_id": "ż"},
        {"detections": []},
    ]
    monkeypatch.setattr(parse_module, "PART", 3)
    for said in odd:
        for place in (0, 4, 11):
            lines = [json.dumps(one | (said if i == place else {})).encode() for i, one in enumerate(good)]
            together = parse([b"\n".join(lines)], 1, rules, NOW)
            with monkeypatch.context() as patched:
                patched.setattr(parse_module._Reader, "_read_together", lambda *_: False)
                singly = parse(lines, 1, rules, NOW)
            assert repr(together) == repr(singly)


_NEAT = json.dumps(record(event_id="e0")).encode()
_PIECES = st.sampled_from(
    [
        *(json.dumps(record(event_id=f"e{i}")).encode() for i in range(1, 5)),
        *(
            b"\n",
            b"\n",
            b"\n",
            b" ",
            b"\r",
            b"}",
            b"{",
            b"{}",
            b"[]",
            b"}\n{",
            b'"',
            b"\\n",
            b",",
            b'{"a":"}\n{"}',
            b"",
        ),
        *(_NEAT[:30], _NEAT[30:], _NEAT[:-1], json.dumps(record(event_id="e9", slices={"x": "}\n{"})).encode()),
        _NEAT.replace(b", ", b",\n", 1),
        _NEAT.replace(b"e0", b"e}\n{0"),
    ]
)


_OBJECTS = [json.dumps(record(event_id=f"o{i}")).encode() for i in range(9)]
_BETWEEN = st.lists(st.sampled_from([b"\n", b"\n", b"\n\n", b"", b" ", b"\r\n", b"\n\t\n"]), min_size=1, max_size=9)
# Whole objects, but not always one a line; and anything at all.
_WRITTEN = st.one_of(
    _BETWEEN.map(lambda between: b"".join(chain.from_iterable(zip(between, _OBJECTS, strict=False)))),
    st.lists(_PIECES, max_size=14).map(b"".join),
)


@given(written=_WRITTEN, part=st.integers(1, 5))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_however_lines_are_broken_each_is_read_by_itself(written: bytes, part: int) -> None:
    rules = rules_of(CONTRACTS, NOW)
    with mock.patch.object(parse_module, "PART", part):
        together = parse([written], 1, rules, NOW)
    with mock.patch.object(parse_module._Reader, "_read_together", return_value=False):
        singly = parse(written.split(b"\n"), 1, rules, NOW)
    assert repr(together) == repr(singly)
    assert together.lines == written.count(b"\n") + 1


@pytest.mark.parametrize(
    "slices", [b"{}", b'{"lighting":"day"}', b' { "lighting" : "day" } ', b"[]", b"1", b'{"x":1}']
)
def test_slices_are_checked_however_they_are_spelt(slices: bytes) -> None:
    lines = [json.dumps(record(event_id=f"e{i}", slices="HERE")).encode() for i in range(3)]
    lines[1] = lines[1].replace(b'"HERE"', slices)
    lines[0], lines[2] = (line.replace(b'"HERE"', b"{}") for line in (lines[0], lines[2]))
    parsed = parse([b"\n".join(lines)], 1, rules_of(CONTRACTS, NOW), NOW)
    good = isinstance(json.loads(slices), dict) and b"1" not in slices
    assert [reject.line_number for reject in parsed.rejects] == ([] if good else [2])
    assert len(parsed.columns) == 2 + good
    if b"day" in slices:
        assert parsed.columns.slices == [{}, {"lighting": "day"}, {}]


@pytest.mark.parametrize("place", ["camera", "version", "event_id", "site", "class", "slice"])
@pytest.mark.parametrize(
    "said", ["cam\nFORGED", "cam\x1b[31m", "cam\x1fx", "cam\u2028x", "cam\t", "\u202ecam", "cam\x85"]
)
def test_a_name_with_a_control_character_is_rejected(place: str, said: str) -> None:
    rules = rules_of(
        loaded(CONTRACT.replace("[cameras]", '[cameras]\npolicy = "open"').replace('"declared"', '"open"')), NOW
    )
    one = record(event_id="e1", detections=[BOX | {"class": said if place == "class" else "carton"}])
    one |= {"slices": {"lighting": said}} if place == "slice" else {place: said} if place != "class" else {}
    good = [json.dumps(record(event_id=f"g{i}")).encode() for i in range(3)]
    parsed = parse([b"\n".join([*good, json.dumps(one).encode()])], 1, rules, NOW)
    assert [(reject.line_number, reject.reason) for reject in parsed.rejects] == [(4, "bad_text")]
    assert len(parsed.columns) == 3
