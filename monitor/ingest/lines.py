"""Lines of a file, and how a file is cut into batches of them.

What lies in a plain file is not held: a batch is a range of it that is read piece by piece by whoever needs it.
What is unpacked, or came by itself, is held as text.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from typing import BinaryIO, Self, cast

import numpy as np

from monitor.errors import DependencyAway, FileBroken, MonitorError, UsageError

BATCH_LINES = 10_000
BATCH_BYTES = 16 << 20
BATCH_VALUES = 750_000
"""Commas, of which every value but the first has one: a number of one digit takes many times its text in memory."""
_LARGE = 1_000
"""Lines of a batch from which on it matters where it ends."""
_CAPTURED = b'"captured_at"'
_PIECE = 1 << 20
_LOOK = 1 << 12
"""Bytes that are read at a time where something is looked for."""
_NEWLINE, _COMMA = b"\n,"
_RUN_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Stored:
    """A range of an open file, looked into as bytes are; it keeps the file open, through any change of its name."""

    def __init__(self, file: Descriptor, start: int, size: int) -> None:
        self.file = file
        self.start = start
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """The bytes between two places.

        Raises:
            UsageError: the file has become shorter.
        """
        start, end, _ = part.indices(self._size)
        return self.file.read(self.start + start, max(end - start, 0))

    def part(self, start: int, end: int) -> Stored:
        """A range of the range."""
        return Stored(self.file, self.start + start, end - start)

    def find(self, what: bytes, start: int, end: int | None = None) -> int:
        """The first place in [start, end) where `what` stands whole; -1: nowhere."""
        end = self._size if end is None else min(end, self._size)
        while start < end:
            stop = min(start + _LOOK, end)
            if (found := self[start:stop].find(what)) >= 0:
                return start + found
            start = stop if stop == end else stop - len(what) + 1
        return -1

    def rfind(self, what: bytes, start: int, end: int) -> int:
        """The last place in [start, end), which may count from the range's own end, where `what` stands whole."""
        end = min(end, self._size) if end >= 0 else self._size + end
        while start < end:
            begin = max(end - _LOOK, start)
            if (found := self[begin:end].rfind(what)) >= 0:
                return begin + found
            end = begin if begin == start else begin + len(what) - 1
        return -1


class Descriptor:
    """A file that stays open as long as somebody may read a range of it; `number` is closed then."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from `at` on.

        Raises:
            UsageError: they are not there.
        """
        said = b""
        try:
            while len(said) < size and (piece := os.pread(self.number, size - len(said), at + len(said))):
                said = said + piece if said else piece
        except OSError as error:
            raise unreadable(self.name, error) from error
        if len(said) < size:
            raise UsageError(
                f"{self.name} became shorter while it was read; write under a temporary name and rename when it is"
                " whole, then drop it again"
            )
        return said

    def __del__(self) -> None:
        os.close(self.number)


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive lines of a file; one that is too long is cut to just over the limit."""

    first: int
    kept: bytes | bytearray | Stored
    """The lines with a newline between each and the next: themselves, or where they lie."""
    count: int
    hashed: bytes | None = None
    """The hash of their content, where it is known."""

    @classmethod
    def of(cls, lines: Sequence[bytes], first: int = 1) -> Self:
        """Lines without their newlines, the first of which is number `first`."""
        return cls(first, b"\n".join(lines), len(lines))

    def __len__(self) -> int:
        return self.count

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    @property
    def size(self) -> int:
        """Bytes of all, with the newlines between them."""
        return len(self.kept)

    @property
    def held(self) -> bool:
        """Whether they are in memory."""
        return not isinstance(self.kept, Stored)

    @property
    def lines(self) -> list[bytes]:
        """Each by itself, without its newline.

        Raises:
            UsageError: they lie in a file, and cannot be read any more.
        """
        return bytes(self.kept[:]).split(b"\n") if self.count else []

    def pieces(self) -> Iterator[bytes]:
        """Some whole lines, then the next, without the newline between the two; otherwise as `lines`."""
        start = 0
        while start < self.size or (start == 0 and self.count):
            cut = self.kept.find(b"\n", start + _PIECE)
            end = cut if cut >= 0 else self.size
            yield bytes(self.kept[start:end])
            start = end + 1

    def text(self) -> Iterator[bytes | bytearray]:
        """All of it, in pieces that end anywhere; otherwise as `lines`."""
        if isinstance(self.kept, Stored):
            yield from (self.kept[at : at + _PIECE] for at in range(0, self.size, _PIECE))
        else:
            yield self.kept

    @contextmanager
    def lying(self) -> Iterator[tuple[int, str, int]]:
        """Where all of it lies, for another process to read: a descriptor, the file's name, the first byte."""
        if isinstance(self.kept, Stored):
            yield self.kept.file.number, self.kept.file.name, self.kept.start
        else:
            with in_memory([self.kept]) as place:
                yield place, "the batch", 0

    def sha256(self) -> bytes:
        """The hash of their content; otherwise as `lines`."""
        if self.hashed is not None:
            return self.hashed
        digest = hashlib.sha256()
        for piece in self.text():
            digest.update(piece)
        return digest.digest()


