"""Packed files: whole, cut, spoilt and blown up, always the lines before the fault and a sentence."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import FileBroken
from monitor.ingest import inflate
from monitor.ingest.inflate import as_stream, gunzip, unzstd
from monitor.ingest.lines import length_of, read_batches
from monitor.ingest.sources import open_lines

_rng = random.Random(1)
LINES = [b"%d %d\n" % (number, _rng.randrange(10**9)) for number in range(60_000)]
GOOD = b"".join(LINES)
Pack = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS = {".jsonl.gz": gzip.compress, ".jsonl.zst": zstd}
each_packer = pytest.mark.parametrize("suffix", PACKERS)


def read(path: Path) -> tuple[list[bytes], str]:
    """The lines of a file, and why they came to an end before it did."""
    found: list[bytes] = []
    try:
        with path.open("rb") as stream, open_lines(stream, path.name, length_of(stream)) as lines:
            for batch in read_batches(lines, 1 << 20):
                assert batch.first == len(found) + 1
                found += batch.lines
    except FileBroken as broken:
        return found, str(broken)
    return found, ""


def put(folder: Path, suffix: str, data: bytes) -> Path:
    path = folder / f"a{suffix}"
    path.write_bytes(data)
    return path


@each_packer
def test_members_one_after_the_other_are_one_log(tmp_path: Path, suffix: str) -> None:
    pack = PACKERS[suffix]
    middle = GOOD.index(b"\n", 5000) - 3  # in the middle of a line
    data = pack(GOOD[:middle]) + pack(b"") + pack(GOOD[middle:])
    assert read(put(tmp_path, suffix, data)) == ([line[:-1] for line in LINES], "")


@each_packer
@pytest.mark.parametrize("data", [b"", None], ids=["no byte", "no content"])
def test_an_empty_file_has_no_lines(tmp_path: Path, suffix: str, data: bytes | None) -> None:
    assert read(put(tmp_path, suffix, PACKERS[suffix](b"") if data is None else data)) == ([], "")


@each_packer
def test_zeros_at_the_end_or_between_members_are_no_fault(tmp_path: Path, suffix: str) -> None:
    packed = PACKERS[suffix](GOOD)
    found, why = read(put(tmp_path, suffix, packed + bytes(40_000) + packed + bytes(3)))
    assert (len(found), why) == (120_000, "")


@each_packer
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_of_a_cut_file_the_whole_lines_are_read(tmp_path: Path, suffix: str, share: float) -> None:
    packed = PACKERS[suffix](GOOD)
    found, why = read(put(tmp_path, suffix, packed[: int(len(packed) * share)]))
    assert found == [line[:-1] for line in LINES[: len(found)]]
    assert len(found) > 2000
    assert "ends in the middle" in why


@each_packer
def test_what_follows_and_is_not_packed_is_said(tmp_path: Path, suffix: str) -> None:
    found, why = read(put(tmp_path, suffix, PACKERS[suffix](GOOD) + b"and so on" * 9))
    assert (len(found), "broken off" in why) == (60_000, True)


@each_packer
def test_a_checksum_that_does_not_fit_is_said(tmp_path: Path, suffix: str) -> None:
    packed = bytearray(PACKERS[suffix](GOOD))
    packed[-1 if suffix == ".jsonl.zst" else -6] ^= 0xFF
    assert "broken off" in read(put(tmp_path, suffix, bytes(packed)))[1]


@each_packer
def test_what_is_not_packed_at_all_is_said(tmp_path: Path, suffix: str) -> None:
    found, why = read(put(tmp_path, suffix, GOOD))
    assert (found, "broken off" in why) == ([], True)


@each_packer
def test_no_more_than_the_ratio_comes_out(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "FREE_BYTES", 50_000)
    bomb = PACKERS[suffix](b"one line\n" * 1_000_000)
    found, why = read(put(tmp_path, suffix, bomb))
    assert len(found) == max(50_000, 200 * len(bomb)) // 9
    assert "200 times its size" in why
    assert read(put(tmp_path, suffix, PACKERS[suffix](GOOD)))[1] == "", "a log stays far below it"


def test_no_more_than_the_cap_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "MOST_BYTES", 100_000)
    found, why = read(put(tmp_path, ".jsonl.gz", gzip.compress(GOOD)))
    assert len(b"\n".join(found)) <= 100_000
    assert "more than 100,000 bytes" in why


def test_a_window_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    data = packer.compress(GOOD) + packer.flush()
    assert "memory" in read(put(tmp_path, ".jsonl.zst", data))[1]


@pytest.mark.parametrize("unpack", [gunzip, unzstd])
@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 255))
def test_whatever_the_bytes_are_there_is_an_end(unpack: Callable[..., inflate.Pieces], tail, at, flip) -> None:
    pack = gzip.compress if unpack is gunzip else zstd
    packed = bytearray(pack(GOOD[:300]))
    packed[at % len(packed)] ^= flip
    for data in (bytes(packed) + tail, tail):
        stream = as_stream(unpack(io.BytesIO(data)), len(data))
        with suppress(FileBroken):
            assert len(stream.read()) <= inflate.FREE_BYTES
