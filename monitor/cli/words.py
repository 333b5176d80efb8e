"""Names, reasons and counts on the command line."""

from __future__ import annotations

import argparse

from monitor.alerts.words import one_line
from monitor.errors import UsageError

MOST = 1_000_000
"""Rows that one command prints at the most."""


def so_many(said: str) -> int:
    """How many rows to print, 1 to a million.

    Raises:
        argparse.ArgumentTypeError: it is no such number.
    """
    if not (said.isascii() and said.isdecimal() and len(said) <= len(str(MOST)) and 1 <= int(said) <= MOST):
        raise argparse.ArgumentTypeError(f"{said[:20]!r} is no count; give a whole number from 1 to {MOST:,}")
    return int(said)


def words(said: str) -> str:
    """A name or a reason, on one line.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return one_line(said, "it")
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
