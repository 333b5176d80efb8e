"""Times on the command line: where a command reads the clock, once, and how a person writes a moment."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def moment(text: str) -> datetime:
    """A date or a time in ISO 8601 as UTC; without an offset it is UTC already, a date is its midnight.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    try:
        said = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date or time; write 2026-03-01 or 2026-03-01T06:00 (UTC), or with an offset: +02:00"
        ) from error
    return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)
