"""Files that a command writes because somebody named them."""

from __future__ import annotations

from pathlib import Path

from monitor.errors import UsageError


def write_text(path: Path, text: str) -> None:
    """Write a file of text.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}); name a file in a folder that is there"
        ) from None
