"""Thirty simulated days of the schedule: two weeks and a day around each clock change, with outages and kills."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from monitor.daemon.context import CatchUp, Context, Job
from monitor.daemon.jobs import turn_of
from monitor.daemon.run import take_turn
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store.database import Database

STEP = timedelta(minutes=30)
SPRING = datetime(2026, 3, 22, tzinfo=UTC), datetime(2026, 4, 6, tzinfo=UTC), "Europe/Berlin"
AUTUMN = datetime(2026, 10, 18, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), "America/St_Johns"
"""From, to, and the machine's own time zone, which must not matter; its clocks change in between."""
FINAL = {"done", "failed", "skipped"}


class Killed(BaseException):
    """The process is no more: nothing of its own code runs after this."""


@dataclass
class World:
    """A daemon by a clock of its own, that is down for hours, killed in its work, and fails now and then."""

    context: Context
    rng: random.Random
    ran: dict[str, list[datetime]] = field(default_factory=dict)
    """As of when each job did its work to the end."""
    kills: int = 0

    def jobs(self) -> list[Job]:
        return [
            Job("frequent", STEP, self._work("frequent"), "", catch_up=CatchUp.LATEST),
            Job("hourly", timedelta(hours=1), self._work("hourly"), "", catch_up=CatchUp.EVERY),
            Job("watchful", timedelta(hours=1), self._work("watchful"), "", catch_up=CatchUp.NONE),
            Job("daily", timedelta(days=1), self._work("daily"), "", catch_up=CatchUp.LATEST),
            Job("own", STEP, self._work("own"), "", local=True),
        ]

    def _work(self, name: str):
        def work(context: Context, now: datetime) -> int:
            chance = self.rng.random()
            if chance < 0.02:
                self.kills += 1
                raise Killed
            if chance < 0.05:
                raise RuntimeError("the belt is stuck")
            self.ran.setdefault(name, []).append(now)
            return 1

        return work

    def tick(self, job: Job, now: datetime) -> None:
        """As the ticker does; after a kill another process begins at once, and sees to what was cut off."""
        try:
            take_turn(self.context, job, now)
        except Killed:
            if self.rng.random() < 0.5 and job.catch_up is not CatchUp.NONE:
                self.tick(job, now)

    def live(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Every half hour that the daemon is up."""
        at, began = start, True
        while at < end:
            for job in self.jobs():
                due = turn_of(at, job.every) == at or (began and job.catch_up is not CatchUp.NONE)
                if due:
                    self.tick(job, at + timedelta(seconds=self.rng.uniform(0, 30)))
            yield at
            began = self.rng.random() < 0.04
            at += STEP + (self.rng.randint(1, 40) * STEP if began else timedelta(0))


def rows(database: Database) -> dict[tuple[str, datetime], tuple[str, str]]:
    with database.begin() as conn:
        found = conn.execute(text("SELECT job, scheduled_for, state, error FROM job_run")).all()
    assert len({(job, at) for job, at, *_ in found}) == len(found)
    return {(job, at): (state, error) for job, at, state, error in found}


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's own time zone for the length of the test."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("start", "end", "zone"), [SPRING, AUTUMN], ids=["spring", "autumn"], indirect=["zone"])
def test_every_turn_comes_to_one_final_state(
    database: Database, settings: Settings, zone: str, start: datetime, end: datetime
) -> None:
    offsets = {at.astimezone().utcoffset() for at in (start, end)}
    assert len(offsets) == 2, "the clocks change in between"
    world = World(Context(settings, database, Shelf(Path("none"))), random.Random(f"{start} {zone}"))
    settled: dict[tuple[str, datetime], tuple[str, str]] = {}
    for number, _ in enumerate(world.live(start, end)):
        if number % 50 == 0:
            settled = unchanged(settled, rows(database))
    for job in world.jobs():
        world.rng = random.Random(7)
        take_turn(world.context, job, end)
    found = unchanged(settled, rows(database))
    for job in world.jobs():
        first = turn_of(min(at for name, at in found if name == job.name), job.every)
        turns = {first + number * job.every for number in range((end - first) // job.every + 1)}
        assert {at for name, at in found if name == job.name} == turns, job.name
        assert {found[job.name, at][0] for at in turns} <= FINAL
        done = [at for at in turns if found[job.name, at][0] == "done"]
        assert len(done) == len(world.ran[job.name]), "what was done is on record as done, once"
        assert all(found[job.name, at][1] for at in turns if found[job.name, at][0] == "skipped"), "with the reason"
    states = Counter((name, state) for (name, _), (state, _) in found.items())
    assert states["hourly", "skipped"] == 0, "every missed turn was made up for"
    assert states["watchful", "skipped"] > 20
    assert states["frequent", "skipped"] > 100
    assert world.kills > 10


def unchanged(before: dict, now: dict) -> dict:
    """What had its final state has it still; returns what has one now."""
    assert {turn: now[turn] for turn in before} == before
    return {turn: state for turn, state in now.items() if state[0] in FINAL}
