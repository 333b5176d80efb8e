"""Processes that prepare lines beside the one that speaks to the database: the two then work at the same time.

A request and its answer are short messages over a socket, each with a descriptor: what is large lies behind that, the
lines in their file or in memory, the rows in memory that the other side maps. So neither waits for the other to read.
A worker ends when its socket does, so it outlives its parent by one batch at most, however that ended. It knows
neither settings nor database.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from monitor.errors import DependencyAway, UsageError
from monitor.ingest.columns import Rules
from monitor.ingest.lines import Descriptor, Lines, Stored, in_memory
from monitor.ingest.names import OpenName
from monitor.ingest.prepare import Prepared, Request, answered, pack, unpack

SMALL = 1_000
"""Lines of a batch from which on it is worth a worker."""
_LIGHT = 8 << 20
"""Bytes of a batch up to which the process that stores lends a hand: it has other things to hold."""
_ROOT = Path(__file__).resolve().parents[2]
# Nothing here multiplies matrices: threads for that would only take time to come up.
_START = (
    f"import os, sys; os.environ['OPENBLAS_NUM_THREADS'] = '1'; sys.path.insert(0, {str(_ROOT)!r});"
    " from monitor.ingest.workers import serve; serve()"
)
_HEAD = struct.Struct(">Q")
_AT_ONCE = getattr(mmap, "MAP_POPULATE", 0)
"""Map all pages at once, which is cheaper than each when it is met first."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt(3)."""
_MOST_KEPT = 1 << 30


class _Ended(Exception):
    """The worker is gone, or went while it was at work."""


class _Where(msgspec.Struct, array_like=True):
    """Where the lines of a request lie behind the descriptor that comes with it."""

    request: Request
    file: str
    """What the file is called."""
    start: int
    size: int
    count: int


class _Done(msgspec.Struct, array_like=True):
    """An answer: the size of what lies behind its descriptor, or why there is none."""

    size: int
    fault: str = ""


@dataclass(slots=True)
class _Task:
    """Lines to prepare."""

    asked: Request
    lines: Lines
    prepared: Future[Prepared] = field(default_factory=Future)

    def do_here(self) -> None:
        """Prepare them in this process."""
        try:
            self.prepared.set_result(answered(self.asked, self.lines.pieces()))
        except BaseException as error:
            self.prepared.set_exception(error)  # whoever waits for it may be another thread
            if not isinstance(error, Exception):
                raise


