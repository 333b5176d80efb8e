"""The ledger: one row a batch, so that a batch delivered twice is recognised, and what was set aside of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import text

from monitor.errors import UsageError
from monitor.records import Reject
from monitor.store import binary
from monitor.store.database import Connection


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch's lines: lines = stored + duplicate + rejected + blank, which the table enforces."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    blank: int = 0
    detections_rejected: int = 0


_OPEN = text("""
    INSERT INTO batch (source, name, file_name, sha256, lines, stored, duplicate, rejected, blank,
                       detections_rejected, received_at)
    VALUES (:source, :name, :file_name, :sha256, 0, 0, 0, 0, 0, 0, :now)
    ON CONFLICT (source, name) DO NOTHING RETURNING batch_id
""")
_COUNTS = "lines, stored, duplicate, rejected, blank, detections_rejected"


def open_batch(conn: Connection, source: str, name: str, file_name: str, sha256: bytes, now: datetime) -> int | None:
    """Enter a batch; `sha256` is the hash of its content, `now` when it arrived (aware).

    Returns:
        The number of the batch, or None when this very batch was taken in before.

    Raises:
        UsageError: the name was used before for another content.
    """
    values = {"source": source, "name": name, "file_name": file_name, "sha256": sha256, "now": now}
    batch_id: int | None = conn.execute(_OPEN, values).scalar_one_or_none()
    if batch_id is None:
        known = text("SELECT sha256 FROM batch WHERE source = :source AND name = :name")
        if conn.execute(known, values).scalar_one() != sha256:
            raise UsageError(
                f"batch {name!r} of source {source!r} was taken in before with other content; give it another name"
            )
    return batch_id


def close_batch(conn: Connection, batch_id: int, counts: Counts) -> None:
    """Write down what became of the batch."""
    update = text(
        "UPDATE batch SET lines = :lines, stored = :stored, duplicate = :duplicate, rejected = :rejected,"
        " blank = :blank, detections_rejected = :detections_rejected WHERE batch_id = :batch_id"
    )
    values = {name: getattr(counts, name) for name in Counts.__dataclass_fields__}
    conn.execute(update, {"batch_id": batch_id, **values})


def find_attempts(conn: Connection, source: str, name: str) -> list[Counts]:
    """What became of a batch each time something new came of it, the first time first.

    The attempts after the first are named `name`, a plus sign and their number from 2.
    """
    rows = conn.execute(
        text(
            f"SELECT {_COUNTS} FROM batch WHERE source = :source AND (name = :name OR name LIKE :again)"  # noqa: S608
            " ORDER BY batch_id"
        ),
        {"source": source, "name": name, "again": f"{name}+%"},
    )
    return [Counts(*row) for row in rows]


def save_rejects(conn: Connection, batch_id: int, rejects: Sequence[Reject]) -> None:
    """Keep what was set aside of a batch, with its reasons; what belongs to one line is numbered in order."""
    if not rejects:
        return
    seen: Counter[int] = Counter()
    part = []
    for reject in rejects:
        part.append(seen[reject.line_number])
        seen[reject.line_number] += 1
    binary.copy_in(
        conn,
        "reject",
        {
            "batch_id": binary.fixed(np.full(len(rejects), batch_id), binary.INT8),
            "line_number": binary.fixed(np.array([r.line_number for r in rejects]), binary.INT4),
            "part": binary.fixed(np.array(part), binary.INT2),
            "whole_line": binary.flags(np.array([r.whole_line for r in rejects], dtype=bool)),
            "reason": binary.texts([r.reason for r in rejects]),
            "detail": binary.texts([r.detail for r in rejects]),
            "raw": binary.raw([r.raw for r in rejects]),
        },
    )
