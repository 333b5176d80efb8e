"""`monitor`: the door. Parses, calls one function, prints; an error of the product is a sentence and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from monitor.cli import (
    alerts,
    backtest,
    baseline,
    daemon,
    dashboards,
    db,
    doctor,
    drift,
    frames,
    golden,
    incidents,
    ingest,
    rejects,
    release,
    retention,
    reviews,
    rollups,
    spec,
    tokens,
    verbs,
)
from monitor.errors import MonitorError, UsageError
from monitor.settings import load_settings

NOUNS = (
    doctor,
    db,
    spec,
    frames,
    ingest,
    rejects,
    baseline,
    drift,
    backtest,
    alerts,
    incidents,
    golden,
    reviews,
    release,
    rollups,
    retention,
    tokens,
    dashboards,
    daemon,
)

EPILOG = """\
exit codes: 0 done, 1 a gate said no, 2 usage or an invalid contract, 3 a dependency is away

first steps:
  monitor doctor                          what is well and what is not
  monitor spec template                   a contract to start from, every key explained
  monitor spec check contracts/*.toml     every fault of a contract at once
  monitor daemon                          take records in, compare, alert, serve the status page
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="monitor",
        description="Production monitoring for image detection and inspection models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"monitor {version('monitor-vision')}")
    top.add_argument("-v", "--verbose", action="store_true", help="log every step to standard error")
    nouns = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for noun in NOUNS:
        noun.register(nouns)
    verbs.complete(nouns)
    return top


def _see_that_words_are_text(args: argparse.Namespace) -> None:
    """Names go to the database, which takes UTF-8 alone. Paths are another type, and may be any bytes.

    Raises:
        UsageError: one is no text.
    """
    for name, said in vars(args).items():
        try:
            if isinstance(said, str):
                said.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{name} is {said!r}, which is not UTF-8; write the name as the records have it"
            ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        _see_that_words_are_text(args)
        code: int = args.run(args, load_settings())
        sys.stdout.flush()
    except MonitorError as error:
        print(f"monitor: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, and Python must not complain while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("monitor: interrupted", file=sys.stderr)
        return 130
    return code