class Workers:
    """Up to `count` worker processes, started when they are needed first. Close it, or use it as a context manager.

    Any thread may call `begin`. With a `count` of 0 the work is done in this process at once.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(max(count, 1), thread_name_prefix="prepare")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: set[_Worker] = set()
        self._waiting: deque[_Task] = deque()
        """What is beyond those that workers are at."""
        self._busy = 0
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
        """Have lines prepared, as `prepare` does; the result is there when a worker is done.

        The result raises DependencyAway where no worker can be had, UsageError where the lines cannot be read.
        """
        numbers = None if only is None else sorted(only)
        asked = Request(source, lines.first, dict(rules), now, numbers, None if beyond is None else sorted(beyond))
        task = _Task(asked, lines)
        if self.count == 0 or len(lines) < SMALL:
            task.do_here()
            return task.prepared
        with self._lock:
            if self._closed:
                raise _stopping()
            if self._busy == self.count:
                self._waiting.append(task)
            else:
                self._busy += 1
                self._threads.submit(self._work, task)
        return task.prepared

    def lend_a_hand(self, until: Future[Prepared]) -> None:
        """Prepare in this thread what no worker has begun, the oldest first, as long as `until` is not there."""
        while not until.done():
            with self._lock:
                task = next((task for task in self._waiting if task.lines.size <= _LIGHT), None)
                if task is None:
                    return
                self._waiting.remove(task)
            task.do_here()

    def warm_up(self) -> None:
        """Start a worker, if there is none yet: it takes a while to come up, and can while files are looked at."""
        with self._lock:
            if self.count and not self._all:
                self._idle.put(self._start())

    def close(self) -> None:
        """End the workers; what they are at is lost."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.end()
            self._all.clear()
            while self._waiting:
                self._waiting.popleft().prepared.set_exception(_stopping())
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self, task: _Task | None) -> None:
        """Have a worker do a task, and then whatever waits."""
        while task is not None:
            try:
                task.prepared.set_result(self._prepare(task.asked, task.lines))
            except BaseException as error:  # noqa: BLE001 (whoever waits is to know)
                task.prepared.set_exception(error)
            with self._lock:
                task = self._waiting.popleft() if self._waiting else None
                self._busy -= task is None

    def _prepare(self, asked: Request, lines: Lines) -> Prepared:
        for _ in range(2):
            worker = self._free()
            try:
                said = worker.ask(asked, lines)
            except _Ended:
                self._forget(worker)
                continue
            except UsageError:
                self._idle.put(worker)
                raise
            except BaseException:
                self._forget(worker)
                raise
            self._idle.put(worker)
            return unpack(said)
        raise DependencyAway(
            f"the process that reads lines ended twice over {len(lines)} lines of {asked.source}, from line"
            f" {asked.first} on, and nothing of them was kept; see that nothing kills it, as for want of memory, then"
            " try again"
        )

    def _free(self) -> _Worker:
        with self._lock:
            try:
                return self._idle.get_nowait()
            except queue.Empty:
                return self._start()

    def _start(self) -> _Worker:
        """A new worker; call it under the lock, or there may be one too many."""
        if self._closed:
            raise _stopping()
        worker = _Worker()
        self._all.add(worker)
        return worker

    def _forget(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


def _stopping() -> DependencyAway:
    return DependencyAway("lines are not read any more: this process is stopping, the next one does it")


class _Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        with ExitStack() as stack:
            try:
                ours, theirs = map(stack.enter_context, socket.socketpair())
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START], stdin=theirs.fileno(), stdout=2
                )
            except OSError as error:
                raise DependencyAway(
                    f"the process that reads lines cannot be started: {error}; free memory, processes or open files,"
                    " then try again"
                ) from error
            self._socket = socket.socket(fileno=ours.detach())

    def ask(self, asked: Request, lines: Lines) -> mmap.mmap:
        """Hand a request over, and wait for the answer.

        Raises:
            UsageError: the lines cannot be read.
            DependencyAway: there is no memory or descriptor for them or for the answer.
            _Ended: the process is gone.
        """
        try:
            with lines.lying() as (place, name, start):
                said = msgspec.msgpack.encode(_Where(asked, name, start, lines.size, len(lines)))
                _send(self._socket, said, place)
            answer, place = _receive(self._socket)
        except OSError as error:
            raise _Ended from error
        done = _done(answer)
        try:
            if done.fault:
                raise UsageError(done.fault)
            return mmap.mmap(place, done.size, flags=mmap.MAP_SHARED | _AT_ONCE)
        except OSError as error:
            raise DependencyAway(
                f"what was read of {asked.source} cannot be held: {error}; free memory or open files, then try again"
            ) from error
        finally:
            os.close(place)

    def end(self) -> None:
        """Kill it and wait for it."""
        self._process.kill()
        self._process.wait()
        self._socket.close()


_done = msgspec.msgpack.Decoder(_Done).decode


def _send(to: socket.socket, said: bytes, descriptor: int) -> None:
    """One message and a descriptor."""
    socket.send_fds(to, [_HEAD.pack(len(said))], [descriptor])
    to.sendall(said)


def _receive(whence: socket.socket) -> tuple[bytes, int]:
    """One message and its descriptor, which is to be closed.

    Raises:
        DependencyAway: this process can have no descriptor more.
        _Ended: the other side is gone.
    """
    head, descriptors, _, _ = socket.recv_fds(whence, _HEAD.size, 1)
    try:
        head += _read(whence, _HEAD.size - len(head))
        said = _read(whence, *_HEAD.unpack(head))
        if not descriptors:  # Linux then leaves it out, and says so by a flag
            raise DependencyAway(
                "this process has too many files open to be handed one more; raise its limit (ulimit -n), then try"
                " again"
            )
        return said, descriptors.pop()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read(whence: socket.socket, size: int) -> bytes:
    said = b""
    while len(said) < size:
        if not (piece := whence.recv(size - len(said))):
            raise _Ended
        said += piece
    return said


def serve() -> None:
    """What a worker does: answer requests until its socket ends. The parent alone is told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    decode = msgspec.msgpack.Decoder(_Where).decode
    gc.disable()
    _keep_memory()
    with socket.socket(fileno=0) as parent, suppress(_Ended, ConnectionError):
        while True:
            said, descriptor = _receive(parent)
            _answer(parent, decode(said), descriptor)


def _answer(parent: socket.socket, where: _Where, descriptor: int) -> None:
    """Prepare the lines that lie behind a descriptor, which is closed."""
    kept = Stored(Descriptor(descriptor, where.file), where.start, where.size)
    try:
        pieces = pack(answered(where.request, Lines(where.request.first, kept, where.count).pieces()))
    except UsageError as error:
        pieces, fault = [], str(error)
    else:
        fault = ""
    with in_memory(pieces) as place:
        _send(parent, msgspec.msgpack.encode(_Done(sum(map(len, pieces)), fault)), place)


def _keep_memory() -> None:
    """Have glibc keep what is freed for the next batch: giving pages back and getting them again takes a tenth of the
    time. Where there is another library nothing happens."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, _MOST_KEPT)
