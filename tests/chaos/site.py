"""A plant with its database and its intake: what the storms of this suite are let loose on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.children import Child, Nursery
from chaos.oracle import Verdict, judge
from chaos.plant import CONTRACT, Plant

POINTS = {
    "open_batch": "monitor.store.ledger:open_batch",
    "insert_frames": "monitor.store.frames:insert_frames",
    "append": "monitor.store.histograms:append",
    "save_rejects": "monitor.store.ledger:save_rejects",
    "close_batch": "monitor.store.ledger:close_batch",
    "COMMIT": "psycopg:Connection.commit",
    "rename": "os:replace",
    "merge": "monitor.store.histograms:merge",
}
"""Where an intake is killed or failed, by the name under which people know it."""
OFTEN = {"COMMIT": 9, "rename": 1, "merge": 1}
"""How often a point is reached with a file or two; the others once a batch, some three times."""
TRIES = 4
"""Attempts for each kill: a child may have come to its end before."""


@dataclass(slots=True)
class Site:
    """A plant, the database `url`, and a nursery for the intake's children."""

    nursery: Nursery
    url: str
    plant: Plant
    rng: random.Random
    contract: Path = field(init=False)
    _turn: int = 0
    """How many kills at points were tried, so that every point gets its turn, at both sides."""

    def __post_init__(self) -> None:
        self.contract = self.plant.folder.parent / "contracts" / "line.toml"
        self.contract.parent.mkdir(parents=True, exist_ok=True)
        self.contract.write_text(CONTRACT, encoding="utf-8")

    def start(self, wound: dict[str, Any] | None = None, deed: str = "drain", **args: Any) -> Child:
        """Start an intake; by default one that drains the spool once."""
        where = {"folder": str(self.plant.folder), "contract": str(self.contract)}
        return self.nursery.start(deed, wound, **{"url": self.url, "now": self.plant.now.isoformat()} | where | args)

    def drain(self) -> None:
        """Drain the spool in peace, which has to succeed."""
        child = self.start()
        assert child.wait() == 0, child.said

    def judge(self) -> Verdict:
        """Drain what is left, then compare everything."""
        self.drain()
        return judge(self.url, self.plant)

    def killed_at_points(self, kills: int) -> int:
        """Kill an intake at named points, `kills` times in a row; half of the wrecks are what the next one starts on.

        Returns how many kills there were.
        """
        done = 0
        for _ in range(TRIES * kills):
            self.plant.drop(self.rng.choice([1, 2]))
            name = list(POINTS)[self._turn % len(POINTS)]
            side = ("before", "after")[self._turn // len(POINTS) % 2]
            self._turn += 1
            nth = self.rng.randint(1, OFTEN.get(name, 3))
            child = self.start({"where": POINTS[name], "nth": nth, "side": side, "act": "kill"})
            done += self._died(child)
            if done == kills:
                return done
        return done

    def killed_at_random(self, kills: int) -> int:
        """Kill an intake at random moments, likewise."""
        done, lasts = 0, 0.1
        for _ in range(TRIES * kills):
            self.plant.drop(self.rng.choice([1, 2]))
            child = self.start()
            if child.ended(self.rng.uniform(0, lasts)):
                assert child.code == 0, child.said
                lasts *= 0.9
                continue
            done += child.kill()
            lasts *= 1.05
            if self.rng.random() < 0.5:
                self.drain()
            if done == kills:
                return done
        return done

    def _died(self, child: Child) -> bool:
        code = child.wait()
        assert code in (0, -9), child.said
        if code and self.rng.random() < 0.5:
            self.drain()
        return code == -9
