"""The spool: `incoming/` is where producers drop whole files, `done/` and `quarantine/` where they end up.

Producers write under a temporary name and rename; nothing is tailed. A file in `incoming/<source>/` belongs to that
source, one that lies in `incoming/` itself to the source "spool".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO

from monitor.errors import DependencyAway, UsageError
from monitor.ingest.lines import unreadable

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".events.csv")
"""What files of records are called, and how they are packed. Before the suffix `.reviews` or `.events` says that a
file holds those; every other one holds frames."""
_HALF = ".tmp"
"""How a file may be called until it is whole."""
DEFAULT_SOURCE = "spool"
_BUFFER = 1 << 20
_LONGEST_NAME = 255
"""Bytes of a name in a folder, on all the usual file systems."""
_REASON = ".reason"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file to take in. `name` is what it is called in the ledger: its path below the folder it was found in."""

    path: Path
    source: str
    name: str
    stamp: tuple[int, int, int] | None = None
    """Time of change, size, and time of the last change of any kind, which nobody can set, when it was found: so that
    another file that took its name is not mistaken for it."""


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
        DependencyAway: this process has too many files open.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb", buffering=_BUFFER)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error, "let this account read it") from error
    os.close(descriptor)
    raise UsageError(f"{path} is not a regular file; put a file of JSON lines there")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ctime_ns


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
            if _stamp(file.path) != file.stamp:  # once more, as late as can be
                raise FileNotFoundError
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