@contextmanager
def in_memory(pieces: Iterable[bytes | bytearray | memoryview]) -> Iterator[int]:
    """A descriptor of a nameless file that holds the pieces one after the other, in memory where that can be.

    Raises:
        DependencyAway: there is no memory or descriptor for it.
    """
    with ExitStack() as stack:
        try:
            if hasattr(os, "memfd_create"):
                place = os.memfd_create("lines")
                stack.callback(os.close, place)
            else:
                place = stack.enter_context(tempfile.TemporaryFile(buffering=0)).fileno()
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(place, left) :]
        except OSError as error:
            raise DependencyAway(
                f"a batch of lines cannot be handed over: {error}; free memory or open files, then try again"
            ) from error
        yield place


def length_of(stream: BinaryIO) -> int:
    """How long a file is now; a file that may grow is read so far. Where nothing says it, there is no bound."""
    return os.fstat(stream.fileno()).st_size or sys.maxsize


def hash_of(stream: BinaryIO, length: int) -> str:
    """SHA-256 of a file's first `length` bytes, in hex; it is rewound."""
    digest = hashlib.sha256()
    while length and (piece := stream.read(min(length, _PIECE))):
        digest.update(piece)
        length -= len(piece)
    stream.seek(0)
    return digest.hexdigest()


def read_batches(stream: BinaryIO, longest: int) -> Iterator[Lines]:
    """Cut a stream into batches of at most BATCH_LINES lines and about BATCH_BYTES bytes and BATCH_VALUES values.

    A large batch ends with an hour where it can: the roll-ups of an hour that lies in one batch need no merge.
    Of a line over `longest` bytes no more than the first longest + 1 are held.

    Raises:
        FileBroken: as the stream does, when all whole lines before were yielded.
    """
    first, size, text = 1, _Size(), bytearray()
    try:
        for block in _blocks(stream, longest):
            while (end := size.grow(block)) is not None:
                text += memoryview(block)[:end]
                cut, rest = _last_hour(text, size.lines), block[end:]
                block = bytes(text[cut:]) + rest
                yield (lines := _lines(first, text, cut))
                first, size, text = lines.last + 1, _Size(), bytearray()
            text += block
    except FileBroken:
        if text:
            yield _lines(first, text, len(text))
        raise
    if text:
        yield _lines(first, text, len(text))


def find_batches(stream: BinaryIO) -> list[Lines] | None:
    """The batches of `read_batches`, as ranges of a plain file; None: a line is so long that it has to be cut, or the
    last one has no end, or nothing says how long the file is.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        end = os.fstat(stream.fileno()).st_size
        file = Descriptor(os.dup(stream.fileno()), str(stream.name))
    except OSError as error:
        raise unreadable(str(stream.name), error) from error
    if not end or file.read(end - 1, 1) != b"\n":
        return None
    found: list[Lines] = []
    first, start, at, size = 1, 0, 0, _Size()
    while at < end:
        block = file.read(at, min(_PIECE, end - at))
        block = block[: block.rfind(b"\n") + 1]
        if not block:
            return None
        full = size.grow(block)
        at += len(block) if full is None else full
        if full is None and at < end:
            continue
        text = Stored(file, start, at - start)
        cut = len(text) if full is None else _last_hour(text, size.lines)
        found.append(_stored(first, text, cut, size.lines))
        first, start, at, size = found[-1].last + 1, start + cut, start + cut, _Size()
    return found


def unreadable(name: object, error: OSError, remedy: str = "mend its disk or drop it again") -> MonitorError:
    """What to raise for a file that cannot be read: UsageError; DependencyAway if the fault is not the file's."""
    if error.errno in _RUN_SHORT:
        return DependencyAway(
            f"{name} cannot be read now: {error.strerror}; free memory or raise the limit on open files (ulimit -n)"
        )
    return UsageError(f"{name} cannot be read: {error.strerror}; {remedy}")


