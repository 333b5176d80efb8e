"""Functions wrapped from outside, so that the product dies or fails at a chosen call; it has no hook for that."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter
from typing import Any

import psycopg

MARK = "wounded here"
"""What a child says when it is made to fail."""


def inflict(where: str, nth: int, side: str, act: str) -> None:
    """Have the `nth` call of `where` ("module:name") die or fail, on the `side` "before" or "after" it.

    `act` is "kill", "OSError" or "OperationalError".

    Raises:
        AttributeError: the product has no such function any more; name the one that took its place.
    """
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner = import_module(module)
    if owners:
        owner = attrgetter(".".join(owners))(owner)
    setattr(owner, name, wrapped(getattr(owner, name), nth, side, ACTS[act]))


def wrapped(real: Callable[..., Any], nth: int, side: str, act: Callable[[], None]) -> Callable[..., Any]:
    """`real`, with `act` before or after its nth call."""
    calls = 0

    def call(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls
        if mine == nth and side == "before":
            act()
        result = real(*args, **named)
        if mine == nth and side == "after":
            act()
        return result

    return call


def die() -> None:
    """Kill this process and those that it started."""
    os.killpg(0, signal.SIGKILL)


def fail_as_a_disk() -> None:
    print(MARK, flush=True)
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_as_a_link() -> None:
    print(MARK, flush=True)
    raise psycopg.OperationalError("server closed the connection unexpectedly")


ACTS = {"kill": die, "OSError": fail_as_a_disk, "OperationalError": fail_as_a_link}
