"""Work that is killed at every COMMIT, in a child, and done again until it comes through."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import psycopg

from monitor.settings import Settings
from monitor.store.database import Database, open_database

Work = Callable[[Database], object]


def kill_at(settings: Settings, work: Work, number: int, *, after: bool) -> bool:
    """Do the work in a child that kills itself at its number-th COMMIT; False: there were not that many."""

    def child() -> None:
        seen = 0
        commit = psycopg.Connection.commit

        def hooked(connection: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            commit(connection)
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

        with open_database(settings) as database:
            psycopg.Connection.commit = hooked  # type: ignore[method-assign]
            work(database)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def killed_everywhere(settings: Settings, work: Work) -> int:
    """Run the work again and again, each run killed one COMMIT later, until one comes through; returns the kills."""
    kills = 0
    while kill_at(settings, work, kills // 2 + 1, after=kills % 2 == 1):
        kills += 1
        assert kills < 200
    return kills
