"""What is packed → a stream of bytes to cut into lines, within bounds on how much may come out of how little.

Nothing is held but the piece at hand: a bomb costs no memory, and the caps keep it from costing hours or disk.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, BinaryIO, Protocol

from monitor.errors import FileBroken, UsageError

MOST_BYTES = 8 << 30
"""Unpacked bytes of one file: some fifteen million records, an hour of work."""
MOST_RATIO = 200
"""Unpacked bytes a packed byte. Logs reach 10 to 60; a file of zeros some 1,000 by gzip, and any number by zstd."""
FREE_BYTES = 16 << 20
"""Up to so many unpacked bytes (a batch) the ratio is not asked for: a short log may be monotonous."""
_GZIP_PIECE = 4 << 10
_ZSTD_PIECE = 512
"""Packed bytes that are unpacked at a time: at the most that each format can hold, that makes 4 and 16 MiB; zlib
takes twice that meanwhile."""
_ZSTD_WINDOW = 8 << 20
"""The window that every reader of zstd should allow (RFC 8878, 3.1.1.1.2); more needs as much memory."""
_BUFFER = 1 << 20


Pieces = Generator[bytes, None, None]


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Stream(io.RawIOBase):
    """Pieces of bytes as a stream. What they raise, reading raises."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        given = min(len(buffer), len(self._left))
        buffer[:given] = self._left[:given]
        self._left = self._left[given:]
        return given

    def close(self) -> None:
        self._pieces.close()
        super().close()


def as_stream(pieces: Pieces, packed: int) -> BinaryIO:
    """Pieces that came out of a file of `packed` bytes as a stream.

    Reading it raises what the pieces raise, and:

    Raises:
        FileBroken: there is more in it than may come out of a file of that size.
    """
    return io.BufferedReader(_Stream(_bounded(pieces, packed)), _BUFFER)


def beginning(stream: BinaryIO, length: int) -> BinaryIO:
    """The first `length` bytes of a file, which may grow while it is read, as a stream."""

    def pieces() -> Pieces:
        left = length
        while left and (piece := stream.read(min(left, _BUFFER))):
            left -= len(piece)
            yield piece

    return io.BufferedReader(_Stream(pieces()), _BUFFER)


def _bounded(pieces: Pieces, packed: int) -> Pieces:
    most = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * packed))
    given = 0
    with closing(pieces):
        for piece in pieces:
            given += len(piece)
            if given > most:
                yield piece[: most - given]
                raise FileBroken(
                    f"it holds more than {most:,} bytes, the most that is taken out of a file of {packed:,} bytes "
                    f"({MOST_RATIO} times its size, and {MOST_BYTES:,} at the most); split it, or drop it unpacked"
                )
            if piece:
                yield piece


def gunzip(stream: BinaryIO) -> Pieces:
    """The content of a gzip file of one member or more (RFC 1952), checked against its checksums; ends in zeros pass.

    Raises:
        FileBroken: it ends too early, or goes on with what is not gzip. What was yielded before is sound.
    """
    return _members(stream, _GZIP_PIECE, lambda: zlib.decompressobj(wbits=31), zlib.error, "gzip")


def unzstd(stream: BinaryIO) -> Pieces:
    """The content of a zstd file of one frame or more (RFC 8878).

    Raises:
        UsageError: the package that reads it is not installed.
        FileBroken: as `gunzip`, or it needs a window beyond 8 MiB.
    """
    try:
        import zstandard
    except ImportError as error:
        raise UsageError(
            "reading zstd needs the package zstandard; install the extra `zstd` of this product, or write gzip"
        ) from error
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return _members(stream, _ZSTD_PIECE, unpacker.decompressobj, zstandard.ZstdError, "zstd")


def _members(
    stream: BinaryIO, size: int, start: Callable[[], _Unpacker], fault: type[Exception], what: str
) -> Pieces:
    unpacker: _Unpacker | None = None
    rest, begun = b"", False
    while piece := rest or stream.read(size):
        if unpacker is None:
            piece = piece.lstrip(b"\0") if begun else piece  # what is written to tape or in blocks ends in zeros
            if not piece:
                rest = b""
                continue
            unpacker, begun = start(), True
        try:
            unpacked = unpacker.decompress(piece)
        except fault as error:
            said = f"{error}".removeprefix("Error -3 while decompressing data: ")
            raise FileBroken(f"it is broken off by what is no {what} ({said}); write it anew") from error
        yield unpacked
        rest = b""
        if unpacker.eof:
            rest, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise FileBroken(f"it ends in the middle of its {what}; was it renamed before it was whole? Write it anew")
