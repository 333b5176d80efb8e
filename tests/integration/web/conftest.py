"""A small plant whose frames go the whole way: spool, the daemon's own jobs, baseline, drift, alerts, web."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, text

from monitor.daemon.context import Context
from monitor.daemon.jobs import turns
from monitor.daemon.run import run_once
from monitor.drift import baseline
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store.database import Database, open_database
from monitor.web.app import create_app
from monitor.web.metrics import Metrics
from monitor.web.view import Site

START = datetime(2026, 3, 2, tzinfo=UTC)
AWKWARD, SCRIPT = 'o\'brien "x"', "<script>alert(1)</script>"
CONTRACT = """
[model]
name = "presses"
[[classes]]
name = "dent"
[[classes]]
name = "scratch"
[cameras]
policy = "open"
[[cameras.list]]
name = "cam-1"
site = "north"
line = "press 1"
[[cameras.list]]
name = "cam-idle"
site = "north"
[[alerts]]
name = "brightness-drift"
signal = "brightness"
measure = "psi"
above = 0.2
min_n = 48
for_windows = 2
"""


def _detection(rng: np.random.Generator, light: float) -> dict[str, Any]:
    return {
        "class": "dent" if rng.random() < 0.7 else "scratch",
        "confidence": float(rng.beta(8, 2) * (0.5 + 0.5 * light)),
        "box": [10.0, 10.0, 40.0 + 20 * float(rng.random()), 60.0],
    }


def records(day: int, camera: str, light: float = 1.0, frames: int = 60) -> list[dict[str, Any]]:
    """A day of one camera; `light` multiplies what the pixels show. The same arguments give the same records."""
    rng = np.random.default_rng([day, *camera.encode()])
    made = []
    for number in range(frames):
        grey = float(np.clip(rng.normal(120, 6) * light, 0, 255))
        histogram = [0] * 32
        histogram[int(grey // 8)] = 1000
        failed = rng.random() < 0.02
        made.append(
            {
                "event_id": f"{camera}-{day}-{number}",
                "captured_at": (START + timedelta(days=day, hours=6, minutes=16 * number)).isoformat(),
                "model": "presses",
                "version": "v1.0",
                "camera": camera,
                "width": 640,
                "height": 480,
                "status": "timeout" if failed else "ok",
                "latency_ms": float(rng.lognormal(3, 0.3)),
                "image": {
                    "recipe": "full-1",
                    "brightness": grey,
                    "contrast": float(rng.normal(40, 2)),
                    "sharpness": float(rng.normal(5, 0.3)),
                    "red_balance": float(rng.normal(0, 0.02)),
                    "blue_balance": float(rng.normal(0, 0.02)),
                    "histogram": histogram,
                },
                "detections": [] if failed else [_detection(rng, light) for _ in range(rng.poisson(2))],
            }
        )
    return made


@dataclass
class Plant:
    """The plant and the daemon that watches it."""

    context: Context
    cameras: tuple[str, ...] = ("cam-1", AWKWARD)

    def drop(self, name: str, lines: list[dict[str, Any]]) -> Path:
        """Put a whole file into the spool."""
        incoming = self.context.settings.spool_dir / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        file = incoming / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return file

    def day(self, number: int, light: float = 1.0) -> dict[str, int]:
        """A day of production, then every job once at two o'clock after it; only cam-1 sees `light`."""
        for place, camera in enumerate(self.cameras):
            self.drop(f"{number:03d}-{place}", records(number, camera, light if camera == "cam-1" else 1.0))
        return self.jobs(number + 1)

    def jobs(self, day: int, hours: float = 2.0) -> dict[str, int]:
        """Every job once, so many hours into a day."""
        return run_once(self.context, START + timedelta(days=day, hours=hours))

    def freeze(self, days: int) -> int:
        """The number of a baseline of the first `days` days."""
        period = Window(START, START + timedelta(days=days))
        loaded = self.context.shelf.contracts["presses"]
        now = period.end + timedelta(hours=2)
        return baseline.from_logs(self.context.database, loaded, "v1.0", period, now).baseline.id

    @property
    def site(self) -> Site:
        """What the daemon hands to its web."""
        context = self.context
        return Site(context.database, lambda: context.shelf.contracts, turns(), context.clock, "state/spool")


def plant_of(settings: Settings, database: Database) -> Plant:
    """A plant with its contract and nothing produced yet."""
    settings.contracts_dir.mkdir(parents=True)
    (settings.contracts_dir / "presses.toml").write_text(CONTRACT, encoding="utf-8")
    return Plant(Context(settings, database, Shelf(settings.contracts_dir)))


@pytest.fixture
def plant(settings: Settings, database: Database) -> Plant:
    """A plant of the test's own."""
    return plant_of(settings, database)


@pytest.fixture(scope="package")
def drifted(
    admin: Engine, drop: Callable[[str], None], migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plant]:
    """For reading only: four clean days, a baseline of them, then three on which cam-1 sees a fifth less light."""
    name, folder = f"drifted_{os.getpid()}", tmp_path_factory.mktemp("drifted")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY wal_log"))
    url = admin.url.set(database=name).render_as_string(hide_password=False)
    settings = Settings(state_dir=folder / "state", contracts_dir=folder / "contracts", database_url=url)
    with open_database(settings) as database:
        made = plant_of(settings, database)
        made.cameras += (SCRIPT,)
        for day in range(4):
            made.day(day)
        made.freeze(4)
        for day in range(4, 7):
            made.day(day, light=0.8)
        made.context.clock = lambda: START + timedelta(days=100)
        yield made
    drop(name)


def browser(site: Site, metrics: Metrics) -> Callable[..., httpx.Response]:
    """A function that gets an address of the web, with its query as keywords."""
    app = create_app(site, metrics)

    async def fetch(address: str, query: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get(address, params=query or None)

    return lambda address, **query: asyncio.run(fetch(address, query))


@pytest.fixture
def browse(plant: Plant) -> Callable[..., httpx.Response]:
    """Get an address of the test's own plant."""
    return browser(plant.site, plant.context.metrics)


@pytest.fixture
def read(drifted: Plant) -> Callable[..., httpx.Response]:
    """Get an address of the drifted plant."""
    return browser(drifted.site, drifted.context.metrics)


@pytest.fixture
def read_at(drifted: Plant) -> Callable[[datetime], Callable[..., httpx.Response]]:
    """`read`, at another time of the clock."""
    return lambda now: browser(replace(drifted.site, clock=lambda: now), drifted.context.metrics)


@pytest.fixture
def story_start() -> datetime:
    """Midnight before the plant's first day."""
    return START


@pytest.fixture
def day_of_records() -> Callable[..., list[dict[str, Any]]]:
    """`records`: a day of one camera."""
    return records
