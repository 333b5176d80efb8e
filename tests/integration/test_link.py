"""A link that goes dead without a word: packets are lost, and nobody says so. It is noticed within 12 seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Engine, make_url, text

from monitor.errors import DependencyAway
from monitor.settings import Settings
from monitor.store.database import Database, open_database

WITHIN_S = 12
PORT = 5433
# The far end of the cable: hands on what comes to the server, whose name is a file or an address on its own machine.
RELAY = """
import socket, sys, threading
def pump(a, b):
    while data := a.recv(65536):
        b.sendall(data)
listener = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
while True:
    near, _ = listener.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[2])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture
def cable(admin: Engine, missing: Callable[[str, str], NoReturn]) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of the server at the far end of a cable of its own, and how to pull that cable."""
    with admin.connect() as connection:
        folder, port = connection.execute(
            text("SELECT split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')")
        ).one()
    door = Path(folder.strip()) / f".s.PGSQL.{port}"
    net, here, there = (f"{name}{os.getpid() % 100_000}" for name in ("mon-", "mona", "monb"))
    address = f"10.213.{os.getpid() % 250}"
    made = (
        subprocess.run(["ip", "netns", "add", net], capture_output=True, check=False) if os.geteuid() == 0 else None
    )
    if made is None or made.returncode != 0:
        missing("netns", "network namespaces cannot be made here, so no cable can be pulled")
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", net)
        ip("addr", "add", f"{address}.1/24", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", net, "addr", "add", f"{address}.2/24", "dev", there)
        ip("-n", net, "link", "set", there, "up")
        relay = subprocess.Popen(
            ["ip", "netns", "exec", net, sys.executable, "-c", RELAY, str(PORT), door], stdout=subprocess.PIPE
        )
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"listening\n"
        yield f"{address}.2", lambda: ip("-n", net, "link", "set", there, "down")
        relay.kill()
        relay.wait()
    finally:
        ip("link", "del", here)  # its other end goes with it, and at once
        ip("netns", "del", net)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def ask(database: Database, statement: str, connected: threading.Barrier, start: threading.Event) -> None:
    """Run a statement on a link that was alive, once `start` is set."""
    with database.begin() as conn:
        conn.execute(text("SELECT 1"))
        connected.wait(30)
        assert start.wait(30)
        conn.execute(text(statement))


def through(host: str, settings: Settings) -> Settings:
    url = make_url(str(settings.database_url)).set(drivername="postgresql", host=host, port=PORT, query={})
    return Settings(database_url=url.render_as_string(hide_password=False))


def test_a_dead_link_is_noticed_while_waiting_and_while_sending(
    cable: tuple[str, Callable[[], None]], settings: Settings
) -> None:
    host, pull = cable
    connected, at_once, after = threading.Barrier(3), threading.Event(), threading.Event()
    with open_database(through(host, settings)) as database, ThreadPoolExecutor(2) as pool:
        waits = pool.submit(ask, database, "SELECT pg_sleep(60)", connected, at_once)
        sends = pool.submit(ask, database, "SELECT 2", connected, after)
        connected.wait(30)
        at_once.set()
        with database.begin() as conn:
            asleep = text("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
            while not conn.execute(asleep).scalar_one():
                pass
        pull()
        pulled = time.monotonic()
        after.set()
        for told in (waits, sends):
            with pytest.raises(DependencyAway):
                told.result(60)
            assert time.monotonic() - pulled < WITHIN_S


def test_a_server_behind_a_dead_link_is_not_waited_for(
    cable: tuple[str, Callable[[], None]], settings: Settings
) -> None:
    host, pull = cable
    pull()
    pulled = time.monotonic()
    with pytest.raises(DependencyAway), open_database(through(host, settings)):
        pass
    assert time.monotonic() - pulled < WITHIN_S
