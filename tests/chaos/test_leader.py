"""Two daemons, and the one that leads is killed or stopped: another takes over, and the stale one writes nothing."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chaos.children import Child, Nursery
from chaos.conftest import Account
from chaos.waiting import eventually
from chaos.witness import Sworn, swear_in, sworn, wrote_in

from monitor.settings import Settings
from monitor.store import lease, workers
from monitor.store.database import Database, open_database

WITHIN_S = 20
"""Promised of a lease of ten seconds."""
Count = Callable[[int, int], int]
Open = Callable[[str], Account]


@dataclass(slots=True)
class Pair:
    """Two daemons on one database."""

    warm: Nursery
    database: Database
    env: dict[str, str]
    fenced: bool = True
    alive: list[Child] = field(default_factory=list)

    def fill(self) -> None:
        """Start daemons until there are two."""
        while len(self.alive) < 2:
            self.alive.append(self.warm.start("lead", env=self.env, fenced=self.fenced))
        eventually(self._both_are_there, 60, "both daemons are there")

    def leader(self) -> Child | None:
        """The daemon that leads now."""
        with self.database.begin() as conn:
            now = lease.standing(conn)
        pid = int(now.holder.rpartition(":")[2]) if now is not None and now.in_force else 0
        return next((one for one in self.alive if one.pid == pid), None)

    def strike(self, how: signal.Signals, after: float) -> float:
        """Kill or stop the leader; returns how long it took until another led. A stopped one goes on afterwards."""
        eventually(self._is_writing, WITHIN_S, "somebody leads and writes")
        old = self.leader()
        assert old is not None
        assert not old.ended(after), old.said
        said = old.said.count("another process leads now")
        if how is signal.SIGKILL:
            old.kill()
            self.alive.remove(old)
            return eventually(self.leader, WITHIN_S, "another leads")
        old.signal(signal.SIGSTOP)
        took = eventually(lambda: self.leader() not in (old, None), WITHIN_S, "another leads")
        old.signal(signal.SIGCONT)
        eventually(lambda: old.said.count("another process leads now") > said, WITHIN_S, "the old one has noticed")
        return took

    def end(self) -> None:
        """Stop both in order."""
        for one in self.alive:
            one.signal(signal.SIGTERM)
        for one in self.alive:
            assert one.wait(20) == 0, one.said

    def _is_writing(self) -> bool:
        with self.database.begin() as conn:
            now = lease.standing(conn)
        return now is not None and now.in_force and wrote_in(self.database, now.epoch)

    def _both_are_there(self) -> bool:
        for one in self.alive:
            assert not one.ended(0), one.said
        with self.database.begin() as conn:
            seen = {int(one.name.rpartition(":")[2]) for one in workers.alive(conn)}
        return {one.pid for one in self.alive} <= seen


def rounds_of(
    warm: Nursery, settings: Settings, folder: Path, rng: random.Random, blows: list[signal.Signals], *,
    lease_s: int = 1, fenced: bool = True,
) -> tuple[list[float], Sworn]:  # fmt: skip
    """Strike the leader again and again; how long each take-over took, and what the witness says."""
    assert settings.database_url is not None
    (folder / "contracts").mkdir()
    env = {
        "MONITOR_STATE_DIR": str(folder / "state"),
        "MONITOR_CONTRACTS_DIR": str(folder / "contracts"),
        "MONITOR_DATABASE_URL": settings.database_url,
        "MONITOR_LEASE_S": str(lease_s),
    }
    with open_database(settings) as database:
        swear_in(database)
        pair, took = Pair(warm, database, env, fenced), []
        for how in blows:
            pair.fill()
            took.append(pair.strike(how, rng.uniform(0, 0.4)))
        pair.end()
        return took, sworn(database)


def test_a_leader_that_dies_or_freezes_is_followed_by_another_and_writes_no_more(
    warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path, count: Count, account: Open
) -> None:
    rounds, opened = count(4, 50), account("leader killed or stopped, lease of 1 s: rounds (slowest)")
    blows = [(signal.SIGSTOP, signal.SIGKILL)[number % 2] for number in range(rounds)]
    took, said = rounds_of(warm, settings, tmp_path, rng, blows)
    opened.closed(f"{rounds} ({max(took):.1f} s)")
    assert said.stale == 0, said
    assert said.epochs >= rounds, said
    assert max(took) < WITHIN_S


def test_with_the_lease_as_it_is_shipped(
    warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path, count: Count, account: Open
) -> None:
    rounds, opened = count(0, 3), account("the same, lease of 10 s")
    if not rounds:
        pytest.skip("a round takes a quarter of a minute, nearly all of it waiting; `make chaos` has three")
    blows = [signal.SIGSTOP, signal.SIGKILL, signal.SIGSTOP][:rounds]
    took, said = rounds_of(warm, settings, tmp_path, rng, blows, lease_s=int(Settings().lease_s))
    opened.closed(f"{rounds} ({max(took):.1f} s)")
    assert said.stale == 0, said
    assert max(took) < WITHIN_S


def test_a_build_without_the_fence_is_caught(
    warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path, account: Open
) -> None:
    opened = account("the same without the fence: stale writes seen")
    _, said = rounds_of(warm, settings, tmp_path, rng, [signal.SIGSTOP] * 3, fenced=False)
    opened.closed(said.stale)
    assert said.stale > 0, said
