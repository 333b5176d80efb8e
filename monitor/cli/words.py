"""Names and reasons on the command line."""

from __future__ import annotations

import argparse

from monitor.alerts.words import one_line
from monitor.errors import UsageError


def words(said: str) -> str:
    """A name or a reason, on one line.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return one_line(said, "it")
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
