"""Lines → rows that are ready to be sent: all of intake that needs no database, so that another process can do it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.ingest.columns import Rules
from monitor.ingest.crowd import thinned
from monitor.ingest.names import OpenName, said_by, without
from monitor.ingest.parse import parse
from monitor.ingest.rollup import roll_up
from monitor.records import FrameColumns, Ints, Reject
from monitor.store.encoding import Ragged
from monitor.store.rows import FrameRows, RollupRows, frame_rows, rollup_rows


class Request(msgspec.Struct, array_like=True):
    """Lines of a source to be prepared: `text` holds them with a newline between, the first is number `first`."""

    source: str
    first: int
    text: memoryview
    rules: dict[str, Rules]
    now: datetime
    only: list[int] | None = None

    def lines(self) -> list[bytes]:
        """The lines."""
        return bytes(self.text).split(b"\n")


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
    content = hashlib.sha256(b"\n".join(lines)).digest()
    parsed = parse(lines, first, rules, now, only)
    parts, open_names, others = _bounded(parsed.parts, rules, beyond)
    return Prepared(
        frames=frame_rows(source, [thinned(part) for part in parts]),
        rollups=rollup_rows(roll_up(FrameColumns.joined(parts))),
        line_number=np.array(parsed.line_number, dtype=np.int64),
        rejects=parsed.rejects,
        lines=parsed.lines,
        duplicate=parsed.duplicate,
        blank=parsed.blank,
        sha256=content,
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
    """What `Prepared` holds, as it goes from one process to another."""

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
    numbers: list[memoryview]
    """Arrays of int64: order, captured_us, numbers, claim, line_number, then the sizes of the rows."""
    rows: list[memoryview]
    """Bytes: digests, then the rows: keys, roll-ups, frames part by part."""


def pack(prepared: Prepared) -> bytes:
    """A batch as bytes."""
    frames, rollups = prepared.frames, prepared.rollups
    rows = (frames.keys, rollups.rows, *frames.parts)
    numbers = (frames.order, frames.captured_us, rollups.numbers, rollups.claim, prepared.line_number)
    return msgspec.msgpack.encode(
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
            [_bytes_of(each) for each in (*numbers, *(r.size for r in rows))],
            [_bytes_of(frames.digests), *(_bytes_of(each.flat) for each in rows)],
        )
    )


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).data).cast("B")


_unpack = msgspec.msgpack.Decoder(_Wire).decode


def unpack(said: bytearray) -> Prepared:
    """The batch that `pack` wrote; its arrays lie in `said`, and are written to there."""
    wire = _unpack(said)
    numbers = [np.frombuffer(each, dtype=np.int64) for each in wire.numbers]
    order, captured_us, series, claim, line_number, *sizes = numbers
    digests, *flat = (np.frombuffer(each, dtype=np.uint8) for each in wire.rows)
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
