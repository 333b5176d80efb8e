"""A disk that is nearly full, at random levels: intake refuses before Postgres ends with a PANIC; and after a PANIC
that was forced, everything that was acknowledged is there."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from chaos.children import Nursery
from chaos.conftest import Account
from chaos.oracle import judge
from chaos.plant import Plant
from chaos.site import Site
from chaos.waiting import eventually
from sqlalchemy import text

from monitor.errors import DependencyAway, NoRoom
from monitor.ingest import stage
from monitor.settings import Settings
from monitor.spec.load import load_contract
from monitor.store import frames, migrate
from monitor.store.database import Database, open_database

MIB = 1 << 20
DISK_MIB = 120
LAST_WORDS = 64 << 10
"""Room for the log, which lies on the same disk; far less than a segment of WAL takes."""
UP_WITHIN_S = 30


@pytest.fixture
def disk(tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Iterator[Path]:
    """A file system of 120 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder]
    mounted = subprocess.run(asked, capture_output=True, text=True, check=False)
    if mounted.returncode:
        missing("tmpfs", f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all of the disk but `leave` bytes."""
    found, filler = os.statvfs(disk), disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(found.f_bavail * found.f_frsize - leave, 1))
    return filler


def ended_with_a_panic(database: Database) -> bool:
    """Whether the server's log has one. Nothing else writes the word: the logs are its own."""
    assert database.postgres is not None
    logs = (database.postgres.data_directory / "log").glob("*.log")
    return any("PANIC" in log.read_text(errors="replace") for log in logs)


def take_in(database: Database, site: Site) -> None:
    contracts = {"line": load_contract(site.contract)}
    stage.drain(database, site.plant.folder, contracts, site.plant.now)


def until_refused(database: Database, site: Site) -> None:
    """Drop files and take them in until one is refused."""
    for _ in range(1000):
        site.plant.drop(2)
        try:
            take_in(database, site)
        except NoRoom:
            return
    raise AssertionError("nothing was refused")


def test_refused_before_a_panic_and_back_after_one(
    warm: Nursery, disk: Path, rng: random.Random, tmp_path: Path,
    count: Callable[[int, int], int], account: Callable[[str], Account],
) -> None:  # fmt: skip
    rounds, opened = count(1, 10), account("disk nearly full: refused before a PANIC")
    with open_database(Settings(state_dir=disk / "state")) as database:
        migrate.upgrade(database.engine)
        assert database.postgres is not None
        plant = Plant(tmp_path / "spool", rng, longest=200)
        site = Site(warm, database.postgres.url, plant, rng)
        with database.begin() as conn:
            frames.make_days(conn, [plant.now.date()])
        room = database.postgres.room
        for _ in range(rounds):
            filler = fill(disk, room.reserve + rng.randrange(3 * MIB))
            until_refused(database, site)
            assert not ended_with_a_panic(database)
            filler.unlink()
            take_in(database, site)
        verdict = judge(site.url, plant)
        opened.closed(f"{rounds} of {rounds}", verdict)
        assert verdict.clean, verdict
        forced = account("a PANIC forced: up again, all acknowledged")
        filler = fill(disk, LAST_WORDS)
        with pytest.raises(DependencyAway):
            write_ahead_until_it_ends(database)
        eventually(lambda: ended_with_a_panic(database), 10, "the log has the PANIC")
        began = time.monotonic()
        database.postgres.ensure_running()
        with database.begin() as conn:
            conn.execute(text("SELECT count(*) FROM frame"))
        up_after = time.monotonic() - began
        verdict = judge(site.url, plant)
        assert verdict.clean, verdict
        filler.unlink()
        plant.drop(2)
        take_in(database, site)
        verdict = judge(site.url, plant)
        forced.closed(f"1 ({up_after:.1f} s)", verdict)
    assert verdict.clean, verdict
    assert up_after < UP_WITHIN_S


def test_a_server_that_lives_and_can_let_nobody_in_gets_the_ballast(disk: Path) -> None:
    with open_database(Settings(state_dir=disk / "state")) as database:
        assert database.postgres is not None
        # As after a crash: gone, and written anew by the first session that comes, if it can.
        for file in database.postgres.data_directory.rglob("pg_internal.init"):
            file.unlink()
        database.engine.dispose()
        filler = fill(disk, 0)
        with pytest.raises(DependencyAway, match="No space left"), database.begin():
            pass
        database.postgres.ensure_running()
        with database.begin() as conn:
            assert conn.execute(text("SELECT 1")).scalar_one() == 1
        assert not database.postgres.room.file.exists()
        filler.unlink()


def write_ahead_until_it_ends(database: Database) -> None:
    """Nothing but WAL, which takes no room in tables."""
    for _ in range(400):
        with database.begin() as conn:
            conn.execute(text("SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 1000000))"))
