"""Sends what the outbox holds: claim, send, mark, each in its own step and nothing over the network in a transaction.

A kill between sending and marking sends again under the same key: at least once, never lost. One alert's messages
reach a channel in their order. What fails is tried again later and later, and given up a day after its event.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from monitor.alerts.channels import Channel, DeliveryFailed
from monitor.store import outbox
from monitor.store.database import Database
from monitor.store.outbox import Delivery

CLAIM = timedelta(minutes=1)
"""How long a message that is being sent is nobody else's to send: longer than any channel waits for an answer."""
PATIENCE = timedelta(hours=24)
_FIRST_WAIT = timedelta(seconds=15)
_LONGEST_WAIT = timedelta(hours=1)

_log = logging.getLogger(__name__)


def run(
    database: Database,
    channels: Sequence[Channel],
    now: datetime,
    *,
    stopwatch: Callable[[], float] = time.monotonic,
) -> int:
    """Send every message that is due; returns how many were taken.

    A receiver that is away is left alone for the rest of the run. Messages to a channel that is no longer configured
    are given up after a day too. `now` is when the run begins, and `stopwatch` gives the seconds that pass: slow
    receivers make a run long, and a claim counts from its own moment.
    """
    began = stopwatch()

    def present() -> datetime:
        return now + timedelta(seconds=stopwatch() - began)

    open_channels = {channel.name: channel for channel in channels}
    _drop_orphans(database, list(open_channels), now)
    sent = 0
    while open_channels:
        at = present()
        with database.begin() as conn:
            delivery = outbox.claim(conn, list(open_channels), at, at + CLAIM)
        if delivery is None:
            break
        try:
            open_channels[delivery.channel].send(delivery, at)
        except DeliveryFailed as failure:
            _put_back(database, delivery, failure, present())
            if failure.away:
                del open_channels[delivery.channel]
            continue
        with database.begin() as conn:
            outbox.mark_sent(conn, delivery.key, present())
        sent += 1
    return sent


def backoff(attempts: int, key: str) -> timedelta:
    """How long to wait after the `attempts`-th failure: 15 s, doubling up to an hour, less up to a fifth.

    What is taken off comes from the key, so that messages which failed together do not come back together.
    """
    longest = min(_FIRST_WAIT * 2.0 ** min(attempts - 1, 20), _LONGEST_WAIT)
    return longest * (1 - int(key[:4], 16) / 0xFFFF / 5)


def _put_back(database: Database, delivery: Delivery, failure: DeliveryFailed, now: datetime) -> None:
    event = delivery.event
    wait = max(backoff(delivery.attempts, delivery.key), failure.wait or timedelta(0))
    with database.begin() as conn:
        if now - event.decided_at < PATIENCE:
            outbox.postpone(conn, delivery.key, str(failure), now + wait)
            _log.warning(
                "%s to %s about %s not delivered, attempt %d: %s; next in %d s",
                event.to_state, delivery.channel, event.alert_key, delivery.attempts, failure, wait.total_seconds(),
            )  # fmt: skip
            return
        outbox.give_up(conn, delivery.key, str(failure), now)
    _log.error(
        "%s to %s about %s given up after %d attempts: %s; see to the receiver",
        event.to_state, delivery.channel, event.alert_key, delivery.attempts, failure,
    )  # fmt: skip


def _drop_orphans(database: Database, channels: Sequence[str], now: datetime) -> None:
    with database.begin() as conn:
        for key, channel in outbox.orphaned(conn, channels, now - PATIENCE):
            outbox.give_up(conn, key, "the channel is not configured any more", now)
            _log.error("message %s given up: the channel %s is not configured any more", key, channel)
