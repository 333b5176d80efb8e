"""Names that a contract leaves open: which ones count, and how many may be new a day.

A name too many is rewritten on the frame and in the roll-ups alike, so that a recount is equal; a camera's own name
stays in `frame.camera_said`. Which names count is decided in the batch's own transaction, in the order of the lines,
under a lock that only batches with new names of that source take. The day is that of arrival: by time of capture a
year of history would bring 365 times as many. Cameras that the contract lists are never counted as new.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text

from monitor.store.database import Connection
from monitor.store.ledger import OTHER_NAME

OpenName = tuple[str, str, str]
"""Model, condition (`""`: the camera) and name."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """Frames of a source that count under `__other__`: of which names (`condition` is empty for cameras), how many
    ever, and when the last batch of them came."""

    source: str
    model: str
    condition: str
    frames: int
    last_at: datetime


_LOCK = 7_301_010
"""Advisory lock, with the source's hash, of whoever takes in new names."""
_SAID = (
    "FROM unnest(CAST(:models AS text[]), CAST(:conditions AS text[]), CAST(:names AS text[])) WITH ORDINALITY"
    " AS k (model, condition, name, place)"
)
_KNOWN = text(f"""
    SELECT o.model, o.condition, o.name {_SAID} JOIN open_name o
        ON o.source = :source AND o.model = k.model COLLATE "C" AND o.condition = k.condition COLLATE "C"
        AND o.name = k.name COLLATE "C"
""")
_ADMIT = text(f"""
    WITH today AS (
        SELECT model, condition, count(*) AS taken FROM open_name
        WHERE source = :source AND first_on = :today GROUP BY model, condition
    ), asked AS (
        SELECT k.*, row_number() OVER (PARTITION BY k.model, k.condition ORDER BY k.place) AS turn {_SAID}
    )
    INSERT INTO open_name (source, model, condition, name, first_on)
    SELECT :source, a.model, a.condition, a.name, :today
    FROM asked a LEFT JOIN today t ON t.model = a.model COLLATE "C" AND t.condition = a.condition COLLATE "C"
    WHERE a.turn + coalesce(t.taken, 0) <= :most
    RETURNING model, condition, name
""")  # noqa: S608 - constants


def admit(conn: Connection, source: str, said: Collection[OpenName], most: int, today: date) -> set[OpenName]:
    """Those of the names that count: known ones, and new ones in the order given while fewer than `most` of a
    source, model and condition are new on the day `today`.

    Exact however many do it at once: whoever brings new names of a source waits for the other's commit.
    """
    known = _known(conn, source, said)
    if len(known) == len(said):
        return known
    conn.execute(text("SELECT pg_advisory_xact_lock(:key, hashtext(:source))"), {"key": _LOCK, "source": source})
    known = _known(conn, source, said)  # another may have brought them while this one waited
    new = [name for name in said if name not in known]
    values = {"source": source, "today": today, "most": most, **_columns(new)}
    return known | {_name(*row) for row in conn.execute(_ADMIT, values)}


def beyond(conn: Connection) -> list[Beyond]:
    """What has come under too many new names since the start, by source, model and condition."""
    rows = conn.execute(
        text("SELECT source, reason, count, last_at FROM intake_total WHERE outcome = :outcome ORDER BY 1, 2"),
        {"outcome": OTHER_NAME},
    )
    found = []
    for source, reason, count, last_at in rows:
        model, condition = reason.split("\n")
        found.append(Beyond(source, model, condition, int(count), last_at))
    return found


def _known(conn: Connection, source: str, said: Collection[OpenName]) -> set[OpenName]:
    return {_name(*row) for row in conn.execute(_KNOWN, {"source": source, **_columns(list(said))})}


def _name(model: str, condition: str, name: str) -> OpenName:
    return model, condition, name


def _columns(said: Sequence[OpenName]) -> dict[str, list[str]]:
    return {
        "models": [model for model, _, _ in said],
        "conditions": [condition for _, condition, _ in said],
        "names": [name for _, _, name in said],
    }
