"""Counts all reviews of a period anew, and puts right what differs from what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from monitor.feedback import ReviewCell, ReviewPlace
from monitor.records import Window
from monitor.review.overrides import count, hour_of
from monitor.store import overrides, reviews
from monitor.store.database import Database

SHOWN = 100
"""Differences that are held in full."""
_HOUR = timedelta(hours=1)
_NOTHING = ReviewCell()


@dataclass(frozen=True, slots=True)
class Difference:
    """A count that is not what the reviews say."""

    place: ReviewPlace
    stored: ReviewCell
    counted: ReviewCell

    def __str__(self) -> str:
        place = self.place
        of = f"{place.camera}{f', {place.slice_name} = {place.slice_value}' if place.slice_name else ''}"
        parts = [
            f"{name} {getattr(self.stored, name)} stored, {getattr(self.counted, name)} counted"
            for name in ReviewCell.__dataclass_fields__
            if getattr(self.stored, name) != getattr(self.counted, name)
        ]
        said = f"{place.class_name or 'frames'}{f' in band {place.band}' if place.band >= 0 else ''}"
        return f"{place.start_at:%Y-%m-%d %H:%M} {place.model} {place.version}, {of}, {said}: {'; '.join(parts)}"


@dataclass(slots=True)
class Recount:
    """What a recount found."""

    compared: int = 0
    differing: int = 0
    repaired: int = 0
    shown: list[Difference] = field(default_factory=list)


def run(database: Database, period: Window, model: str | None = None, *, repair: bool = False) -> Recount:
    """Recount the reviews of frames of a period, which is widened to whole hours; while it runs nobody else counts.

    Raises:
        DependencyAway, TryAgain: as `Database.begin`.
    """
    start = hour_of(period.start)
    end = hour_of(period.end - timedelta(microseconds=1)) + _HOUR
    with database.begin() as conn:
        overrides.hold_counting(conn)
        stored = overrides.counted(conn, start, end, model=model)
        counted = count(reviews.between(conn, start, end, model))
        found = [
            Difference(place, stored.get(place, _NOTHING), counted.get(place, _NOTHING))
            for place in sorted(stored.keys() | counted.keys(), key=lambda p: (p.start_at, repr(p)))
            if stored.get(place) != counted.get(place)
        ]
        if repair and found:
            hours = {(one.place.model, one.place.version, one.place.start_at) for one in found}
            right = {p: cell for p, cell in counted.items() if (p.model, p.version, p.start_at) in hours}
            overrides.replace(conn, hours, right)
    return Recount(len(stored.keys() | counted.keys()), len(found), len(found) if repair else 0, found[:SHOWN])
