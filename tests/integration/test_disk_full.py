"""A disk that fills up, as a small file system in memory: intake stops before the server does, and a server that
ended with a PANIC comes back with every record that was acknowledged."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as count_up
from pathlib import Path
from typing import NoReturn

import pytest
import small_plant
from small_plant import NOW, drop_file
from sqlalchemy import text

from monitor.errors import DependencyAway, NoRoom
from monitor.ingest import stage
from monitor.settings import Settings
from monitor.spec.load import LoadedContract
from monitor.store import migrate
from monitor.store.database import Database, open_database
from monitor.store.disk import MIB

DISK_MIB = 120


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Iterator[Path]:
    """A file system of 120 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        missing("tmpfs", f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def contract(tmp_path: Path) -> LoadedContract:
    return small_plant.contract(tmp_path)


@contextmanager
def opened(disk: Path) -> Iterator[Database]:
    with open_database(Settings(state_dir=disk / "state")) as database:
        if migrate.check(database.engine).state is not migrate.State.CURRENT:
            migrate.upgrade(database.engine)
        yield database


def fill(disk: Path, leave: int) -> Path:
    """Take all of the disk but `leave` bytes."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leave)
    return filler


def load_until_refused(
    database: Database, spool: Path, contract: LoadedContract, frames: int, hours: int
) -> tuple[int, str]:
    """Take in one file after the other; how many there were before one was refused, and with which words."""
    for number in count_up():
        drop_file(spool, number, frames, hours)
        try:
            assert stage.run(database, spool, {"plant": contract}, NOW) == frames
        except NoRoom as refused:
            return number, str(refused)
    raise AssertionError


def count(database: Database) -> int:
    with database.begin() as conn:
        return int(conn.execute(text("SELECT count(*) FROM frame")).scalar_one())


def log_of(disk: Path) -> str:
    return "".join(file.read_text() for file in (disk / "state/postgres/data/log").glob("*.log"))


@pytest.mark.parametrize(("frames", "hours"), [(2000, 1), (500, 900), (4000, 900)])
def test_intake_stops_before_the_server_does(
    small_disk: Path, tmp_path: Path, contract: LoadedContract, frames: int, hours: int
) -> None:
    """A busy hour, a quiet plant's months in small files, and in files so large that one alone does not fit."""
    spool = tmp_path / "spool"
    with opened(small_disk) as database:
        files, said = load_until_refused(database, spool, contract, frames, hours)
        assert "kept for the server itself" in said
        assert [file.name for file in (spool / "incoming").iterdir()] == [f"{files:04d}.jsonl"], "it stays"
        assert count(database) == files * frames
        assert database.postgres is not None
        assert database.postgres.room.free > database.postgres.room.reserve / 2, "and the server goes on"
    assert "PANIC" not in log_of(small_disk)


def test_what_waited_is_taken_in_once_there_is_room(
    small_disk: Path, tmp_path: Path, contract: LoadedContract
) -> None:
    spool = tmp_path / "spool"
    drop_file(spool, 0, 500, 1)
    with opened(small_disk) as database:
        filler = fill(small_disk, 10 * MIB)
        with pytest.raises(NoRoom):
            stage.run(database, spool, {"plant": contract}, NOW)
        filler.unlink()
        assert stage.run(database, spool, {"plant": contract}, NOW) == 500


def test_a_server_that_ended_with_a_panic_comes_back(
    small_disk: Path, tmp_path: Path, contract: LoadedContract
) -> None:
    spool = tmp_path / "spool"
    drop_file(spool, 0, 1000, 10)
    with opened(small_disk) as database:
        assert stage.run(database, spool, {"plant": contract}, NOW) == 1000
        filler = fill(small_disk, 0)
        with pytest.raises(DependencyAway) as told:
            write_ahead_until_it_ends(database)
        assert told.type is DependencyAway, "the server went, it did not merely refuse"
        assert came_back(database, 30) == 1000

        drop_file(spool, 1, 100, 1)
        with pytest.raises(NoRoom):
            stage.run(database, spool, {"plant": contract}, NOW)
        filler.unlink()
        assert stage.run(database, spool, {"plant": contract}, NOW) == 100


def test_a_server_that_cannot_start_for_want_of_room_gets_that_of_the_ballast(
    small_disk: Path, tmp_path: Path, contract: LoadedContract
) -> None:
    spool = tmp_path / "spool"
    drop_file(spool, 0, 1000, 10)
    with opened(small_disk) as database:
        assert stage.run(database, spool, {"plant": contract}, NOW) == 1000
        assert database.postgres is not None
        room = database.postgres.room
        assert room.file.stat().st_blocks * 512 >= room.ballast, "it takes up what it says"
        filler = fill(small_disk, 0)
        os.kill(int((small_disk / "state/postgres/data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        assert came_back(database, 30) == 1000
        assert not room.held
        filler.unlink()
        drop_file(spool, 1, 100, 1)
        assert stage.run(database, spool, {"plant": contract}, NOW) == 100
        assert room.held, "it lies there for the next time"


def came_back(database: Database, seconds: float) -> int:
    """The frames that a server has which is on its way back, as the daemon brings it: again and again."""
    assert database.postgres is not None
    deadline = time.monotonic() + seconds
    while True:
        try:
            database.postgres.ensure_running()
            return count(database)
        except DependencyAway:
            assert time.monotonic() < deadline


def write_ahead_until_it_ends(database: Database) -> None:
    """Nothing but WAL, which takes no room in tables."""
    for _ in range(200):
        with database.begin() as conn:
            conn.execute(text("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))"))
