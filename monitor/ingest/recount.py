"""A recount against what is rolled up, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitor.ingest.rollup import roll_up
from monitor.records import FrameColumns, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.upkeep import RollupCell, RollupColumns, RollupPlace

Cells = dict[RollupPlace, RollupCell]
_NOTHING = RollupCell()


@dataclass(frozen=True, slots=True)
class Difference:
    """A roll-up row that is not what the frames say. One of the two is empty where only the other has the row."""

    place: RollupPlace
    stored: RollupCell
    counted: RollupCell

    def __str__(self) -> str:
        key = self.place.series
        of_class = f" of {key.class_name}" if key.class_name else ""
        parts = [
            f"{name} {said} stored, {found} counted"
            for name, said, found in (
                ("values", self.stored.n, self.counted.n),
                ("frames", self.stored.frames, self.counted.frames),
                ("total", self.stored.total, self.counted.total),
                ("squares", self.stored.squares, self.counted.squares),
            )
            if said != found
        ]
        bins = {*self.stored.counts, *self.counted.counts}
        other = sum(self.stored.counts.get(i, 0) != self.counted.counts.get(i, 0) for i in bins)
        parts += [f"{other} bin{'' if other == 1 else 's'} differ{'s' if other == 1 else ''}"] if other else []
        retired = "" if is_current(self.place) else f" on retired edges {self.place.edges_id}"
        at = datetime.fromtimestamp(self.place.start_us / 1e6, UTC)
        span = f"{at:%Y-%m-%d %H:%M} ({self.place.minutes} min)"
        return f"{span} {key.signal}{of_class}, {key.scope}{retired}: {'; '.join(parts)}"

    def plain(self) -> dict[str, Any]:
        """As JSON takes it; bins by their number."""
        key, place = self.place.series, self.place
        scope = {name: getattr(key.scope, name) for name in key.scope.__dataclass_fields__}
        return {
            **scope,
            "signal": key.signal,
            "class": key.class_name,
            "recipe": key.recipe,
            "edges_id": place.edges_id,
            "minutes": place.minutes,
            "start_at": datetime.fromtimestamp(place.start_us / 1e6, UTC).isoformat(),
            "stored": _plain(self.stored),
            "counted": _plain(self.counted),
        }


def _plain(cell: RollupCell) -> dict[str, Any]:
    sums = {name: getattr(cell, name) for name in ("n", "frames", "total", "squares")}
    return {**sums, "bins": sorted(cell.counts.items())}


def is_current(place: RollupPlace) -> bool:
    """Whether a row stands on the edges that its signal has now; readers leave others alone."""
    signal = SIGNALS.get(place.series.signal)
    return signal is not None and signal.edges.id == place.edges_id


Blind = set[tuple[Scope, str, int]]
"""Scope, signal and start of rows that the frames do not tell."""


def recount(frames: Iterable[FrameColumns], signal: str | None = None) -> tuple[Cells, Blind]:
    """The roll-up rows of frames, by the very code that intake rolls up with; of one signal or all.

    The parts in which the frames come share none: what they add up to does not depend on how they were cut. Beside
    them which rows cannot be counted again: those of each detection, where a frame has more than are stored of it.
    """
    found: Cells = {}
    blind: Blind = set()
    for columns in frames:
        for place, cell in cells_of(roll_up(columns)).items():
            if signal is None or place.series.signal == signal:
                found.setdefault(place, RollupCell()).add(cell)
        crowded = np.flatnonzero(columns.left_out)
        if len(crowded):
            blind |= {whereabouts(place) for place in cells_of(roll_up(columns.take(crowded))) if _of_each(place)}
    return found, blind


def whereabouts(place: RollupPlace) -> tuple[Scope, str, int]:
    """A row's place for all classes and edges: which classes a frame had beside those stored is not known."""
    return place.series.scope, place.series.signal, place.start_us


def _of_each(place: RollupPlace) -> bool:
    return SIGNALS[place.series.signal].per == "detection"


def cells_of(rows: RollupColumns) -> Cells:
    """Roll-up rows by their place."""
    ends = np.cumsum(rows.cells).tolist()
    found = {}
    series = [SeriesKey.of_name(name) for name in rows.names]
    for i, (row, size) in enumerate(zip(rows.series_row.tolist(), rows.cells.tolist(), strict=True)):
        chosen = slice(ends[i] - size, ends[i])
        counts = dict(zip(rows.bins[chosen].tolist(), rows.counts[chosen].tolist(), strict=True))
        key, edges_id, minutes = series[row]
        place = RollupPlace(key, edges_id, minutes, int(rows.start_us[i]))
        n, frames, total, squares = (int(column[i]) for column in (rows.n, rows.frames, rows.total, rows.squares))
        found[place] = RollupCell(n, frames, total, squares, counts)
    return found


def rows_of(cells: Mapping[RollupPlace, RollupCell]) -> RollupColumns:
    """Roll-up rows as columns."""
    series = list(dict.fromkeys((place.series, place.edges_id, place.minutes) for place in cells))
    number = {one: i for i, one in enumerate(series)}
    filled = [sorted(cell.counts.items()) for cell in cells.values()]
    flat = np.array([pair for pairs in filled for pair in pairs], dtype=np.int64).reshape(-1, 2)

    def ints(values: Iterable[int]) -> Any:
        return np.array(list(values), dtype=np.int64)

    return RollupColumns(
        names=[key.named(edges_id, minutes) for key, edges_id, minutes in series],
        series_row=ints(number[place.series, place.edges_id, place.minutes] for place in cells),
        start_us=ints(place.start_us for place in cells),
        n=ints(cell.n for cell in cells.values()),
        frames=ints(cell.frames for cell in cells.values()),
        total=ints(cell.total for cell in cells.values()),
        squares=ints(cell.squares for cell in cells.values()),
        cells=ints(map(len, filled)),
        bins=flat[:, 0],
        counts=flat[:, 1],
    )


def differences(stored: Cells, counted: Cells) -> list[Difference]:
    """The places where the two do not say the same, in order of time."""
    found = [
        Difference(place, stored.get(place, _NOTHING), counted.get(place, _NOTHING))
        for place in {**stored, **counted}
        if stored.get(place) != counted.get(place)
    ]
    return sorted(found, key=lambda one: (one.place.start_us, -one.place.minutes, repr(one.place)))
