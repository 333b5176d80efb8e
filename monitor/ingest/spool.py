"""The spool: `incoming/` is where producers drop whole files, `done/` and `quarantine/` where they end up.

Producers write under a temporary name and rename; nothing is tailed. A file in `incoming/<source>/` belongs to that
source, one that lies in `incoming/` itself to the source "spool".
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from monitor.errors import DependencyAway, UsageError

SUFFIX = ".jsonl"
DEFAULT_SOURCE = "spool"
BATCH_LINES = 10_000
BATCH_BYTES = 16 << 20
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file to take in. `name` is what it is called in the ledger: its path below the folder it was found in."""

    path: Path
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive lines of a file without their newlines; one that is too long is cut to just over the limit."""

    first: int
    lines: list[bytes]

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1


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

    def done(self, file: Waiting, now: datetime) -> Path:
        """Move a file that was taken in to `done/` of the day."""
        return _move(file.path, self._done / f"{now:%Y-%m-%d}" / file.name)

    def quarantine(self, file: Waiting, reason: str) -> Path:
        """Move a file nothing could be taken from aside, with the reason (a sentence) in a file beside it."""
        moved = _move(file.path, self._quarantine / file.name)
        moved.with_name(moved.name + ".reason").write_text(reason + "\n", encoding="utf-8")
        return moved


def find_files(folder: Path, source: str | None = None) -> list[Waiting]:
    """The `*.jsonl` files below a folder, by name, without links, hidden and temporary files.

    Without `source` the first folder below names the source.
    """
    found = []
    for path in _walk(folder):
        name = path.relative_to(folder)
        of = source or (_said(name.parts[0]) if len(name.parts) > 1 else DEFAULT_SOURCE)
        found.append(Waiting(path, of, _said(str(name))))
    return sorted(found, key=lambda file: file.name)


def _walk(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
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
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; let this account read it") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is not a regular file; put a file of JSON lines there")
    return os.fdopen(descriptor, "rb", buffering=_PIECE)


def hash_of(stream: BinaryIO) -> str:
    """SHA-256 of a stream from its beginning, in hex; the stream is rewound."""
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE):
        digest.update(piece)
    stream.seek(0)
    return digest.hexdigest()


def read_batches(stream: BinaryIO, longest: int) -> Iterator[Lines]:
    """Cut a stream into batches of at most BATCH_LINES lines and about BATCH_BYTES bytes.

    Of a line over `longest` bytes no more than the first longest + 1 are held.
    """
    lines: list[bytes] = []
    size, first = 0, 1
    while line := stream.readline(longest + 1):
        if line.endswith(b"\n"):
            line = line[:-1]
        elif len(line) > longest:
            _skip_line(stream)
        lines.append(line)
        size += len(line)
        if len(lines) == BATCH_LINES or size >= BATCH_BYTES:
            yield Lines(first, lines)
            lines, size, first = [], 0, first + len(lines)
    if lines:
        yield Lines(first, lines)


def _skip_line(stream: BinaryIO) -> None:
    while piece := stream.readline(_PIECE):
        if piece.endswith(b"\n"):
            return


def _move(path: Path, target: Path) -> Path:
    """Move a file without ever writing over another; if it is gone, another worker has moved it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    place, number = target, 1
    while not _reserved(place):
        number += 1
        place = target.with_name(f"{target.stem}-{number}{target.suffix}")
    try:
        os.replace(path, place)
    except FileNotFoundError:
        place.unlink(missing_ok=True)
    except OSError as error:
        place.unlink(missing_ok=True)
        raise DependencyAway(
            f"{path} cannot be moved to {place}: {error.strerror}; mend it, then try again"
        ) from error
    return place


def _reserved(place: Path) -> bool:
    """Whether the name was free. An empty file now holds it, which the move replaces (or, killed before, leaves)."""
    try:
        place.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
