"""A test message through each channel, and what came back: nothing of it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.alerts.channels import Channel
from monitor.alerts.wire import DeliveryFailed
from monitor.records import AlertEvent, Window
from monitor.store.outbox import Delivery, Parcel


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a channel took the test message, and what it said."""

    channel: str
    taken: bool
    said: str


def run(channels: Sequence[Channel], now: datetime) -> list[Outcome]:
    """Send a test alert through each channel, and its end, so that none stays on anywhere."""
    return [_try(channel, now) for channel in channels]


def _try(channel: Channel, now: datetime) -> Outcome:
    try:
        said = channel.send(_parcel(channel.name, "firing", now), now)
        channel.send(_parcel(channel.name, "resolved", now), now)
    except DeliveryFailed as failure:
        return Outcome(channel.name, False, str(failure))
    return Outcome(channel.name, True, said)


def _parcel(channel: str, state: str, now: datetime) -> Parcel:
    evidence = {
        "sentence": "This is a test of monitor's alerts; there is nothing to do.",
        "rule": "monitor-test",
        "severity": "info",
        "pillar": "inference",
        "scope": {"model": "monitor"},
    }
    window = Window(now - timedelta(hours=1), now)
    opening = AlertEvent("monitor/test", 1, "ok", "firing", window, now, None, 0.0, 0, evidence)
    event = replace(opening, to_state=state)
    key = hashlib.sha256(f"test {channel} {state} {now.isoformat()}".encode()).hexdigest()[:32]
    return Parcel(key, channel, (Delivery(key, channel, 1, event, opening, now),))
