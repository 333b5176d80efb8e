"""The binary COPY stream, against the format as PostgreSQL's manual gives it, written here with struct."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.store import encoding

ROWS = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1),
        st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["same", "x" * 300]),
        st.none() | st.floats(allow_nan=False),
        st.lists(st.text(max_size=3), max_size=3),
        st.none() | st.lists(st.integers(-(2**15), 2**15 - 1), max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def field(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def array(oid: int, values: list[bytes] | None) -> bytes | None:
    if values is None:
        return None
    shape = struct.pack(">ii", len(values), 1) if values else b""
    return struct.pack(">iii", 1 if values else 0, 0, oid) + shape + b"".join(map(field, values))


@settings(max_examples=150, derandomize=True, deadline=None)
@given(ROWS)
def test_the_stream_is_what_the_manual_says(
    rows: list[tuple[int, str, float | None, list[str], list[int] | None, bool]],
) -> None:
    whole, words, reals, texts, shorts, flags = zip(*rows, strict=True)
    known = [each for each in shorts if each is not None]
    stream = encoding.encode(
        [
            encoding.fixed(np.array(whole), encoding.INT4),
            encoding.texts(words),
            encoding.nullable(np.array(reals, dtype=np.float64)),
            encoding.text_arrays(texts),
            encoding.sparse(
                encoding.arrays(
                    encoding.fixed(np.array([v for each in known for v in each], dtype=np.int64), encoding.INT2),
                    np.array([len(each) for each in known], dtype=np.int64),
                    encoding.INT2,
                ),
                np.array([each is not None for each in shorts]),
            ),
            encoding.flags(np.array(flags)),
        ]
    )
    assert b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0) == encoding.HEADER
    assert struct.pack(">h", -1) == encoding.TRAILER
    expected = b""
    for number, word, real, names, small, flag in rows:
        expected += struct.pack(">h", 6)
        expected += field(struct.pack(">i", number))
        expected += field(word.encode())
        expected += field(None if real is None else struct.pack(">d", real))
        expected += field(array(25, [name.encode() for name in names]))
        expected += field(array(21, None if small is None else [struct.pack(">h", v) for v in small]))
        expected += field(struct.pack(">?", flag))
    assert stream.flat.tobytes() == expected


def test_times_count_from_the_year_2000() -> None:
    assert encoding.times(np.array([946_684_800_000_001])).flat.tobytes() == struct.pack(">q", 1)
