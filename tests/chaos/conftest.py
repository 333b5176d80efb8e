"""Chaos: the real intake on a real Postgres, killed, cut off and failed; afterwards everything is counted again.

A small count by default, the full one with CHAOS=full (`make chaos`). CHAOS_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chaos.children import Nursery, nursery
from chaos.oracle import Verdict
from chaos.plant import Plant
from chaos.site import Site

from monitor.settings import Settings

FULL = os.environ.get("CHAOS") == "full"
SEED = int(os.environ.get("CHAOS_SEED") or (random.SystemRandom().randrange(10**6) if FULL else 1))
os.environ["CHAOS_SEED"] = str(SEED)  # processes that run tests beside each other all have the one seed
BEGAN = time.monotonic()
HEAD = ("what", "how many", "lost", "duplicate", "wrong cells", "seconds")
ROW = "chaos"
"""The property under which a test's report carries a row of the table, also from one process to another."""


@dataclass(slots=True)
class Account:
    """What one storm did and what was found after it, for the table at the end."""

    what: str
    properties: list[tuple[str, object]]
    began: float = field(default_factory=time.monotonic)

    def closed(self, how_many: int | str, verdict: Verdict | None = None) -> None:
        """Write the row."""
        found = [str(verdict.lost), str(verdict.duplicate), str(verdict.cells)] if verdict else ["", "", ""]
        row = [self.what, str(how_many), *found, f"{time.monotonic() - self.began:.1f}"]
        self.properties.append((ROW, row))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of what was done and found, whichever processes did it, and how long the whole took."""
    ended = [one for some in terminalreporter.stats.values() for one in some if getattr(one, "when", "") == "call"]
    rows = [row for report in ended for name, row in report.user_properties if name == ROW]
    if not rows:
        return
    terminalreporter.section(f"chaos, seed {SEED}" + ("" if FULL else " (a small count; `make chaos` does all)"))
    whole = ["the whole", "", "", "", "", f"{time.monotonic() - BEGAN:.1f}"]
    for what, how_many, lost, duplicate, cells, seconds in (HEAD, *sorted(rows), whole):
        terminalreporter.write_line(f"{what:<56}{how_many:>14}{lost:>7}{duplicate:>11}{cells:>13}{seconds:>9}")


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Callable[[str], Account]:
    """Opens an account for the table."""
    return lambda what: Account(what, request.node.user_properties)


@pytest.fixture
def count() -> Callable[[int, int], int]:
    """Picks the count: of the small run, or of the full one."""
    return lambda small, full: full if FULL else small


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of the test's own: the same whichever tests run beside it."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """A nursery with the whole program imported."""
    with nursery(tmp_path_factory.mktemp("nursery"), modules=("monitor.cli.main",)) as running:
        yield running


@pytest.fixture
def site(warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path) -> Site:
    """A plant with a fresh migrated database."""
    assert settings.database_url is not None
    return Site(warm, settings.database_url, Plant(tmp_path / "spool", rng), rng)
