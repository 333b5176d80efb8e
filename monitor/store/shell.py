"""`psql` on the product's database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import URL

from monitor.errors import DependencyAway
from monitor.settings import Settings
from monitor.store.binaries import find_binaries, server_account
from monitor.store.database import open_database


def run_psql(settings: Settings, words: list[str]) -> int:
    """Run `psql` on the database of `settings`, with `words` handed on to it; its exit code.

    The embedded server lives as long as the shell. A password goes through a file that only this user can read: never
    through the list of processes.

    Raises:
        DependencyAway: the database cannot be reached, or there is no `psql`.
        UsageError: MONITOR_DATABASE_URL cannot be used.
    """
    with open_database(settings) as database, tempfile.TemporaryDirectory() as folder:
        program = find_binaries(server_account()) / "psql" if database.postgres else _psql_on_path()
        uri = _libpq_uri(database.engine.url, Path(folder) / "pgpass")
        before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C cancels a query in psql, it does not end us
        try:
            return subprocess.run([program, "--dbname", uri, *words], check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)


def _psql_on_path() -> Path:
    found = shutil.which("psql")
    if found is None:
        raise DependencyAway(
            "there is no `psql` on this machine; install PostgreSQL's client (Debian: postgresql-client)"
        )
    return Path(found)


def _libpq_uri(url: URL, password_file: Path) -> str:
    """`url` in libpq's own words, its password moved into `password_file`."""
    if url.password:
        escaped = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"*:*:*:*:{escaped}\n")
        url = url.update_query_dict({"passfile": str(password_file)})
    plain = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return plain.render_as_string(hide_password=False)
