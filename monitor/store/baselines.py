"""Baselines: written once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.records import Baseline, BaselineHistogram, Histogram, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.store.database import Connection

_COLUMNS = (
    "baseline_id AS id, model, version, source, period_start, period_end, frames, sha256, contract_hash, created_at, "
    "note"
)


def save(conn: Connection, baseline: Baseline, rows: Mapping[SeriesKey, BaselineHistogram]) -> Baseline:
    """Store a baseline with its histograms; returns it with the number it was given (`id` is not read)."""
    insert = text(
        "INSERT INTO baseline (model, version, source, period_start, period_end, frames, sha256, contract_hash,"
        " created_at, note) VALUES (:model, :version, :source, :period_start, :period_end, :frames, :sha256,"
        " :contract_hash, :created_at, :note) RETURNING baseline_id"
    )
    fields = {name: getattr(baseline, name) for name in baseline.__dataclass_fields__ if name != "id"}
    saved = replace(baseline, id=int(conn.execute(insert, fields).scalar_one()))
    if rows:
        conn.execute(
            text(
                "INSERT INTO baseline_histogram (baseline_id, stage, camera, slice_name, slice_value, signal,"
                " class_name, recipe, edges_id, n, frames, total, squares, bins, counts, cuts)"
                " VALUES (:id, :stage, :camera, :slice_name, :slice_value, :signal, :class_name, :recipe, :edges_id,"
                " :n, :frames, :total, :squares, :bins, :counts, :cuts)"
            ),
            [{"id": saved.id, **_row(key, row)} for key, row in rows.items()],
        )
    return saved


def _row(key: SeriesKey, row: BaselineHistogram) -> dict[str, Any]:
    scope, histogram = key.scope, row.histogram
    filled = np.flatnonzero(histogram.counts)
    return {
        "stage": scope.stage,
        "camera": scope.camera,
        "slice_name": scope.slice_name,
        "slice_value": scope.slice_value,
        "signal": key.signal,
        "class_name": key.class_name,
        "recipe": key.recipe,
        "edges_id": histogram.edges_id,
        "n": histogram.n,
        "frames": histogram.frames,
        "total": histogram.total,
        "squares": histogram.squares,
        "bins": filled.tolist(),
        "counts": histogram.counts[filled].tolist(),
        "cuts": row.cuts.tolist(),
    }


def active(conn: Connection, model: str, version: str) -> Baseline | None:
    """What windows of a version are compared with: its newest baseline, else the newest from images, else None."""
    row = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM baseline WHERE model = :model AND version IN (:version, '')"  # noqa: S608 - constants
            " ORDER BY version = '', baseline_id DESC LIMIT 1"
        ),
        {"model": model, "version": version},
    ).one_or_none()
    return None if row is None else Baseline(**row._mapping)


def versions(conn: Connection, model: str) -> list[str]:
    """The versions of a model that have a baseline from logs."""
    rows = conn.execute(
        text("SELECT DISTINCT version FROM baseline WHERE model = :model AND version <> '' ORDER BY 1"),
        {"model": model},
    )
    return list(rows.scalars())


def listing(conn: Connection, model: str | None = None) -> list[Baseline]:
    """Every baseline (of a model), oldest first."""
    rows = conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM baseline WHERE CAST(:model AS text) IS NULL OR model = :model"  # noqa: S608 - constants
            " ORDER BY baseline_id"
        ),
        {"model": model},
    )
    return [Baseline(**row._mapping) for row in rows]


def histograms(conn: Connection, baseline_id: int) -> dict[SeriesKey, BaselineHistogram]:
    """The rows of a baseline, under its own model and version; camera `""` holds the sums over the cameras.

    Rows on edges that a signal no longer has are left out: nothing could be compared with them.
    """
    rows = conn.execute(
        text(
            "SELECT b.model, b.version, h.* FROM baseline_histogram h JOIN baseline b USING (baseline_id)"
            " WHERE h.baseline_id = :id"
        ),
        {"id": baseline_id},
    )
    found = {}
    for row in rows.mappings():
        signal = SIGNALS.get(row["signal"])
        if signal is None or signal.edges.id != row["edges_id"]:
            continue
        scope = Scope(
            row["model"], row["version"], row["stage"], row["camera"], row["slice_name"], row["slice_value"]
        )
        counts = np.zeros(signal.edges.count + 2, dtype=np.int64)
        counts[np.array(row["bins"], dtype=np.int64)] = row["counts"]
        whole = Histogram(row["edges_id"], counts, row["n"], row["frames"], row["total"], row["squares"])
        key = SeriesKey(scope, row["signal"], row["class_name"], row["recipe"])
        found[key] = BaselineHistogram(whole, np.array(row["cuts"], dtype=np.int64))
    return found
