"""Parquet → lines of JSON, one a row, written by a process of its own.

The columns bear the names of a record's fields. Nested fields are structs, lists and maps, or texts that hold them as
JSON. A null is a field left out.

How much memory a file takes to read cannot be told from its footer: a page says itself how large it becomes, and one
long value may stand for every row of a column. So `python -m monitor.ingest.parquet` reads the file from its standard
input under a limit that the kernel holds, and this process only reads lines from a pipe. What the library does with a
hostile file is not done where the database is.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from monitor.errors import FileBroken, UsageError
from monitor.records import FrameRecord

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 10_000_000
"""Rows of one file, of which its footer speaks: an hour of work."""
ROOM = 48 << 20
"""Bytes of memory that reading may take beyond what the libraries themselves do."""
_ROWS = 64
"""Rows that are unpacked at a time."""
_READ = 64 << 10
"""Bytes of a column that are read at a time."""
_PIECE = 1 << 16
_FIELDS = {field.encode_name: field for field in msgspec.structs.fields(FrameRecord)}
_NEEDED = {name for name, field in _FIELDS.items() if field.required}
_FAULTS_SAID = 10
_REFUSED = 3
"""Exit code of a reader that says in a sentence why it stops."""
_NESTED = ("image", "slices", "camera_meta", "detections", "embedding")


def read_lines(stream: BinaryIO) -> Generator[bytes, None, None]:
    """The rows of a file that is open at its beginning as `lines_of` gives them, in pieces of any size.

    Raises:
        UsageError: the package that reads Parquet is not installed.
        FileBroken: it cannot be read to its end, or only with more memory than it may have.
    """
    if find_spec("pyarrow") is None:
        raise UsageError(
            "reading Parquet needs the package pyarrow; install the extra `parquet` of this product, or write JSON "
            "lines"
        )
    command = [sys.executable, "-m", "monitor.ingest.parquet"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, stderr=said) as reader,
    ):
        assert reader.stdout is not None
        try:
            while piece := os.read(reader.stdout.fileno(), _PIECE):
                yield piece
        except BaseException:
            reader.kill()
            raise
        if code := reader.wait():
            said.seek(0)
            raise FileBroken(_why(code, said.read(_PIECE).decode("utf-8", "replace")))


def _why(code: int, said: str) -> str:
    if code == _REFUSED:
        return said.strip()
    last = (said.strip().splitlines() or ["without a word"])[-1]
    return f"reading it ended with code {code} ({last}); write it anew, with smaller row groups and pages"


def main() -> None:
    """Write the rows of standard input as lines to standard output; exit code 3 and a sentence if it cannot be."""
    try:
        with suppress(BrokenPipeError):
            for piece in lines_of(sys.stdin.buffer, ROOM):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except FileBroken as broken:
        sys.stdout.buffer.flush()
        sys.stderr.write(f"{broken}\n")
        sys.exit(_REFUSED)


def lines_of(stream: BinaryIO, room: int | None = None) -> Iterator[bytes]:
    """The rows of a file as lines of JSON. `room`: bytes of memory that this process may take.

    Raises:
        FileBroken: it is no Parquet, holds what no record has, or cannot be read to its end.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())
    if room is not None:
        _hold_to(room)
    try:
        file = pq.ParquetFile(stream, buffer_size=_READ, pre_buffer=False, page_checksum_verification=True)
        _check(file.schema_arrow, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=_ROWS, use_threads=False):
            yield from _lines(_in_microseconds(batch))
    except MemoryError as error:
        raise FileBroken(
            f"reading it takes more than {ROOM >> 20} MiB of memory; write smaller row groups, pages and values"
        ) from error
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise FileBroken(f"it is no Parquet, or damaged ({said}); write it anew") from error


def _hold_to(room: int) -> None:
    """Have the kernel give this process no more than `room` bytes beyond what it has now."""
    with open("/proc/self/statm", "rb") as pages:
        has = int(pages.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (has + room, has + room))


