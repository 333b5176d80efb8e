"""Columns → rows of PostgreSQL's binary COPY format, assembled column by column in numpy.

Most columns have one width in all rows of a batch. Neighbours of that kind are one block: a template, of which every
row is a copy, and the values that are then laid over it.

The format (PostgreSQL manual, COPY, "Binary Format"): a header; for each row the number of its fields (int16) and for
each field its length in bytes (int32, -1 for NULL) and its value in the type's binary form, big-endian; a trailer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
_STRIP = 512
"""Rows that are put together at a time: few enough to stay in the processor's cache meanwhile."""
_WIDEST = 1 << 16
"""Widths below this are sorted as numbers of two bytes, which is linear."""
_FIRST_FIELD = 6
"""Bytes of a row before its first value: the number of fields and the value's length."""
_EPOCH_US = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts time, in microseconds since 1970-01-01."""


@dataclass(slots=True)
class Ragged:
    """n byte strings: size [n] of each (-1: NULL, without bytes) and the bytes of all, one after the other."""

    size: Ints
    flat: Bytes

    @property
    def width(self) -> int | None:
        """The one size that all have (-1: all are NULL), None if they differ or there are none."""
        size = self.size
        return int(size[0]) if len(size) and (size == size[0]).all() else None


@dataclass(slots=True)
class Alike:
    """One byte string in every row."""

    value: bytes


@dataclass(slots=True)
class _Block:
    """Neighbouring columns of one width each: what every row begins as, and the values: where, how wide, bytes."""

    template: bytearray = field(default_factory=bytearray)
    values: list[tuple[int, int, Bytes]] = field(default_factory=list)

    def add(self, width: int, flat: Bytes) -> None:
        """Put the next `width` bytes of each row, if any, where the template ends."""
        if width > 0:
            self.values.append((len(self.template), width, flat))
            self.template += bytes(width)

    def fill(self, out: Bytes, first: int) -> None:
        """Write the rows from `first` on over `out` [rows, width]."""
        out[:] = np.frombuffer(self.template, dtype=np.uint8)
        for at, width, flat in self.values:
            place = np.ndarray(len(out), f"V{width}", out, at, out.strides[:1])
            place[:] = flat[first * width : (first + len(out)) * width].view(place.dtype)


def encode(fields: Sequence[Ragged | Alike]) -> Ragged:
    """Rows of these fields, one of them at least no `Alike`, as they stand between `HEADER` and `TRAILER`."""
    rows = next(len(each.size) for each in fields if isinstance(each, Ragged))
    parts: list[_Block | Ragged] = [block := _Block(bytearray(len(fields).to_bytes(2, "big")))]
    for each in fields:
        if isinstance(each, Alike):
            block.template += len(each.value).to_bytes(4, "big") + each.value
        elif (width := each.width) is not None:
            block.template += width.to_bytes(4, "big", signed=True)
            block.add(width, each.flat)
        else:
            block.add(4, fixed(each.size, INT4).flat)
            parts += [each, block := _Block()]
    if len(parts) == 1:
        return _uniform(rows, block)
    return _beside(rows, [part for part in parts if isinstance(part, Ragged) or part.template])


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
    joined = "".join(values)
    flat = joined.encode()
    if len(flat) != len(joined):
        return raw([value.encode() for value in values])
    size = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return Ragged(size, np.frombuffer(flat, dtype=np.uint8))


def texts_or_alike(values: Sequence[str]) -> Ragged | Alike:
    """Texts, of which all may be the same."""
    if len(values) and values.count(values[0]) == len(values):
        return Alike(values[0].encode())
    return texts(values)


def raw(values: Sequence[bytes]) -> Ragged:
    """bytea, or any value that is already in its binary form."""
    size = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    return Ragged(size, np.frombuffer(b"".join(values), dtype=np.uint8))


def arrays(elements: Ragged, counts: Ints, oid: int) -> Ragged:
    """Arrays of one dimension: counts [n] elements each, out of `elements` in order; the lower bound is 1."""
    each = _Block()
    if (width := elements.width) is None or width < 0:
        each.add(4, fixed(elements.size, INT4).flat)
        sized = _beside(len(elements.size), [each, elements])
    else:
        each.template += width.to_bytes(4, "big")
        each.add(width, elements.flat)
        sized = _uniform(len(elements.size), each)
    ends = np.cumsum(counts)
    before = np.concatenate(([0], np.cumsum(sized.size)))
    return _headed(counts, oid, Ragged(before[ends] - before[ends - counts], sized.flat))


def _headed(counts: Ints, oid: int, elements: Ragged) -> Ragged:
    """Arrays of elements that have their sizes before them."""
    if (width := elements.width) and (counts == counts[0]).all():
        block = _Block(bytearray(_heads(counts[:1], oid).flat.tobytes()))
        block.add(width, elements.flat)
        return _uniform(len(counts), block)
    return _beside(len(counts), [_heads(counts, oid), elements])


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
    return _headed(counts, oid, Ragged(counts * elements.itemsize, elements.view(np.uint8)))


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


def _beside(rows: int, parts: Sequence[_Block | Ragged]) -> Ragged:
    """Row by row, the bytes of each part one after the other."""
    size = np.full(rows, sum(len(part.template) for part in parts if isinstance(part, _Block)), dtype=np.int64)
    for part in parts:
        if isinstance(part, Ragged):
            size += np.maximum(part.size, 0)
    ends = np.cumsum(size)
    out = np.empty(int(ends[-1]) if rows else 0, dtype=np.uint8)
    at = ends - size
    for part in parts:
        if isinstance(part, Ragged):
            own = np.maximum(part.size, 0)
            _put(out, at, own, part.flat, np.cumsum(own) - own)
            at += own
        else:
            width = len(part.template)
            for first in range(0, rows, _STRIP):
                strip = at[first : first + _STRIP]
                block = np.empty((len(strip), width), dtype=np.uint8)
                part.fill(block, first)
                _items(out, width)[strip] = block.view(f"V{width}")[:, 0]
            at += width
    return Ragged(size, out)


def _uniform(rows: int, block: _Block) -> Ragged:
    """The rows of one block."""
    out = np.empty((rows, len(block.template)), dtype=np.uint8)
    for first in range(0, rows, _STRIP):
        block.fill(out[first : first + _STRIP], first)
    return Ragged(np.full(rows, len(block.template), dtype=np.int64), out.ravel())


def _put(out: Bytes, at: Ints, size: Ints, flat: Bytes, before: Ints) -> None:
    """Copy flat[before[i]:][:size[i]] to out[at[i]:]; all of one width are moved at once, as items of that width."""
    if not len(size):
        return
    if size.min() != size.max():
        order = np.argsort(size.astype(np.uint16) if size.max() < _WIDEST else size, kind="stable")
        size, at, before = size[order], at[order], before[order]
    ends = [*(np.flatnonzero(np.diff(size)) + 1).tolist(), len(size)]
    for start, end in zip([0, *ends], ends, strict=False):
        if width := int(size[start]):
            _items(out, width)[at[start:end]] = _items(flat, width)[before[start:end]]


def _items(flat: Bytes, width: int) -> npt.NDArray[np.void]:
    """A view of `flat` that has an item of `width` bytes starting at every byte."""
    return np.ndarray((len(flat) - width + 1,), dtype=f"V{width}", buffer=flat, strides=(1,))
