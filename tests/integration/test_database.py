"""What a transaction says when the server, or this process, has no time or no room for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from monitor.errors import DependencyAway, NoRoom, TryAgain, UsageError
from monitor.settings import Settings
from monitor.store import database as database_module
from monitor.store import migrate, reporting, shell
from monitor.store.database import Database, open_database


def sleep_too_long(database: Database) -> None:
    with database.begin() as conn:
        reporting.bound(conn)
        conn.execute(text("SELECT pg_sleep(60)"))


def test_a_statement_that_takes_too_long_is_not_a_server_that_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "BOUND_S", 1)
    with pytest.raises(TryAgain, match=r"due to statement timeout.*ask for less"):
        sleep_too_long(database)
    with database.begin() as conn:
        assert conn.execute(text("SELECT 1")).scalar_one() == 1


def test_a_lock_that_cannot_be_had_is_other_work_in_the_way(database: Database) -> None:
    with database.begin() as holder:
        holder.execute(text("LOCK TABLE batch"))
        with pytest.raises(TryAgain, match="other work on the database was in the way"), database.begin() as conn:
            conn.execute(text("LOCK TABLE batch NOWAIT"))


@pytest.fixture
def narrow(engine: Engine) -> Iterator[Database]:
    """A database of one connection."""
    one = create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    yield Database(one)
    one.dispose()


def test_no_connection_left_is_a_sentence(narrow: Database) -> None:
    with narrow.begin(), pytest.raises(DependencyAway, match="all connections of this process"), narrow.begin():
        pass
    with narrow.begin() as conn:
        assert migrate.check(conn).state is migrate.State.CURRENT, "on the connection that is there"


def test_a_password_among_the_options_of_the_address_is_a_password_and_not_shown(tmp_path: Path) -> None:
    said = "postgresql://monitor@host:5433/db?password=it%27s+CANARY&sslmode=require"
    with pytest.raises(DependencyAway) as away, open_database(Settings(database_url=said)):
        pass
    assert "CANARY" not in str(away.value)
    url = database_module._checked_url(said)
    assert url.password == "it's CANARY"
    assert "CANARY" not in url.render_as_string(hide_password=True)
    assert "CANARY" not in shell._libpq_uri(url, tmp_path / "pgpass")
    assert (tmp_path / "pgpass").read_text() == "*:*:*:*:it's CANARY\n"
    assert url.query["sslmode"] == "require"
    assert database_module._checked_url(said.replace("monitor@", "monitor:own@")).password == "it's CANARY"


@pytest.mark.parametrize("place", ["x@CANARY@host/db", "x@CA/CANARY@host/db", "x@CANARY:y@host/db"])
def test_a_password_with_an_at_sign_is_never_taken_for_the_host(place: str) -> None:
    with (
        pytest.raises(UsageError, match="MONITOR_DATABASE_URL") as refused,
        open_database(Settings(database_url=f"postgresql://monitor:{place}")),
    ):
        pass
    assert "CANARY" not in str(refused.value)


def test_a_server_of_ones_own_whose_disk_is_full_is_left_alone_for_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.require_room(1 << 30)
    with pytest.raises(NoRoom, match=r"is full.*make room there"):
        run(database, "DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$")
    with pytest.raises(NoRoom, match="No space left on device"):
        database.require_room(1)
    monkeypatch.setattr(database_module, "_FULL_FOR_S", 0.0)
    database.require_room(1)


def run(database: Database, statement: str) -> None:
    with database.begin() as conn:
        conn.execute(text(statement))
