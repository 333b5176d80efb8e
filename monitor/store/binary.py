"""Columns → PostgreSQL's binary COPY format, assembled column by column in numpy.

The format (PostgreSQL manual, COPY, "Binary Format"): a header; for each row the number of its fields (int16) and for
each field its length in bytes (int32, -1 for NULL) and its value in the type's binary form, big-endian; a trailer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import psycopg
from sqlalchemy.exc import DBAPIError

from monitor.records import Floats, Ints
from monitor.store.database import Connection, require_room

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

INT2, INT4, INT8, TEXT, FLOAT4, FLOAT8 = 21, 23, 20, 25, 700, 701
"""Object ids of the types, fixed in PostgreSQL's catalogue."""
_FORMS = {INT2: ">i2", INT4: ">i4", INT8: ">i8", FLOAT4: ">f4", FLOAT8: ">f8"}
_HEADER = np.frombuffer(b"PGCOPY\n\xff\r\n\0" + bytes(8), dtype=np.uint8)
_TRAILER = np.frombuffer(b"\xff\xff", dtype=np.uint8)
_PIECE = 1 << 20
"""Bytes handed to the server at a time."""
_WIDEST = 1 << 16
"""Widths below this are listed by counting, others by sorting."""
_EPOCH_US = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts time, in microseconds since 1970-01-01."""


@dataclass(slots=True)
class Ragged:
    """n byte strings: size [n] of each (-1: NULL, without bytes) and the bytes of all, one after the other."""

    size: Ints
    flat: Bytes


def copy_in(conn: Connection, table: str, columns: dict[str, Ragged]) -> None:
    """COPY rows into `table`; `columns` are made by the functions below. Neither name may come from outside.

    Raises:
        DBAPIError: as any other statement of the connection does, with the driver's error as `orig`.
        NoRoom: the disk has no room for them.
    """
    data = encode(list(columns.values())).data
    require_room(conn, len(data))
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for at in range(0, len(data), _PIECE):
                copy.write(data[at : at + _PIECE])
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error) from error


def encode(fields: Sequence[Ragged]) -> Bytes:
    """The whole stream of one COPY."""
    rows = len(fields[0].size)
    parts = [fixed(np.full(rows, len(fields)), INT2)]
    for field in fields:
        parts += [fixed(field.size, INT4), field]
    return np.concatenate((_HEADER, _beside(parts).flat, _TRAILER))


def fixed(values: npt.NDArray[np.generic], oid: int) -> Ragged:
    """Numbers of one type."""
    form = np.dtype(_FORMS[oid])
    return Ragged(np.full(len(values), form.itemsize, dtype=np.int64), values.astype(form).view(np.uint8))


def nullable(values: Floats) -> Ragged:
    """float8, NULL for NaN."""
    known = ~np.isnan(values)
    return sparse(fixed(values[known], FLOAT8), known)


def flags(values: Flags) -> Ragged:
    """Booleans."""
    return Ragged(np.ones(len(values), dtype=np.int64), values.view(np.uint8))


def times(microseconds: Ints) -> Ragged:
    """timestamptz from microseconds since 1970-01-01 UTC."""
    return fixed(microseconds - _EPOCH_US, INT8)


def texts(values: Sequence[str]) -> Ragged:
    """Texts; they must hold no NUL."""
    return raw([value.encode() for value in values])


def raw(values: Sequence[bytes]) -> Ragged:
    """bytea, or any value that is already in its binary form."""
    size = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return Ragged(size, np.frombuffer(b"".join(values), dtype=np.uint8))


def arrays(elements: Ragged, counts: Ints, oid: int) -> Ragged:
    """Arrays of one dimension: counts [n] elements each, out of `elements` in order; the lower bound is 1."""
    header = np.zeros((len(counts), 5), dtype=">i4")
    header[:, 0] = counts > 0
    header[:, 2] = oid
    header[:, 3] = counts
    header[:, 4] = 1
    # An empty array has no dimensions, hence neither a length nor a lower bound.
    header_size = np.where(counts > 0, 20, 12)
    written = header.view(np.uint8)[np.arange(20) < header_size[:, None]]
    sized = _beside([fixed(elements.size, INT4), elements])
    ends = np.cumsum(counts)
    before = np.concatenate(([0], np.cumsum(sized.size)))
    return _beside([Ragged(header_size, written), Ragged(before[ends] - before[ends - counts], sized.flat)])


def text_arrays(values: Sequence[Sequence[str]]) -> Ragged:
    """text[]."""
    counts = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return arrays(texts(list(chain.from_iterable(values))), counts, TEXT)


def sparse(present: Ragged, where: Flags) -> Ragged:
    """The values of `present` at the rows of `where` [n], NULL at the others."""
    size = np.full(len(where), -1, dtype=np.int64)
    size[where] = present.size
    return Ragged(size, present.flat)


def _beside(parts: Sequence[Ragged]) -> Ragged:
    """Row by row, the bytes of each part one after the other."""
    parts = _fused(parts)
    sizes = [np.maximum(part.size, 0) for part in parts]
    size = np.sum(sizes, axis=0)
    at = np.cumsum(size) - size
    out = np.empty(int(size.sum()), dtype=np.uint8)
    for part, each in zip(parts, sizes, strict=True):
        _put(out, at, each, part.flat)
        at += each
    return Ragged(size, out)


def _put(out: Bytes, at: Ints, size: Ints, flat: Bytes) -> None:
    """Copy the i-th string of `flat` to out[at[i]:]; all of one width are moved at once, as items of that width."""
    before = np.cumsum(size) - size
    widths = np.flatnonzero(np.bincount(size)) if len(size) and size.max() < _WIDEST else np.unique(size)
    for width in widths[widths > 0].tolist():
        rows = slice(None) if len(widths) == 1 else np.flatnonzero(size == width)
        _items(out, width)[at[rows]] = _items(flat, width)[before[rows]]


def _items(flat: Bytes, width: int) -> npt.NDArray[np.void]:
    """A view of `flat` that has an item of `width` bytes starting at every byte."""
    return np.ndarray((len(flat) - width + 1,), dtype=f"V{width}", buffer=flat, strides=(1,))


def _fused(parts: Sequence[Ragged]) -> list[Ragged]:
    """Neighbours that have one width in every row become one part."""
    fused: list[Ragged] = []
    run: list[Bytes] = []

    def close() -> None:
        if run:
            block = np.hstack(run)
            fused.append(Ragged(np.full(len(block), block.shape[1], dtype=np.int64), block.ravel()))
            run.clear()

    for part in parts:
        rows = len(part.size)
        if rows and part.size[0] > 0 and (part.size == part.size[0]).all():
            run.append(part.flat.reshape(rows, -1))
        else:
            close()
            fused.append(part)
    close()
    return fused
