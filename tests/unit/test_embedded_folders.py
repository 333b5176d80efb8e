"""What is decided without a server: names of sockets, addresses of servers, a folder that must not hide a library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from monitor.errors import DependencyAway, UsageError
from monitor.settings import Settings
from monitor.store.cluster import _fits_socket
from monitor.store.database import is_away, open_database
from monitor.store.shell import _libpq_uri

ROOT = Path(__file__).parents[2]


class ServerError(Exception):
    """An error as the driver reports it: with a SQLSTATE, or none where the link broke."""

    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("folder", "fits"),
    [
        ("/run/monitor-postgres-k2j4h5g6", True),
        ("/" + "a" * 79, True),
        ("/" + "a" * 80, False),
        ("/home/ü", False),
        ("/home/a,b", False),
        ("/home/a b", False),
        ("/home/a'b", False),
    ],
)
def test_a_socket_lies_where_every_program_can_name_it(folder: str, fits: bool) -> None:
    assert _fits_socket(Path(folder)) is fits


@pytest.mark.parametrize(
    "url", ["no url", "mysql://host/monitor", "postgresql://host", "postgresql+asyncpg://host/x"]
)
def test_a_url_that_is_none_of_ours_is_refused(url: str) -> None:
    with (
        pytest.raises(UsageError, match="postgresql://user@host:5432/database"),
        open_database(Settings(database_url=url)),
    ):
        raise AssertionError("it was opened")


@pytest.mark.parametrize(
    "url", ["postgresql://me:canary@127.0.0.1:1/monitor", "postgres://127.0.0.1:1/monitor?user=me&password=canary"]
)
def test_a_server_that_is_away_is_named_without_its_password(url: str) -> None:
    with pytest.raises(DependencyAway, match="monitor") as caught, open_database(Settings(database_url=url)):
        raise AssertionError("it was opened")
    assert "127.0.0.1" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "sqlstate", "away"),
    [
        (OperationalError, None, True),
        (OperationalError, "57P01", True),
        (OperationalError, "53100", True),
        (DBAPIError, "25006", True),
        (OperationalError, "57P03", True),
        (OperationalError, "57014", False),
        (OperationalError, "55P03", False),
        (OperationalError, "40P01", False),
        (IntegrityError, "23505", False),
        (DBAPIError, "22012", False),
    ],
)
def test_only_a_server_that_is_gone_is_away(kind: type[DBAPIError], sqlstate: str | None, away: bool) -> None:
    assert is_away(kind("SELECT 1", {}, ServerError(sqlstate))) is away


def test_psql_is_given_the_password_in_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    uri = _libpq_uri(make_url(r"postgresql+psycopg://me:a%3Ab%5Cc@host:5433/monitor?sslmode=require"), file)
    assert uri.startswith("postgresql://me@host:5433/monitor?")
    assert "sslmode=require" in uri
    assert "passfile=" in uri
    assert file.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_folder_of_migrations_does_not_hide_the_library() -> None:
    assert list(ROOT.glob("alembic/__init__.py")) == list(ROOT.glob("migrations/__init__.py")) == []
    program = "import alembic, alembic.command; print(alembic.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert not found.startswith(str(ROOT / "alembic"))
