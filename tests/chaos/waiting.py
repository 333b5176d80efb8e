"""Waiting for a condition: nothing in these tests sleeps for a guess."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def eventually(wanted: Callable[[], object], seconds: float, what: str, step: float = 0.02) -> float:
    """Ask until it is so; returns how many seconds that took.

    Raises:
        AssertionError: it has not come to pass in time.
    """
    began = time.monotonic()
    pause = threading.Event()
    while not wanted():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
        pause.wait(step)
    return time.monotonic() - began
