"""The daemon as a process of its own, on its embedded Postgres: it starts, answers, stops when told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from daemons import daemon, eventually, is_ready, monitor

CONTRACT = '[model]\nname = "presses"\n[[classes]]\nname = "dent"\n[cameras]\npolicy = "open"\n'
LINE = (
    '{"event_id": "1", "captured_at": "2026-03-02T06:00:00Z", "model": "presses", "version": "v1", "camera": "cam-1",'
    ' "width": 640, "height": 480}\n'
)


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment with a contract and nothing else."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "presses.toml").write_text(CONTRACT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    return kept | {
        "MONITOR_STATE_DIR": str(tmp_path / "state"),
        "MONITOR_CONTRACTS_DIR": str(tmp_path / "contracts"),
        "PYTHONUNBUFFERED": "1",
    }


def read(address: str) -> str:
    """A page, however busy the machine is."""
    return httpx.get(address, timeout=60).text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_takes_frames_in_and_stops_when_told(surroundings, tmp_path, number):
    incoming = tmp_path / "state" / "spool" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "day.jsonl").write_text(LINE)
    with daemon(surroundings, tmp_path / "log") as (process, page):
        eventually(lambda: is_ready(page))
        eventually(lambda: "presses" in read(page) and "1 stored" in read(f"{page}self"))
        assert httpx.get(f"{page}healthz").json() == {"alive": True}
        assert "monitor_database_up 1.0" in httpx.get(f"{page}metrics").text
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(15) == 0
        assert time.monotonic() - began < 10
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
    data = tmp_path / "state" / "postgres"
    assert not list(data.rglob("postmaster.pid")), "the embedded Postgres was stopped in order"


def test_a_stop_during_the_start_is_an_orderly_one(surroundings, tmp_path):
    with daemon(surroundings, tmp_path / "log") as (process, _):
        process.terminate()
        assert process.wait(15) == 0
    assert not list((tmp_path / "state" / "postgres").rglob("postmaster.pid"))


def test_postgres_killed_under_it_comes_back(surroundings, tmp_path):
    spool = tmp_path / "state" / "spool"
    with daemon(surroundings, tmp_path / "log") as (process, page):
        eventually(lambda: is_ready(page) and (spool / "incoming").is_dir())
        for number in range(2):
            (pid_file,) = (tmp_path / "state" / "postgres").rglob("postmaster.pid")
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
            eventually(lambda: not is_ready(page))
            late = f"late-{number}.jsonl"
            (spool / "incoming" / late).write_text(LINE.replace('"1"', f'"{number}"'))
            eventually(lambda: is_ready(page), 60)
            eventually(lambda late=late: list((spool / "done").rglob(late)), 5)
        assert process.poll() is None
        eventually(lambda: "2 stored" in httpx.get(f"{page}self").text)
        process.terminate()
        assert process.wait(15) == 0


def test_once_runs_every_job_and_ends(surroundings, tmp_path):
    ended = monitor(surroundings, "daemon", "--once", "--at", "2026-03-02T12:00Z")
    assert ended.returncode == 0, ended.stderr
    for job in ("contracts", "partitions", "intake", "drift", "alerts", "deliver", "metrics"):
        assert re.search(rf"^{job} +\d+$", ended.stdout, re.MULTILINE)
    assert monitor(surroundings, "doctor").returncode == 1, "the jobs of that day are long overdue"


def test_a_port_that_is_taken_is_a_sentence(surroundings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = monitor(surroundings, "daemon", "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 2
    assert "choose another with --host and --port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_opened_to_others_it_asks_for_a_token(surroundings, tmp_path):
    with daemon(surroundings, tmp_path / "log", "--host", "0.0.0.0") as (process, page):
        assert process.stdout is not None
        assert "asks for a token" in process.stdout.readline()
        here = page.replace("0.0.0.0", "127.0.0.1")
        eventually(lambda: answers(f"{here}healthz") == 200)
        for path in ("", "metrics", "readyz", "openapi.json"):
            assert answers(here + path) == 401
        made = monitor(surroundings, "tokens", "create", "grafana", "--scope", "read")
        assert made.returncode == 0, made.stderr
        assert answers(f"{here}metrics", made.stdout.strip()) == 200
        assert monitor(surroundings, "tokens", "revoke", "grafana").returncode == 0
        eventually(lambda: answers(f"{here}metrics", made.stdout.strip()) == 401)


def answers(address: str, token: str = "") -> int:
    try:
        return httpx.get(address, headers={"Authorization": f"Bearer {token}"} if token else {}).status_code
    except httpx.TransportError:
        return 0


def test_a_server_of_ones_own_is_not_migrated_unasked(surroundings, empty_engine):
    env = surroundings | {"MONITOR_DATABASE_URL": empty_engine.url.render_as_string(hide_password=False)}
    ended = monitor(env, "daemon", "--once")
    assert ended.returncode == 2
    assert "monitor db upgrade" in ended.stderr


def test_a_server_that_is_away_is_exit_3(surroundings):
    env = surroundings | {"MONITOR_DATABASE_URL": "postgresql://monitor@127.0.0.1:1/monitor"}
    ended = monitor(env, "daemon", "--once")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
