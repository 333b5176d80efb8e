"""Where messages about alerts go, as the settings say: the log always, one path that pages, what stands in for it.

A channel sends or says why not; it decides nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from monitor.alerts.alertmanager import AlertmanagerChannel
from monitor.alerts.notify import receivers_of
from monitor.alerts.webhook import WebhookChannel
from monitor.alerts.wire import Guard, Wire
from monitor.errors import UsageError
from monitor.records import AlertEvent
from monitor.settings import Settings
from monitor.store.outbox import Parcel

PATHS = ("alertmanager", "webhook", "notify")
"""The ways of paging that the daemon has itself."""

_log = logging.getLogger("monitor.alerts")


class Channel(Protocol):
    """One way to reach people."""

    @property
    def name(self) -> str:
        """What the outbox knows it by; it never changes."""

    @property
    def is_fallback(self) -> bool:
        """Whether it is used only while another one is away."""

    def send(self, parcel: Parcel, now: datetime) -> str:
        """Hand a parcel over; returns what came back, in words.

        Raises:
            DeliveryFailed: it was not taken; try again later.
        """


@runtime_checkable
class Repeating(Protocol):
    """A channel whose receiver forgets what it is not told again and again."""

    name: str
    interval: timedelta

    def refresh(
        self, still_on: Sequence[AlertEvent], notes: Mapping[tuple[str, int], Mapping[str, str]], now: datetime
    ) -> None:
        """Tell again what is on, with what is known since, by (alert key, episode)."""


class LogChannel:
    """A line of the log for each event: the words first, then the facts as JSON, so that no name can forge a line."""

    name = "log"
    is_fallback = False

    def send(self, parcel: Parcel, now: datetime) -> str:
        """Write the lines."""
        for delivery in parcel.deliveries:
            event = delivery.event
            facts = {
                "alert": event.alert_key,
                "severity": event.evidence.get("severity"),
                "n": event.n,
                "value": event.value,
                "threshold": event.threshold,
                "window_end": event.window.end.isoformat(),
                "delivery_key": delivery.key,
                "sentence": event.evidence.get("sentence"),
            }
            level = logging.INFO if event.to_state == "resolved" else logging.WARNING
            _log.log(level, "alert %s %s", event.to_state, json.dumps(facts))
        return "written"


WAYS = "MONITOR_ALERTMANAGER_URL, MONITOR_WEBHOOK_URL or MONITOR_NOTIFY_URLS, or MONITOR_PAGING=prometheus"
"""What is set so that somebody is paged."""


def paging_path(settings: Settings) -> str:
    """The one path that pages people: one of `PATHS`, `prometheus` (its rules page), or `log` (nobody is paged).

    Raises:
        UsageError: more than one would, or the settings contradict each other.
    """
    given = {
        "alertmanager": settings.alertmanager_url,
        "webhook": settings.webhook_url,
        "notify": settings.notify_urls,
    }
    there = [path for path in PATHS if given[path]]
    fallback = settings.fallback
    if fallback and fallback not in there:
        raise UsageError(
            f"MONITOR_FALLBACK is {fallback}, which is not configured; set the address of one of {', '.join(PATHS)}"
        )
    paging = [path for path in there if path != fallback]
    if len(paging) > 1:
        raise UsageError(
            f"{' and '.join(paging)} are configured, and each would page people for the same alert; keep one, or let"
            f" one stand in for the other: MONITOR_FALLBACK={paging[-1]}"
        )
    if fallback and not paging:
        raise UsageError(f"MONITOR_FALLBACK is {fallback}, but there is no other path that it could stand in for")
    if settings.paging == "prometheus" and paging:
        raise UsageError(
            f"MONITOR_PAGING is prometheus, whose rules page, and {paging[0]} would page too; keep one of them"
        )
    found = settings.paging if settings.paging == "prometheus" else paging[0] if paging else "log"
    if settings.paging not in ("", found):
        raise UsageError(
            f"MONITOR_PAGING is {settings.paging}, but what is configured is {found}; set the address of the one"
            " that is to page, or leave MONITOR_PAGING out"
        )
    return found


def configured(settings: Settings) -> tuple[Channel, ...]:
    """The channels that the settings ask for; the log always.

    Raises:
        UsageError: they cannot be used, or more than one would page.
    """
    paging_path(settings)
    wire = Wire(Guard.of(settings.private_receivers))
    found: list[Channel] = [LogChannel()]
    if settings.alertmanager_url:
        stands_in = settings.fallback == "alertmanager"
        found.append(AlertmanagerChannel(settings.alertmanager_url, wire, fallback=stands_in))
    if settings.webhook_url:
        stands_in = settings.fallback == "webhook"
        found.append(WebhookChannel(settings.webhook_url, settings.webhook_secret, wire, stands_in))
    if settings.notify_urls:
        stands_in = settings.fallback == "notify"
        found += receivers_of(settings.notify_urls, settings.private_receivers, fallback=stands_in)
    return tuple(found)


def told(channels: Iterable[Channel]) -> list[str]:
    """The names of the channels that a message about every event is written for."""
    return [channel.name for channel in channels if not channel.is_fallback]