def _stored(first: int, text: Stored, end: int, lines: int) -> Lines:
    """The whole lines of a text of so many `lines` up to `end`."""
    beyond = sum(text[at : at + _PIECE].count(b"\n") for at in range(end, len(text), _PIECE))
    kept = Lines(first, text.part(0, end - 1), lines - beyond)
    return replace(kept, hashed=kept.sha256())


def _lines(first: int, text: bytearray, end: int) -> Lines:
    """The whole lines of a text up to `end`; the rest is cut off."""
    count = int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8, count=end) == _NEWLINE))
    del text[end - 1 :]
    return Lines(first, text, count)


@dataclass(slots=True)
class _Size:
    """How much of a batch is there."""

    lines: int = 0
    size: int = 0
    values: int = 0

    def grow(self, block: bytes) -> int | None:
        """Count whole lines in; where the batch is full before their end, only so far, which is returned."""
        said = np.frombuffer(block, dtype=np.uint8)
        lines = int(np.count_nonzero(said == _NEWLINE))
        values = int(np.count_nonzero(said == _COMMA))
        if not self._add(lines, len(block) - lines, values):
            return None
        self._add(-lines, lines - len(block), -values)
        ends, counts = np.flatnonzero(said == _NEWLINE) + 1, np.arange(1, lines + 1)
        commas = np.searchsorted(np.flatnonzero(said == _COMMA), ends)
        full = self.lines + counts >= BATCH_LINES
        full |= (self.size + ends - counts >= BATCH_BYTES) | (self.values + commas >= BATCH_VALUES)
        at = int(np.argmax(full))
        self._add(at + 1, int(ends[at]) - at - 1, int(commas[at]))
        return int(ends[at])

    def _add(self, lines: int, size: int, values: int) -> bool:
        """Count in; returns whether the batch is full."""
        self.lines += lines
        self.size += size
        self.values += values
        return self.lines >= BATCH_LINES or self.size >= BATCH_BYTES or self.values >= BATCH_VALUES


def _blocks(stream: BinaryIO, longest: int) -> Iterator[bytes]:
    """A stream as blocks of whole lines, each with its newline."""
    begun = b""
    while piece := cast(BufferedReader, stream).read1(_PIECE):
        end = piece.rfind(b"\n") + 1
        begun += piece[:end] if end else piece
        if end:
            # Only the first line of a block can be longer than what is read at a time.
            if longest < _PIECE or begun.find(b"\n") > longest:
                begun = b"\n".join(line[: longest + 1] for line in begun.split(b"\n"))
            yield begun
            begun = piece[end:]
        begun = begun[: longest + 1]
    if begun:
        yield begun + b"\n"


def _last_hour(text: bytearray | Stored, lines: int) -> int:
    """Where the last hour of a large batch begins, if that is in its second half; otherwise its end.

    Looks at the text alone, for it decides nothing but the cut: lines that say their time in another way are cut
    where the batch is full, and lines that are not in order there or where some hour begins.
    """
    before, at = (text.rfind(b"\n", 0, end) + 1 for end in (len(text) // 2, -1))
    last = _hour(text, at, len(text))
    if lines < _LARGE or before == at or _hour(text, before, len(text)) == last:
        return len(text)
    # The line at `before` is of another hour, and the one at `at` of the last, until they are neighbours.
    while (end := text.find(b"\n", before, at) + 1) < at:
        half = max(text.rfind(b"\n", before, (before + at) // 2) + 1, end)
        if _hour(text, half, at) == last:
            at = half
        else:
            before = half
    return at


def _hour(text: bytearray | Stored, start: int, end: int) -> bytes | bytearray:
    """What the line between `start` and `end` says of its hour."""
    named = text.find(_CAPTURED, start, end)
    said = text.find(b'"', named + len(_CAPTURED), end) + 1
    return text[said : min(said + len(b"2026-03-01T09"), end)] if named >= 0 else b""
