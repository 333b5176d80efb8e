"""Takes away what has outlived its period, and nothing that something open still refers to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from monitor.errors import ContractInvalid
from monitor.ingest.retained import Horizons, Verdict, horizons, judge
from monitor.spec.contract import RetentionSpec
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import contracts as remembered
from monitor.store import overrides, retention
from monitor.store.database import Connection, Database
from monitor.upkeep import Hold

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Plan:
    """What would go at a moment, what stays though it is old, and why. `blocked` says why nothing goes at all."""

    horizon: Horizons | None = None
    blocked: str = ""
    days: list[Verdict] = field(default_factory=list)
    sizes: Mapping[date, int] = field(default_factory=dict)
    """Bytes of each day of frames."""
    holds: list[Hold] = field(default_factory=list)
    rollups: dict[str, int] = field(default_factory=dict)
    """Rows by model."""
    reviews: dict[str, int] = field(default_factory=dict)
    """Reviews by model."""
    waiting: int = 0
    """Reviews whose frame never came."""
    rejects: int = 0
    rejects_open: int = 0
    """Of them, how many nobody has settled."""
    batches: int = 0


@dataclass(slots=True)
class Taken:
    """What was taken away."""

    days: int = 0
    frames: int = 0
    rollups: int = 0
    reviews: int = 0
    rejects: int = 0
    batches: int = 0
    in_use: list[Verdict] = field(default_factory=list)
    """Days that should go and could not, because the frames were being read all the while."""
    blocked: str = ""

    @property
    def total(self) -> int:
        """Days of frames and rows of everything else."""
        return self.days + self.rollups + self.reviews + self.rejects + self.batches


def plan(database: Database, contracts: Mapping[str, LoadedContract], now: datetime) -> Plan:
    """What `run` would do at `now`; changes nothing. `contracts` are those in force, by model."""
    with database.begin() as conn:
        found = _judged(conn, contracts, now)
        if found.horizon is None:
            return found
        for model, before in found.horizon.rollups.items():
            found.rollups[model] = retention.count_rollups(conn, model, before, found.holds)
        for model, before in found.horizon.reviews.items():
            found.reviews[model] = retention.count_reviews(conn, model, before, found.holds)
        found.waiting = retention.count_waiting(conn, found.horizon.waiting)
        found.rejects, found.rejects_open = retention.count_rejects(conn, found.horizon.rejects)
        found.batches = retention.count_batches(conn, found.horizon.batches)
    return found


def run(database: Database, contracts: Mapping[str, LoadedContract], now: datetime) -> Taken:
    """Take away what is past its period at `now`. Safe to kill and to repeat: every step is a transaction.

    Raises:
        DependencyAway: the database cannot be used now; what was taken away stays away.
    """
    taken = Taken()
    with database.begin() as conn:
        found = _judged(conn, contracts, now)
    if found.horizon is None:
        _log.info("%s", found.blocked)
        taken.blocked = found.blocked
        return taken
    _drop_detached(database, taken, now)  # what a kill left, which may bear the name of a day that goes now
    going = [verdict for verdict in found.days if verdict.goes]
    for place, verdict in enumerate(going):
        with database.begin() as conn:
            detached = retention.detach_day(conn, verdict.day, now)
        if not detached:
            taken.in_use = going[place:]  # it is one lock for all days
            _log.warning("%d days of frames are in use and stay until the next run", len(taken.in_use))
            break
    _drop_detached(database, taken, now)
    for model, before in found.horizon.rollups.items():
        with database.begin() as conn:
            taken.rollups += retention.delete_rollups(conn, model, before, found.holds)
    with database.begin() as conn:
        overrides.hold_counting(conn)
        for model, before in found.horizon.reviews.items():
            taken.reviews += retention.delete_reviews(conn, model, before, found.holds)
        taken.reviews += retention.delete_waiting(conn, found.horizon.waiting)
    with database.begin() as conn:
        taken.rejects = retention.delete_rejects(conn, found.horizon.rejects)
    with database.begin() as conn:
        taken.batches = retention.delete_batches(conn, found.horizon.batches)
    return taken


def _drop_detached(database: Database, taken: Taken, now: datetime) -> None:
    with database.begin() as conn:
        detached = retention.detached_days(conn)
    for day in detached:
        with database.begin() as conn:
            taken.frames += retention.drop_day(conn, day, now)
        taken.days += 1


def _judged(conn: Connection, contracts: Mapping[str, LoadedContract], now: datetime) -> Plan:
    periods, unknown = _periods(conn, contracts)
    if unknown:
        return Plan(
            blocked=f"nothing goes: how long {', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} to be kept "
            "is not known, for no contract was ever taken up; put one into the contracts folder"
        )
    if not periods:
        return Plan(blocked="nothing goes: no contract is in force, and nothing was ever recorded")
    horizon = horizons(periods, now)
    holds = retention.holds(conn, horizon.frames)
    days = retention.days(conn)
    verdicts = judge([one.day for one in days], holds, horizon, periods[horizon.longest].raw_days)
    return Plan(horizon=horizon, days=verdicts, sizes={one.day: one.size for one in days}, holds=holds)


def _periods(conn: Connection, contracts: Mapping[str, LoadedContract]) -> tuple[dict[str, RetentionSpec], list[str]]:
    """How long each model's records are kept, by the contract in force or else the last; and the models unknown."""
    periods = {model: loaded.contract.retention for model, loaded in contracts.items()}
    texts = remembered.newest_texts(conn)
    unknown = []
    for model in retention.models(conn):
        if model in periods:
            continue
        try:
            periods[model] = parse_contract(texts[model].removeprefix("\ufeff")).retention
        except (KeyError, ContractInvalid):
            unknown.append(model)
    return periods, unknown
