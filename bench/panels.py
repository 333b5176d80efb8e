"""What a dashboard asks, at three million frames: each query of each panel at 1 h, 24 h and 30 d, and six of the same
questions asked of the raw frames.

A day of 100,000 frames of ten cameras is taken in by the product, then copied day by day in SQL: frames and roll-ups.
Baseline, measurements, and whatever rests on them are the product's own. The reading role asks, over TCP, as Grafana
does.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import create_engine, text

from monitor.drift import baseline
from monitor.drift import stage as drift
from monitor.ingest import stage as intake
from monitor.panels.expand import ALL, View, expand
from monitor.panels.grafana import EVERYTHING, points
from monitor.panels.registry import BOARDS
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import contracts, days, frames, migrate
from monitor.store.database import Database, open_database

A_DAY, DAYS, CAMERAS = 100_000, 30, 10
CLASSES = ("carton", "pouch", "bottle")
RUNS = 3
GOAL_MS, GOAL_RATIO = 300.0, 50.0
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
END = START + DAYS * DAY
RANGES = {"1h": timedelta(hours=1), "24h": DAY, "30d": 30 * DAY}
_COPY = (
    "INSERT INTO frame (captured_at, event_id, {others})"
    " SELECT captured_at + :by, event_id || :mark, {others} FROM template",
    "INSERT INTO rollup (series_id, start_at, batch_id, n, frames, total, squares, bins, counts)"
    " SELECT series_id, start_at + :by, 0, n, frames, total, squares, bins, counts FROM template_rollup",
)
_OTHERS = """
    SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = 'frame'::regclass AND attnum > 0 AND NOT attisdropped
        AND attname NOT IN ('captured_at', 'event_id')
"""
_IN = "captured_at >= '{start}' AND captured_at < '{end}' AND model = 'bench' AND NOT shadow"
RAW = {
    "error-rate-now": f"SELECT avg((status <> 'ok')::int), count(*) FROM frame WHERE {_IN}",
    "throughput": f"SELECT date_trunc('hour', captured_at), count(*) FROM frame WHERE {_IN} GROUP BY 1 ORDER BY 1",
    "latency-p95-now": f"SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) FROM frame WHERE {_IN}",
    "confidence-now": f"SELECT avg(c) FROM frame, unnest(det_confidence) AS d (c) WHERE {_IN}",
    "classes": "SELECT k, count(*), avg(c) FROM frame, unnest(det_class, det_confidence) AS d (k, c)"
    f" WHERE {_IN} GROUP BY 1",
    "cameras-confidence": f"SELECT camera, avg(c) FROM frame, unnest(det_confidence) AS d (c) WHERE {_IN} GROUP BY 1",
}
"""Panels' questions over 30 days, asked of the frames."""


