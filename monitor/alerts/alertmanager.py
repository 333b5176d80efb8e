"""Prometheus' Alertmanager, pushed to directly (API v2), for sites that have no Prometheus before it.

Alertmanager takes an alert for over when its `endsAt` has passed. So what is on is pushed again twice an interval,
with an end four intervals ahead: the daemon may be away for three without a false end. An end is pushed with the
label set that the beginning had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from monitor.alerts.labels import posted
from monitor.alerts.wire import Wire, is_web_address
from monitor.errors import UsageError
from monitor.records import AlertEvent
from monitor.store.outbox import MOST, Parcel

INTERVAL = timedelta(seconds=60)
AHEAD = 4
"""Intervals that an alert lasts without being pushed again."""
_TAKEN = ("labels", "annotations", "startsAt", "endsAt")


class AlertmanagerChannel:
    """Pushes alerts to `url` (what stands before `/api/v2/alerts`).

    Raises:
        UsageError: the address is not http or https.
    """

    name = "alertmanager"

    def __init__(
        self, url: str, wire: Wire | None = None, interval: timedelta = INTERVAL, fallback: bool = False
    ) -> None:
        if not is_web_address(url):
            raise UsageError(
                "MONITOR_ALERTMANAGER_URL is not an http or https address; write it as http://alertmanager:9093"
            )
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._wire = wire or Wire()
        self.interval = interval
        self.is_fallback = fallback

    def send(self, parcel: Parcel, now: datetime) -> str:
        """Push beginnings or ends, as the parcel has them."""
        ends_at = now if parcel.state == "resolved" else now + AHEAD * self.interval
        return self._push([posted(one.event, one.opening, ends_at) for one in parcel.deliveries], now)

    def refresh(
        self, still_on: Sequence[AlertEvent], notes: Mapping[tuple[str, int], Mapping[str, str]], now: datetime
    ) -> None:
        """Push what is on again, under the labels that it began with; `notes`: annotations that have come since, by
        (alert key, episode). Alertmanager tells nobody anew for an annotation."""
        pushed = []
        for opening in still_on:
            one = posted(opening, opening, now + AHEAD * self.interval)
            one["annotations"] |= notes.get((opening.alert_key, opening.episode), {})
            pushed.append(one)
        for first in range(0, len(pushed), MOST):
            self._push(pushed[first : first + MOST], now)

    def _push(self, alerts: Sequence[Mapping[str, Any]], now: datetime) -> str:
        body = json.dumps([{name: alert[name] for name in _TAKEN} for alert in alerts], allow_nan=False).encode()
        return f"answered {self._wire.post('Alertmanager', self._url, body, {}, now)}"
