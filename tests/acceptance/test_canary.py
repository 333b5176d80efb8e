"""Secrets of the configuration are searched for in everything that leaves the product: they are nowhere."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from sqlalchemy import make_url, text

from monitor.settings import Settings
from monitor.store.binaries import find_binaries, server_account
from monitor.store.database import open_database

URL_CANARY, SECRET_CANARY = "canary-4711-address", "canary-4712-secret"
MESSAGE = """
    INSERT INTO alert VALUES ('plant/rule', 'plant', 'v1', '', '', '', '', 'rule', 'brightness', '', 'psi',
        'critical', 'firing', 1, 2, 0, now(), now(), 0.5, 0.2, 100, 'it is so', 1);
    INSERT INTO alert_event (alert_key, episode, from_state, to_state, window_start, window_end, decided_at, value,
        threshold, n, evidence)
        VALUES ('plant/rule', 1, 'pending', 'firing', now(), now(), now(), 0.5, 0.2, 100, '{}');
    INSERT INTO outbox (delivery_key, event_id, channel, not_before)
        SELECT 'aaaa', event_id, 'webhook', now() FROM alert_event
"""


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret").write_text(SECRET_CANARY)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts/plant.toml").write_text('[model]\nname = "plant"\n[[classes]]\nname = "part"\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    return kept | {
        "MONITOR_STATE_DIR": str(tmp_path / "state"),
        "MONITOR_CONTRACTS_DIR": str(tmp_path / "contracts"),
        "MONITOR_WEBHOOK_URL": f"http://user:{URL_CANARY}@127.0.0.1:{closed_port()}/{URL_CANARY}?t={URL_CANARY}",
        "MONITOR_PRIVATE_RECEIVERS": "127.0.0.1",
        "MONITOR_WEBHOOK_SECRET_FILE": str(tmp_path / "secret"),
        "PYTHONUNBUFFERED": "1",
    }


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said_by(env: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "monitor", "-v", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@contextmanager
def daemon(env: dict[str, str], log: Path) -> Iterator[str]:
    """A daemon at its most talkative; the address of its page."""
    with log.open("w") as out:
        command = [sys.executable, "-m", "monitor", "-v", "daemon", "--port", "0"]
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
    try:
        eventually(lambda: "status page" in log.read_text())
        found = re.search(r"status page: (http://\S+)", log.read_text())
        assert found is not None
        eventually(lambda: httpx.get(f"{found[1]}metrics").status_code == 200)
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


def eventually(wanted: Callable[[], bool], seconds: float = 60) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not wanted():
        assert time.monotonic() < deadline, "it has not come to pass"
        pause.wait(0.1)


def pages(page: str) -> str:
    answers = [httpx.get(f"{page}{path}") for path in ("", "metrics", "healthz", "readyz", "nowhere")]
    return "".join(answer.text + str(answer.headers) for answer in answers)


def test_no_secret_leaves_the_daemon(surroundings: dict[str, str], tmp_path: Path) -> None:
    surroundings["MONITOR_EMBEDDED_PORT"] = str(closed_port())
    with daemon(surroundings, tmp_path / "log") as page:
        with open_database(Settings(state_dir=tmp_path / "state")) as database:
            with database.begin() as conn:
                conn.execute(text(MESSAGE))
            tried = "job deliver|webhook cannot be reached"
            eventually(lambda: re.search(tried, (tmp_path / "log").read_text()) is not None)
            seen = pages(page)
            url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            dump = subprocess.run(
                [find_binaries(server_account()) / "pg_dump", "-d", url], capture_output=True, text=True, check=True
            ).stdout
        seen += said_by(surroundings, "doctor") + said_by(surroundings, "alerts", "list")
    assert "webhook cannot be reached" in dump, "the failure stands in the outbox"
    seen += dump + (tmp_path / "log").read_text()
    seen += "".join(log.read_text() for log in (tmp_path / "state/postgres/data/log").iterdir())
    password = (tmp_path / "state/postgres/reader-password").read_text().strip()
    assert len(password) > 20
    found = [secret for secret in (URL_CANARY, SECRET_CANARY, password) if secret in seen]
    assert not found


def test_the_password_of_a_server_is_never_said(
    surroundings: dict[str, str], settings: Settings, tmp_path: Path, missing: Callable[[str, str], NoReturn]
) -> None:
    url = make_url(str(settings.database_url))
    password = str(url.password or "")
    if not password:
        missing("server", "MONITOR_TEST_DATABASE_URL names no server with a password")
    plain = url.set(drivername="postgresql")
    there = surroundings | {"MONITOR_DATABASE_URL": plain.render_as_string(hide_password=False)}
    gone = plain.set(port=closed_port()).render_as_string(hide_password=False)
    wrong = plain.set(database="nowhere").render_as_string(hide_password=False)
    seen = said_by(there, "doctor")
    for broken, words in ((gone, ["doctor"]), (gone, ["daemon", "--once"]), (wrong, ["db", "upgrade"])):
        seen += said_by(surroundings | {"MONITOR_DATABASE_URL": broken}, *words)
    with daemon(there, tmp_path / "log") as page:
        seen += pages(page)
    seen += (tmp_path / "log").read_text()
    assert "cannot be used now" in seen
    assert password not in seen
