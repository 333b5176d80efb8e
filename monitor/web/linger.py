"""An early answer to a request whose body is still on its way.

Closing at once would make the network throw the answer away before the sender has read it. So what is still coming is
read and forgotten for a while, and only then is the connection closed.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

MOST_BYTES = 32 << 20
"""Bytes that are read and forgotten after an early answer."""
SECONDS = 2.0
"""How long they may take."""


class Lingering:
    """The two ends of one request (ASGI): as they are, but for an answer that comes before the body has ended."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._coming = any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
            for name, value in scope["headers"]
        )
        self._early = False

    async def receive(self) -> Message:
        """A piece of the body."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._coming = False
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer."""
        if message["type"] == "http.response.start":
            self._early = self._coming
            if self._early:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        if not self._early or message["type"] != "http.response.body" or message.get("more_body", False):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._forget()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _forget(self) -> None:
        left = MOST_BYTES
        try:
            async with asyncio.timeout(SECONDS):
                while self._coming and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
