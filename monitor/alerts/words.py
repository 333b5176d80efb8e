"""What people say of themselves and of what they do: one line, printable, so that no record can be forged by it."""

from __future__ import annotations

from monitor.errors import UsageError

LONGEST = 500
"""Characters of a name or a note."""


def one_line(said: str, what: str = "a text") -> str:
    """A name or note on one line: line breaks and runs of blanks become a blank.

    Raises:
        UsageError: nothing is left, it is too long, or it holds what cannot be printed.
    """
    flat = " ".join(said.split())
    if not flat or len(flat) > LONGEST or not flat.isprintable():
        raise UsageError(f"{what} is 1 to {LONGEST} printable characters; {flat[:60]!a} is not")
    return flat
