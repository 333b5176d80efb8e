"""A webhook: what Alertmanager would post, signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from monitor.alerts.labels import posted
from monitor.alerts.wire import Wire, is_web_address
from monitor.errors import UsageError
from monitor.store.outbox import Parcel


class WebhookChannel:
    """Posts parcels in the JSON of Alertmanager's webhook, signed as Standard Webhooks 1.0 asks.

    `webhook-id` is the parcel's key, the same at every attempt; `webhook-signature` is `v1,` and the base64 of
    HMAC-SHA256 over `id.timestamp.body` (https://www.standardwebhooks.com). A key that begins with `whsec_` is taken
    as base64, any other as it is; without a key nothing is signed.

    Raises:
        UsageError: the address is not http or https, or the key is not base64.
    """

    name = "webhook"

    def __init__(self, url: str, secret: str | None = None, wire: Wire | None = None, fallback: bool = False) -> None:
        if not is_web_address(url):
            raise UsageError("MONITOR_WEBHOOK_URL is not an http or https address; write it as https://host/path")
        self._url = url
        self._secret = None if secret is None else _key_of(secret)
        self._wire = wire or Wire()
        self.is_fallback = fallback

    def send(self, parcel: Parcel, now: datetime) -> str:
        """Post one parcel."""
        body = json.dumps(message(parcel), allow_nan=False, separators=(",", ":")).encode()
        stamp = str(int(now.timestamp()))
        headers = {"webhook-id": parcel.key, "webhook-timestamp": stamp}
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, parcel.key, stamp, body)
        return f"answered {self._wire.post('the webhook', self._url, body, headers, now)}"


def message(parcel: Parcel) -> dict[str, Any]:
    """A parcel as Alertmanager's webhook has it (version 4), and the keys by which a repeat is known."""
    alerts = []
    for one in parcel.deliveries:
        ends_at = one.event.decided_at if one.event.to_state == "resolved" else None
        alerts.append({**posted(one.event, one.opening, ends_at), "generatorURL": "", "deliveryKey": one.key})
    shared = _shared([alert["labels"] for alert in alerts])
    group = {name: shared[name] for name in ("alertname", "model") if name in shared}
    return {
        "version": "4",
        "groupKey": "{}:" + json.dumps(group, sort_keys=True),
        "truncatedAlerts": 0,
        "status": alerts[0]["status"],
        "receiver": parcel.channel,
        "groupLabels": group,
        "commonLabels": shared,
        "commonAnnotations": _shared([alert["annotations"] for alert in alerts]),
        "externalURL": "",
        "alerts": alerts,
        "deliveryKey": parcel.key,
    }


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` of a message: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _shared(found: list[dict[str, str]]) -> dict[str, str]:
    """What all of them say alike."""
    return {name: value for name, value in found[0].items() if all(one.get(name) == value for one in found)}


def _key_of(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise UsageError(
            "MONITOR_WEBHOOK_SECRET begins with whsec_ but is not base64 after it; copy it anew"
        ) from None
