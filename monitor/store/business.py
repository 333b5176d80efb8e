"""Business events: work orders, defects that people had missed, false alarms, throughput, deployments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import text

from monitor.feedback import Deployment, EventRecord
from monitor.store.database import Connection
from monitor.store.reviews import Kept

_ADD = text("""
    INSERT INTO business_event (source, event_id, batch_id, digest, kind, at, model, version, camera, class_name,
        frame_source, frame, minutes, before, after, note)
    SELECT :source, event_id, :batch_id, decode(digest, 'hex'), kind, at, model, version, camera, class,
        frame_source, frame, minutes, before, after, note
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (event_id text, digest text, kind text, at timestamptz,
        model text, version text, camera text, class text, frame_source text, frame text, minutes double precision,
        before double precision, after double precision, note text)
    ORDER BY event_id COLLATE "C"
    ON CONFLICT DO NOTHING RETURNING event_id
""")
_OTHERS = text("""
    SELECT e.event_id FROM business_event e
    JOIN unnest(CAST(:ids AS text[]), CAST(:digests AS bytea[])) AS k (event_id, digest)
        ON e.event_id = k.event_id COLLATE "C"
    WHERE e.source = :source AND e.digest <> k.digest
""")


def insert(
    conn: Connection, batch_id: int | None, source: str, records: Sequence[EventRecord], digests: Sequence[bytes]
) -> Kept:
    """Keep the events whose (source, event_id) is new; ids must not repeat within the batch."""
    rows = [
        msgspec.to_builtins(record) | {"frame_source": record.source or source, "digest": digest.hex()}
        for record, digest in zip(records, digests, strict=True)
    ]
    values = {"source": source, "batch_id": batch_id, "rows": json.dumps(rows)}
    new = frozenset(conn.execute(_ADD, values).scalars()) if rows else frozenset()
    old = [(r.event_id, d) for r, d in zip(records, digests, strict=True) if r.event_id not in new]
    there = {"source": source, "ids": [name for name, _ in old], "digests": [digest for _, digest in old]}
    return Kept(new, frozenset(conn.execute(_OTHERS, there).scalars()) if old else frozenset())


def deployments(conn: Connection, model: str, start: datetime, end: datetime) -> list[Deployment]:
    """The versions of a model that went live in [start, end), oldest first."""
    rows = conn.execute(
        text(
            "SELECT model, version, at, note, source FROM business_event WHERE kind = 'deployment' AND model = :model"
            " AND at >= :start AND at < :end ORDER BY at, version"
        ),
        {"model": model, "start": start, "end": end},
    )
    return [Deployment(*row) for row in rows]


def models(conn: Connection) -> list[str]:
    """The models of which a deployment is noted."""
    found = conn.execute(text("SELECT DISTINCT model FROM business_event WHERE kind = 'deployment' ORDER BY 1"))
    return list(found.scalars())
