"""Lines → rows that are ready to be sent: all of intake that needs no database, so that another process can do it."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

import msgspec
import numpy as np

from monitor.ingest.columns import Rules
from monitor.ingest.crowd import thinned
from monitor.ingest.names import OpenName, said_by, without
from monitor.ingest.parse import parse
from monitor.ingest.rollup import roll_up
from monitor.ingest.spool import sha256_of
from monitor.records import FrameColumns, Ints, Reject
from monitor.store.encoding import Ragged
from monitor.store.rows import FrameRows, RollupRows, frame_rows, rollup_rows


class Request(msgspec.Struct, array_like=True):
    """What is to be known of lines to prepare them; the lines follow, with a newline between."""

    source: str
    first: int
    rules: dict[str, Rules]
    now: datetime
    only: list[int] | None = None


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
    sha256: bytes
    """Of all lines with a newline between."""
    open_names: list[OpenName]
    """The names in it that no contract lists, in the order in which they come."""
    others: dict[tuple[str, str], list[int]]
    """The frames that bore a name too many, by model and condition."""


def prepare(
    source: str,
    lines: Sequence[bytes],
    first: int,
    rules: Mapping[str, Rules],
    now: datetime,
    only: Collection[int] | None = None,
    beyond: Collection[OpenName] = (),
) -> Prepared:
    """Read lines, the first of which is number `first`, and roll them up; otherwise as `parse`.

    The names `beyond` count under `__other__`.
    """
    parsed = parse(lines, first, rules, now, only)
    parts, open_names, others = _bounded(parsed.parts, rules, beyond)
    # First what takes the most memory on the way to its end.
    rollups = rollup_rows(roll_up(FrameColumns.joined(parts)))
    return Prepared(
        frames=frame_rows(source, [thinned(part) for part in parts]),
        rollups=rollups,
        line_number=np.array(parsed.line_number, dtype=np.int64),
        rejects=parsed.rejects,
        lines=parsed.lines,
        duplicate=parsed.duplicate,
        blank=parsed.blank,
        sha256=sha256_of(lines),
        open_names=open_names,
        others=others,
    )


def _bounded(
    parts: Sequence[FrameColumns], rules: Mapping[str, Rules], beyond: Collection[OpenName]
) -> tuple[list[FrameColumns], list[OpenName], dict[tuple[str, str], list[int]]]:
    """The frames with `__other__` for the names `beyond`; every name that no contract lists; the rows renamed."""
    bounded: list[FrameColumns] = []
    names: dict[OpenName, None] = {}
    others: dict[tuple[str, str], list[int]] = defaultdict(list)
    first = 0
    for columns in parts:
        said = said_by(columns, rules)
        names |= dict.fromkeys(said)
        if beyond:
            columns, renamed = without(columns, said, beyond)
            for name, rows in renamed.items():
                others[name] += [first + row for row in rows]
        bounded.append(columns)
        first += len(columns)
    return bounded, list(names), dict(others)


class _Wire(msgspec.Struct, array_like=True):
    """What `Prepared` holds, as it goes from one process to another, but for its arrays, which follow."""

    event_ids: str
    names: str
    claims: list[tuple[str, str, int]]
    rejects: list[Reject]
    lines: int
    duplicate: int
    blank: int
    sha256: bytes
    open_names: list[OpenName]
    others: dict[str, list[int]]
    sizes: list[int]
    """Bytes of each array. Of int64: order, captured_us, numbers, claim, line_number, the sizes of the rows; of
    bytes: digests, the rows. Rows are keys, roll-ups, then frames part by part."""


_HEAD = struct.Struct(">Q")
_WHOLE = 5
"""Arrays of int64 before the sizes of the rows."""
_unpack = msgspec.msgpack.Decoder(_Wire).decode


def pack(prepared: Prepared) -> list[memoryview]:
    """A batch as bytes, one piece after the other."""
    frames, rollups = prepared.frames, prepared.rollups
    rows = (frames.keys, rollups.rows, *frames.parts)
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
            prepared.sha256,
            prepared.open_names,
            {"\0".join(name): rows for name, rows in prepared.others.items()},
            [len(each) for each in pieces],
        )
    )
    return [memoryview(_HEAD.pack(len(head))), memoryview(head), *pieces]


def unpack(said: bytearray) -> Prepared:
    """The batch that `pack` wrote; its arrays lie in `said`, and are written to there."""
    view = memoryview(said)
    start = _HEAD.size + _HEAD.unpack_from(view)[0]
    wire = _unpack(view[_HEAD.size : start])
    ends = [start + end for end in accumulate(wire.sizes)]
    arrays = [view[end - size : end] for end, size in zip(ends, wire.sizes, strict=True)]
    rows = (len(arrays) - _WHOLE - 1) // 2
    numbers = [np.frombuffer(each, dtype=np.int64) for each in arrays[: _WHOLE + rows]]
    order, captured_us, series, claim, line_number, *sizes = numbers
    digests, *flat = (np.frombuffer(each, dtype=np.uint8) for each in arrays[_WHOLE + rows :])
    keys, rollups, *parts = (Ragged(size, each) for size, each in zip(sizes, flat, strict=True))
    others = ((name.split("\0"), rows) for name, rows in wire.others.items())
    return Prepared(
        frames=FrameRows(parts, keys, order, wire.event_ids, captured_us, digests),
        rollups=RollupRows(rollups, series, wire.names, wire.claims, claim),
        line_number=line_number,
        rejects=wire.rejects,
        lines=wire.lines,
        duplicate=wire.duplicate,
        blank=wire.blank,
        sha256=wire.sha256,
        open_names=wire.open_names,
        others={(model, condition): rows for (model, condition), rows in others},
    )
