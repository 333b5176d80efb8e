"""The one way to a database: the embedded Postgres, or the server that MONITOR_DATABASE_URL names.

`Connection` and `Engine` are SQLAlchemy's, under the name by which the other rooms may speak of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from monitor.errors import DependencyAway, NoRoom, TryAgain, UsageError
from monitor.settings import Settings
from monitor.store import embedded
from monitor.store.disk import Room

__all__ = [
    "OLDEST_MAJOR",
    "Connection",
    "Database",
    "Engine",
    "is_away",
    "open_database",
    "require_room",
    "server_time",
]

OLDEST_MAJOR = 15

_SHUTDOWN = frozenset({"57P01", "57P02", "57P03", "57P05"})
"""Ended by an administrator or a crash, still starting up, ended for being idle."""
_READ_ONLY = "25006"
_CANCELED = "57014"
_LOCK_NOT_AVAILABLE = "55P03"
_DISK_FULL = "53100"
_FULL_FOR_S = 60.0
"""How long nothing is loaded into a server of one's own after it had no room: every try takes some of the last."""
_CONNECTIONS = 25
"""Connections of one process at the most: two for each of six jobs, one for the lease, twelve for the web."""
_KEPT = 5
"""Of them so many are kept open."""
_CONNECT_ARGS = {
    "application_name": "monitor",
    "connect_timeout": 10,
    # A link that is cut without a word is noticed within 12 s, both while waiting for an answer and while sending.
    # While waiting Linux gives up at the first probe after tcp_user_timeout, however many keepalives_count allows.
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 9_000,
}


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. `postgres` is this process's hold on the embedded server, None with a server of one's own."""

    engine: Engine
    postgres: embedded.EmbeddedPostgres | None = None
    fence: Callable[[Connection], None] | None = None
    """Asked at the beginning of each transaction, which it ends by raising."""
    _full: list[tuple[float, NoRoom]] = field(default_factory=list)
    """When the server last said that its disk is full (monotonic seconds), and the sentence; or nothing."""

    def fenced(self, fence: Callable[[Connection], None] | None) -> Database:
        """The same database behind a fence, or without one."""
        return replace(self, fence=fence)

    def require_room(self, size: int) -> None:
        """Pass if a batch of `size` bytes may be loaded; to be asked before each.

        Raises:
            NoRoom: the disk of the embedded server has no more than its reserve left; or the server of one's own has
                said within the last minute that its disk is full.
        """
        if self.postgres is not None:
            self.postgres.room.require(size)
        elif self._full and time.monotonic() - self._full[-1][0] < _FULL_FOR_S:
            raise NoRoom(str(self._full[-1][1]))

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back if it raises.

        Raises:
            DependencyAway: the server is not there, or went away meanwhile; nothing of the block was kept, unless the
                link broke during the commit itself. Or this process has no connection left.
            NoRoom: the server's disk is full; nothing of the block was kept.
            TryAgain: the server broke the block off for others' sake or for its time limit; nothing of it was kept.
            NotLeading: the fence is that of a leader who leads no more.
        """
        try:
            with self.engine.begin() as connection:
                if self.fence is not None:
                    self.fence(connection)
                yield connection
        except PoolExhausted as error:
            raise DependencyAway(
                "all connections of this process to the database are in use; try again when it has less to do at once"
            ) from error
        except DBAPIError as error:
            if _sqlstate(error) == _DISK_FULL and not _is_last_word(error):
                full = NoRoom(_no_room(self.engine.url, error))
                self._full[:] = [(time.monotonic(), full)]
                raise full from error
            if is_away(error):
                raise DependencyAway(_away(self.engine.url, error)) from error
            if sentence := _broken_off(error):
                raise TryAgain(sentence) from error
            raise


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the database of `settings` for the length of a block, starting the embedded Postgres if that is the one.

    The engine's sessions are in UTC. The schema is not looked at: that is `migrate.check`.

    Raises:
        DependencyAway: the server cannot be reached, or the embedded one not started.
        UsageError: MONITOR_DATABASE_URL cannot be used, or names a server older than PostgreSQL 15.
    """
    if settings.database_url is not None:
        with _open(_checked_url(settings.database_url)) as engine:
            yield Database(engine)
        return
    with (
        embedded.start(
            settings.state_dir,
            tcp_port=settings.embedded_port,
            reserve_mib=settings.disk_reserve_mib,
            ballast_mib=settings.ballast_mib,
        ) as postgres,
        _open(make_url(postgres.url), postgres.room) as engine,
    ):
        yield Database(engine, postgres)


def require_room(conn: Connection, size: int) -> None:
    """Pass if `size` bytes of rows may be written now; to be asked before much is.

    Raises:
        NoRoom: the disk of the embedded server would have less than its reserve left.
    """
    room = conn.info.get("room")
    if room is not None:
        room.require(size)


def server_time(conn: Connection) -> datetime:
    """The server's own clock."""
    now: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def is_away(error: DBAPIError) -> bool:
    """Whether an error of the driver says that the server is gone, shutting down or out of room: worth another try.

    By SQLSTATE: 08 connection, 53 resources, 57P a shutdown or a start, 25006 read-only (a standby took over).
    """
    state = _sqlstate(error)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return state[:2] in {"08", "53"} or state in _SHUTDOWN or state == _READ_ONLY


