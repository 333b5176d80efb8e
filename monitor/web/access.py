"""Who may do what: every route with the right that it asks for, and the door in front of all of them.

A route that is not in the table is not served. Nobody writes without a token of the source that it writes as, from
any address. Reading is open on this machine alone; on any other address it asks for a token too.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from anyio import CapacityLimiter, fail_after, to_thread
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.errors import DependencyAway, MonitorError
from monitor.store import tokens
from monitor.store.tokens import WRITING, Token
from monitor.web.linger import Lingering
from monitor.web.problem import Refused, come_back
from monitor.web.view import Site

OPEN = "open"
"""The right of everybody. Every other right is the scope of that name."""
ROUTES: Mapping[tuple[str, str], str] = {
    ("GET", "/"): "read",
    ("GET", "/alerts"): "read",
    ("GET", "/health"): "read",
    ("GET", "/predictions"): "read",
    ("GET", "/overrides"): "read",
    ("GET", "/business"): "read",
    ("GET", "/drift"): "read",
    ("GET", "/golden"): "read",
    ("GET", "/self"): "read",
    ("GET", "/incident"): "read",
    ("GET", "/why"): "read",
    ("GET", "/static/page.css"): "read",
    ("GET", "/metrics"): "read",
    ("GET", "/readyz"): "read",
    ("GET", "/healthz"): OPEN,
    ("GET", "/openapi.json"): "read",
    ("POST", "/v1/frames"): "ingest",
    ("POST", "/v1/reviews"): "review",
    ("POST", "/v1/events"): "ingest",
    ("GET", "/v1/alerts"): "read",
    ("GET", "/v1/alerts/{key:path}"): "read",
    ("POST", "/v1/alerts/{key:path}/ack"): "operate",
    ("POST", "/v1/alerts/{key:path}/resolve"): "operate",
    ("GET", "/v1/silences"): "read",
    ("POST", "/v1/silences"): "operate",
    ("DELETE", "/v1/silences/{number}"): "operate",
}
"""(method, path) → the right it asks for."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
REMEMBERED_S = 5.0
"""How long a token is believed without asking again: so long a revoked one may still pass."""
_REMEMBERED = 1000
_LOOKERS = 2
"""Tokens that are looked up in the database at once."""
_LOOK_UP_S = 2.0
"""How long that may take. A scrape must not wait for a database that is away."""


class Tokens:
    """The tokens of the database, each looked up at most every few seconds. Safe to use from several threads."""

    def __init__(self, site: Site, ticks: Callable[[], float] = time.monotonic) -> None:
        self._site = site
        self._ticks = ticks
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[float, Token | None]] = OrderedDict()
        self._lookers = CapacityLimiter(_LOOKERS)

    async def find(self, secret: str) -> Token | None:
        """The token in force that `secret` is; None: it is none.

        While the database cannot be asked, a token that was good stays so: nobody can revoke it either, and what
        watches the daemon must see just then how it is.

        Raises:
            DependencyAway: the database cannot be asked, and the token was not good before.
        """
        sha256 = tokens.digest(secret)
        with self._lock:
            asked_at, token = self._known.get(sha256, (float("-inf"), None))
        if self._ticks() - asked_at >= REMEMBERED_S:
            try:
                with fail_after(_LOOK_UP_S):
                    token = await to_thread.run_sync(self._ask, sha256, limiter=self._lookers, abandon_on_cancel=True)
            except (MonitorError, TimeoutError) as error:
                if token is None:
                    raise DependencyAway(str(error) or "the database does not answer; try again") from error
            self._remember(sha256, token)
        return token if token is not None and token.in_force(self._site.clock()) else None

    def _ask(self, sha256: bytes) -> Token | None:
        with self._site.database.begin() as conn:
            return tokens.find(conn, sha256, self._site.clock())

    def _remember(self, sha256: bytes, token: Token | None) -> None:
        with self._lock:
            self._known[sha256] = (self._ticks(), token)
            self._known.move_to_end(sha256)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


