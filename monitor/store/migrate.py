"""The schema: which migration a database is at, and the way to the newest.

Each migration is one transaction, so that a crash leaves the schema of the last one that finished. Only one process
migrates at a time, and it waits at most five seconds for a table that somebody is using: everybody behind it would
wait as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from monitor.errors import DependencyAway, UsageError

_LOCK = 0x6D6F6E69746F72
"""The advisory lock of a migration: "monitor" in ASCII."""
_LOCK_NOT_AVAILABLE = "55P03"


class State(StrEnum):
    """How a database's schema stands to the one this release works with."""

    CURRENT = "current"
    EMPTY = "empty"
    BEHIND = "behind"
    TOO_NEW = "too new"


@dataclass(frozen=True, slots=True)
class Schema:
    """`found`: the database's revision, None in an empty one; `wanted`: this release's; `missing`: those between."""

    state: State
    found: str | None
    wanted: str
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.state:
            case State.CURRENT:
                return f"the schema is current (revision {self.found})"
            case State.TOO_NEW:
                return (
                    f"the schema (revision {self.found}) was made by a newer release than this one, which knows "
                    f"revisions up to {self.wanted}; install the newer release, or restore a backup from before it"
                )
            case State.EMPTY:
                return "the database has no schema yet; run `monitor db upgrade`"
            case State.BEHIND:
                return f"the schema (revision {self.found}) lacks {', '.join(self.missing)}; run `monitor db upgrade`"


def check(database: Engine | Connection) -> Schema:
    """Compare the database's schema with this release's. Changes nothing; uses the connection that is given."""
    if isinstance(database, Connection):
        return _check(database)
    with database.connect() as connection:
        return _check(connection)


def require_current(engine: Engine) -> None:
    """Pass if the schema is this release's.

    Raises:
        UsageError: it is not; the message says what to do.
    """
    schema = check(engine)
    if schema.state is not State.CURRENT:
        raise UsageError(str(schema))


def upgrade(engine: Engine, revision: str = "head") -> Schema:
    """Bring the schema to `revision`, this release's newest by default; does nothing if it is there already.

    Raises:
        UsageError: the schema is too new for this release.
        DependencyAway: another session kept a lock; the migrations before that one are kept, nothing is half done.
    """
    try:
        with migrating(engine) as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise DependencyAway(
            "another session holds a lock that the migration needs (a long query, or another `monitor db upgrade`); "
            "wait for it or end it, then run `monitor db upgrade` again"
        ) from error
    return check(engine)


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A connection that alone may migrate. Its lock and its time limits end with it: it does not go back to the pool.

    Raises:
        UsageError: the schema is too new for this release.
    """
    with engine.connect() as connection:
        connection.detach()
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text("SET lock_timeout = '5s'"))
        schema = _check(connection)
        if schema.state is State.TOO_NEW:
            raise UsageError(str(schema))
        connection.commit()
        yield connection


def _check(connection: Connection) -> Schema:
    steps = [step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return Schema(State.EMPTY, None, steps[-1], tuple(steps))
    if found not in steps:
        return Schema(State.TOO_NEW, found, steps[-1])
    missing = tuple(steps[steps.index(found) + 1 :])
    return Schema(State.BEHIND if missing else State.CURRENT, found, steps[-1], missing)


def _config() -> Config:
    """Alembic's configuration for wherever the migrations lie: inside an installed wheel, or at a checkout's top."""
    package = Path(__file__).parents[1]
    root = package / "_schema" if (package / "_schema").is_dir() else package.parent
    if not (root / "migrations").is_dir():
        raise UsageError(f"the migrations are missing from {root}; install `monitor-vision` again")
    config = Config()
    config.set_main_option("script_location", _literal(root / "alembic"))
    config.set_main_option("version_locations", _literal(root / "migrations"))
    config.set_main_option("path_separator", "newline")
    return config


def _literal(path: Path) -> str:
    return str(path).replace("%", "%%")
