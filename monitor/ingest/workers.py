"""Processes that prepare lines beside the one that speaks to the database: the two then work at the same time.

A worker reads requests from a pipe and writes what it made of them to another. It ends when its pipe does, so it
outlives its parent by one batch at most, however that ended. It knows neither settings nor database.
"""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from monitor.errors import DependencyAway, UsageError
from monitor.ingest.columns import Rules
from monitor.ingest.lines import Lines
from monitor.ingest.names import OpenName
from monitor.ingest.prepare import Prepared, Request, answered, pack, prepare, unpack

SMALL = 1_000
"""Lines of a batch from which on it is worth a worker."""
_ROOT = Path(__file__).resolve().parents[2]
_START = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from monitor.ingest.workers import serve; serve()"
_LENGTH = struct.Struct(">Q")
_PIECE = 1 << 18
_PIPE = 1 << 20
"""Bytes that wait in a pipe, where the system lets them: fewer changes from one process to another."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt(3)."""
_MOST_KEPT = 1 << 30


class _Ended(Exception):
    """The worker is gone, or went while it was at work."""


class Workers:
    """Up to `count` worker processes, started when they are needed first. Close it, or use it as a context manager.

    Any thread may call `begin`. With a `count` of 0 the work is done in this process when its result is asked for.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(max(count, 1), thread_name_prefix="prepare")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def begin(
        self,
        source: str,
        lines: Lines,
        rules: Mapping[str, Rules],
        now: datetime,
        only: Collection[int] | None = None,
        beyond: Collection[OpenName] | None = None,
    ) -> Future[Prepared]:
        """Have lines prepared, as `prepare` does; the result is there when the worker is done.

        The result raises DependencyAway where no worker can be had.
        """
        if self.count == 0 or len(lines) < SMALL:
            done: Future[Prepared] = Future()
            done.set_result(prepare(source, lines.pieces(), lines.first, rules, now, only, beyond))
            return done
        numbers = None if only is None else sorted(only)
        asked = Request(source, lines.first, dict(rules), now, numbers, None if beyond is None else sorted(beyond))
        return self._threads.submit(self._prepare, asked, lines)

    def warm_up(self) -> None:
        """Start a worker, if there is none yet: it takes a while to come up, and can while files are looked at."""
        if self.count and not self._all:
            self._idle.put(self._free())

    def close(self) -> None:
        """End the workers; what they are at is lost."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.end()
            self._all.clear()
        self._threads.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, asked: Request, lines: Lines) -> Prepared:
        said = msgspec.msgpack.encode(asked)
        for _ in range(2):
            worker = self._free()
            try:
                prepared = unpack(worker.ask(said, lines))
            except _Ended:
                self._forget(worker)
                continue
            except UsageError:  # half a request was said
                self._forget(worker)
                raise
            self._idle.put(worker)
            return prepared
        raise DependencyAway(
            f"the process that reads lines ended twice over {len(lines)} lines of {asked.source}, from line"
            f" {asked.first} on, and nothing of them was kept; see that nothing kills it, as for want of memory, then"
            " try again"
        )

    def _free(self) -> _Worker:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            if self._closed:
                raise DependencyAway("lines are not read any more: this process is stopping, the next one does it")
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _forget(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


class _Worker:
    """One process and the two pipes to it."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pipesize=_PIPE,
            )
        except OSError as error:
            raise DependencyAway(
                f"the process that reads lines cannot be started: {error}; free memory or processes, then try again"
            ) from error

    def ask(self, said: bytes, lines: Lines) -> bytearray:
        """Hand a request over, with its lines, and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin.fileno(), len(said), [said])
            _send(self._process.stdin.fileno(), lines.size, lines.text())
            answer = _receive(self._process.stdout.fileno())
        except (OSError, ValueError) as error:
            raise _Ended from error
        if answer is None:
            raise _Ended
        return answer

    def end(self) -> None:
        """Kill it and wait for it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _send(descriptor: int, size: int, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
    """One message, of pieces."""
    _write(descriptor, _LENGTH.pack(size))
    for piece in pieces:
        _write(descriptor, piece)


def _write(descriptor: int, piece: bytes | bytearray | memoryview) -> None:
    view, at = memoryview(piece), 0
    while at < len(view):
        at += os.write(descriptor, view[at:])


def _receive(descriptor: int) -> bytearray | None:
    """One message; None where the pipe has ended."""
    length = _read(descriptor, _LENGTH.size)
    return length and _read(descriptor, *_LENGTH.unpack(length))


def _read(descriptor: int, size: int) -> bytearray | None:
    said = bytearray(size)
    view, at = memoryview(said), 0
    while at < size:
        if not (count := os.readv(descriptor, [view[at:]])):
            return None
        at += count
    return said


def serve() -> None:
    """What a worker does: answer requests until its pipe ends. The parent alone is told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    decode = msgspec.msgpack.Decoder(Request).decode
    answers = os.dup(1)
    os.dup2(2, 1)
    gc.disable()
    _keep_memory()
    with suppress(_Ended):
        while (said := _receive(0)) is not None:
            pieces = pack(answered(decode(said), _pieces()))
            _send(answers, sum(map(len, pieces)), pieces)


def _keep_memory() -> None:
    """Have glibc keep what is freed for the next batch: giving pages back and getting them again takes a tenth of the
    time. Where there is another library nothing happens."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, _MOST_KEPT)


def _pieces() -> Iterator[bytes]:
    """The lines of a request as they come, some whole ones at a time: they are read while the rest is still on its
    way, and never held together.

    Raises:
        _Ended: the pipe has.
    """
    if (length := _read(0, _LENGTH.size)) is None:
        raise _Ended
    left, held, room = _LENGTH.unpack(length)[0], 0, bytearray(_PIECE)
    while left:
        if held == len(room):  # not one whole line
            room += bytes(_PIECE)
        if not (count := os.readv(0, [memoryview(room)[held : held + left]])):
            raise _Ended
        left, held = left - count, held + count
        if left and held == len(room) and (end := room.rfind(b"\n", 0, held)) >= 0:
            with memoryview(room) as view:
                yield bytes(view[:end])
                held -= end + 1
                view[:held] = view[end + 1 : end + 1 + held]
    yield bytes(memoryview(room)[:held])
