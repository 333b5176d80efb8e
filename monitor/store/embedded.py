"""The embedded Postgres of a state directory, shared by every `monitor` process that uses that directory.

Three lock files below `<state>/postgres` say all there is to know; the kernel drops a lock when its holder dies,
however it dies, so no crash leaves a lie behind:

- `start.lock`, exclusive: somebody is starting or stopping the server;
- `users.lock`, shared: a process is using the server. The last one out stops it;
- `server.lock`, exclusive, held by the server's own processes: it lives. When it is free nothing of it is left, so
  `postmaster.pid` found then is stale even if its process number has been given to another program.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from sqlalchemy import URL

from monitor.errors import DependencyAway, UsageError
from monitor.store import reader
from monitor.store.binaries import server_account
from monitor.store.cluster import DATABASE, OWNER, READER, SUPERUSER, Address, Cluster
from monitor.store.disk import MIB, Room, room_of

_PATIENCE_S = 120
"""How long a start waits for another process, or for the recovery after a crash."""
_ATTEMPTS = 3


def start(
    state_dir: Path, *, tcp_port: int | None = None, reserve_mib: int | None = None, ballast_mib: int | None = None
) -> EmbeddedPostgres:
    """Start the server of `state_dir`, or join it where another process has started it; make it on the first call.

    It listens on a Unix socket that only the caller and the server's account can reach, and asks the kernel who is
    calling (peer). With `tcp_port` it also listens on 127.0.0.1, where the role `monitor_reader` comes in with
    the password in `password_file`. Close with `stop()`, or use the result as a context manager. `reserve_mib` and
    `ballast_mib` are as in `disk.room_of`, in MiB.

    Raises:
        DependencyAway: the server, its programs or its account cannot be had; the message carries the log's tail.
        UsageError: the data belongs to another user or another major version of PostgreSQL, or the running server has
            no TCP port `tcp_port`.
    """
    home = _own_folder(state_dir)
    sizes = (None if mib is None else mib * MIB for mib in (reserve_mib, ballast_mib))
    return EmbeddedPostgres(home, tcp_port, room_of(home, *sizes))


class EmbeddedPostgres:
    """One process's hold on the server of a state directory. Made by `start`."""

    def __init__(self, home: Path, tcp_port: int | None, room: Room) -> None:
        self.room = room
        self._cluster = Cluster(home, server_account())
        self._tcp_port = tcp_port
        self._process = os.getpid()
        with _held(home / "start.lock"):
            self._user = _open(home / "users.lock")
            try:
                _try_lock(self._user, fcntl.LOCK_SH)
                self._address = self._run_server()
                room.keep_ballast()
            except BaseException:
                os.close(self._user)
                raise

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database, over the socket, as the role `monitor`."""
        return self._url(OWNER, DATABASE).render_as_string(hide_password=False)

    @property
    def data_directory(self) -> Path:
        """Where PostgreSQL keeps the data."""
        return self._cluster.data

    @property
    def socket_directory(self) -> Path:
        """The private folder of the Unix socket."""
        return self._address.socket_folder

    @property
    def password_file(self) -> Path:
        """Where the password of `monitor_reader` stands (0600), once a TCP port has been asked for."""
        return self._cluster.home / "reader-password"

    def ensure_running(self) -> None:
        """Start the server again, at the same address, if it died while this process was using it.

        Raises:
            DependencyAway: it does not start.
        """
        with _held(self._cluster.home / "start.lock"):
            self._address = self._run_server()

    def stop(self) -> None:
        """Leave; the last one out shuts the server down in order. A second call, or a forked child's, does nothing.

        Raises:
            DependencyAway: the server has not stopped within a minute.
        """
        if self._user < 0 or os.getpid() != self._process:
            return
        with _held(self._cluster.home / "start.lock"):
            is_last = _try_lock(self._user, fcntl.LOCK_EX)
            os.close(self._user)
            self._user = -1
            if is_last and self._lives():
                self._cluster.stop("fast" if self._answers(self._address) else "immediate")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run_server(self) -> Address:
        """See to it that the server runs and answers. The caller holds `start.lock`."""
        self._cluster.create()
        attempts = 0
        failure: DependencyAway | OSError | None = None
        deadline = time.monotonic() + _PATIENCE_S
        while attempts < _ATTEMPTS and time.monotonic() < deadline:
            server = _open(self._cluster.home / "server.lock")
            try:
                if _try_lock(server, fcntl.LOCK_EX) and not self._cluster.is_served:
                    attempts += 1
                    if self.room.free < self.room.ballast:
                        self.room.give_up_ballast()
                    self._cluster.start(self._tcp_port, lock=server)
                if (address := self._cluster.address) and self._answers(address):
                    return self._checked(address)
                if self.room.free < self.room.ballast:  # it may live, and have no room to let anybody in
                    self.room.give_up_ballast()
            except (DependencyAway, OSError) as error:
                failure = error
                if self.room.is_low:
                    self.room.give_up_ballast()
            finally:
                os.close(server)
            time.sleep(0.05)
        home = self._cluster.home
        if isinstance(failure, OSError):
            raise DependencyAway(f"{home} cannot be written to ({failure}); make room there, then try again")
        raise failure or DependencyAway(
            f"the embedded Postgres in {home} runs but has taken no connection for {_PATIENCE_S} s; it may be "
            "recovering from a crash: try again in a minute, or look into its data/log"
        )

    def _checked(self, address: Address) -> Address:
        """`address`, which offers the TCP port that was asked for."""
        if self._tcp_port is None:
            return address
        if not address.tcp or address.port != self._tcp_port:
            raise UsageError(
                f"the embedded Postgres in {self._cluster.home} is already running without port {self._tcp_port}; "
                "end the `monitor` processes that use it, then start again"
            )
        self._set_password(address)
        return address

    def _answers(self, address: Address) -> bool:
        try:
            self._connect(address, OWNER, DATABASE).close()
        except psycopg.OperationalError:
            return False
        return True

    def _lives(self) -> bool:
        server = _open(self._cluster.home / "server.lock")
        try:
            return not _try_lock(server, fcntl.LOCK_SH) or self._cluster.is_served
        finally:
            os.close(server)

    def _set_password(self, address: Address) -> None:
        """Give `monitor_reader` the password of the file. The server is told a SCRAM verifier, never the password."""
        with suppress(FileExistsError):
            descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        password = self.password_file.read_text(encoding="utf-8").strip()
        with self._connect(address, SUPERUSER, "postgres") as connection:
            verifier = connection.pgconn.encrypt_password(password.encode(), READER.encode(), b"scram-sha-256")
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(READER), verifier.decode())
            connection.execute(statement)
        with self._connect(address, SUPERUSER, DATABASE) as connection:
            for said in reader.statements(OWNER):
                connection.execute(said.encode())

    def _connect(self, address: Address, role: str, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(address.socket_folder), port=address.port, user=role, dbname=database, connect_timeout=10
        )

    def _url(self, role: str, database: str) -> URL:
        query = {"host": str(self._address.socket_folder), "port": str(self._address.port)}
        return URL.create("postgresql+psycopg", username=role, database=database, query=query)


def _own_folder(state_dir: Path) -> Path:
    """`<state_dir>/postgres`, private to the caller."""
    home = state_dir.absolute() / "postgres"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = home.stat().st_uid
    except OSError as error:
        raise UsageError(
            f"{home} cannot be used for the embedded Postgres ({error}); choose MONITOR_STATE_DIR"
        ) from error
    if owner != os.geteuid():
        raise UsageError(
            f"{home} belongs to user number {owner} and you are {os.geteuid()}; run `monitor` as that user, or "
            "choose another MONITOR_STATE_DIR"
        )
    home.chmod(0o700)
    return home


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the exclusive lock `path`, waiting for it."""
    descriptor = _open(path)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise DependencyAway(
                    f"another `monitor` process has been starting or stopping the embedded Postgres in {path.parent} "
                    f"for {_PATIENCE_S} s; see whether it hangs, end it and try again"
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
