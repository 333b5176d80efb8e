"""What Grafana's role may do on the database, statement by statement, and what it may not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from packing import Served

from monitor.store.binaries import find_binaries, server_account

ROOT = Path(__file__).parents[2]
ALLOWED = (
    "SELECT count(*) FROM reporting.rollup",
    "SELECT count(*) FROM reporting.bucket",
    "SELECT through < now() FROM reporting.merged",
    "SELECT rule, above FROM reporting.threshold",
    "SELECT sentence FROM reporting.told",
    "SELECT date_trunc('day', now(), 'UTC')",
    "WITH a AS (SELECT n FROM reporting.verdict CROSS JOIN (SELECT 1 AS n) one) SELECT count(*) FROM a",
    "EXPLAIN SELECT * FROM reporting.measured",
)
DENIED = (
    "SELECT count(*) FROM public.frame",
    "SELECT count(*) FROM public.rollup",
    "SELECT text FROM public.contract",
    "SELECT * FROM public.access_token",
    "SELECT raw FROM public.reject",
    "INSERT INTO reporting.intake (source) VALUES ('x')",
    "UPDATE reporting.alert SET state = 'ok'",
    "DELETE FROM reporting.measurement",
    "TRUNCATE public.rollup",
    "CREATE TABLE public.mine (a int)",
    "CREATE TABLE reporting.mine (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP VIEW reporting.alert",
    "GRANT SELECT ON public.frame TO monitor_reader",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY reporting.alert TO '/tmp/x'",
    "SET ROLE monitor",
    "ALTER ROLE monitor_reader SUPERUSER",
    "CREATE ROLE mine",
    "SELECT pg_reload_conf()",
    "SELECT pg_switch_wal()",
)


@pytest.fixture(scope="module")
def door(empty: Served) -> Iterator[psycopg.Connection]:
    with empty.reader() as connection:
        yield connection


@pytest.mark.parametrize("statement", ALLOWED)
def test_it_may(door: psycopg.Connection, statement: str) -> None:
    door.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("statement", DENIED)
def test_it_may_not(door: psycopg.Connection, statement: str) -> None:
    # Not even where it has asked for transactions that may write.
    door.execute(b"SET default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        door.execute(statement.encode())


def test_its_statements_come_to_an_end(door: psycopg.Connection) -> None:
    door.execute(b"RESET ALL")
    assert door.execute("SHOW statement_timeout").fetchone() == ("30s",)
    assert door.execute("SHOW default_transaction_read_only").fetchone() == ("on",)


def test_the_script_takes_the_password_from_a_file(empty: Served, tmp_path: Path) -> None:
    postgres = empty.database.postgres
    assert postgres is not None
    own, other = postgres.password_file, tmp_path / "it's new"
    other.write_text("it's another\n", encoding="utf-8")
    port = empty.database.engine.url.query["port"]
    address = f"host=127.0.0.1 port={port} dbname=monitor user=monitor_reader"
    psql = find_binaries(server_account()) / "psql"
    words = [psql, "-X", "-q", "-h", postgres.socket_directory, "-p", port, "-U", "postgres", "-d", "monitor"]
    for file in (other, own):
        named = ["--set=owner=monitor", f"--set=password_file={file}"]
        script = f"--file={ROOT / 'dashboards/postgres/reader.sql'}"
        subprocess.run([*words, *named, script], check=True, stdout=subprocess.DEVNULL)
        password = file.read_text(encoding="utf-8").strip()
        with psycopg.connect(address, password=password) as reader:
            assert reader.execute("SELECT count(*) FROM reporting.alert").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address, password="it's another")
    assert "password=" not in (ROOT / "dashboards/compose/reader.sh").read_text(encoding="utf-8")
