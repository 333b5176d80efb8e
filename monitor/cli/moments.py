"""Times on the command line: where a command reads the clock, once, and how a person writes a moment."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from monitor.errors import UsageError
from monitor.records import EPOCH


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def time_taken(at: datetime | None) -> datetime:
    """The time that a command takes as now: `at` where it was given, else the clock's.

    Raises:
        UsageError: `at` is still to come. What is written then would count as the newest for as long.
    """
    now = clock()
    if at is not None and at > now:
        raise UsageError(
            f"--at {at:%Y-%m-%dT%H:%MZ} is still to come: it is {now:%Y-%m-%dT%H:%MZ}; name a time gone by"
        )
    return at or now


def moment(text: str) -> datetime:
    """A date or a time in ISO 8601 as UTC; without an offset it is UTC already, a date is its midnight.

    Raises:
        argparse.ArgumentTypeError: it is neither, or before 1970, where no frame can be from.
    """
    try:
        said = datetime.fromisoformat(text)
        at = said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date or time; write 2026-03-01 or 2026-03-01T06:00 (UTC), or with an offset: +02:00"
        ) from error
    if at < EPOCH:
        raise argparse.ArgumentTypeError(f"{text!r} is before 1970, where no frame can be from; name a later time")
    return at
