"""Columns → rows of PostgreSQL's binary COPY format, assembled column by column in numpy.

The format (PostgreSQL manual, COPY, "Binary Format"): a header; for each row the number of its fields (int16) and for
each field its length in bytes (int32, -1 for NULL) and its value in the type's binary form, big-endian; a trailer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from monitor.records import Floats, Ints

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

INT2, INT4, INT8, TEXT, FLOAT4, FLOAT8 = 21, 23, 20, 25, 700, 701
"""Object ids of the types, fixed in PostgreSQL's catalogue."""
_FORMS = {INT2: ">i2", INT4: ">i4", INT8: ">i8", FLOAT4: ">f4", FLOAT8: ">f8"}
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_WIDEST = 1 << 16
"""Widths below this are listed by counting, others by sorting."""
_FIRST_FIELD = 6
"""Bytes of a row before its first value: the number of fields and the value's length."""
_EPOCH_US = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts time, in microseconds since 1970-01-01."""


@dataclass(slots=True)
class Ragged:
    """n byte strings: size [n] of each (-1: NULL, without bytes) and the bytes of all, one after the other."""

    size: Ints
    flat: Bytes


def encode(fields: Sequence[Ragged]) -> Ragged:
    """Rows of these fields, as they stand between `HEADER` and `TRAILER`."""
    rows = len(fields[0].size)
    parts = [fixed(np.full(rows, len(fields)), INT2)]
    for field in fields:
        parts += [fixed(field.size, INT4), field]
    return _beside(parts)


def stamp(rows: Ragged, values: Ints) -> None:
    """Write `values` [n] over the first field of rows, an int8."""
    if not len(values):
        return
    at = np.cumsum(rows.size) - rows.size + _FIRST_FIELD
    _items(rows.flat, 8)[at] = values.astype(_FORMS[INT8]).view("V8")


def take(rows: Ragged, chosen: Flags) -> Ragged:
    """The rows, none of them NULL, that `chosen` [n] says."""
    return Ragged(rows.size[chosen], rows.flat[np.repeat(chosen, rows.size)])


def fixed(values: npt.NDArray[np.generic], oid: int) -> Ragged:
    """Numbers of one type."""
    form = np.dtype(_FORMS[oid])
    return Ragged(np.full(len(values), form.itemsize, dtype=np.int64), values.astype(form).view(np.uint8))


def fixed_bytes(values: Bytes) -> Ragged:
    """bytea from the rows of [n, width]."""
    return Ragged(np.full(len(values), values.shape[1], dtype=np.int64), values.ravel())


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
    if len(values) and values[0] == values[-1] and values.count(values[0]) == len(values):
        return same(values[0], len(values))
    joined = "".join(values)
    flat = joined.encode()
    if len(flat) != len(joined):
        return raw([value.encode() for value in values])
    size = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return Ragged(size, np.frombuffer(flat, dtype=np.uint8))


def same(value: str, count: int) -> Ragged:
    """One text in `count` rows."""
    said = np.frombuffer(value.encode(), dtype=np.uint8)
    return Ragged(np.full(count, len(said), dtype=np.int64), np.tile(said, count))


def raw(values: Sequence[bytes]) -> Ragged:
    """bytea, or any value that is already in its binary form."""
    size = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return Ragged(size, np.frombuffer(b"".join(values), dtype=np.uint8))


def arrays(elements: Ragged, counts: Ints, oid: int) -> Ragged:
    """Arrays of one dimension: counts [n] elements each, out of `elements` in order; the lower bound is 1."""
    sized = _beside([fixed(elements.size, INT4), elements])
    ends = np.cumsum(counts)
    before = np.concatenate(([0], np.cumsum(sized.size)))
    return _beside([_heads(counts, oid), Ragged(before[ends] - before[ends - counts], sized.flat)])


def _heads(counts: Ints, oid: int) -> Ragged:
    """What stands before the elements of an array."""
    header = np.zeros((len(counts), 5), dtype=">i4")
    header[:, 0] = counts > 0
    header[:, 2] = oid
    header[:, 3] = counts
    header[:, 4] = 1
    # An empty array has no dimensions, hence neither a length nor a lower bound.
    size = np.where(counts > 0, 20, 12)
    flat = header.view(np.uint8)
    return Ragged(size, flat.ravel() if counts.all() else flat[np.arange(20) < size[:, None]])


def number_arrays(values: npt.NDArray[np.generic], counts: Ints, oid: int) -> Ragged:
    """Arrays of numbers of one type: counts [n] elements each, out of `values` in order; the lower bound is 1."""
    form = np.dtype(_FORMS[oid])
    elements = np.empty(len(values), dtype=[("size", ">i4"), ("value", form)])
    elements["size"] = form.itemsize
    elements["value"] = values
    return _beside([_heads(counts, oid), Ragged(counts * elements.itemsize, elements.view(np.uint8))])


def text_arrays(values: Sequence[Sequence[str]]) -> Ragged:
    """text[]."""
    counts = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return arrays(texts(list(chain.from_iterable(values))), counts, TEXT)


def picked(distinct: Ragged, place: Ints) -> Ragged:
    """For each of `place` [n] the string at that place among a few."""
    size, before = np.maximum(distinct.size, 0), np.cumsum(np.maximum(distinct.size, 0))
    each = size[place]
    out = np.empty(int(each.sum()), dtype=np.uint8)
    _put(out, np.cumsum(each) - each, each, distinct.flat, (before - size)[place])
    return Ragged(distinct.size[place], out)


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
        _put(out, at, each, part.flat, np.cumsum(each) - each)
        at += each
    return Ragged(size, out)


def _put(out: Bytes, at: Ints, size: Ints, flat: Bytes, before: Ints) -> None:
    """Copy flat[before[i]:][:size[i]] to out[at[i]:]; all of one width are moved at once, as items of that width."""
    widths = np.flatnonzero(np.bincount(size)) if len(size) and size.max() < _WIDEST else np.unique(size)
    for width in widths[widths > 0].tolist():
        rows = slice(None) if len(widths) == 1 else np.flatnonzero(size == width)
        _items(out, width)[at[rows]] = _items(flat, width)[before[rows]]


def _items(flat: Bytes, width: int) -> npt.NDArray[np.void]:
    """A view of `flat` that has an item of `width` bytes starting at every byte."""
    return np.ndarray((len(flat) - width + 1,), dtype=f"V{width}", buffer=flat, strides=(1,))


def _fused(parts: Sequence[Ragged]) -> list[Ragged]:
    """Neighbours that have one width in every row become one part; what has no bytes is left out."""
    fused: list[Ragged] = []
    run: list[Bytes] = []

    def close() -> None:
        if run:
            block = np.hstack(run)
            fused.append(Ragged(np.full(len(block), block.shape[1], dtype=np.int64), block.ravel()))
            run.clear()

    for part in parts:
        rows = len(part.size)
        if rows and not len(part.flat):
            continue
        if rows and part.size[0] > 0 and (part.size == part.size[0]).all():
            run.append(part.flat.reshape(rows, -1))
        else:
            close()
            fused.append(part)
    close()
    return fused
