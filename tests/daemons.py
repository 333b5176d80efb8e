"""Daemons as processes of their own, for tests that stop, kill and question them."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


def monitor(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end."""
    command = [sys.executable, "-m", "monitor", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def daemon(env: dict[str, str], log: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running daemon and the address of its page; killed at the end if the test has not stopped it."""
    command = [sys.executable, "-m", "monitor", "daemon", "--port", "0", *words]
    with log.open("a") as errors:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"status page: (http://\S+)", line):
                yield process, found[1]
                return
        pytest.fail(f"the daemon ended at once: {log.read_text()}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)


def eventually(wanted: Callable[[], bool], seconds: float = 30) -> None:
    """Ask until it is so: the daemon works at its own pace."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not wanted():
        assert time.monotonic() < deadline, "it has not come to pass"
        pause.wait(0.1)


def is_ready(page: str) -> bool:
    """Whether the daemon says that it can do its work."""
    try:
        return httpx.get(f"{page}readyz").status_code == 200
    except httpx.TransportError:
        return False
