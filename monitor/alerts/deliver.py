"""Sends what the outbox holds: claim, send, mark, each in its own step and nothing over the network in a transaction.

A kill between sending and marking sends again under the same key: at least once, never lost. One alert's messages
reach a channel in their order, and what one rule has to say at once is one message. What fails is tried again later
and later, and given up a day after it was due; a receiver that is away is left alone for a while, and the fallback is
told instead. What a silence covers waits for its end, and is dropped if it is over by then.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from monitor.alerts import retry
from monitor.alerts.channels import Channel, Repeating
from monitor.alerts.labels import facts
from monitor.alerts.life import silenced_by
from monitor.alerts.wire import DeliveryFailed
from monitor.store import deeds, outbox, receivers, silences
from monitor.store.database import Connection, Database
from monitor.store.outbox import Parcel
from monitor.store.receivers import Receiver
from monitor.store.silences import Silence

CLAIM = timedelta(minutes=1)
"""How long a message that is being sent is nobody else's to send: longer than any channel waits for an answer."""
PATIENCE = timedelta(hours=24)
GRACE = timedelta(minutes=1)
"""How long an untried message waits for a receiver that is away before the fallback is told."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Round:
    """One run: the channels that are still asked, and the time as it passes."""

    database: Database
    open: dict[str, Channel]
    now: datetime
    stopwatch: Callable[[], float]
    began: float

    def present(self) -> datetime:
        return self.now + timedelta(seconds=self.stopwatch() - self.began)


def run(
    database: Database,
    channels: Sequence[Channel],
    now: datetime,
    *,
    stopwatch: Callable[[], float] = time.monotonic,
) -> int:
    """Send every message that is due; returns how many were taken.

    A receiver that is away is left alone for the rest of the run, and longer if it stays so. Messages to a channel
    that is no longer configured are given up after a day too. `now` is when the run begins, and `stopwatch` gives the
    seconds that pass: slow receivers make a run long, and a claim counts from its own moment.
    """
    _drop_orphans(database, [channel.name for channel in channels], now)
    with database.begin() as conn:
        outbox.drop_stale(conn, now)
        known = receivers.read(conn)
        closed = [name for name, one in known.items() if one.is_closed(now)]
        away = [name for name, one in known.items() if name in closed or one.failures >= retry.TOLERATED]
        _let_fallbacks_speak(conn, channels, away, now)
    asked = {channel.name: channel for channel in channels if channel.name not in closed}
    this = _Round(database, asked, now, stopwatch, stopwatch())
    # First what cannot wait: what is on ends by itself where it is not told again.
    for channel in list(this.open.values()):
        if isinstance(channel, Repeating):
            _refresh(this, channel)
    return _empty(this)


def _empty(this: _Round) -> int:
    """Send until nothing is due; returns how many messages were taken."""
    sent = 0
    while this.open:
        at = this.present()
        with this.database.begin() as conn:
            # Held, and before any message is: who ends one lets go of what it held back, and must not miss this one.
            in_force = silences.read(conn, at, hold=True)
            parcel = outbox.claim(conn, list(this.open), at, at + CLAIM)
            if parcel is None:
                break
            parcel = _unsilenced(conn, parcel, in_force)
        if not parcel.deliveries:
            continue
        failure = _tried(parcel.channel, partial(this.open[parcel.channel].send, parcel, at))
        if failure is not None:
            _put_back(this, parcel, failure)
            continue
        with this.database.begin() as conn:
            outbox.mark_sent(conn, [one.key for one in parcel.deliveries], this.present())
            _note(conn, parcel.channel, lambda receiver: retry.after_success(receiver, this.present()))
        sent += len(parcel.deliveries)
    return sent


def _tried(channel: str, send: Callable[[], object]) -> DeliveryFailed | None:
    """Why a channel did not take something; None: it did. What nobody thought of holds up nothing else."""
    try:
        send()
    except DeliveryFailed as failure:
        return failure
    except Exception as error:  # noqa: BLE001 - logged, and told as a failure
        # Not the error's own words: they may hold the address, which may be a secret.
        *_, (file, line, _, _) = traceback.extract_tb(error.__traceback__)
        _log.error("%s failed in a way that it should not: %s at %s:%d", channel, type(error).__name__, file, line)
        return DeliveryFailed(f"{channel} failed ({type(error).__name__}); see the log", away=False)
    return None


def _unsilenced(conn: Connection, parcel: Parcel, in_force: Sequence[Silence]) -> Parcel:
    """The parcel without what a silence covers; that waits for the silence's end."""
    kept = []
    for one in parcel.deliveries:
        silence = silenced_by(in_force, facts(one.event.alert_key, one.opening.evidence))
        if silence is None:
            kept.append(one)
        else:
            outbox.hold(conn, one.key, silence.id, silence.ends_at)
    return replace(parcel, deliveries=tuple(kept))


