"""How a file is cut into batches: the same of a text that is read through and of a plain file that stays there."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import UsageError
from monitor.ingest import lines as cutting
from monitor.ingest.lines import Lines, find_batches, read_batches
from monitor.ingest.sources import open_lines


@contextmanager
def stored(content: bytes) -> Iterator[BinaryIO]:
    """A file of this content, open at its beginning."""
    with tempfile.TemporaryFile(dir=Path(tempfile.gettempdir())) as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file  # type: ignore[misc]


def said(hours: list[int]) -> bytes:
    """A line for each hour."""
    return b"".join(b'{"captured_at": "2026-03-01T%02d:00:00Z"}\n' % hour for hour in hours)


def test_a_large_batch_ends_with_an_hour_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BATCH_LINES", 2000)
    text = said([9] * 1500 + [10] * 1200 + [11] * 2500)
    with stored(text) as stream:
        ways = list(read_batches(stream, 1000)), find_batches(stream)
        for batches in ways:
            assert batches is not None
            assert [(each.first, each.last) for each in batches] == [
                (1, 1500),
                (1501, 2700),
                (2701, 4700),
                (4701, 5200),
            ]
            assert [line for each in batches for line in each.lines] == text.splitlines()


_LINES = st.lists(
    st.one_of(
        st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")),
        st.integers(0, 4).map(lambda hour: b'{"captured_at":"2026-03-01T%02d:1"}' % hour),
        st.just(b"[" + b"1," * 40 + b"1]"),
    ),
    max_size=60,
)


@given(
    text=_LINES,
    most=st.integers(1, 25),
    values=st.integers(1, 200),
    size=st.integers(1, 400),
    large=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_ranges_of_a_file_are_cut_as_its_text_is(
    text: list[bytes], most: int, values: int, size: int, large: int
) -> None:
    content = b"".join(line + b"\n" for line in text)
    limits = {
        "BATCH_LINES": most,
        "BATCH_VALUES": values,
        "BATCH_BYTES": size,
        "_LARGE": large,
        "_PIECE": 100,
        "_LOOK": 16,
    }
    with mock.patch.multiple(cutting, **limits), stored(content) as stream:
        found = find_batches(stream) or []
        assert [line for each in found for line in each.lines] == text
        assert [(each.first, each.count) for each in found] == [
            (each.first, each.count) for each in read_batches(io.BytesIO(content), 99)
        ] or any(len(line) >= 99 for line in text)
        for each in found:
            assert b"\n".join(each.pieces()) == b"".join(each.text()) == b"\n".join(each.lines)
            assert each.sha256() == hashlib.sha256(b"\n".join(each.lines)).digest()
            assert each.size == len(b"\n".join(each.lines))


@given(
    text=st.binary(max_size=80), what=st.sampled_from([b"\n", b"ab", b"abab"]), look=st.integers(4, 9), data=st.data()
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_range_is_searched_as_bytes_are(text: bytes, what: bytes, look: int, data: st.DataObject) -> None:
    text = bytes(b"ab\n"[each % 3] for each in text)
    start, end = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))
    with mock.patch.object(cutting, "_LOOK", look), stored(b"ab\n" + text + b"\nab\n") as stream:
        kept = cutting.Stored(cutting.Descriptor(os.dup(stream.fileno()), "it"), 3, len(text))
        assert kept.find(what, start, end) == text.find(what, start, end)
        assert kept.rfind(what, start, end) == text.rfind(what, start, end)
        assert kept[start:end] == text[start:end]
        assert len(kept) == len(text)


@pytest.mark.parametrize(
    "content", [b"{}\n{}", b"{}\n" + b"x" * (2 << 20) + b"\n{}\n", b""], ids=["no end", "long line", "nothing"]
)
def test_what_has_to_be_cut_is_not_left_where_it_lies(content: bytes) -> None:
    with stored(content) as stream:
        assert find_batches(stream) is None


def test_a_file_that_becomes_shorter_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" * 100)
    with path.open("rb") as stream:
        [lines] = find_batches(stream) or []
    path.write_bytes(b"{}\n")
    with pytest.raises(UsageError, match=r"a\.jsonl became shorter while it was read; .* rename"):
        list(lines.pieces())


def test_a_range_outlives_the_name_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" * 3)
    with path.open("rb") as stream:
        [lines] = find_batches(stream) or []
    path.unlink()
    assert lines.lines == [b"{}"] * 3


def test_lines_that_came_by_themselves_are_held() -> None:
    lines = Lines.of([b"a", b"", b"b"], 7)
    assert (lines.first, lines.last, len(lines), lines.lines) == (7, 9, 3, [b"a", b"", b"b"])
    assert list(lines.pieces()) == [b"a\n\nb"]
    assert list(Lines.of([b""]).pieces()) == [b""]
    assert list(Lines.of([]).pieces()) == []


def test_a_file_that_grows_is_read_as_far_as_it_was_when_it_was_opened(tmp_path: Path) -> None:
    """Else who writes faster than lines are stored would hold up every other file."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\ntw")
    with path.open("rb") as stream, path.open("ab", buffering=0) as writer:
        length = cutting.length_of(stream)
        writer.write(b"o\nthree\n")
        assert cutting.hash_of(stream, length) == hashlib.sha256(b"one\ntw").hexdigest()
        with open_lines(stream, path.name, length) as text:
            assert [batch.lines for batch in read_batches(text, 100)] == [[b"one", b"tw"]]


def test_a_file_that_the_disk_does_not_tell_the_length_of_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n")
    with path.open("rb") as stream:
        other = os.dup(stream.fileno())
        os.close(stream.fileno())
        with pytest.raises(UsageError, match=r"a\.jsonl cannot be read: Bad file descriptor; mend"):
            find_batches(stream)
        os.dup2(other, stream.fileno())
        os.close(other)
