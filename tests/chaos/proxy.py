"""A proxy in front of Postgres that breaks its word: connections cut at random, answers to COMMIT swallowed."""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url

PIECE = 1 << 16
READY = b"Z\x00\x00\x00\x05"
"""The head of PostgreSQL's ReadyForQuery: the answer is complete."""


@dataclass(slots=True)
class Faults:
    """How likely each fault is: that a COMMIT never arrives, that its answer is lost, that any piece is cut."""

    rng: random.Random
    before_commit: float = 0.1
    after_commit: float = 0.15
    piece: float = 0.004
    done: Counter[str] = field(default_factory=Counter)
    """How often each was done."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at_commit(self) -> str:
        with self._lock:
            drawn = self.rng.random()
            fault = "" if drawn > self.before_commit + self.after_commit else "swallowed"
            fault = "cut before COMMIT" if drawn < self.before_commit else fault
            self.done[fault] += 1
            return fault

    def at_piece(self) -> bool:
        with self._lock:
            cut = self.rng.random() < self.piece
            self.done["cut"] += cut
            return cut


class Proxy:
    """Serves connections to the Unix socket `target` from `listener`, each in a thread of its own."""

    def __init__(self, listener: socket.socket, target: str, faults: Faults | None = None) -> None:
        self._listener = listener
        self._target = target
        self._faults = faults
        self._open: set[socket.socket] = set()

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=[near], daemon=True).start()

    def close(self) -> None:
        """Stop, and cut what is open."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _relay(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        self._open |= {near, far}
        with near, far, suppress(OSError):
            far.connect(self._target)
            pump = self._faulty if self._faults else relay_bytes
            pump(near, far)
        self._open -= {near, far}

    def _faulty(self, near: socket.socket, far: socket.socket) -> None:
        assert self._faults is not None
        talk = Talk()
        while True:
            for side in select.select([near, far], [], [])[0]:
                if not (piece := side.recv(PIECE)):
                    return
                if self._faults.at_piece():
                    (far if side is near else near).sendall(piece[: len(piece) // 2])
                    return
                if side is far:
                    near.sendall(piece)
                    continue
                fault = self._faults.at_commit() if talk.commits(piece) else ""
                if fault.startswith("cut"):
                    return
                far.sendall(piece)
                if fault:
                    swallow(far)
                    return


def relay_bytes(near: socket.socket, far: socket.socket) -> None:
    """Hand on whatever comes, both ways."""
    while True:
        for side in select.select([near, far], [], [])[0]:
            if not (piece := side.recv(PIECE)):
                return
            (far if side is near else near).sendall(piece)


def swallow(far: socket.socket) -> None:
    """Take the server's answer, up to its end, and keep it."""
    said = b""
    while READY not in said and (piece := far.recv(PIECE)):
        said = said[-len(READY) :] + piece


@dataclass(slots=True)
class Talk:
    """What a client says, message by message (PostgreSQL's protocol 3: a type, then a length that counts itself)."""

    started: bool = False
    rest: bytes = b""

    def commits(self, piece: bytes) -> bool:
        """Whether a COMMIT is complete with this piece."""
        self.rest += piece
        found = False
        while len(self.rest) >= (head := 5 if self.started else 4):
            (length,) = struct.unpack("!I", self.rest[head - 4 : head])
            whole = length + head - 4
            if len(self.rest) < whole:
                break
            found |= self.started and self.rest[:1] in b"QP" and b"COMMIT" in self.rest[:whole]
            self.rest, self.started = self.rest[whole:], True
        return found


@contextmanager
def between(url: str, folder: Path, faults: Faults) -> Iterator[str]:
    """A proxy in front of the server of `url`; gives the URL that leads through it."""
    where = make_url(url)
    port = where.query.get("port") or where.port or 5432
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / f".s.PGSQL.{port}"))
    with served(listener, target_of(url), faults):
        through = where.set(host=None, port=None).update_query_dict({"host": str(folder), "port": str(port)})
        yield through.render_as_string(hide_password=False)


@contextmanager
def served(listener: socket.socket, target: str, faults: Faults | None = None) -> Iterator[None]:
    """A proxy on `listener`, for the length of a block."""
    listener.listen(64)
    proxy = Proxy(listener, target, faults)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        proxy.close()
        thread.join(10)


def target_of(url: str) -> str:
    """The Unix socket of a server that is named by its folder."""
    query = make_url(url).query
    return f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}"
