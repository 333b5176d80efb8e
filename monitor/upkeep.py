"""Nouns of upkeep: what a recount of roll-ups compares, and what old data is still needed for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from monitor.records import SeriesKey


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