def _broken_off(error: DBAPIError) -> str:
    """The sentence for work that the server broke off though nothing is wrong with it; empty for any other error."""
    state = _sqlstate(error) or ""
    if state == _CANCELED:
        return (
            f"the database broke a statement off ({_reason(error)}) and nothing of it was kept; ask for less at a "
            "time, or try again when the server has less to do"
        )
    if state.startswith("40") or state == _LOCK_NOT_AVAILABLE:
        return f"other work on the database was in the way ({_reason(error)}) and nothing was kept; try again"
    return ""


def _is_last_word(error: DBAPIError) -> bool:
    """Whether the server ended with this error, whatever it is about."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "severity_nonlocalized", None) == "PANIC"


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


@contextmanager
def _open(url: URL, room: Room | None = None) -> Iterator[Engine]:
    given = url.query.get("options", "")
    options = " ".join([*([given] if isinstance(given, str) else given), "-c timezone=UTC"]).strip()
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=_KEPT,
        max_overflow=_CONNECTIONS - _KEPT,
        connect_args={**_CONNECT_ARGS, "options": options},
    )
    event.listen(engine, "connect", lambda _, record: record.info.update(room=room))
    try:
        _check_version(engine)
        yield engine
    finally:
        engine.dispose()


def _check_version(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    except DBAPIError as error:
        raise DependencyAway(_away(engine.url, error)) from error
    if number // 10_000 < OLDEST_MAJOR:
        raise UsageError(
            f"the server in MONITOR_DATABASE_URL is PostgreSQL {number // 10_000}; name one from {OLDEST_MAJOR} on"
        )


def _checked_url(text_url: str) -> URL:
    """The URL with the driver we use; `postgres://` and `postgresql://` are taken as they are commonly written."""
    try:
        url = make_url(text_url)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in {"postgres", "postgresql", "postgresql+psycopg"} or not url.database:
        raise UsageError(
            "MONITOR_DATABASE_URL is not of the form postgresql://user@host:5432/database; write it so, or unset it "
            "to use the embedded Postgres"
        )
    # Else a piece of the password would pass for the host, or for the database, and be shown as such.
    if "@" in (url.host or "") or "@" in url.database:
        raise UsageError(
            "MONITOR_DATABASE_URL has an @ beside the one before its host; write an @ of the user's name or of the "
            "password as %40, and a / there as %2F"
        )
    # libpq takes a password among the options too, where it would be shown with them; it takes the last one given.
    if said := url.query.get("password"):
        word = said if isinstance(said, str) else said[-1]
        url = url.difference_update_query(["password"]).set(password=word)
    return url.set(drivername="postgresql+psycopg")


def _away(url: URL, error: DBAPIError) -> str:
    """The sentence for a server that is away."""
    return (
        f"{_named(url)} cannot be used now ({_reason(error)}); see that the server runs "
        "and lets this user in, then try again"
    )


def _no_room(url: URL, error: DBAPIError) -> str:
    return (
        f"the disk of {_named(url)} is full ({_reason(error)}), and nothing was kept; make room there"
        " (`monitor retention run` takes old data away), and what waits is taken in by itself"
    )


def _named(url: URL) -> str:
    """The database in words. Of the URL only what can hold no password is shown."""
    return f"the database {url.database!r} on {url.host or url.query.get('host') or 'the local socket'}"


def _reason(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
