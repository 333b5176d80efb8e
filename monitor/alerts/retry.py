"""When to try again: a message that failed, and a receiver that seems to be away (a circuit breaker)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from monitor.store.receivers import Receiver

FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(hours=1)
TOLERATED = 3
"""Failures in a row after which a receiver is left alone for a while."""
FIRST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(minutes=10)


def backoff(attempts: int, key: str) -> timedelta:
    """How long to wait after the `attempts`-th failure: 15 s, doubling up to an hour, less up to a fifth.

    What is taken off comes from the key, so that messages which failed together do not come back together.
    """
    longest = min(FIRST_WAIT * 2.0 ** min(attempts - 1, 20), LONGEST_WAIT)
    return longest * (1 - int(key[:4], 16) / 0xFFFF / 5)


def after_failure(
    receiver: Receiver, error: str, wait: timedelta | None, now: datetime, longest_rest: timedelta = LONGEST_REST
) -> Receiver:
    """The receiver after it was found away; it is left alone as long as it asked for (`wait`), or by itself.

    The third failure in a row closes it for half a minute, each further one for twice as long, `longest_rest` at
    most; then one message is tried.
    """
    failures = receiver.failures + 1
    rest = timedelta(0)
    if failures >= TOLERATED:
        longest = min(FIRST_REST * 2.0 ** min(failures - TOLERATED, 20), longest_rest)
        draw = hashlib.sha256(f"{receiver.channel} {failures}".encode()).digest()[0] / 255
        rest = longest * (1 - draw / 5)
    closed = max(rest, wait or timedelta(0))
    return replace(
        receiver,
        failures=failures,
        closed_until=now + closed if closed else None,
        last_failed_at=now,
        last_error=error[:500],
    )


def after_success(receiver: Receiver, now: datetime) -> Receiver:
    """The receiver after it took a message."""
    return replace(receiver, failures=0, closed_until=None, last_sent_at=now, last_error="")
