"""A real HTTP server in the place of a receiver of alerts: it answers as it is told to, and keeps what it got."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "canary-2b81"
RESET, HANG = 0, -1
"""Answers that are none: the connection is torn down, or nothing ever comes."""


@dataclass
class Receiver:
    """What a receiver got, and the statuses (with headers) it answers with; 200 when they run out."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    taken: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    """Of those that were answered with 200: headers and body."""
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{SECRET}"

    @property
    def said(self) -> list[tuple[str, str]]:
        """(camera, state) of every message, in order."""
        found = [one["annotations"] for _, body in self.got for one in json.loads(body)["alerts"]]
        return [(said["alert"].split("/")[3], said["state"]) for said in found]


def _endpoint(known: Receiver) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                known.got.append((headers, body))
                status, more = known.answers.pop(0) if known.answers else (200, {})
                if status == 200:
                    known.taken.append((headers, json.loads(body)))
            if status == RESET:
                # Lingering for no time makes closing a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            if status == HANG:
                known.let_go.wait(30)
                return
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ValueError):
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except (ConnectionError, ValueError):
                return

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    return Endpoint


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of this machine, for the length of a block."""
    known = Receiver()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A child that was killed hangs up: that is no error here."""

    with Server(("127.0.0.1", 0), _endpoint(known)) as server:
        known.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield known
        finally:
            known.let_go.set()
            server.shutdown()
            thread.join()