def _refresh(this: _Round, channel: Repeating) -> None:
    """Tell a receiver that forgets what is still on, when it is time."""
    now = this.present()
    with this.database.begin() as conn:
        # Twice an interval: a pause of three after that is still no end.
        if not receivers.take_turn(conn, channel.name, now, now - channel.interval / 2):
            return
        still_on = outbox.still_on(conn, channel.name)
        taken_on = deeds.acknowledged(conn, [event.alert_key for event in still_on])
    if not still_on:
        return
    by = {key: deed.author for key, deed in taken_on.items()}
    failure = _tried(channel.name, partial(channel.refresh, still_on, by, now))
    if failure is not None:
        _log.warning("%s was not told again of %d open alerts: %s", channel.name, len(still_on), failure)
        if failure.away:
            _leave_alone(this, channel.name, failure)


def _put_back(this: _Round, parcel: Parcel, failure: DeliveryFailed) -> None:
    now, keys = this.present(), [one.key for one in parcel.deliveries]
    late = [one.key for one in parcel.deliveries if now - one.due_at >= PATIENCE]
    attempts = max(one.attempts for one in parcel.deliveries)
    about = parcel.deliveries[0].event.alert_key + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
    wait = retry.backoff(attempts, parcel.key)
    if failure.away:
        # The receiver itself is left alone; what waits for it is to go out as soon as it is back.
        wait = min(wait, _longest_rest(this, parcel.channel))
    wait = max(wait, failure.wait or timedelta(0))
    with this.database.begin() as conn:
        outbox.postpone(conn, [key for key in keys if key not in late], str(failure), now + wait)
        outbox.give_up(conn, late, str(failure), now)
    if late:
        _log.error(
            "%s to %s about %s given up after %d attempts: %s; see to the receiver",
            parcel.state, parcel.channel, about, attempts, failure,
        )  # fmt: skip
    else:
        _log.warning(
            "%s to %s about %s not delivered, attempt %d: %s; next in %d s",
            parcel.state, parcel.channel, about, attempts, failure, wait.total_seconds(),
        )  # fmt: skip
    if failure.away:
        _leave_alone(this, parcel.channel, failure)


def _leave_alone(this: _Round, channel: str, failure: DeliveryFailed) -> None:
    now = this.present()
    with this.database.begin() as conn:
        longest = _longest_rest(this, channel)
        _note(conn, channel, lambda one: retry.after_failure(one, str(failure), failure.wait, now, longest))
    this.open.pop(channel, None)


def _longest_rest(this: _Round, channel: str) -> timedelta:
    """How long a receiver is left alone at most; one that forgets is asked again before it does."""
    known = this.open.get(channel)
    return known.interval / 2 if isinstance(known, Repeating) else retry.LONGEST_REST


def _note(conn: Connection, channel: str, change: Callable[[Receiver], Receiver]) -> None:
    receivers.save(conn, change(receivers.read(conn).get(channel, Receiver(channel))))


def _let_fallbacks_speak(conn: Connection, channels: Sequence[Channel], away: Sequence[str], now: datetime) -> None:
    for fallback in (channel.name for channel in channels if channel.is_fallback):
        for name in (channel.name for channel in channels if not channel.is_fallback):
            waiting_since = now - GRACE if name in away else None
            if count := outbox.divert(conn, name, fallback, waiting_since, retry.TOLERATED, now):
                _log.warning("%d messages go to %s, for %s does not take them", count, fallback, name)
        outbox.follow(conn, fallback, now)


def _drop_orphans(database: Database, channels: Sequence[str], now: datetime) -> None:
    with database.begin() as conn:
        for key, channel in outbox.orphaned(conn, channels, now - PATIENCE):
            outbox.give_up(conn, [key], "the channel is not configured any more", now)
            _log.error("message %s given up: the channel %s is not configured any more", key, channel)
