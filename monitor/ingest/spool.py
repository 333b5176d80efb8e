"""The spool: `incoming/` is where producers drop whole files, `done/` and `quarantine/` where they end up.

Producers write under a temporary name and rename; nothing is tailed. A file in `incoming/<source>/` belongs to that
source, one that lies in `incoming/` itself to the source "spool".
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from itertools import count
from pathlib import Path
from typing import BinaryIO, Self, cast

import numpy as np

from monitor.errors import DependencyAway, FileBroken, UsageError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".events.csv")
"""What files of records are called, and how they are packed. Before the suffix `.reviews` or `.events` says that a
file holds those; every other one holds frames."""
_HALF = ".tmp"
"""How a file may be called until it is whole."""
DEFAULT_SOURCE = "spool"
BATCH_LINES = 10_000
BATCH_BYTES = 16 << 20
BATCH_VALUES = 750_000
"""Commas, of which every value but the first has one: a number of one digit takes many times its text in memory."""
_LARGE = 1_000
"""Lines of a batch from which on it matters where it ends."""
_CAPTURED = b'"captured_at"'
_PIECE = 1 << 20
_NEWLINE, _COMMA = b"\n,"
_LONGEST_NAME = 255
"""Bytes of a name in a folder, on all the usual file systems."""
_REASON = ".reason"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file to take in. `name` is what it is called in the ledger: its path below the folder it was found in."""

    path: Path
    source: str
    name: str
    stamp: tuple[int, int] | None = None
    """Time of change and size when it was found, so that another file that took its name is not mistaken for it."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive lines of a file; one that is too long is cut to just over the limit."""

    first: int
    text: bytes | bytearray
    """The lines with a newline between each and the next."""
    count: int

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
    def lines(self) -> list[bytes]:
        """Each by itself, without its newline."""
        return bytes(self.text).split(b"\n") if self.count else []

    def each(self) -> Iterator[bytes]:
        """Each by itself, one after the other: nothing else of the text is held twice."""
        start = 0
        for _ in range(self.count):
            end = self.text.find(b"\n", start)
            yield bytes(self.text[start : end if end >= 0 else len(self.text)])
            start = end + 1

    def sha256(self) -> bytes:
        """The hash of their content."""
        return hashlib.sha256(self.text).digest()


