"""/metrics of a plant of 100 cameras and 20 classes, where every camera and class has an alert: how many series, how
many bytes, how long a scrape takes over HTTP, and that it goes on, and says so, when the database is dead."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from monitor.daemon.context import Context
from monitor.daemon.jobs import JOBS, turns
from monitor.daemon.run import run_job, run_once
from monitor.daemon.serve import listen
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store import migrate
from monitor.store.database import Database, open_database
from monitor.web.app import create_app
from monitor.web.server import serving
from monitor.web.view import Site

CAMERAS, CLASSES = 100, 20
SCRAPES = 30
MOST_SERIES, MOST_BYTES, MOST_S = 2000, 1_000_000, 0.2
ALERTS = text("""
    INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name,
        measure, severity, state, episode, breaches, clears, since, window_end, value, threshold, n, reason, revision)
    SELECT format('bench/%s/%s', camera, class), 'bench', 'v1', '', format('cam-%s', camera), '', '', 'mix',
        'confidence', format('class-%s', class), 'psi', 'warning',
        CASE WHEN (camera + class) % 3 = 0 THEN 'firing' ELSE 'ok' END, 1, 0, 0, :now, :now, 0.5, 0.3, 500, '', 1
    FROM generate_series(1, :cameras) camera, generate_series(1, :classes) class
""")


def figures() -> Iterator[dict[str, Any]]:
    """Series, bytes and seconds, with the database well and with it dead."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        contracts = folder / "contracts"
        contracts.mkdir()
        (contracts / "bench.toml").write_text(_contract(), encoding="utf-8")
        settings = Settings(state_dir=folder / "state", contracts_dir=contracts)
        with open_database(settings) as database:
            migrate.upgrade(database.engine)
            context = Context(settings, database, Shelf(contracts))
            now = datetime.now(UTC)
            run_once(context, now)
            with database.begin() as conn:
                conn.execute(ALERTS, {"now": now, "cameras": CAMERAS, "classes": CLASSES})
            run_once(context, now)
            yield from _scraped(context)


def _contract() -> str:
    classes = "".join(f'[[classes]]\nname = "class-{i}"\n' for i in range(1, CLASSES + 1))
    cameras = "".join(f'[[cameras.list]]\nname = "cam-{i}"\n' for i in range(1, CAMERAS + 1))
    rule = 'name = "mix"\nsignal = "confidence"\nmeasure = "psi"\nabove = 0.2\nby_class = true\nmin_n = 500\n'
    return f'[model]\nname = "bench"\n{classes}{cameras}[[alerts]]\n{rule}'


def _scraped(context: Context) -> Iterator[dict[str, Any]]:
    site = Site(context.database, lambda: context.shelf.contracts, turns(), context.clock, "spool")
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with serving(create_app(site, context.metrics), listener), httpx.Client() as client:
        took, page = _scrape(client, port)
        yield _figure("series on /metrics, 100 cameras x 20 classes", _series(page), "series", MOST_SERIES)
        yield _figure("bytes of that page", len(page.encode()), "bytes", MOST_BYTES)
        yield _figure("a scrape of it, median", took, "s", MOST_S)
        with _dead(context.database):
            run_job(context, JOBS[0], context.clock(), context.clock())
            took, page = _scrape(client, port)
        yield _figure("a scrape with the database dead, median", took, "s", MOST_S)
        says_so = "\nmonitor_database_up 0.0\n" in page and _series(page) > MOST_SERIES / 2
        yield _figure("series that it says with the database dead", _series(page), "series", MOST_SERIES, says_so)


def _scrape(client: httpx.Client, port: int) -> tuple[float, str]:
    took, page = [], ""
    for _ in range(SCRAPES):
        began = time.perf_counter()
        page = client.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
        took.append(time.perf_counter() - began)
    return statistics.median(took), page


def _series(page: str) -> int:
    return len(re.findall(r"^[a-z]", page, flags=re.M))


@contextmanager
def _dead(database: Database) -> Iterator[None]:
    """Nobody gets in any more: what a dead server looks like, but the daemon cannot start it again."""
    url = database.engine.url
    outside = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    admits = f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS'
    try:
        with outside.connect() as conn:
            conn.execute(text(f"{admits} false"))
        database.engine.dispose()
        yield
    finally:
        with outside.connect() as conn:
            conn.execute(text(f"{admits} true"))
        outside.dispose()


def _figure(name: str, value: float, unit: str, limit: float, also: bool = True) -> dict[str, Any]:
    return {
        "figure": name,
        "value": round(value, 4),
        "unit": unit,
        "peer": "limit",
        "peer_value": limit,
        "ratio": round(limit / value, 2) if value else None,
        "goal": 1,
        "holds": value <= limit and also,
    }
