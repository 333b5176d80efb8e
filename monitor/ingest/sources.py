"""A file of records, however it is packed → a stream of lines: one intake path stands behind every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from monitor.ingest.inflate import as_stream, gunzip, unzstd
from monitor.ingest.parquet import read_lines
from monitor.ingest.spool import suffix_of

_UNPACK = {".jsonl.gz": gunzip, ".jsonl.zst": unzstd, ".parquet": read_lines}


@contextmanager
def open_lines(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The lines of a file that is open at its beginning; its name says how they are packed.

    Reading them raises:
        FileBroken: the rest cannot be read, or is more than may come out of such a file.
        UsageError: a package that reads such files is not installed.
    """
    unpack = _UNPACK.get(suffix_of(name))
    if unpack is None:
        yield stream
        return
    with as_stream(unpack(stream), os.fstat(stream.fileno()).st_size) as lines:
        yield lines
