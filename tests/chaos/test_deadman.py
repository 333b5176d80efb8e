"""A running daemon tells a receiver outside that all is well, until any one part of it hangs. Turns are shortened."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from chaos.children import Nursery
from chaos.conftest import Account
from chaos.waiting import eventually

from monitor.settings import Settings

CONTRACT = '[model]\nname = "presses"\n[[classes]]\nname = "dent"\n[cameras]\npolicy = "open"\n'
WITHIN_S = 12.0
"""Three turns of the intake and the slack, a turn of the audit and one of the outbox; the rest is room to spare."""


class Receiver(ThreadingHTTPServer):
    """Remembers when it was last told."""

    def __init__(self) -> None:
        self.told_at: list[float] = []
        super().__init__(("127.0.0.1", 0), Listening)

    def quiet_for(self, seconds: float) -> bool:
        """Whether it was told nothing for so long."""
        return time.monotonic() - self.told_at[-1] > seconds


class Listening(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.told_at.append(time.monotonic())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver outside the daemon."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_signal_stops_with_any_one_part_and_comes_back_with_it(
    warm: Nursery, settings: Settings, tmp_path: Path, receiver: Receiver, account: Callable[[str], Account]
) -> None:
    opened = account("dead-man: intake, outbox, schedule stopped in turn")
    assert settings.database_url is not None
    contracts, hanging = tmp_path / "contracts", tmp_path / "hanging"
    contracts.mkdir()
    hanging.mkdir()
    (contracts / "presses.toml").write_text(CONTRACT)
    env = {
        "MONITOR_STATE_DIR": str(tmp_path / "state"),
        "MONITOR_CONTRACTS_DIR": str(contracts),
        "MONITOR_DATABASE_URL": settings.database_url,
        "MONITOR_DEADMAN_URL": f"http://127.0.0.1:{receiver.server_port}/",
    }
    daemon = warm.start("signal", env=env, folder=str(hanging))

    def is_heard() -> bool:
        assert not daemon.ended(0), daemon.said
        return len(receiver.told_at) > 0 and not receiver.quiet_for(3)

    def stop(part: str) -> None:
        if part == "schedule":
            daemon.signal(signal.SIGSTOP)
        else:
            (hanging / part).touch()

    def go_on(part: str) -> None:
        if part == "schedule":
            daemon.signal(signal.SIGCONT)
        else:
            (hanging / part).unlink()

    for part in ("intake", "deliver", "schedule"):
        eventually(is_heard, 60, "all is well")
        stop(part)
        stopped_at = time.monotonic()
        eventually(lambda: receiver.quiet_for(4), 60, f"it is quiet once {part} has stopped")
        assert receiver.told_at[-1] - stopped_at < WITHIN_S, part
        go_on(part)
    eventually(is_heard, 60, "all is well again")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(20) == 0, daemon.said
    opened.closed(3)
