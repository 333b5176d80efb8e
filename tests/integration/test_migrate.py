"""Migrations on a real server: to the newest, by one process at a time, all of one or nothing of it."""

from __future__ import annotations

import argparse
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from monitor.cli import db
from monitor.errors import DependencyAway, UsageError
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import Database
from monitor.store.migrate import State

ROOT = Path(__file__).parents[2]

BROKEN = '''"""Breaks after it has made a table."""

from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"


def upgrade() -> None:
    op.execute("CREATE TABLE half_way (number integer)")
    op.execute("SELECT 1 / 0")
'''


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def newest() -> str:
    head = ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml")).get_current_head()
    assert head is not None
    return head


def test_an_empty_database_becomes_current(empty_engine: Engine) -> None:
    before = migrate.check(empty_engine)
    assert (before.state, before.found, before.missing[-1]) == (State.EMPTY, None, newest())
    assert tables(empty_engine) == set()
    with pytest.raises(UsageError, match="monitor db upgrade"):
        migrate.require_current(empty_engine)

    after = migrate.upgrade(empty_engine)
    assert (after.state, after.found, after.missing) == (State.CURRENT, newest(), ())
    assert {"alembic_version", "batch", "frame"} <= tables(empty_engine)
    migrate.require_current(empty_engine)
    assert migrate.upgrade(empty_engine) == after


def test_a_schema_from_the_future_is_refused_and_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = tables(engine)
    assert migrate.check(engine).state is State.TOO_NEW
    for refused in (migrate.upgrade, migrate.require_current):
        with pytest.raises(UsageError, match="made by a newer release"):
            refused(engine)
    assert tables(engine) == before
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["9999"]


def test_a_migration_that_breaks_leaves_the_schema_before_it(
    empty_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    broken = BROKEN.format(revision="9999", down_revision=newest())
    (tmp_path / "migrations" / "9999_broken.py").write_text(broken)
    config = migrate._config()
    config.set_main_option("version_locations", str(tmp_path / "migrations"))
    monkeypatch.setattr(migrate, "_config", lambda: config)

    with pytest.raises(DBAPIError, match="division by zero"):
        migrate.upgrade(empty_engine)
    schema = migrate.check(empty_engine)
    assert (schema.state, schema.found, schema.missing) == (State.BEHIND, newest(), ("9999",))
    assert "9999" in str(schema)
    assert "frame" in tables(empty_engine)
    assert "half_way" not in tables(empty_engine)


def test_two_that_upgrade_at_once_take_turns(empty_engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        schemas = list(pool.map(migrate.upgrade, [empty_engine] * 4))
    assert [schema.state for schema in schemas] == [State.CURRENT] * 4


def test_a_table_in_use_stops_the_migration_after_five_seconds(empty_engine: Engine) -> None:
    with empty_engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)"))
    with empty_engine.begin() as other:
        other.execute(text("LOCK TABLE alembic_version IN EXCLUSIVE MODE"))
        with pytest.raises(DependencyAway, match="another session holds a lock"):
            migrate.upgrade(empty_engine)
    assert tables(empty_engine) == {"alembic_version"}
    assert migrate.upgrade(empty_engine).state is State.CURRENT


def test_a_migration_leaves_no_lock_and_no_limit_behind(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "0"
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        held += "(SELECT oid FROM pg_database WHERE datname = current_database())"
        assert connection.execute(text(held)).scalar_one() == 0


def monitor(settings: Settings, *words: str) -> int:
    """The exit code of a command line."""
    parser = argparse.ArgumentParser()
    db.register(parser.add_subparsers())
    args = parser.parse_args(words)
    return int(args.run(args, settings))


def test_the_commands(database: Database, settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert monitor(settings, "db", "check") == 0
    assert "the schema is current" in capfd.readouterr().out
    with database.begin() as connection:
        connection.execute(text("DROP SCHEMA public, reporting CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    assert monitor(settings, "db", "check") == 1
    assert "monitor db upgrade" in capfd.readouterr().out
    assert monitor(settings, "db", "upgrade") == 0
    assert "the schema is current" in capfd.readouterr().out


def test_the_shell_is_psql_on_the_embedded_database(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings(state_dir=tmp_path)
    assert monitor(settings, "db", "shell", "--", "-Atc", "SELECT current_user, 6 * 7") == 0
    assert capfd.readouterr().out == "monitor|42\n"
    assert monitor(settings, "db", "shell", "--", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1 / 0") == 1
    assert "division by zero" in capfd.readouterr().err
