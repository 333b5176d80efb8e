"""What was set aside: counted, shown, replayed or dropped. A reject is settled, never deleted by hand."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from sqlalchemy import text

from monitor.errors import UsageError
from monitor.records import Reject
from monitor.store.database import Connection

OPEN = "open"


@dataclass(frozen=True, slots=True, order=True)
class RejectKey:
    """Which reject: batch, line, and number of the part within its line. Written `12:7`, or `12:7.1` for part 1."""

    batch_id: int
    line_number: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.batch_id}:{self.line_number}" + (f".{self.part}" if self.part else "")

    @classmethod
    def parse(cls, said: str) -> Self:
        """Read what `str` writes.

        Raises:
            UsageError: it is not of that form.
        """
        found = re.fullmatch(r"(\d{1,18}):(\d{1,9})(?:\.(\d{1,4}))?", said, flags=re.ASCII)
        if found is None:
            raise UsageError(f"{said!r} names no reject; write BATCH:LINE as `monitor rejects list` prints it")
        return cls(*(int(number or 0) for number in found.groups()))


@dataclass(frozen=True, slots=True)
class Which:
    """Which rejects are meant; what is None does not narrow. `start` and `end` bound the arrival of the batch."""

    source: str | None = None
    reason: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    state: str | None = OPEN
    keys: tuple[RejectKey, ...] | None = None
    last_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A reject with the batch that it came in. `raw` is left empty where only a list was asked for."""

    key: RejectKey
    source: str
    file_name: str
    received_at: datetime
    reason: str
    detail: str
    whole_line: bool
    size: int
    state: str
    settled_at: datetime | None
    note: str
    replay_batch_id: int | None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many whole lines and parts of lines one source had rejected on one day (UTC) for one reason."""

    day: date
    source: str
    reason: str
    lines: int
    parts: int


_FROM = """
    FROM reject r JOIN batch b USING (batch_id)
    WHERE (CAST(:source AS text) IS NULL OR b.source = :source)
      AND (CAST(:reason AS text) IS NULL OR r.reason = :reason)
      AND (CAST(:start AS timestamptz) IS NULL OR b.received_at >= :start)
      AND (CAST(:end AS timestamptz) IS NULL OR b.received_at < :end)
      AND (CAST(:last_batch AS bigint) IS NULL OR r.batch_id <= :last_batch)
      AND (CAST(:state AS text) IS NULL OR r.state = :state)
"""
_AMONG = """
      AND (r.batch_id, r.line_number, r.part) IN (
          SELECT * FROM unnest(CAST(:batches AS bigint[]), CAST(:lines AS integer[]), CAST(:parts AS smallint[])))
