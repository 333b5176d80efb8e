"""A file of records, however it is packed → a stream of lines: one intake path stands behind every kind.

And why a file is set aside, in words. Of a packed file that breaks off, what was read stands: batches are committed
as they are read, for to judge the whole file first would mean to unpack it twice or to keep it. Reading it again
changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from monitor.ingest.feedback import lines_of_csv
from monitor.ingest.inflate import as_stream, beginning, gunzip, unzstd
from monitor.ingest.parquet import read_lines
from monitor.ingest.spool import suffix_of

_UNPACK = {".jsonl.gz": gunzip, ".jsonl.zst": unzstd, ".parquet": read_lines, ".events.csv": lines_of_csv}


@contextmanager
def open_lines(stream: BinaryIO, name: str, length: int) -> Iterator[BinaryIO]:
    """The lines of a file of this length that is open at its beginning; its name says how they are packed.

    Reading them raises:
        FileBroken: the rest cannot be read, or is more than may come out of such a file.
        UsageError: a package that reads such files is not installed.
    """
    unpack = _UNPACK.get(suffix_of(name))
    with beginning(stream, length) if unpack is None else as_stream(unpack(stream), length) as lines:
        yield lines


def is_plain(name: str) -> bool:
    """Whether a file of this name holds the lines as they are."""
    return suffix_of(name) not in _UNPACK


def broken_off(why: str, lines: int, good: int) -> str:
    """What to say of a file that was not read to its end: why, and how many lines were looked at and are stored."""
    if not lines:
        return f"Nothing of the file was taken in: {why}."
    return (
        f"Of the file only the first {lines} lines were looked at ({good} are stored): {why}. What is stored stays "
        "so, and given once more counts once."
    )


def nothing_of(lines: int, reasons: Counter[str]) -> str:
    """What to say of a file none of whose lines are stored, and the reasons for which they were set aside."""
    if not lines:
        return (
            "The file is empty. Producers write a temporary name and rename when the file is whole; drop it again so."
        )
    if not reasons:
        return (
            "The file holds blank lines only. One line holds one frame as JSON; drop the file again with its lines."
        )
    return (
        f"None of the {lines} lines could be taken in: {listed(reasons)}. Table `reject` keeps them with a sentence "
        "each; mend the contract or the producer, then move this file back to incoming."
    )


def listed(reasons: Counter[str]) -> str:
    """Reasons with their counts, the commonest first."""
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
