"""Nouns of upkeep: what a recount of roll-ups compares, what old data is still needed for, what the auditor found."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from monitor.records import Ints, SeriesKey

CHECKS = ("contracts", "jobs", "outbox", "sources", "golden", "rollups")
"""What the auditor looks at, by the name under which its findings stand."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the auditor found wrong, by which check and about what; `since`: None before it is stored."""

    check: str
    subject: str
    sentence: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RollupPlace:
    """Where a roll-up row stands: a series on its edges, the length of its spans, and the start of one span."""

    series: SeriesKey
    edges_id: str
    minutes: int
    start_us: int
    """Microseconds since 1970-01-01 UTC."""


@dataclass(slots=True)
class RollupCell:
    """What a roll-up row says, summed over its batches; `counts` holds the bins that are not empty, by number."""

    n: int = 0
    frames: int = 0
    total: int = 0
    squares: int = 0
    counts: dict[int, int] = field(default_factory=dict)

    def add(self, other: RollupCell) -> None:
        """Count another row of the same place in."""
        self.n += other.n
        self.frames += other.frames
        self.total += other.total
        self.squares += other.squares
        for number, count in other.counts.items():
            self.counts[number] = self.counts.get(number, 0) + count


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that still refers to what a model recorded in [start, end), in words."""

    model: str
    start: datetime
    end: datetime
    why: str


@dataclass(slots=True)
class RollupColumns:
    """r roll-up rows as columns: what one batch adds to its series, each (series, start) once.

    `names` holds each series once, as `SeriesKey.named` writes it; `series_row` [r] says which one a row belongs to.
    `cells` [r] is the number of bins of a row that are not empty; `bins` and `counts` [sum of cells] hold them row
    after row, bins ascending.
    """

    names: list[str]
    series_row: Ints
    start_us: Ints
    """Microseconds since 1970-01-01 UTC."""
    n: Ints
    frames: Ints
    total: Ints
    squares: Ints
    cells: Ints
    bins: Ints
    counts: Ints

    def __len__(self) -> int:
        return len(self.series_row)
