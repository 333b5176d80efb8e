"""Business events: work orders, defects that people had missed, false alarms, throughput, deployments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import text

from monitor.feedback import BusinessEvent, Deployment, EventRecord
from monitor.records import EPOCH, Window
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


@dataclass(frozen=True, slots=True)
class Held:
    """What a window held when it was measured: frames and events."""

    frames: int
    events: int


_EVENTS = text("""
    SELECT e.kind, e.at, coalesce(nullif(e.version, ''), f.version, ''), coalesce(f.stage, ''),
        coalesce(nullif(e.camera, ''), f.camera, ''), e.class_name, coalesce(f.slice_name, '{}'),
        coalesce(f.slice_value, '{}'), e.minutes, e.before, e.after
    FROM business_event e
    LEFT JOIN frame_key k ON e.frame <> '' AND k.source = e.frame_source AND k.event_id = e.frame
    LEFT JOIN frame f ON f.captured_at = k.captured_at AND f.source = k.source AND f.event_id = k.event_id
    WHERE e.model = :model AND e.kind = ANY(:kinds) AND e.at >= :start AND e.at < :end
    ORDER BY e.at, e.source, e.event_id
""")
KINDS = ("work_order", "missed_defect", "false_alarm", "throughput")
"""The kinds of events that are measured."""


def events(conn: Connection, model: str, period: Window) -> list[BusinessEvent]:
    """The events of a model in a period, with what their frames say."""
    values = {"model": model, "kinds": list(KINDS), "start": period.start, "end": period.end}
    return [
        BusinessEvent(kind, at, version, stage, camera, of_class, tuple(zip(names, said, strict=True)), *amounts)
        for kind, at, version, stage, camera, of_class, names, said, *amounts in conn.execute(_EVENTS, values)
    ]


def first_of_kinds(conn: Connection, model: str) -> dict[str, datetime]:
    """When the first event of each kind was: before that the plant did not say."""
    rows = conn.execute(
        text("SELECT kind, min(at) FROM business_event WHERE model = :model AND kind = ANY(:kinds) GROUP BY kind"),
        {"model": model, "kinds": list(KINDS)},
    )
    return {row[0]: row[1] for row in rows}


def counts(conn: Connection, model: str, length: timedelta, since: datetime) -> dict[datetime, int]:
    """Events by start of the window of `length` that they fall into, from `since` on."""
    rows = conn.execute(
        text(
            "SELECT date_bin(:length, at, :epoch), count(*) FROM business_event"
            " WHERE model = :model AND kind = ANY(:kinds) AND at >= :since GROUP BY 1"
        ),
        {"model": model, "kinds": list(KINDS), "length": length, "since": since, "epoch": EPOCH},
    )
    return {start: int(n) for start, n in rows}


def measured(conn: Connection, model: str, length: timedelta, since: datetime) -> dict[tuple[str, Window], Held]:
    """The windows that were measured and end after `since`, by version."""
    rows = conn.execute(
        text(
            "SELECT version, window_start, window_end, frames, events FROM business_window"
            " WHERE model = :model AND window_end - window_start = :length AND window_end > :since"
        ),
        {"model": model, "length": length, "since": since},
    )
    return {(version, Window(start, end)): Held(int(n), int(m)) for version, start, end, n, m in rows}


def claim_window(
    conn: Connection,
    model: str,
    version: str,
    window: Window,
    held: Held,
    contract_hash: str,
    measures: Sequence[str],
) -> None:
    """Enter a window as measured and clear what these measures said; another worker at it waits."""
    values = {
        "model": model,
        "version": version,
        "start": window.start,
        "end": window.end,
        "frames": held.frames,
        "events": held.events,
        "hash": contract_hash,
        "measures": list(measures),
    }
    conn.execute(
        text(
            "INSERT INTO business_window (model, version, window_start, window_end, frames, events, contract_hash)"
            " VALUES (:model, :version, :start, :end, :frames, :events, :hash)"
            " ON CONFLICT (model, version, window_start, window_end)"
            " DO UPDATE SET frames = :frames, events = :events, contract_hash = :hash"
        ),
        values,
    )
    conn.execute(
        text(
            "DELETE FROM measurement WHERE model = :model AND version = :version AND window_start = :start"
            " AND window_end = :end AND NOT shadow AND measure = ANY(:measures)"
        ),
        values,
    )
