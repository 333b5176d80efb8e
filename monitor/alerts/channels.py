"""Where messages about alerts go: the log, and a webhook. A channel sends or says why not; it decides nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from monitor.errors import MonitorError, UsageError
from monitor.settings import Settings
from monitor.store.outbox import Delivery

_TIMEOUT = httpx.Timeout(10, connect=5)
_LONGEST_WAIT = timedelta(hours=1)

_log = logging.getLogger("monitor.alerts")


class DeliveryFailed(MonitorError):
    """A channel did not take a message. `away`: the receiver takes none at all; `wait`: how long it asked for."""

    def __init__(self, message: str, *, away: bool, wait: timedelta | None = None) -> None:
        self.away = away
        self.wait = wait
        super().__init__(message)


class Channel(Protocol):
    """One way to reach people."""

    @property
    def name(self) -> str:
        """What the outbox knows it by; it never changes."""

    def send(self, delivery: Delivery, now: datetime) -> None:
        """Hand one message over.

        Raises:
            DeliveryFailed: it was not taken; try again later.
        """


class LogChannel:
    """A line of the log for each event: the words first, then the facts as JSON, so that no name can forge a line."""

    name = "log"

    def send(self, delivery: Delivery, now: datetime) -> None:
        event = delivery.event
        level = logging.WARNING if event.to_state == "firing" else logging.INFO
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
        _log.log(level, "alert %s %s", event.to_state, json.dumps(facts))


class WebhookChannel:
    """Posts each event as JSON, signed as Standard Webhooks 1.0 asks (https://www.standardwebhooks.com).

    `webhook-id` is the delivery key, the same at every attempt; `webhook-signature` is `v1,` and the base64 of
    HMAC-SHA256 over `id.timestamp.body`. A key that begins with `whsec_` is taken as base64, any other as it is;
    without a key nothing is signed. Redirects are refused, nothing is read of the answer but its status and
    `Retry-After`, and neither address nor key ever stands in an error or in the log.

    Raises:
        UsageError: the address is not http or https, or the key is not base64.
    """

    name = "webhook"

    def __init__(self, url: str, secret: str | None = None) -> None:
        if not _is_web_address(url):
            raise UsageError("MONITOR_WEBHOOK_URL is not an http or https address; write it as https://host/path")
        self._url = url
        self._secret = None if secret is None else _key_of(secret)
        # Both write the address into their log lines, and the address may be the secret.
        for chatty in ("httpx", "httpcore"):
            logging.getLogger(chatty).setLevel(logging.WARNING)

    def send(self, delivery: Delivery, now: datetime) -> None:
        body = json.dumps(message(delivery), allow_nan=False, separators=(",", ":")).encode()
        stamp = str(int(now.timestamp()))
        headers = {"content-type": "application/json", "webhook-id": delivery.key, "webhook-timestamp": stamp}
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, delivery.key, stamp, body)
        try:
            with (
                httpx.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                status, asked = answer.status_code, answer.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The error's own words may hold the address; its cause would be printed with it.
            failed = DeliveryFailed(f"the webhook cannot be reached ({type(error).__name__})", away=True)
            raise failed from None
        if not 200 <= status < 300:
            said = "redirects, which is not followed" if 300 <= status < 400 else f"answered {status}"
            away = status >= 500 or status == 429
            raise DeliveryFailed(f"the webhook {said}", away=away, wait=_wait(asked))


def configured(settings: Settings) -> tuple[Channel, ...]:
    """The channels that the settings ask for; the log always.

    Raises:
        UsageError: the webhook's settings cannot be used.
    """
    if settings.webhook_url is None:
        return (LogChannel(),)
    return (LogChannel(), WebhookChannel(settings.webhook_url, settings.webhook_secret))


def message(delivery: Delivery) -> dict[str, Any]:
    """What a webhook gets: `type` (alert.firing or alert.resolved), when it was decided, and the event."""
    event = delivery.event
    return {
        "type": f"alert.{event.to_state}",
        "timestamp": event.decided_at.isoformat(),
        "delivery_key": delivery.key,
        "data": {
            "alert_key": event.alert_key,
            "episode": event.episode,
            "from": event.from_state,
            "to": event.to_state,
            "window": [event.window.start.isoformat(), event.window.end.isoformat()],
            "value": event.value,
            "threshold": event.threshold,
            "n": event.n,
            "evidence": event.evidence,
        },
    }


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` of a message: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _is_web_address(url: str) -> bool:
    """What refuses an address says so with pieces of it, which may be the secret: only whether is told."""
    try:
        parts, _ = urlsplit(url), httpx.URL(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False


def _key_of(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise UsageError(
            "MONITOR_WEBHOOK_SECRET begins with whsec_ but is not base64 after it; copy it anew"
        ) from None


def _wait(asked: str) -> timedelta | None:
    """`Retry-After` in seconds, an hour at most; a date is not read."""
    return min(timedelta(seconds=int(asked)), _LONGEST_WAIT) if asked.isdecimal() and len(asked) < 9 else None
