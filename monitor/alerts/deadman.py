"""Sends the signal that all is well to a receiver outside, which raises the alarm when it stays away.

It is sent by the job that sends alerts, after them: where they get stuck, so does it. A signal is tried once, for the
next one is a minute off, and one that has waited is not sent at all.
"""

from __future__ import annotations

import logging
from datetime import datetime

import httpx

from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.store import deadman
from monitor.store.database import Database

_TIMEOUT = httpx.Timeout(5)
_log = logging.getLogger(__name__)


def address(settings: Settings) -> str | None:
    """Where the signal goes; None: nowhere.

    Raises:
        UsageError: it is no web address. The sentence does not hold it, for it may be a secret.
    """
    url = settings.deadman_url
    if url is None:
        return None
    try:
        parsed = httpx.URL(url)
        fits = parsed.scheme in ("http", "https") and bool(parsed.host)
    except (httpx.InvalidURL, ValueError):
        fits = False
    if not fits:
        raise UsageError("MONITOR_DEADMAN_URL is not an http or https address; write it as https://host/path")
    for chatty in ("httpx", "httpcore"):  # both write addresses into their log lines
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return url


def run(database: Database, url: str, now: datetime) -> int:
    """Send the signal if one is due; returns how many were sent."""
    with database.begin() as conn:
        if not deadman.claim(conn, now):
            return 0
    error = _post(url)
    with database.begin() as conn:
        deadman.close(conn, now, error)
    if error:
        _log.warning("the signal that all is well was not taken: %s; the next one comes in a minute", error)
    return 0 if error else 1


def _post(url: str) -> str:
    """Why it was not taken; empty: it was."""
    try:
        # Of the answer the head alone is read: what follows may have no end.
        with (
            httpx.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url) as answer,
        ):
            status = answer.status_code
    except httpx.HTTPError as error:
        return (
            f"its receiver cannot be reached ({type(error).__name__})"  # the error's own words may hold the address
        )
    return "" if 200 <= status < 300 else f"its receiver answered {status}"