"""
_COLUMNS = (
    "r.batch_id, r.line_number, r.part, b.source, b.file_name, b.received_at, r.reason, r.detail, r.whole_line,"
    " octet_length(r.raw), r.state, r.settled_at, r.note, r.replay_batch_id"
)


def _from(which: Which) -> str:
    return _FROM if which.keys is None else _FROM + _AMONG


def _values(which: Which) -> dict[str, Any]:
    return {
        "source": which.source,
        "reason": which.reason,
        "start": which.start,
        "end": which.end,
        "state": which.state,
        "last_batch": which.last_batch,
        **_arrays(which.keys or ()),
    }


def _arrays(keys: Collection[RejectKey]) -> dict[str, list[int]]:
    return {
        "batches": [key.batch_id for key in keys],
        "lines": [key.line_number for key in keys],
        "parts": [key.part for key in keys],
    }


def tally(conn: Connection, which: Which, limit: int) -> list[Tally]:
    """Counts by day, source and reason, the newest day and the largest count first; at most `limit` of them."""
    rows = conn.execute(
        text(
            "SELECT CAST(b.received_at AT TIME ZONE 'UTC' AS date), b.source, r.reason,"
            f" count(*) FILTER (WHERE r.whole_line), count(*) FILTER (WHERE NOT r.whole_line) {_from(which)}"
            " GROUP BY 1, 2, 3 ORDER BY 1 DESC, count(*) DESC, 2, 3 LIMIT :limit"
        ),
        {**_values(which), "limit": limit},
    )
    return [Tally(*row) for row in rows]


def count(conn: Connection, which: Which) -> int:
    """How many there are."""
    return int(conn.execute(text(f"SELECT count(*) {_from(which)}"), _values(which)).scalar_one())


def last_batch(conn: Connection) -> int:
    """The number of the newest batch of the ledger; 0 if there is none."""
    return int(conn.execute(text("SELECT coalesce(max(batch_id), 0) FROM batch")).scalar_one())


def listing(
    conn: Connection, which: Which, limit: int, *, newest: bool = True, after: RejectKey | None = None
) -> list[Rejected]:
    """Rejects without their bytes, by key, newest batch first or oldest first from the one after `after`."""
    beyond = "AND (r.batch_id, r.line_number, r.part) > (:at_batch, :at_line, :at_part)" if after else ""
    place = after or RejectKey(0, 0)
    way = "r.batch_id DESC, r.line_number, r.part" if newest else "r.batch_id, r.line_number, r.part"
    rows = conn.execute(
        text(f"SELECT {_COLUMNS} {_from(which)} {beyond} ORDER BY {way} LIMIT :limit"),
        {
            **_values(which),
            "limit": limit,
            "at_batch": place.batch_id,
            "at_line": place.line_number,
            "at_part": place.part,
        },
    )
    return [Rejected(RejectKey(*row[:3]), *row[3:]) for row in rows]


def read(conn: Connection, keys: Collection[RejectKey], *, hold: bool = False) -> list[Rejected]:
    """These rejects with their bytes, by key. `hold`: only those still open, and nobody else may settle them."""
    which = Which(keys=tuple(keys), state=OPEN if hold else None)
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS}, r.raw {_from(which)} ORDER BY r.batch_id, r.line_number, r.part"
            + (" FOR UPDATE OF r" if hold else "")
        ),
        _values(which),
    )
    return [Rejected(RejectKey(*row[:3]), *row[3:]) for row in rows]


def refused_lines(conn: Connection, batch_id: int) -> list[Reject]:
    """The whole lines that a batch had rejected, by line; without their bytes."""
    rows = conn.execute(
        text("SELECT line_number, reason, detail FROM reject WHERE batch_id = :id AND whole_line ORDER BY 1"),
        {"id": batch_id},
    )
    return [Reject(number, reason, detail, b"") for number, reason, detail in rows]


_THESE = (
    "FROM unnest(CAST(:batches AS bigint[]), CAST(:lines AS integer[]), CAST(:parts AS smallint[])) WITH ORDINALITY"
    " AS k (batch_id, line_number, part, place) WHERE r.batch_id = k.batch_id AND r.line_number = k.line_number"
    " AND r.part = k.part AND r.state = 'open'"
)


def settle_replayed(conn: Connection, keys: Collection[RejectKey], batch_id: int, now: datetime) -> None:
    """Mark open rejects as taken in after all, by batch `batch_id`."""
    update = f"UPDATE reject r SET state = 'replayed', settled_at = :now, replay_batch_id = :batch {_THESE}"  # noqa: S608 - constants
    conn.execute(text(update), {**_arrays(keys), "batch": batch_id, "now": now})


def restate(conn: Connection, why: Mapping[RejectKey, Reject]) -> list[tuple[str, str]]:
    """Give open rejects the reason for which they were refused this time.

    Returns of each, for whoever counts reasons, the one it had and the one it has.
    """
    chosen = Which(keys=tuple(why))
    hold = text(f"SELECT r.batch_id, r.line_number, r.part, r.reason {_from(chosen)} FOR UPDATE OF r")
    held = {RejectKey(*key): str(reason) for *key, reason in conn.execute(hold, _values(chosen))} if why else {}
    if not held:
        return []
    said = [why[key] for key in held]
    reason, detail = "(CAST(:reasons AS text[]))[k.place]", "(CAST(:details AS text[]))[k.place]"
    update = (
        f"UPDATE reject r SET reason = {reason}, detail = {detail} {_THESE}"  # noqa: S608 - constants
        f" AND (r.reason, r.detail) IS DISTINCT FROM ({reason}, {detail})"
    )
    values = {"reasons": [one.reason for one in said], "details": [one.detail for one in said]}
    conn.execute(text(update), {**_arrays(held), **values})
    return [(was, one.reason) for was, one in zip(held.values(), said, strict=True)]


def drop(conn: Connection, which: Which, note: str, now: datetime) -> int:
    """Give up open rejects for the reason `note`: their bytes go, that and why they were rejected stays."""
    update = (
        "UPDATE reject SET state = 'dropped', settled_at = :now, note = :note, raw = '' WHERE state = 'open'"  # noqa: S608
        f" AND (batch_id, line_number, part) IN (SELECT r.batch_id, r.line_number, r.part {_from(which)})"
    )
    return conn.execute(text(update), {**_values(which), "note": note, "now": now}).rowcount
