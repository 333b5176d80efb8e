"""What may go and what has to stay, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from monitor.spec.contract import RetentionSpec
from monitor.upkeep import Hold

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Horizons:
    """Up to when things go: whole days before `frames`, a model's roll-ups before `rollups[model]`, and so on."""

    frames: datetime
    rejects: datetime
    batches: datetime
    rollups: Mapping[str, datetime]
    reviews: Mapping[str, datetime]
    waiting: datetime
    """Of reviews whose frame never came, which are of no model."""
    longest: str
    """The model whose frames are kept longest, which rules for all: they share the days."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a day of frames goes, and why it does or has to stay."""

    day: date
    goes: bool
    why: str


def midnight(day: date) -> datetime:
    """The start of a day in UTC."""
    return datetime.combine(day, time(), UTC)


def horizons(periods: Mapping[str, RetentionSpec], now: datetime) -> Horizons:
    """From the [retention] of every model's contract, of which there is at least one.

    No roll-up goes before the frames that it counts, which other models' periods may keep; a review goes by the day
    of its frame; a rejected line is kept as long as frames are; the ledger as long as any roll-up, so that a file
    given once more is recognised.
    """
    longest = max(sorted(periods), key=lambda model: periods[model].raw_days)
    frames = now - timedelta(days=periods[longest].raw_days)
    rollups = {
        model: min(midnight((now - timedelta(days=period.rollup_days)).date()), midnight(frames.date()))
        for model, period in periods.items()
    }
    reviews = {
        model: midnight((now - timedelta(days=period.review_days)).date()) for model, period in periods.items()
    }
    return Horizons(frames, frames, min(rollups.values()), rollups, reviews, min(reviews.values()), longest)


def judge(days: Sequence[date], holds: Sequence[Hold], horizon: Horizons, raw_days: int) -> list[Verdict]:
    """A verdict on every day that is past its period, in the order given; the others are not spoken of."""
    rule = f"older than {raw_days} days, the period of {horizon.longest}"
    verdicts = []
    for day in days:
        start = midnight(day)
        if start + _DAY > horizon.frames:
            continue
        why = next((hold.why for hold in holds if hold.start < start + _DAY and hold.end > start), None)
        verdicts.append(Verdict(day, why is None, rule if why is None else why))
    return verdicts
