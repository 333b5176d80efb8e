"""The body of a request → lines, within bounds on every side: bytes sent, bytes unpacked, lines, time, all at once.

What does not fit is refused with a sentence, and is never put in a queue: whoever sends keeps it and comes again.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from monitor.errors import FileBroken, UsageError
from monitor.ingest.inflate import Pieces, gunzip, unzstd
from monitor.ingest.lines import Lines
from monitor.ingest.parse import MAX_LINE
from monitor.web.problem import Refused, come_back

MOST_BYTES = 16 << 20
"""Bytes of one body as it is sent, and bytes of it unpacked."""
MOST_LINES = 20_000
MOST_RATIO = 200
"""Unpacked bytes a packed byte; logs reach 10 to 60."""
FREE_BYTES = 1 << 20
"""Up to so many unpacked bytes the ratio is not asked for: a short log may be monotonous."""
MOST_AT_ONCE = 64 << 20
"""Bytes of all bodies that are held at a time, packed and unpacked."""
MOST_IN_WORK = 24 << 20
"""Unpacked bytes of the bodies that are being decoded and stored, which takes some fifteen times as much memory."""
SECONDS = 60.0
"""How long a body may take to arrive."""
UNPACKERS: dict[str, Callable[[BinaryIO], Pieces]] = {"gzip": gunzip, "zstd": unzstd}


class Flight:
    """The bytes of the bodies that are being read or taken in, all together. Safe to use from several threads."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """One body's share for the length of a block."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            self._move(-hold.size)

    def has_room(self, size: int) -> bool:
        """Whether a body of this size could be held now."""
        return self._held + size <= self._most

    def _move(self, by: int) -> bool:
        with self._lock:
            if by > 0 and not self.has_room(by):
                return False
            self._held += by
            return True


class Work:
    """The bodies that are being decoded and stored: as many as fit into so many bytes, or one. From any thread."""

    def __init__(self, most: int = MOST_IN_WORK) -> None:
        self._most = most
        self._busy = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, size: int) -> Iterator[None]:
        """Wait until a body of `size` bytes has its turn, and keep it for the length of a block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy or self._busy + size <= self._most)
            self._busy += size
        try:
            yield
        finally:
            with self._changed:
                self._busy -= size
                self._changed.notify_all()


class Hold:
    """What one body holds of the flight's bytes."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self.size = 0

    def grow(self, by: int) -> None:
        """Hold so many bytes more (fewer, where it is negative).

        Raises:
            Refused: 429, all together would be too many.
        """
        if not self._flight._move(by):
            raise too_many_at_once()
        self.size += by


def too_many_at_once() -> Refused:
    """The refusal of a body for the sake of the others."""
    return come_back(
        429, "too many bytes of bodies are being taken in at once; send this body again when Retry-After is over", 1
    )


async def read(stream: AsyncIterator[bytes], announced: int | None, flight: Flight, hold: Hold) -> bytes:
    """A body as it is sent. `announced`: its size as the request's head says, None where it does not.

    Raises:
        Refused: 413 too large, 429 too many at once, 408 too slow.
    """
    if announced is not None:
        if announced > MOST_BYTES:
            raise _too_large(
                f"the body has {announced:,} bytes and at most {MOST_BYTES:,} are taken; send it in parts"
            )
        if not flight.has_room(announced):
            raise too_many_at_once()
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in stream:
                if len(body) + len(piece) > MOST_BYTES:
                    raise _too_large(f"the body has more than {MOST_BYTES:,} bytes; send it in parts")
                hold.grow(len(piece))
                body += piece
    except TimeoutError:
        raise Refused(
            408, f"the body has not arrived within {SECONDS:g} s; send smaller bodies, or packed ones (gzip)"
        ) from None
    return bytes(body)


def unpack(body: bytes, encoding: str, hold: Hold) -> bytes:
    """A body without its Content-Encoding (`""`, identity, gzip or zstd).

    Raises:
        Refused: 413 too large, 429 too many at once, 400 broken, 415 an encoding that is not read here.
    """
    if encoding in ("", "identity"):
        return body
    unpacker = UNPACKERS.get(encoding)
    if unpacker is None:
        raise _unknown(f"a body in Content-Encoding {encoding[:40]!a} is not taken; send gzip, zstd or plain NDJSON")
    most = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * len(body)))
    unpacked = bytearray()
    try:
        for piece in unpacker(io.BytesIO(body)):
            if len(unpacked) + len(piece) > most:
                raise _too_large(
                    f"the body holds more than {most:,} bytes unpacked, the most that is taken out of {len(body):,} "
                    f"({MOST_RATIO} times as much, and {MOST_BYTES:,} at the most); send it in parts",
                )
            hold.grow(len(piece))
            unpacked += piece
    except FileBroken:
        raise Refused(
            400, f"the body is no whole {encoding}: it ends too early, or holds something else; send it again"
        ) from None
    except UsageError as error:
        raise _unknown(f"{error}") from None
    hold.grow(-len(body))
    return bytes(unpacked)


def cut(body: bytes) -> Lines:
    """The lines of a body; one that is too long is cut to just over the limit.

    Raises:
        Refused: 400 there is none, 413 there are too many.
    """
    if not body:
        raise Refused(400, "the body is empty; send one frame record a line (NDJSON)")
    if body.count(b"\n") >= MOST_LINES + body.endswith(b"\n"):
        raise _too_large(f"the body has more than {MOST_LINES:,} lines; send it in parts", MOST_LINES)
    lines = body.removesuffix(b"\n").split(b"\n")
    return Lines.of([line if len(line) <= MAX_LINE else line[: MAX_LINE + 1] for line in lines])


def _too_large(detail: str, limit: int = MOST_BYTES) -> Refused:
    return Refused(413, detail, limit=limit)


def _unknown(detail: str) -> Refused:
    return Refused(415, detail, {"Accept-Encoding": ", ".join(UNPACKERS)})