def _check(schema: pa.Schema, rows: int) -> None:
    if rows > MOST_ROWS:
        raise FileBroken(f"it has {rows:,} rows, and {MOST_ROWS:,} are read of one file; split it")
    names = sorted(schema.names)
    twice = sorted({name for name, after in pairwise(names) if name == after})
    faults = [f"column {name!r} stands there twice" for name in twice]
    faults += [f"column {name!r} is no field of a record" for name in names if name not in _FIELDS]
    faults += [f"column {name!r} is missing" for name in sorted(_NEEDED - set(names))]
    at = schema.field("captured_at").type if names.count("captured_at") == 1 else None
    if at is not None and str(at).startswith("timestamp") and at.tz is None:
        faults.append("column 'captured_at' has no time zone")
    if faults:
        more = f" and {len(faults) - _FAULTS_SAID} more" if len(faults) > _FAULTS_SAID else ""
        raise FileBroken(
            f"{'; '.join(faults[:_FAULTS_SAID])}{more}; write the fields that `monitor spec record-schema` prints"
        )


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with nanoseconds cut off: Python has none."""
    import pyarrow as pa

    place = batch.schema.get_field_index("captured_at")
    at = batch.column(place)
    if str(at.type).startswith("timestamp[ns"):
        batch = batch.set_column(place, "captured_at", at.cast(pa.timestamp("us", at.type.tz), safe=False))
    return batch


def _lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    columns = [_values(column) for column in batch.columns]
    names = batch.schema.names
    for row in zip(*columns, strict=True):
        yield _line(
            {name: _unfolded(name, value) for name, value in zip(names, row, strict=True) if value is not None}
        )


def _values(column: pa.Array) -> list[Any]:
    """A column as Python has it, structs without their nulls; level by level, which is several times faster
    than Arrow's own way."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column)
    if pa.types.is_struct(kind):
        return _structs(column)
    if not column.null_count and (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return list(column.to_numpy(zero_copy_only=False).tolist())
    try:
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    except (ValueError, OverflowError):
        return [_value(value) for value in column]


def _structs(column: pa.StructArray) -> list[Any]:
    names = [field.name for field in column.type]
    fields = [_values(part) for part in column.flatten()]
    rows = zip(*fields, strict=True) if fields else [()] * len(column)
    said = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
    if not column.null_count:
        return said
    return [row if valid else None for row, valid in zip(said, column.is_valid().to_pylist(), strict=True)]


def _lists(column: pa.Array) -> list[Any]:
    inner = _values(column.flatten())
    found: list[Any] = []
    at = 0
    for length in column.value_lengths().to_pylist():
        found.append(None if length is None else inner[at : at + length])
        at += length or 0
    return found


def _value(value: pa.Scalar) -> Any:
    """One value; what Python has no word for as what no record may have there."""
    try:
        return value.as_py(maps_as_pydicts="lossy")
    except (ValueError, OverflowError):
        return value.as_buffer().to_pybytes() if hasattr(value, "as_buffer") else f"a {value.type} beyond all bounds"


def _line(said: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except TypeError as error:  # a map whose names are no texts
        text = json.dumps({"unreadable": str(error)})
    try:
        return text.encode("utf-8", "surrogateescape") + b"\n"
    except UnicodeEncodeError:  # half a pair that came out of a text of JSON
        return json.dumps(said, separators=(",", ":"), default=_plain).encode() + b"\n"


def _unfolded(name: str, value: Any) -> Any:
    """What a text holds where a record has no text; as it is if that is no JSON."""
    if isinstance(value, str) and name in _NESTED:
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _plain(value: Any) -> Any:
    """What JSON makes of a value that it does not know."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):  # what is not UTF-8 stays so, and is refused for that
        return value.decode("utf-8", "surrogateescape")
    return float(value) if isinstance(value, Decimal) else str(value)


if __name__ == "__main__":
    main()
