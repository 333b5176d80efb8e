"""The bounds of a body, without a server."""

from __future__ import annotations

import asyncio
import gzip
import sys
import threading
from collections.abc import AsyncIterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest.parse import MAX_LINE
from monitor.web import bodies
from monitor.web.bodies import Flight
from monitor.web.problem import Refused

PACKERS = {"": bytes, "identity": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}


@given(content=st.binary(max_size=5000), encoding=st.sampled_from(sorted(PACKERS)))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_unpacking_undoes_packing_and_gives_its_share_back(content, encoding):
    flight = Flight(10_000)
    with flight.hold() as hold:
        packed = PACKERS[encoding](content)
        hold.grow(len(packed))
        assert bodies.unpack(packed, encoding, hold) == content
        assert hold.size == len(content)
    assert flight.has_room(10_000)


@given(lines=st.lists(st.binary(max_size=20).map(lambda said: said.replace(b"\n", b"")), min_size=1, max_size=30))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_lines_are_what_lies_between_newlines(lines):
    ended = b"".join(line + b"\n" for line in lines)
    assert bodies.cut(ended).lines == lines
    assert bodies.cut(ended).last == len(lines)
    open_end = ended + b"x"
    assert bodies.cut(open_end).lines == [*lines, b"x"]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_as_many_lines_as_are_taken_and_one_more(end):
    most = b"\n".join([b"x"] * bodies.MOST_LINES)
    assert len(bodies.cut(most + end).lines) == bodies.MOST_LINES
    with pytest.raises(Refused) as refused:
        bodies.cut(most + b"\ny" + end)
    assert (refused.value.status, refused.value.limit) == (413, bodies.MOST_LINES)


def test_a_line_that_is_too_long_is_held_to_just_over_the_limit():
    cut = bodies.cut(b"a" * (5 * MAX_LINE) + b"\nb\n")
    assert [len(line) for line in cut.lines] == [MAX_LINE + 1, 1]


def test_the_ratio_is_asked_for_beyond_a_first_piece():
    with Flight().hold() as hold:
        assert len(bodies.unpack(gzip.compress(b"x" * bodies.FREE_BYTES), "gzip", hold)) == bodies.FREE_BYTES
        with pytest.raises(Refused, match="unpacked"):
            bodies.unpack(gzip.compress(b"x" * (bodies.FREE_BYTES + 1)), "gzip", hold)


def test_all_together_are_bounded_and_the_last_one_is_put_off():
    flight = Flight(100)
    with flight.hold() as first:
        first.grow(60)
        with flight.hold() as second:
            second.grow(30)
            with pytest.raises(Refused) as refused:
                second.grow(11)
            assert refused.value.status == 429
            assert second.size == 30
        assert flight.has_room(40)
        assert not flight.has_room(41)
    assert flight.has_room(100)


def test_work_is_bounded_by_bytes_and_a_large_body_goes_alone():
    work, began, order = bodies.Work(10), threading.Event(), []

    def small() -> None:
        with work.turn(3):
            began.set()
            order.append("small")

    with work.turn(50):
        waiting = threading.Thread(target=small)
        waiting.start()
        assert not began.wait(0.05)
        order.append("large")
    assert began.wait(10)
    waiting.join()
    assert order == ["large", "small"]
    with work.turn(6), work.turn(4):
        order.append("both")


def read(pieces: list[bytes], announced: int | None, flight: Flight) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    with flight.hold() as hold:
        return asyncio.run(bodies.read(stream(), announced, flight, hold))


def test_a_body_is_read_whole_and_refused_by_what_its_head_says():
    assert read([b"ab", b"", b"c"], 3, Flight()) == b"abc"
    with pytest.raises(Refused) as refused:
        read([], bodies.MOST_BYTES + 1, Flight())
    assert (refused.value.status, refused.value.limit) == (413, bodies.MOST_BYTES)
    with pytest.raises(Refused) as refused:
        read([], 11, Flight(10))
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})


def test_zstd_without_its_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with Flight().hold() as hold, pytest.raises(Refused) as refused:
        bodies.unpack(zstandard.compress(b"x"), "zstd", hold)
    assert refused.value.status == 415
    assert "install the extra `zstd`" in refused.value.detail
