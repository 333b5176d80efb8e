"""Lines → rows that are ready to be sent: all of intake that needs no database, so that another process can do it."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from mmap import mmap

import msgspec
import numpy as np

from monitor.ingest.columns import Rules
from monitor.ingest.crowd import thinned
from monitor.ingest.names import OpenName, said_by, without
from monitor.ingest.parse import parse
from monitor.ingest.rollup import roll_up
from monitor.records import FrameColumns, Ints, Reject
from monitor.store.encoding import Ragged
from monitor.store.rows import FrameRows, RollupRows, frame_rows, rollup_rows

CROWD = 2_000
"""So many names that no contract lists, in one batch, are taken for made up until the database knows them."""


class Request(msgspec.Struct, array_like=True):
    """What is to be known of lines to prepare them; the lines follow, with a newline between."""

    source: str
    first: int
    rules: dict[str, Rules]
    now: datetime
    only: list[int] | None = None
    beyond: list[OpenName] | None = None


@dataclass(slots=True)
class Prepared:
    """A batch, ready to be sent: lines = frames + duplicate + whole-line rejects + blank."""

    frames: FrameRows
    rollups: RollupRows
    """Those of all its frames."""
    line_number: Ints
    """[n] the line of each frame."""
    rejects: list[Reject]
    lines: int
    duplicate: int
    blank: int
    open_names: list[OpenName]
    """The names in it that no contract lists, in the order in which they come."""
    others: dict[tuple[str, str], list[int]]
    """The frames that bore a name too many, by model and condition."""


def prepare(
    source: str,
    pieces: Iterable[bytes],
    first: int,
    rules: Mapping[str, Rules],
    now: datetime,
    only: Collection[int] | None = None,
    beyond: Collection[OpenName] | None = None,
) -> Prepared:
    """Read lines, the first of which is number `first`, and roll them up; otherwise as `parse`.

    The names `beyond` count under `__other__`. None: it is not known yet which; then all do if they are a CROWD, and
    else none. A roll-up for each of ten thousand made-up cameras would only be thrown away.
    """
    parsed = parse(pieces, first, rules, now, only)
    columns, open_names, others = _bounded(parsed.columns, rules, beyond or ())
    if beyond is None and (every := assumed(open_names)):
        columns, _, others = _bounded(parsed.columns, rules, every)
    # First what takes the most memory on the way to its end.
    rollups = rollup_rows(roll_up(columns))
    return Prepared(
        frames=frame_rows(source, thinned(columns)),
        rollups=rollups,
        line_number=np.array(parsed.line_number, dtype=np.int64),
        rejects=parsed.rejects,
        lines=parsed.lines,
        duplicate=parsed.duplicate,
        blank=parsed.blank,
        open_names=open_names,
        others=others,
    )


def answered(asked: Request, pieces: Iterable[bytes]) -> Prepared:
    """What is made of the lines of a request."""
    return prepare(asked.source, pieces, asked.first, asked.rules, asked.now, asked.only, asked.beyond)


def assumed(open_names: Collection[OpenName]) -> set[OpenName]:
    """The names that count under `__other__` while it is not known which do."""
    return set(open_names) if len(open_names) > CROWD else set()


def _bounded(
    columns: FrameColumns, rules: Mapping[str, Rules], beyond: Collection[OpenName]
) -> tuple[FrameColumns, list[OpenName], dict[tuple[str, str], list[int]]]:
    """The frames with `__other__` for the names `beyond`; every name that no contract lists; the rows renamed."""
    said = said_by(columns, rules)
    bounded, others = without(columns, said, beyond) if beyond else (columns, {})
    return bounded, list(said), others


class _Wire(msgspec.Struct, array_like=True):
    """What `Prepared` holds, as it goes from one process to another, but for its arrays, which follow."""

    event_ids: str
    names: str
    claims: list[tuple[str, str, int]]
    rejects: list[Reject]
    lines: int
    duplicate: int
    blank: int
    open_names: list[OpenName]
    others: dict[str, list[int]]
    sizes: list[int]
    """Bytes of each array. Of int64: order, captured_us, numbers, claim, line_number, the sizes of the rows; of
    bytes: digests, the rows. Rows are frames, keys, roll-ups."""


_HEAD = struct.Struct(">Q")
_INTS = 8
"""Arrays of int64, which come first."""
_unpack = msgspec.msgpack.Decoder(_Wire).decode


def pack(prepared: Prepared) -> list[memoryview]:
    """A batch as bytes, one piece after the other."""
    frames, rollups = prepared.frames, prepared.rollups
    rows = (frames.rows, frames.keys, rollups.rows)
    numbers = (frames.order, frames.captured_us, rollups.numbers, rollups.claim, prepared.line_number)
    arrays = [*numbers, *(each.size for each in rows), frames.digests, *(each.flat for each in rows)]
    pieces = [memoryview(np.ascontiguousarray(each).data).cast("B") for each in arrays]
    head = msgspec.msgpack.encode(
        _Wire(
            frames.event_ids,
            rollups.names,
            rollups.claims,
            prepared.rejects,
            prepared.lines,
            prepared.duplicate,
            prepared.blank,
            prepared.open_names,
            {"\0".join(name): rows for name, rows in prepared.others.items()},
            [len(each) for each in pieces],
        )
    )
    return [memoryview(_HEAD.pack(len(head))), memoryview(head), *pieces]


def unpack(said: bytearray | mmap) -> Prepared:
    """The batch that `pack` wrote; its arrays lie in `said`, and are written to there."""
    view = memoryview(said)
    start = _HEAD.size + _HEAD.unpack_from(view)[0]
    wire = _unpack(view[_HEAD.size : start])
    ends = [start + end for end in accumulate(wire.sizes)]
    arrays = [view[end - size : end] for end, size in zip(ends, wire.sizes, strict=True)]
    numbers = [np.frombuffer(each, dtype=np.int64) for each in arrays[:_INTS]]
    order, captured_us, series, claim, line_number, *sizes = numbers
    digests, *flat = (np.frombuffer(each, dtype=np.uint8) for each in arrays[_INTS:])
    rows, keys, rollups = (Ragged(size, each) for size, each in zip(sizes, flat, strict=True))
    others = ((name.split("\0"), rows) for name, rows in wire.others.items())
    return Prepared(
        frames=FrameRows(rows, keys, order, wire.event_ids, captured_us, digests),
        rollups=RollupRows(rollups, series, wire.names, wire.claims, claim),
        line_number=line_number,
        rejects=wire.rejects,
        lines=wire.lines,
        duplicate=wire.duplicate,
        blank=wire.blank,
        open_names=wire.open_names,
        others={(model, condition): rows for (model, condition), rows in others},
    )
