"""Histograms by the hour, written as the roll-ups that intake would have made of frames: months in a second."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from monitor.records import Ints, Scope, SeriesKey, microseconds
from monitor.signals import SIGNALS
from monitor.store import histograms
from monitor.store.database import Connection
from monitor.store.rows import rollup_rows
from monitor.upkeep import RollupColumns

HOUR_US = 3_600_000_000
RECIPES = {"brightness": "r1", "sharpness": "r1"}


def write(
    conn: Connection,
    model: str,
    version: str,
    start: datetime,
    counts: Mapping[tuple[str, str, str], Ints],
    batch: int = 1,
    minutes: int = 60,
) -> None:
    """Append roll-ups: `counts` [spans, bins] by (camera, signal, class), the first span beginning at `start`.

    Sums are taken at the middles of the bins; `status` has one bin, the frames.
    """
    names: list[str] = []
    parts = []
    for (camera, signal, class_name), rows in counts.items():
        edges = SIGNALS[signal].edges
        key = SeriesKey(Scope(model, version, camera=camera), signal, class_name, RECIPES.get(signal, ""))
        filled = np.flatnonzero(rows.sum(axis=1))
        cells = [np.flatnonzero(rows[i]) for i in filled]
        n = rows[filled].sum(axis=1)
        total = n if signal == "status" else np.rint(rows[filled] @ edges.middles() * SIGNALS[signal].scale)
        parts.append((len(names), filled, n, total, cells, [rows[i][c] for i, c in zip(filled, cells, strict=True)]))
        names.append(key.named(edges.id, minutes))
    first = microseconds(start)
    n = np.concatenate([part[2] for part in parts]).astype(np.int64)
    columns = RollupColumns(
        names=names,
        series_row=np.concatenate([np.full(len(part[1]), part[0]) for part in parts]).astype(np.int64),
        start_us=np.concatenate([first + part[1] * (HOUR_US * minutes // 60) for part in parts]).astype(np.int64),
        n=n,
        frames=n,
        total=np.concatenate([part[3] for part in parts]).astype(np.int64),
        squares=n,
        cells=np.array([len(c) for part in parts for c in part[4]], dtype=np.int64),
        bins=np.concatenate([c for part in parts for c in part[4]]).astype(np.int64),
        counts=np.concatenate([c for part in parts for c in part[5]]).astype(np.int64),
    )
    histograms.append(conn, batch, rollup_rows(columns))
