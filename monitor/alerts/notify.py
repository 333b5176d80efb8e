"""Slack, Teams, e-mail and some hundred others through Apprise (extra `notify`), an address a receiver.

Apprise speaks through libraries that each open connections of their own. So every message goes out of a process of
its own in which any connection to an address that is not public, and was not named, is refused at the socket; no
redirect is followed there, no proxy asked, and nothing that it writes, which may hold addresses, gets out. Apprise
says only whether a message was taken: there is no `Retry-After` to keep to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from monitor.alerts.wire import DeliveryFailed, Guard, resolved
from monitor.errors import UsageError
from monitor.panels.runbooks import followed
from monitor.settings import for_children
from monitor.store.outbox import Parcel

SHOWN = 20
"""Alerts of one parcel that are told in words."""
HEADLINE = 160
"""Characters of a title, and of a subject line, that are read."""
PATIENCE_S = 40.0
"""How long a message may take; shorter than a claim."""
TAKEN, REFUSED, UNKNOWN, GUARDED = 0, 10, 11, 12
"""How the process ends."""
_FAILURES = {
    REFUSED: "did not take it",
    UNKNOWN: "is not known to Apprise; mend the address in MONITOR_NOTIFY_URLS",
    GUARDED: "is at an address that is not public; name it in MONITOR_PRIVATE_RECEIVERS if it is meant",
}


class NotifyChannel:
    """One receiver, by its address as Apprise writes them (https://github.com/caronc/apprise/wiki).

    It is called by its kind and a hash of the address, so that neither a log nor the database holds a secret.
    """

    def __init__(self, url: str, allowed: str = "", fallback: bool = False) -> None:
        kind = re.match(r"[A-Za-z0-9]{1,20}(?=s?://)", url)
        self._kind = kind[0].lower() if kind else "unknown"
        self.name = f"notify-{self._kind}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
        self._url = url
        self._allowed = allowed
        self.is_fallback = fallback

    def send(self, parcel: Parcel, now: datetime) -> str:
        """Hand one parcel over, in words."""
        title, body = words(parcel)
        said = {"url": self._url, "allowed": self._allowed, "title": title, "body": body}
        said["kind"] = "success" if parcel.state == "resolved" else "warning"
        code = _speak(json.dumps(said).encode(), self._kind)
        if code != TAKEN:
            why = _FAILURES.get(code, "cannot be told: Apprise failed")
            raise DeliveryFailed(f"the {self._kind} receiver {why}", away=True)
        return "taken"


def receivers_of(urls: str, allowed: str, *, fallback: bool) -> list[NotifyChannel]:
    """The channels of a list of addresses, by blank or line.

    Raises:
        UsageError: Apprise is not installed.
    """
    if find_spec("apprise") is None:
        raise UsageError("MONITOR_NOTIFY_URLS needs Apprise; install monitor-vision with the extra notify")
    return [NotifyChannel(url, allowed, fallback) for url in dict.fromkeys(urls.split())]


def words(parcel: Parcel) -> tuple[str, str]:
    """A parcel as title and text: what happened, a line an alert, the first of many; then where to look."""
    events = [one.event for one in parcel.deliveries]
    told = [_plain(str(event.evidence.get("sentence") or event.alert_key)) for event in events]
    many = f"{len(told)} alerts: " if len(told) > 1 else ""
    title = f"[{parcel.state.upper()}] {many}{_headline(told[0])}"
    lines = told[:SHOWN] + ([f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else [])
    for name in ("panel", "runbook"):
        found = next((str(e.evidence[name]) for e in events if e.evidence.get(name)), "")
        # A runbook that is a sentence stands in the text already, as what to do first.
        lines += [f"{name.capitalize()}: {followed(found)}"] if found and found not in lines[0] else []
    lines.append(f'More: monitor alerts show "{events[0].alert_key}"')
    return title[:250], "\n".join(lines)


def _headline(sentence: str) -> str:
    """What happened, of the sentence that says all: as much of its beginning as a subject line holds."""
    clause = sentence.split("; ")[0]
    return clause if len(clause) <= HEADLINE else clause.split(": ")[0]


def _plain(said: str) -> str:
    """One line of what can be printed: a subject takes no other, and a camera may be called anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())


def _speak(said: bytes, kind: str) -> int:
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "monitor.alerts.notify"],
            input=said,
            env=for_children(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeliveryFailed(f"the {kind} receiver has not answered within {PATIENCE_S:g} s", away=True) from None
    return ended.returncode


def main() -> int:
    """The process that speaks: a message on standard input, how it went as exit code."""
    return _tell(json.load(sys.stdin))


def _tell(said: Mapping[str, Any]) -> int:
    import apprise
    import requests

    logging.disable(logging.CRITICAL)
    requests.Session.get_redirect_target = lambda self, resp: None  # type: ignore[method-assign]
    receiver = apprise.Apprise.instantiate(said["url"], suppress_exceptions=True)
    if receiver is None:
        return UNKNOWN
    refused = _guard_sockets(Guard.of(said["allowed"]))
    speaker = apprise.Apprise()
    speaker.add(receiver)
    # Said to be text: else each receiver takes it for what it likes best, a mail for HTML, and names for markup.
    text = apprise.NotifyFormat.TEXT
    if speaker.notify(title=said["title"], body=said["body"], notify_type=said["kind"], body_format=text):
        return TAKEN
    return GUARDED if refused else REFUSED


def _guard_sockets(guard: Guard) -> list[str]:
    """From now on this process connects to permitted addresses alone; returns a list that fills with the others."""
    refused: list[str] = []
    named = resolved(guard.names)

    def look(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("socket.connect", "socket.sendto", "socket.sendmsg") or args[1] is None:
            return
        at = str(args[1][0]) if isinstance(args[1], tuple) else "local"
        if at not in named and not guard.permits("", at):
            refused.append(at)
            raise PermissionError("this address may not be connected")

    sys.addaudithook(look)
    return refused


if __name__ == "__main__":
    sys.exit(main())