class Spool:
    """The three folders below `folder`, made when they are missing."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming"
        self._done = folder / "done"
        self._quarantine = folder / "quarantine"
        try:
            for each in (self.incoming, self._done, self._quarantine):
                each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DependencyAway(
                f"the spool {folder} cannot be made: {error}; give this account the folder"
            ) from error

    def waiting(self) -> list[Waiting]:
        """The whole files in `incoming/`, by name."""
        return find_files(self.incoming)

    def done(self, file: Waiting, now: datetime) -> Path | None:
        """Move a file that was taken in to `done/` of the day; None: it is not there any more.

        Raises:
            DependencyAway: it cannot be moved.
        """
        return _move(file, self._done / f"{now:%Y-%m-%d}")

    def quarantine(self, file: Waiting, reason: str) -> Path | None:
        """Move a file nothing could be taken from aside, with the reason (a sentence) in a file beside it.

        None and no reason: it is not there any more.

        Raises:
            DependencyAway: it cannot be moved, or its reason not be written.
        """
        return _move(file, self._quarantine, reason)


def find_files(folder: Path, source: str | None = None) -> list[Waiting]:
    """The files of records below a folder, by name, without links, hidden and temporary files.

    Without `source` the first folder below names the source. A folder that cannot be looked into is among them as
    itself: `open_file` then says why.
    """
    found = []
    for path in _walk(folder):
        if not _is_taken_in(path):
            continue
        name = path.relative_to(folder)
        of = source or (_said(name.parts[0]) if len(name.parts) > 1 else DEFAULT_SOURCE)
        found.append(Waiting(path, of, _said(str(name)), _stamp(path)))
    return sorted(found, key=lambda file: file.name)


def find_strangers(folder: Path) -> list[Path]:
    """What lies below a folder and is never taken in, by name: links, and what is called like no file of records.

    Hidden and temporary files are not spoken of.
    """
    return sorted(path for path in _walk(folder) if not _is_taken_in(path) and path.suffix != _HALF)


def suffix_of(name: str) -> str:
    """The one of SUFFIXES that a name ends in, `""` if it ends in none."""
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _is_taken_in(path: Path) -> bool:
    return not path.is_symlink() and (path.is_dir() or (suffix_of(path.name) != "" and path.is_file()))


def _walk(folder: Path) -> Iterator[Path]:
    """All but folders and what is hidden; a folder that cannot be looked into is among them as itself."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _said(name: str) -> str:
    """A file's name as text: bytes that are not UTF-8 are spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, never through a link put in its place.

    Raises:
        FileNotFoundError: it is gone; another worker was faster.
        UsageError: it cannot be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb", buffering=_PIECE)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; let this account read it") from error
    os.close(descriptor)
    raise UsageError(f"{path} is not a regular file; put a file of JSON lines there")


def hash_of(stream: BinaryIO) -> str:
    """SHA-256 of a stream from its beginning, in hex; the stream is rewound."""
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE):
        digest.update(piece)
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
        end = 0
        for line in block.split(b"\n"):
            end += len(line) + 1
            if self._add(1, len(line), line.count(b",")):
                return end
        raise AssertionError("what is full as a whole is full at some line")

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


def _last_hour(text: bytes | bytearray, lines: int) -> int:
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


def _hour(text: bytes | bytearray, start: int, end: int) -> bytes | bytearray:
    """What the line between `start` and `end` says of its hour."""
    named = text.find(_CAPTURED, start, end)
    said = text.find(b'"', named + len(_CAPTURED), end) + 1
    return text[said : min(said + len(b"2026-03-01T09"), end)] if named >= 0 else b""


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _move(file: Waiting, folder: Path, reason: str = "") -> Path | None:
    """Move a file below `folder` without ever writing over another, with the reason, if there is one, beside it.

    None: another worker has moved it, or another file has taken its name and waits for a turn of its own.
    """
    *folders, name = Path(file.name).parts
    where = folder.joinpath(*(_cut(each, _LONGEST_NAME) for each in folders))
    if _stamp(file.path) != file.stamp:
        return None
    try:
        where.mkdir(parents=True, exist_ok=True)
        place = _reserve(where, name, _LONGEST_NAME - len(_REASON))
        beside = place.with_name(place.name + _REASON)
        try:
            if reason:  # first, so that nothing ever lies there unexplained
                beside.write_text(reason + "\n", encoding="utf-8")
            os.replace(file.path, place)
        except OSError:
            _give_back(place, beside)
            raise
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DependencyAway(
            f"{file.path} cannot be moved below {where}: {error.strerror}; mend the folder, then try again"
            + f". It belongs there because: {reason}" * bool(reason)
        ) from error
    return place


def _reserve(folder: Path, name: str, longest: int) -> Path:
    """A free name. An empty file now holds it, which the move replaces (or, killed before, leaves)."""
    suffix = suffix_of(name)
    for number in count(1):
        end = suffix if number == 1 else f"-{number}{suffix}"
        place = folder / (_cut(name.removesuffix(suffix), longest - len(end)) + end)
        with suppress(FileExistsError):
            place.touch(exist_ok=False)
            break
    return place


def _give_back(place: Path, beside: Path) -> None:
    """Take a name that was reserved back, with its reason.

    Not if it holds something: over a network a move may have been done and still be reported as failed.
    """
    with suppress(OSError):
        if not place.stat().st_size:
            place.unlink()
            beside.unlink(missing_ok=True)


def _cut(name: str, longest: int) -> str:
    """The name without what is beyond `longest` bytes."""
    while len(os.fsencode(name)) > longest:
        name = name[:-1]
    return name
