"""Hostile lines: read among good ones, each is judged as it is by itself, and costs no other line anything."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from unittest import mock

import pytest
from recounting import CONTRACT

from monitor.ingest import parse as reading
from monitor.ingest.columns import Rules
from monitor.ingest.parse import parse, rules_of
from monitor.spec.load import load_contract

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = {
    "event_id": "E",
    "captured_at": "2026-03-02T11:00:00Z",
    "model": "line",
    "version": "v1",
    "camera": "c",
    "stage": "check",
    "width": 640,
    "height": 480,
    "slices": {"lighting": "day"},
    "image": {
        "recipe": "r", "brightness": 1.5, "contrast": 2, "sharpness": 3, "red_balance": 0, "blue_balance": 0,
        "histogram": [1] * 32,
    },
    "detections": [{"class": "carton", "confidence": 0.5, "box": [1, 2, 30, 40]}],
}  # fmt: skip
BASE = json.dumps(GOOD).encode()
DIGITS, DEEP = b"0" * 400, b"[" * 5000 + b"]" * 5000
SLICES = [
    *(b"5", b"null", b'{"x":1}', b'{"":"x"}', b"1e999", b"{", b"NaN", b'{"a":"\\x"}', b'{"a":"b",}', b"[1,2", DEEP),
    *(
        b'{"a":"x\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\\u0000"}',
        b'{"a":"b","a":"c"}',
        b'{"lighting":""}',
        b"01",
        b'"\t"',
    ),
    b"{" + b",".join(b'"%d":"x"' % i for i in range(33)) + b"}",
]
FIELDS = {
    b"slices": SLICES,
    b"event_id": [b'"F"', b"5", b'""', b'"\\u0000"', b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xe2\x80\xa8"', b'"\x7f"'],
    b"event_\\u0069d": [b'"F"'],
    b"unknown": [b"1", b'"\xff"', DEEP],
    b"latency_ms": [
        b"NaN",
        b"Infinity",
        b"1e400",
        b"1" + DIGITS,
        b"-0.0",
        b"-1",
        b"null",
        b"1e9",
        b"1.1e9",
        b"5e-324",
    ],
    b"queue_depth": [b"1.0", b"1e2", b"2147483648", b"1" + DIGITS, b"-0", b"-0.0", b"null", b"true"],
    b"width": [b"640.0", b"1e2", b"0", b"18446744073709551616", b"null", b"true", b'"1"'],
    b"schema_version": [b"1.0", b"2", b'"1"'],
    b"shadow": [b"1", b"true", b"null"],
    b"status": [b'"OK"', b'"ok\\n"', b'""', b"null"],
    b"site": [
        b'"\\/x"',
        b'"a\\\\u0000"',
        b'"\xc2\x85"',
        b'"\\ud83d\\ude00"',
        b'"\xf4\x90\x80\x80"',
        b'"\xe2\x80\xae"',
    ],
    b"image": [b"null", b"{}", b"[]"],
    b"detections": [b"[]", b"null", b"{}", b"[null]"],
    b"embedding": [b"[]", b"null", b"[NaN]", b"[1e39]"],
    b"camera_meta": [b"{}", b"null", b'{"a":true}', b'{"a":1' + DIGITS + b"}", b'{"\\u0000":1}', b'{"a":-0.0}'],
    b"captured_at": [
        *(
            b'"2026-03-02T11:00:00' + rest + b'"'
            for rest in (b"", b"z", b"+00", b"+0000", b"-00:00", b"+24:00", b".Z")
        ),
        *(b'"2026-03-02T10:59:59.' + b"9" * count + b'Z"' for count in range(1, 13)),
        *(b'"2026-03-02%s"' % rest for rest in (b"", b"t11:00:00Z", b" 11:00:00Z", b"T11:00Z", b"T24:00:00Z")),
        *(b'"2026-03-01T23:59:60Z"', b'"2026-02-29T11:00:00Z"', b'"0000-01-01T00:00:00Z"', b'"20260302T110000Z"'),
        *(b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59.9999999Z"', b'"9999-12-31T23:59:59-23:59"'),
        *(b"1772449200", b"1772449200.5", b'"1772449200"', b"null"),
    ],
}
LINES = [
    *(b'{"%s": %s, ' % (name, said) + BASE[1:] for name, many in FIELDS.items() for said in many),
    *(BASE[:-1] + b', "%s": %s}' % (name, said) for name, many in FIELDS.items() for said in many),
    *(BASE + rest for rest in (b" ", b"\r", b"\0", b",", BASE, b" " + BASE, b"// end")),
    *(rest + BASE for rest in (b" ", b"\xef\xbb\xbf", b"[", b"/* */", b"\0")),
    *(b"", b" ", b"\t", b"\x0b", b"\x1c", b"\x85", b"\xc2\xa0", b"null", b"{}", b"[]", b"{" * 1000, DEEP, BASE[:-1]),
    *(BASE.replace(b'"', b"'"), BASE.replace(b": ", b"\t:  "), BASE[:40] + b"\n" + BASE[40:]),
]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rules]:
    path = tmp_path_factory.mktemp("contracts") / "line.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    return rules_of({"line": load_contract(path)}, NOW)


def test_among_good_lines_each_is_what_it_is_by_itself(rules: dict[str, Rules]) -> None:
    taken = 0
    for odd in LINES:
        text = b"\n".join([BASE, odd.replace(b'"E"', b'"O"'), BASE.replace(b'"E"', b'"G"')])
        together = parse([text], 1, rules, NOW)
        with mock.patch.object(reading._Reader, "_read_together", return_value=False):
            assert repr(together) == repr(parse([text], 1, rules, NOW)), odd
        assert {"E", "G"} <= set(together.columns.event_id), odd
        aside = sum(reject.whole_line for reject in together.rejects)
        assert together.lines == len(together.columns) + together.duplicate + together.blank + aside, odd
        taken += len(together.columns) - 2
    assert 0 < taken < len(LINES), "some of them are odd and good"


@pytest.mark.parametrize("first", SLICES, ids=lambda said: repr(said[:12]))
@pytest.mark.parametrize("last", [b'{"lighting":"day"}', b"{}", b"5"])
def test_slices_that_stand_twice_are_judged_alike_in_any_company(
    rules: dict[str, Rules], first: bytes, last: bytes
) -> None:
    """Whether a line is read together with others must not decide whether it is taken in."""
    odd = b'{"slices":' + first + b"," + BASE.replace(b'{"lighting": "day"}', last)[1:]
    among_good = parse([b"\n".join([BASE.replace(b'"E"', b'"G"'), odd])], 1, rules, NOW)
    among_bad = parse([b"\n".join([b"{", odd])], 1, rules, NOW)
    assert among_good.columns.slices[1:] == among_bad.columns.slices
    assert [each.reason for each in among_good.rejects] == [each.reason for each in among_bad.rejects[1:]]
