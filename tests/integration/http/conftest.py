"""A daemon's web as it is served: a real server on a real socket, over a real database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from monitor.daemon.serve import listen
from monitor.ingest import audit
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import tokens
from monitor.store.database import Database, open_database
from monitor.web.app import create_app
from monitor.web.metrics import Metrics
from monitor.web.server import serving
from monitor.web.view import Site

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
TABLES = (
    *("batch", "reject", "intake_total", "frame_key", "frame", "rollup", "series"),
    *("review", "review_rollup", "business_event"),
)
NDJSON = {"Content-Type": "application/x-ndjson"}
CONTRACT = '[model]\nname = "presses"\n[[classes]]\nname = "dent"\n[cameras]\npolicy = "open"\n'


@dataclass
class Plant:
    """A served daemon, and who knocks at its door."""

    database: Database
    site: Site
    metrics: Metrics
    loaded: LoadedContract
    contracts: dict[str, LoadedContract] = field(default_factory=dict)
    now: datetime = NOW
    address: str = ""
    secrets: dict[str, str] = field(default_factory=dict)

    def token(self, *scopes: str, source: str = "") -> str:
        """A token of these scopes; the same one for the same question."""
        name = " ".join((*scopes, source))
        if name not in self.secrets:
            with self.database.begin() as conn:
                self.secrets[name] = tokens.issue(conn, name, source, scopes, NOW, NOW + timedelta(days=1))
        return self.secrets[name]

    def bearer(self, *scopes: str, source: str = "") -> dict[str, str]:
        """The header with such a token."""
        return {"Authorization": f"Bearer {self.token(*scopes, source=source)}"}

    def sender(self, source: str = "line-7", timeout: float = 60) -> httpx.Client:
        """A client that may send frames as `source`."""
        headers = NDJSON | self.bearer("ingest", source=source)
        return httpx.Client(base_url=self.address, headers=headers, timeout=timeout)

    def ask(self, sentence: str, **values: Any) -> Any:
        """One value of the database."""
        with self.database.begin() as conn:
            return conn.execute(text(sentence), values).scalar_one()

    def stored(self) -> int:
        """Frames in the database, by their table of keys; the frames themselves must be as many."""
        frames = self.ask("SELECT count(*) FROM frame")
        assert frames == self.ask("SELECT count(*) FROM frame_key")
        return int(frames)

    def differing(self) -> int:
        """Roll-up rows that a recount of the frames finds otherwise."""
        task = audit.Task(Window(NOW - timedelta(days=1), NOW))
        found = audit.run(self.database, task, NOW)
        assert found.compared > 0
        return found.differing


def line(number: int | str, **other: Any) -> bytes:
    """A frame record as one line."""
    record = {
        "event_id": f"e{number}",
        "captured_at": "2026-03-03T06:00:00Z",
        "model": "presses",
        "version": "v1",
        "camera": "cam-1",
        "width": 640,
        "height": 480,
        "latency_ms": 12.5,
        "detections": [{"class": "dent", "confidence": 0.9, "box": [1, 2, 30, 40]}],
    }
    return json.dumps(record | other).encode() + b"\n"


def lines(count: int, start: int = 0, **other: Any) -> bytes:
    """A body of so many frames."""
    return b"".join(line(number, **other) for number in range(start, start + count))


@pytest.fixture
def body() -> Callable[..., bytes]:
    """`lines`: a body of so many frames."""
    return lines


@pytest.fixture
def record() -> Callable[..., bytes]:
    """`line`: a frame record as one line."""
    return line


def plant_of(settings: Settings, database: Database) -> Plant:
    """A plant that is not served yet."""
    settings.contracts_dir.mkdir(parents=True, exist_ok=True)
    path = settings.contracts_dir / "presses.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    made: Plant
    site = Site(database, lambda: made.contracts, {}, lambda: made.now, "state/spool")
    loaded = load_contract(path)
    made = Plant(database, site, Metrics(), loaded, {"presses": loaded})
    return made


@contextmanager
def served(plant: Plant, everywhere: bool) -> Iterator[Plant]:
    """The plant behind a socket; `everywhere`: as it is where other machines reach it."""
    listener = listen("127.0.0.1", 0)
    plant.address = "http://{}:{}".format(*listener.getsockname())
    with serving(create_app(plant.site, plant.metrics, everywhere=everywhere), listener):
        yield plant


@pytest.fixture(scope="package")
def kept_plant(
    admin: Engine, drop: Callable[[str], None], migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plant]:
    """One plant for all tests, for this machine alone."""
    name, folder = f"http_{os.getpid()}", tmp_path_factory.mktemp("http")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY wal_log"))
    url = admin.url.set(database=name).render_as_string(hide_password=False)
    settings = Settings(state_dir=folder / "state", contracts_dir=folder / "contracts", database_url=url)
    with open_database(settings) as database, served(plant_of(settings, database), everywhere=False) as made:
        yield made
    drop(name)


@pytest.fixture
def plant(kept_plant: Plant) -> Plant:
    """That plant as on its first day."""
    with kept_plant.database.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
    kept_plant.contracts = {"presses": kept_plant.loaded}
    kept_plant.now = NOW
    return kept_plant


@pytest.fixture
def open_plant(settings: Settings, database: Database) -> Iterator[Plant]:
    """A plant of the test's own, as it is where other machines reach it."""
    with served(plant_of(settings, database), everywhere=True) as made:
        yield made