def figures() -> Iterator[dict[str, Any]]:
    """The slowest query of each range, and how many times faster a panel is than the same question on raw rows."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        settings = Settings(state_dir=Path(name) / "state", embedded_port=port)
        with open_database(settings) as database:
            _fill(database, Path(name))
            with _reader(database, port) as conn:
                took = _panels(conn)
            with database.begin() as conn:
                raw = {name: _timed_raw(conn, sql) for name, sql in RAW.items()}
    for span in RANGES:
        slowest = max((one for one in took if one[1] == span), key=took.__getitem__)
        yield {
            "name": f"panels.slowest.{span}",
            "value": round(took[slowest], 1),
            "unit": f"ms, {slowest[0]}, median of {RUNS}, {A_DAY * DAYS:,} frames",
            "against": f"limit of {GOAL_MS:g} ms; {sum(one[1] == span for one in took)} queries",
            "ratio": round(GOAL_MS / took[slowest], 2),
            "goal": 1,
            "holds": took[slowest] <= GOAL_MS,
        }
    for name, slow in raw.items():
        fast = took[f"{name}.A", "30d"]
        yield {
            "name": f"panels.raw.{name}",
            "value": round(fast, 1),
            "unit": "ms over 30 days",
            "against": f"raw frames: {slow:.0f} ms",
            "ratio": round(slow / fast, 1),
            "goal": GOAL_RATIO,
            "holds": slow / fast >= GOAL_RATIO,
        }


def _panels(conn: psycopg.Connection) -> dict[tuple[str, str], float]:
    took: dict[tuple[str, str], float] = {}
    for board in BOARDS:
        for one in board.observables:
            for query in (*one.queries, *((one.threshold,) if one.threshold else ())):
                for span, length in RANGES.items() if query.source == "postgres" else ():
                    view = View(END - (30 * DAY if one.period else length), END, _chosen(), points(one))
                    sql = expand(query.text, view, EVERYTHING).encode()
                    took[f"{one.name}.{query.ref}", span] = statistics.median(_timed(conn, sql) for _ in range(RUNS))
    return took


def _chosen() -> dict[str, str | list[str]]:
    return {"model": "bench", "version": [ALL], "stage": [ALL], "camera": [ALL], "class": [ALL], "slice": "all"}


def _timed(conn: psycopg.Connection, sql: bytes) -> float:
    before = time.perf_counter()
    conn.execute(sql).fetchall()
    return 1000 * (time.perf_counter() - before)


def _timed_raw(conn: Any, sql: str) -> float:
    said = sql.format(start=START.isoformat(), end=END.isoformat())
    before = time.perf_counter()
    conn.execute(text(said)).all()
    return 1000 * (time.perf_counter() - before)


def _reader(database: Database, port: int) -> psycopg.Connection:
    assert database.postgres is not None
    password = database.postgres.password_file.read_text().strip()
    address = f"host=127.0.0.1 port={port} dbname=monitor user=monitor_reader"
    return psycopg.connect(address, password=password, autocommit=True)


def _fill(database: Database, folder: Path) -> None:
    migrate.upgrade(database.engine)
    loaded = _contract(folder)
    with database.begin() as conn:
        contracts.take_up(conn, [loaded], START)
    spool = folder / "spool"
    (spool / "incoming").mkdir(parents=True)
    rng = np.random.default_rng(5)
    (spool / "incoming" / "day.jsonl").write_text("\n".join(json.dumps(_record(rng, i)) for i in range(A_DAY)))
    stored = intake.run(database, spool, {"bench": loaded}, START + 2 * DAY)
    assert stored == A_DAY, f"{stored} of {A_DAY} frames were stored"
    with database.begin() as conn:
        for name, table in (("template", "frame"), ("template_rollup", "rollup")):
            conn.execute(text(f"CREATE TABLE {name} AS TABLE {table}"))
    for day in range(1, DAYS):
        _copy(database, day)
        if day % 10 == 9:
            print(f"  {(day + 1) * A_DAY:,} frames", file=sys.stderr, flush=True)
    baseline.from_logs(database, loaded, "v1", Window(START, START + 7 * DAY), END)
    drift.run(database, loaded, END + loaded.contract.drift.settle)
    with database.begin() as conn:
        due = days.undone(conn, END, DAYS * CAMERAS)
    for camera_day in due:
        with database.begin() as conn:
            days.merge(conn, [camera_day])
    superuser = create_engine(database.engine.url.set(username="postgres"), isolation_level="AUTOCOMMIT")
    with superuser.connect() as conn:
        conn.execute(text("VACUUM (ANALYZE)"))
        conn.execute(text("CHECKPOINT"))
    superuser.dispose()


def _copy(database: Database, day: int) -> None:
    with database.begin() as conn:
        frames.make_days(conn, [(START + day * DAY).date()])
    with database.begin() as conn:
        others = conn.execute(text(_OTHERS)).scalar_one()
        for statement in _COPY:
            conn.execute(text(statement.format(others=others)), {"by": day * DAY, "mark": f"-{day}"})


def _contract(folder: Path) -> LoadedContract:
    path = folder / "bench.toml"
    classes = "".join(f'[[classes]]\nname = "{name}"\n' for name in CLASSES)
    conditions = '[[conditions]]\nname = "lighting"\nvalues = ["day", "night"]\n'
    rules = '[[alerts]]\nname = "light"\nsignal = "brightness"\nmeasure = "psi"\nabove = 0.2\n'
    said = f'[model]\nname = "bench"\n[cameras]\npolicy = "open"\n{classes}{conditions}{rules}'
    path.write_text(said, encoding="utf-8")
    return load_contract(path)


def _record(rng: np.random.Generator, i: int) -> dict[str, Any]:
    second = i * 86_400 // A_DAY
    grey = float(np.clip(rng.normal(120, 12), 0, 255))
    bins = [0] * 32
    bins[int(grey) // 8] = 1
    ok = rng.random() > 0.01
    return {
        "event_id": f"e{i:06d}",
        "captured_at": f"2026-01-05T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z",
        "model": "bench",
        "version": "v1",
        "camera": f"cam-{i % CAMERAS:02d}",
        "width": 1280,
        "height": 720,
        "status": "ok" if ok else "timeout",
        "latency_ms": float(rng.lognormal(3, 0.3)),
        "queue_depth": int(rng.integers(0, 6)),
        "slices": {"lighting": "day" if 6 <= second // 3600 < 18 else "night"},
        "image": {
            "recipe": "r",
            "brightness": grey,
            "contrast": float(np.clip(rng.normal(40, 4), 0, 128)),
            "sharpness": float(rng.normal(5, 0.4)),
            "red_balance": 0.01,
            "blue_balance": -0.01,
            "histogram": bins,
        },
        "detections": [
            {"class": CLASSES[i % 3], "confidence": float(rng.beta(8, 2)), "box": [10, 10, 100 + i % 50, 90]}
            for _ in range(3 * ok)
        ],
    }