class Door:
    """The application behind its door: looks at every request before the application does, and at every answer.

    `everywhere`: whether it is reached from other machines; else it answers to the names of this machine alone, so
    that no page of another site can have a browser ask in its name (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: list[BaseRoute],
        site: Site,
        everywhere: bool,
        answered: Callable[[str, int], None],
    ) -> None:
        self._app = app
        self._routes = routes
        self._everywhere = everywhere
        self._tokens = Tokens(site)
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request (ASGI)."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        lingering = Lingering(scope, receive, send)
        # HEAD is GET without what it would answer (RFC 9110, 9.3.2).
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET"}
        path = "other"

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered(path, message["status"])
                message["headers"] = [*message.get("headers", ()), *_ENCODED_HEADERS]
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await lingering.send(message)

        try:
            path, right = self._right(scope)
            scope["token"] = await self._token(scope, right)
        except Refused as refused:
            await refused.response()(scope, lingering.receive, say)
            return
        await self._app(scope, lingering.receive, say)

    def _right(self, scope: Scope) -> tuple[str, str]:
        """The path as ROUTES has it, and the right that it asks for.

        Raises:
            Refused: nothing is served there, or not to whom the request names.
        """
        if not self._everywhere and not _names_this_machine(HTTPConnection(scope).headers.get("host", "")):
            raise Refused(
                421, "this address answers to localhost and 127.0.0.1 only; ask for it by one of these names"
            )
        matches = [(route.matches(scope)[0], getattr(route, "path", "")) for route in self._routes]
        for match, path in matches:
            if match is Match.FULL and (scope["method"], path) in ROUTES:
                return path, ROUTES[scope["method"], path]
        methods = sorted(
            method for method, path in ROUTES if any(m is not Match.NONE and p == path for m, p in matches)
        )
        if methods:
            allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
            raise Refused(405, f"only {', '.join(methods)} is answered here", {"Allow": ", ".join(allowed)})
        raise Refused(404, "nothing is here; / is the overview, /openapi.json says what can be sent")

    async def _token(self, scope: Scope, right: str) -> Token | None:
        """The token that the request may come in with; None: it needs none.

        Raises:
            Refused: 401 it has none that is in force, 403 it has one without that right, 503 nobody knows.
        """
        if right == OPEN or (right == "read" and not self._everywhere):
            return None
        secret = _secret(HTTPConnection(scope).headers.getlist("authorization"), basic=right == "read")
        try:
            token = None if secret is None else await self._tokens.find(secret)
        except DependencyAway as error:
            raise come_back(503, f"the token cannot be looked up now: {error}", 5) from None
        if token is None:
            raise _unauthorized(right)
        if right not in token.scopes:
            raise Refused(
                403, f"this token has no scope {right}; make one that has: monitor tokens create NAME --scope {right}"
            )
        return token


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names_this_machine(host: str) -> bool:
    name, bracket, rest = host.lower().partition("]")
    if bracket:
        return name.startswith("[") and is_loopback(name[1:]) and (not rest or _is_port(rest))
    name, colon, port = host.lower().partition(":")
    return is_loopback(name.removesuffix(".")) and (not colon or _is_port(f":{port}"))


def _is_port(said: str) -> bool:
    return said.startswith(":") and said[1:].isascii() and (said[1:].isdecimal() or said == ":")


def _secret(headers: list[str], basic: bool) -> str | None:
    """The token in an Authorization header; None: there is none to be read.

    A browser sends a Basic password along wherever a page of another site makes it go, so that form is for reading.
    """
    if len(headers) != 1:
        return None
    kind, _, said = headers[0].partition(" ")
    if kind.lower() == "bearer":
        return said.strip() or None
    if kind.lower() == "basic" and basic:
        try:
            return base64.b64decode(said.strip(), validate=True).decode("utf-8").partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    return None


def _unauthorized(right: str) -> Refused:
    basic = 'Basic realm="monitor: any name, a read token as password", charset="UTF-8", ' if right == "read" else ""
    return Refused(
        401,
        f"this needs a token with scope {right} that is in force, sent as `Authorization: Bearer TOKEN`; make one by "
        f"`monitor tokens create NAME --scope {right}{' --source SOURCE' if right in WRITING else ''}`",
        {"WWW-Authenticate": f'{basic}Bearer realm="monitor"'},
    )


_ENCODED_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
