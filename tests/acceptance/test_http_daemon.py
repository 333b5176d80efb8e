"""The daemon that takes frames in over HTTP, as a process: killed again and again, and searched for its secrets."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from daemons import daemon, eventually, is_ready, monitor
from sqlalchemy import make_url, text

from monitor.ingest import audit
from monitor.records import Window
from monitor.settings import Settings
from monitor.store import tokens
from monitor.store.binaries import find_binaries, server_account
from monitor.store.database import Database

CONTRACT = '[model]\nname = "presses"\n[[classes]]\nname = "dent"\n[cameras]\npolicy = "open"\n'
NDJSON = {"Content-Type": "application/x-ndjson"}
NOW = datetime.now(UTC)
START = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=20)
LINES = 60


@pytest.fixture
def surroundings(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The environment of a daemon on a fresh database of the session's server."""
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "presses.toml").write_text(CONTRACT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    return kept | {
        "MONITOR_STATE_DIR": str(settings.state_dir),
        "MONITOR_CONTRACTS_DIR": str(settings.contracts_dir),
        "MONITOR_DATABASE_URL": settings.database_url or "",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def sender(database: Database) -> str:
    """A token that writes as line-7."""
    with database.begin() as conn:
        return tokens.issue(conn, "line-7", "line-7", ["ingest"], NOW, NOW + timedelta(days=1))


def body(number: int) -> bytes:
    """One body; its neighbour has its last ten frames too, and one line is of no known model."""
    rng = random.Random(number)
    made = [{"event_id": f"lost{number}", "model": "rollers"}]
    for frame in range(number * LINES, (number + 1) * LINES + 10):
        made.append({"event_id": f"f{frame}", "captured_at": (START + timedelta(seconds=10 * frame)).isoformat()})
    rng.shuffle(made)
    rest = {
        "model": "presses",
        "version": "v1",
        "camera": "c",
        "width": 64,
        "height": 48,
        "captured_at": START.isoformat(),
    }
    return b"".join(json.dumps(rest | one).encode() + b"\n" for one in made)


class Posting:
    """Sends bodies until each is acknowledged, wherever the daemon may be just now."""

    def __init__(self, token: str) -> None:
        self._headers = NDJSON | {"Authorization": f"Bearer {token}"}
        self._pause = threading.Event()
        self.page = ""
        self.answers: list[dict[str, int]] = []
        self.tries = 0

    def post(self, number: int) -> None:
        """One body, again and again with the same id."""
        with httpx.Client(timeout=30) as client:
            while True:
                self.tries += 1
                try:
                    answer = client.post(
                        f"{self.page}v1/frames?batch=body-{number}", content=body(number), headers=self._headers
                    )
                except (httpx.TransportError, httpx.UnsupportedProtocol):
                    self._pause.wait(0.05)
                    continue
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                    return
                assert answer.status_code in (429, 503), answer.text
                self._pause.wait(0.05)


def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(surroundings, tmp_path, database, sender):
    bodies, rng = 120, random.Random(7)
    posting = Posting(sender)
    with ThreadPoolExecutor(4) as pool:
        posts = [pool.submit(posting.post, number) for number in range(bodies)]
        for _ in range(4):
            with daemon(surroundings, tmp_path / "log") as (process, posting.page):
                wanted = len(posting.answers) + rng.randint(1, 15)
                eventually(lambda wanted=wanted: len(posting.answers) >= wanted)
                process.kill()
                process.wait(30)
        with daemon(surroundings, tmp_path / "log") as (process, posting.page):
            eventually(lambda: all(one.done() for one in posts), 60)
    for one in posts:
        one.result()
    assert posting.tries > bodies, "no kill hit anything"
    distinct = bodies * LINES + 10
    with database.begin() as conn:
        for table in ("frame", "frame_key"):
            assert conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == distinct
        assert conn.execute(text("SELECT count(*) FROM batch")).scalar_one() == bodies
        rejected = "SELECT count FROM intake_total WHERE outcome = 'rejected' AND reason = 'unknown_model'"
        assert conn.execute(text(rejected)).scalar_one() == bodies
    assert sum(one["stored"] for one in posting.answers) == distinct
    assert sum(one["lines"] for one in posting.answers) == bodies * (LINES + 11)
    found = audit.run(database, audit.Task(Window(START, NOW)), NOW)
    assert found.compared > 0
    assert found.differing == 0


CANARIES = (
    "canary-password",
    "canary-webhook-secret",
    "canary-webhook-path",
    "canary-bearer",
    "canary-basic",
    "canary-cookie",
)


def test_no_secret_comes_out_anywhere(surroundings, tmp_path, database, sender, settings):
    url = make_url(surroundings["MONITOR_DATABASE_URL"]).set(password=CANARIES[0])
    env = surroundings | {
        "MONITOR_DATABASE_URL": url.render_as_string(hide_password=False),
        "MONITOR_WEBHOOK_SECRET": CANARIES[1],
        "MONITOR_WEBHOOK_URL": f"http://127.0.0.1:9/{CANARIES[2]}",
        "MONITOR_PRIVATE_RECEIVERS": "127.0.0.1",
    }
    basic = base64.b64encode(f"me:{CANARIES[4]}".encode()).decode()
    told = []
    with (
        daemon(env, tmp_path / "log", "--host", "127.0.0.1") as (process, page),
        httpx.Client(base_url=page) as client,
    ):
        eventually(lambda: is_ready(page))
        for headers in (
            {"Authorization": f"Bearer {CANARIES[3]}"},
            {"Authorization": f"Basic {basic}", "Cookie": f"session={CANARIES[5]}"},
            {"Authorization": f"Bearer {sender}", "Host": "evil.example"},
            {"Authorization": f"Bearer {sender}", "Content-Encoding": "br"},
            {"Authorization": f"Bearer {sender}"},
        ):
            answer = client.post("/v1/frames", content=body(1), headers=NDJSON | headers)
            told += [answer.text, str(answer.headers)]
        assert answer.status_code == 200
        told += [client.get(path).text for path in ("/", "/metrics", "/readyz", "/openapi.json")]
        told.append(monitor(env, "doctor").stdout)
        told.append(monitor(env, "tokens", "list").stdout)
        process.terminate()
        assert process.wait(30) == 0
    gone = url.set(host="127.0.0.1", port=1, query={})
    away = monitor(
        env | {"MONITOR_DATABASE_URL": gone.render_as_string(hide_password=False)}, "-v", "daemon", "--once"
    )
    assert away.returncode == 3
    dump = pg_dump(database)
    assert hashlib.sha256(sender.encode()).hexdigest() in dump, "the dump holds the tokens' table"
    told += [away.stdout, away.stderr, (tmp_path / "log").read_text(), dump]
    for secret in (*CANARIES, sender, basic):
        assert [one[:200] for one in told if secret in one] == []


def pg_dump(database: Database) -> str:
    """Everything in the database, as its own tool writes it."""
    tool = find_binaries(server_account()) / "pg_dump"
    uri = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run([tool, "-d", uri], capture_output=True, text=True, check=True).stdout
