"""One POST to a receiver: the address that is really connected is looked at first, and no redirect is followed.

Whoever can have a message sent to an address of their choice could otherwise have the daemon speak to what only the
daemon's machine reaches: metadata services, databases, neighbours (server-side request forgery). So a name is
resolved here, and the very address that was looked at is connected; receivers on private addresses have to be named.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from urllib.parse import urlsplit

import httpx

from monitor.errors import MonitorError, UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LONGEST_WAIT = timedelta(hours=1)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRIED = 3
"""Addresses of one name that are tried."""


class DeliveryFailed(MonitorError):
    """A channel did not take a message. `away`: the receiver takes none at all; `wait`: how long it asked for."""

    def __init__(self, message: str, *, away: bool, wait: timedelta | None = None) -> None:
        self.away = away
        self.wait = wait
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Guard:
    """Which addresses may be connected: public ones, and what the operator has named in `names` and `networks`."""

    names: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def of(cls, said: str) -> Guard:
        """Read from `10.0.0.0/8, 127.0.0.1 alertmanager`: networks, addresses and names, by comma or blank.

        Raises:
            UsageError: one is a network with bits set beyond its mask.
        """
        names, networks = set(), []
        for word in said.replace(",", " ").split():
            try:
                networks.append(ipaddress.ip_network(word))
            except ValueError:
                if "/" in word:
                    raise UsageError(
                        f"MONITOR_PRIVATE_RECEIVERS names {word!r}, which is no network; write 10.0.0.0/8, an address"
                        " or a host name"
                    ) from None
                names.add(word.lower())
        return cls(frozenset(names), tuple(networks))

    def permits(self, host: str, address: str) -> bool:
        """Whether `host`, which is at `address`, may be connected."""
        if host.lower() in self.names:
            return True
        try:
            at = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return is_public(at) or any(at in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet; an IPv4 address within an IPv6 one is looked at itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def is_web_address(url: str) -> bool:
    """What refuses an address says so with pieces of it, which may be the secret: only whether is told."""
    try:
        parts, _ = urlsplit(url), httpx.URL(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False


class Wire:
    """Sends requests to receivers. `timeout_s`: how long one may take to answer; connecting takes half of it.

    Neither the address nor what it answers ever stands in an error or in the log.
    """

    def __init__(self, guard: Guard | None = None, timeout_s: float = 10.0) -> None:
        self._guard = guard or Guard()
        self._timeout = httpx.Timeout(timeout_s, connect=timeout_s / 2)
        # Both write the address into their log lines, and the address may be the secret.
        for chatty in ("httpx", "httpcore"):
            logging.getLogger(chatty).setLevel(logging.WARNING)

    def post(self, who: str, url: str, body: bytes, headers: Mapping[str, str], now: datetime) -> int:
        """Post JSON to the receiver that people know as `who`; returns the status, a 2xx.

        Raises:
            DeliveryFailed: it cannot be reached, may not be, or does not take it.
        """
        address = httpx.URL(url)
        failure: str | None = None
        for at in self._addresses(who, address):
            try:
                status, asked = self._send(address, at, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = type(error).__name__
                continue
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = type(error).__name__
                break
            if 200 <= status < 300:
                return status
            said = "redirects, which is not followed" if 300 <= status < 400 else f"answered {status}"
            raise DeliveryFailed(f"{who} {said}", away=status >= 500 or status == 429, wait=wait_of(asked, now))
        # The error's own words may hold the address; its cause would be printed with it.
        raise DeliveryFailed(f"{who} cannot be reached ({failure})", away=True) from None

    def _addresses(self, who: str, address: httpx.URL) -> list[str]:
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise DeliveryFailed(f"{who} cannot be reached (its name is not known)", away=True) from None
        known = dict.fromkeys(str(one[4][0]) for one in found)
        allowed = [at for at in known if self._guard.permits(address.host, at)]
        if not allowed:
            raise DeliveryFailed(
                f"{who} is at an address that is not public; name it in MONITOR_PRIVATE_RECEIVERS if it is meant",
                away=True,
            )
        return allowed[:_TRIED]

    def _send(self, address: httpx.URL, at: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        own = {"content-type": "application/json", "host": address.netloc.decode(), **headers}
        extensions = {"sni_hostname": address.host} if address.scheme == "https" else {}
        with (
            httpx.Client(verify=trust(), timeout=self._timeout, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "POST", address.copy_with(host=at), content=body, headers=own, extensions=extensions
            ) as answer,
        ):
            return answer.status_code, answer.headers.get("retry-after", "")


@cache
def trust() -> ssl.SSLContext:
    """Whose certificates are believed. Read once a process: reading takes longer than sending does."""
    return httpx.create_ssl_context(trust_env=False)


def wait_of(asked: str, now: datetime) -> timedelta | None:
    """How long a `Retry-After` asks to wait, in seconds or as a date; an hour at most, None: it says nothing."""
    if asked.isdecimal() and len(asked) < 9:
        return min(timedelta(seconds=int(asked)), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(asked)
    except (ValueError, TypeError):
        return None
    return max(timedelta(0), min(at.replace(tzinfo=at.tzinfo or UTC) - now, LONGEST_WAIT))


def resolved(names: Iterable[str]) -> frozenset[str]:
    """The addresses that names stand for now; one that is not known stands for none."""
    found: set[str] = set()
    for name in names:
        try:
            found |= {str(one[4][0]) for one in socket.getaddrinfo(name, None)}
        except (OSError, UnicodeError):
            continue
    return frozenset(found)
