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
ROWS: list[tuple[str, str, str, str, str, str]] = []


@dataclass(slots=True)
class Account:
    """What one storm did and what was found after it, for the table at the end."""

    what: str
    began: float = field(default_factory=time.monotonic)

    def closed(self, how_many: int | str, verdict: Verdict | None = None) -> None:
        """Write the row."""
        found = [str(verdict.lost), str(verdict.duplicate), str(verdict.cells)] if verdict else ["", "", ""]
        ROWS.append((self.what, str(how_many), *found, f"{time.monotonic() - self.began:.1f}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of what was done and found."""
    if not ROWS:
        return
    terminalreporter.section(f"chaos, seed {SEED}" + ("" if FULL else " (a small count; `make chaos` does all)"))
    for what, how_many, lost, duplicate, cells, seconds in (
        ("what", "how many", "lost", "duplicate", "wrong cells", "seconds"),
        *ROWS,
    ):
        terminalreporter.write_line(f"{what:<52}{how_many:>16}{lost:>7}{duplicate:>11}{cells:>13}{seconds:>9}")


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Callable[[str], Account]:
    """Opens an account for the table."""
    return Account


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
    """A nursery with the intake imported."""
    with nursery(tmp_path_factory.mktemp("nursery")) as running:
        yield running


@pytest.fixture
def site(warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path) -> Site:
    """A plant with a fresh migrated database."""
    assert settings.database_url is not None
    return Site(warm, settings.database_url, Plant(tmp_path / "spool", rng), rng)
