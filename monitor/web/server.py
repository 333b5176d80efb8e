"""The server that listens: the application on a socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_S = 10.0
"""How long the head of a request may take, the wait for it included."""
_GRACE_S = 2


class _Watched(H11Protocol):
    """A connection that is closed when no whole head of a request comes, however its bytes may trickle in."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._free_since = self.loop.time()
        self._look()

    def on_response_complete(self) -> None:
        self._free_since = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        left = self._free_since + HEAD_S - self.loop.time()
        is_free = self.cycle is None or self.cycle.response_complete
        if is_free and left <= 0:
            self.transport.close()
        else:
            self.loop.call_later(max(left, 0.0) if is_free else HEAD_S, self._look)


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[threading.Thread]:
    """Answer on `listener` for the length of a block; at its end the last answers have two seconds.

    Yields the thread: one that is still alive after the block was at work for longer.
    """
    config = uvicorn.Config(
        app,
        http=_Watched,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # what a request says of where it comes from is believed by nobody
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join(_GRACE_S + 3)
        listener.close()
