"""Scoring runs: what was scored, how it ended, and the artifacts that hang on a run."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text

from monitor.records import Measurement
from monitor.scoring import Kind, ScoringRun
from monitor.store import measurements
from monitor.store.database import Connection

KEPT = 30
"""Runs of a version and kind that keep their artifacts."""
ATTEMPTS = 3
"""How often a night's run is begun that is cut off each time."""
LONGEST = timedelta(days=2)
MOST_PROOFS = 1000
_COLUMNS = tuple(field.name for field in fields(ScoringRun) if field.name != "id")
_ALL = ", ".join((*_COLUMNS, "run_id"))


def begin(conn: Connection, run: ScoringRun) -> int | None:
    """Enter a run as running; returns its id. None: this night's has been done, or was cut off too often.

    Runs of other times that a kill left open are closed as errors once they are older than any can be at work.
    """
    conn.execute(
        text(
            "UPDATE golden_run SET status = 'error', finished_at = :now, reason = 'its process ended before it did'"
            " WHERE model = :model AND kind = :kind AND status = 'running' AND started_at < :longest"
            " AND due_at IS DISTINCT FROM :due_at"
        ),
        {
            "model": run.model,
            "kind": run.kind,
            "now": run.started_at,
            "longest": run.started_at - LONGEST,
            "due_at": run.due_at,
        },
    )
    row = conn.execute(
        text(
            "INSERT INTO golden_run (model, version, kind, contract_hash, due_at, started_at, status)"
            " VALUES (:model, :version, :kind, :contract_hash, :due_at, :started_at, 'running')"
            " ON CONFLICT (model, kind, due_at) WHERE due_at IS NOT NULL DO UPDATE"
            " SET started_at = :started_at, version = :version, contract_hash = :contract_hash,"
            "     attempt = golden_run.attempt + 1"
            " WHERE golden_run.status = 'running' AND golden_run.attempt < :attempts RETURNING run_id"
        ),
        {
            "model": run.model,
            "version": run.version,
            "kind": run.kind,
            "contract_hash": run.contract_hash,
            "due_at": run.due_at,
            "started_at": run.started_at,
            "attempts": ATTEMPTS,
        },
    )
    return row.scalar()


def finish(conn: Connection, run: ScoringRun, artifacts: Mapping[str, bytes], held_against: int = 0) -> None:
    """Write how a run ended, with its artifacts; those of runs long past are dropped, but for the run that this one
    was `held_against`."""
    said = {name: getattr(run, name) for name in _COLUMNS}
    said |= {"environment": json.dumps(run.environment), "changed": list(run.changed), "run_id": run.id}
    sets = ", ".join(
        f"{name} = cast(:{name} AS jsonb)" if name == "environment" else f"{name} = :{name}" for name in _COLUMNS
    )
    conn.execute(text(f"UPDATE golden_run SET {sets} WHERE run_id = :run_id"), said)  # noqa: S608 - names are constants
    for name, body in artifacts.items():
        conn.execute(
            text("INSERT INTO golden_artifact (run_id, name, body) VALUES (:run_id, :name, :body)"),
            {"run_id": run.id, "name": name, "body": zlib.compress(body, 6)},
        )
    conn.execute(
        text(
            "DELETE FROM golden_artifact WHERE run_id <> :held AND run_id IN (SELECT run_id FROM golden_run"
            " WHERE model = :model AND version = :version AND kind = :kind ORDER BY run_id DESC OFFSET :kept)"
        ),
        {"model": run.model, "version": run.version, "kind": run.kind, "kept": KEPT, "held": held_against},
    )


def measure(conn: Connection, found: Sequence[Measurement]) -> None:
    """Store the measurements of a run in place of those of an earlier run of the same day, version and set."""
    for key in {(m.key.scope.model, m.key.scope.version, m.key.signal, m.measure, m.window) for m in found}:
        model, version, signal, name, window = key
        conn.execute(
            text(
                "DELETE FROM measurement WHERE model = :model AND version = :version AND signal = :signal"
                " AND measure = :measure AND window_start = :start AND window_end = :end AND NOT shadow"
            ),
            {
                "model": model,
                "version": version,
                "signal": signal,
                "measure": name,
                "start": window.start,
                "end": window.end,
            },
        )
    measurements.save(conn, found)


def newest(
    conn: Connection,
    model: str,
    *,
    kind: Kind | None = None,
    version: str | None = None,
    status: str | None = None,
    manifest_sha256: str | None = None,
    before: int | None = None,
    limit: int = 1,
) -> list[ScoringRun]:
    """Runs of a model, newest first, `before` a run; None leaves a filter out."""
    wanted = {"kind": kind, "version": version, "status": status, "manifest_sha256": manifest_sha256}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(["model = :model", *(f"{name} = :{name}" for name in given)])
    where += "" if before is None else " AND run_id < :before"
    rows = conn.execute(
        text(f"SELECT {_ALL} FROM golden_run WHERE {where} ORDER BY run_id DESC LIMIT :limit"),  # noqa: S608 - names are constants
        {"model": model, "limit": limit, "before": before, **given},
    )
    return [_run(row) for row in rows]


def other_content(
    conn: Connection, model: str, kind: Kind, name: str, version: str, sha256: str
) -> ScoringRun | None:
    """The newest run that counted on a set of this name and version whose manifest was another."""
    row = conn.execute(
        text(
            f"SELECT {_ALL} FROM golden_run WHERE model = :model AND kind = :kind AND status = 'done'"  # noqa: S608 - names are constants
            " AND set_name = :name AND set_version = :version AND manifest_sha256 <> :sha256"
            " ORDER BY run_id DESC LIMIT 1"
        ),
        {"model": model, "kind": kind, "name": name, "version": version, "sha256": sha256},
    ).one_or_none()
    return None if row is None else _run(row)


def read(conn: Connection, run_id: int) -> ScoringRun | None:
    """One run by its id."""
    row = conn.execute(text(f"SELECT {_ALL} FROM golden_run WHERE run_id = :id"), {"id": run_id}).one_or_none()  # noqa: S608 - names are constants
    return _run(row) if row is not None else None


def artifact(conn: Connection, run_id: int, name: str) -> bytes | None:
    """What a run left under a name; None: nothing, or it is long past."""
    body = conn.execute(
        text("SELECT body FROM golden_artifact WHERE run_id = :id AND name = :name"), {"id": run_id, "name": name}
    ).scalar()
    return zlib.decompress(body) if body is not None else None


def proofs(conn: Connection, model: str, version: str, key: str, since: datetime) -> list[dict[str, Any]]:
    """What frames of a version since then said of their inputs: each different `camera_meta` that has `key`, once."""
    rows = conn.execute(
        text(
            "SELECT DISTINCT camera_meta FROM frame WHERE model = :model AND version = :version"
            " AND captured_at >= :since AND camera_meta ? :key LIMIT :most"
        ),
        {"model": model, "version": version, "key": key, "since": since, "most": MOST_PROOFS},
    )
    return list(rows.scalars())


def done_nights(conn: Connection, model: str, kind: Kind) -> datetime | None:
    """The last night whose run is over."""
    found: datetime | None = conn.execute(
        text("SELECT max(due_at) FROM golden_run WHERE model = :model AND kind = :kind AND status <> 'running'"),
        {"model": model, "kind": kind},
    ).scalar()
    return found


def _run(row: Row[Any]) -> ScoringRun:
    said = dict(zip((*_COLUMNS, "id"), row, strict=True))
    return ScoringRun(**{**said, "changed": tuple(said["changed"])})
