"""One PostgreSQL data directory: made, started, stopped. Who may do so and when is decided in `embedded`.

As root every program of PostgreSQL runs as an unprivileged account with the data directory as its working directory,
and finds it as `/proc/self/cwd`. So the data can lie below a folder that the account may not enter (a private home)
without that folder being opened to anyone.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from monitor.errors import DependencyAway, UsageError
from monitor.store.binaries import MAJOR, Account, find_binaries
from monitor.store.disk import total_bytes, wal_options, wal_segment_mib

DATABASE = "monitor"
OWNER = "monitor"
"""The role that the product works as: owns the database, is no superuser."""
SUPERUSER = "postgres"
READER = "monitor_reader"
"""The one role that may come in over TCP, with a password. It owns nothing; migrations grant it what it may read."""

_DEFAULT_PORT = 5432
_LONGEST_SOCKET_FOLDER = 80
"""Bytes. The address of a Unix socket holds 107 with PostgreSQL's file name, its lock's suffix and a NUL."""
_WAIT_S = 60
_ORDERLY_S = 20
_SOCKET_PREFIX = "monitor-postgres-"

_ACCESS = f"""\
# TYPE  DATABASE    USER                    ADDRESS         METHOD
local   all         {SUPERUSER},{OWNER}                     peer map=monitor
host    {DATABASE}  {READER}                127.0.0.1/32    scram-sha-256
"""

_FIRST_STATEMENTS = f"""\
CREATE ROLE {OWNER} LOGIN CREATEDB IN ROLE pg_monitor
CREATE ROLE {READER} LOGIN
CREATE DATABASE {DATABASE} OWNER {OWNER}
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC
GRANT CONNECT ON DATABASE {DATABASE} TO {READER}
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a started server listens."""

    socket_folder: Path
    port: int
    tcp: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """The data directory below `home`, served by `account` (None: by the caller)."""

    home: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory; it exists only as a whole."""
        return self.home / "data"

    @property
    def address(self) -> Address | None:
        """Where the last server that was started listens, or None if there never was one."""
        try:
            note = json.loads((self.home / "address.json").read_bytes())
        except FileNotFoundError:
            return None
        return Address(Path(note["socket_folder"]), note["port"], note["tcp"])

    @property
    def is_served(self) -> bool:
        """Whether a server works on the data that was started past us, by hand: it has no lock of ours."""
        try:
            number = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            return Path(f"/proc/{number}/cwd").samefile(self.data)
        except (OSError, ValueError):
            return False

    def create(self) -> None:
        """Make the data directory if there is none: built under another name, renamed when it is whole.

        Raises:
            DependencyAway: `initdb` failed; the message carries the log's tail.
            UsageError: the data directory belongs to another major version of PostgreSQL.
        """
        if self.data.exists():
            self._check_version()
            return
        for half in self.home.glob("data.new-*"):
            shutil.rmtree(half, ignore_errors=True)  # an `initdb` that lost its parent may still be writing there
        (self.home / "start.log").unlink(missing_ok=True)
        new = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.home))
        self._give(new)
        self._initialise(new)
        new.rename(self.data)
        _sync(self.home)

    def start(self, tcp_port: int | None, lock: int) -> None:
        """Start the server and wait until it takes connections. It keeps the descriptor `lock` open while it lives.

        Raises:
            DependencyAway: it did not start; the message carries the log's tail.
        """
        self._adopt()
        address = Address(self._socket_folder(), tcp_port or _DEFAULT_PORT, tcp_port is not None)
        for stale in (self.data / "postmaster.pid", *address.socket_folder.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)  # the server before us is gone, whatever process has its number now
        _write(self.home / "address.json", json.dumps(asdict(address), default=str))
        settings = _server_options(address) | wal_options(total_bytes(self.home))
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        (self.home / "start.log").unlink(missing_ok=True)
        code = self._run(self.data, "pg_ctl", "start", "-w", "-t", str(_WAIT_S), "-o", options, lock=lock)
        if code != 0:
            raise DependencyAway(
                f"the embedded Postgres in {self.home} did not start; mend what its log says, then try again:\n"
                f"{self._log_tail()}"
            )

    def stop(self, mode: str = "fast") -> None:
        """Shut the server down: sessions are ended, everything is written, the socket disappears.

        With mode `immediate`, or after 20 s, nothing is written any more: what was committed is in the log, and the
        next start recovers it. (A server that recovers from a crash may not heed any other word.)

        Raises:
            DependencyAway: it is still running a minute later.
        """
        for how in dict.fromkeys((mode, "immediate")):
            patience = _ORDERLY_S if how == "fast" else _WAIT_S
            code = self._run(self.data, "pg_ctl", "stop", "-w", "-m", how, "-t", str(patience))
            if code == 0 or not (self.data / "postmaster.pid").exists():
                break
        else:
            raise DependencyAway(
                f"the embedded Postgres in {self.home} has not stopped within {_WAIT_S} s; it goes on shutting down, "
                f"look at its log:\n{self._log_tail()}"
            )
        address = self.address
        if address is not None and address.socket_folder.name.startswith(_SOCKET_PREFIX):
            shutil.rmtree(address.socket_folder, ignore_errors=True)

    def _initialise(self, new: Path) -> None:
        """Fill the empty folder `new`: system tables, roles, database, rules of access."""
        code = self._run(
            new, "initdb", f"--username={SUPERUSER}", "--auth-local=peer", "--auth-host=scram-sha-256",
            "--data-checksums", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--no-instructions",
            "--set=max_connections=50", "--set=shared_buffers=128MB",
            f"--wal-segsize={wal_segment_mib(total_bytes(self.home))}",
        )  # fmt: skip
        if code == 0:
            code = self._run(new, "postgres", "--single", "-c", "exit_on_error=on", SUPERUSER, text=_FIRST_STATEMENTS)
        if code != 0:
            raise DependencyAway(
                f"the embedded Postgres could not be set up in {self.home}; mend what its log says, then try again:\n"
                f"{self._log_tail()}"
            )
        names = {_caller(), self.account.name if self.account else _caller()}
        lines = [f'monitor "{name}" {role}\n' for name in sorted(names) for role in (SUPERUSER, OWNER)]
        for name, text in (("pg_hba.conf", _ACCESS), ("pg_ident.conf", "".join(lines))):
            _write(new / name, text)
            self._give(new / name)
        _sync(new)

    def _run(self, folder: Path, program: str, *words: str, text: str = "", lock: int | None = None) -> int:
        """Run a program of PostgreSQL on the data directory `folder` as the server's account; its exit code.

        Output goes to `start.log`, not to a pipe: a started server would hold the pipe open for ever.
        """
        environment = {"PGDATA": self._as_seen(folder), "LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
        with (self.home / "start.log").open("ab") as log, tempfile.TemporaryFile() as source:
            os.chmod(log.fileno(), 0o600)
            source.write(text.encode())
            source.seek(0)
            binary = find_binaries(self.account) / program
            try:
                return subprocess.run(
                    [binary, *words], cwd=folder, env=environment, check=False,
                    stdin=source, stdout=log, stderr=log, umask=0o077, start_new_session=True,
                    user=self.account.uid if self.account else None,
                    group=self.account.gid if self.account else None,
                    extra_groups=[] if self.account else None,
                    pass_fds=() if lock is None else (lock,),
                ).returncode  # fmt: skip
            except OSError as error:
                raise DependencyAway(
                    f"{program} cannot be started in {folder} ({error.strerror}); run as an account that owns the "
                    "state folder, or set MONITOR_DATABASE_URL to a server of your own"
                ) from error

    def _as_seen(self, folder: Path) -> str:
        if self.account is None:
            return str(folder)
        if not sys.platform.startswith("linux"):
            raise UsageError(
                "the embedded Postgres can be started by root on Linux only; start `monitor` as another user"
            )
        return "/proc/self/cwd"

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def _adopt(self) -> None:
        """Give the data to the server's account when they come from a machine that numbers its accounts otherwise."""
        if self.account and self.data.stat().st_uid != self.account.uid:
            for folder, folders, files in os.walk(self.data):
                for name in (*folders, *files):
                    self._give(Path(folder, name))
            self._give(self.data)

    def _socket_folder(self) -> Path:
        """A folder that only the caller and the server's account can enter, with a name short enough for a socket."""
        owner = self.account.uid if self.account else os.geteuid()
        last = self.address
        if last is not None and _is_private(last.socket_folder, owner):
            return last.socket_folder
        folder = self.home / "socket"
        if self.account is None and _fits_socket(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            return folder
        parent = "/run" if self.account and os.access("/run", os.W_OK) else tempfile.gettempdir()
        for place in (parent, "/tmp"):  # noqa: S108 - mkdtemp makes a new, private folder in it
            folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=place))
            if _fits_socket(folder):
                break
            folder.rmdir()
        self._give(folder)
        return folder

    def _check_version(self) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise UsageError(
                f"{self.data} is no data directory of PostgreSQL (it has no PG_VERSION); move it away or restore it"
            ) from None
        if version != str(MAJOR):
            raise UsageError(
                f"{self.data} was written by PostgreSQL {version} and this is {MAJOR}; nothing was touched. Upgrade "
                f"it explicitly: dump it with the release of `monitor` that made it, move it away, load the dump"
            )

    def _log_tail(self, lines: int = 15) -> str:
        logs = sorted((self.data / "log").glob("*.log"), key=lambda file: file.stat().st_mtime)
        texts = [file.read_text(errors="replace") for file in (self.home / "start.log", *logs[-1:]) if file.exists()]
        return "\n".join("  " + line for text in texts for line in text.splitlines()[-lines:])


def _server_options(address: Address) -> dict[str, str]:
    """What no file in the data directory may change: given on the command line, it wins over all of them."""
    return {
        "listen_addresses": "127.0.0.1" if address.tcp else "",
        "port": str(address.port),
        "unix_socket_directories": str(address.socket_folder),
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "fsync": "on",
        "full_page_writes": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql-%a.log",  # a file a weekday, begun anew each week
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_checkpoints": "off",
        "cluster_name": "monitor",
    }


def _caller() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise UsageError(
            f"user number {os.geteuid()} has no name on this machine and PostgreSQL needs one; add it to /etc/passwd "
            "or name a server of your own in MONITOR_DATABASE_URL"
        ) from None


def _fits_socket(folder: Path) -> bool:
    """PostgreSQL and libpq both split the name at a comma, so only plain names are used."""
    return (
        len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER
        and re.fullmatch(r"[A-Za-z0-9/._+-]+", str(folder)) is not None
    )


def _is_private(folder: Path, owner: int) -> bool:
    try:
        state = folder.lstat()
    except FileNotFoundError:
        return False
    return state.st_uid == owner and state.st_mode & 0o170777 == 0o040700


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all; a link planted at `path` is not followed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
