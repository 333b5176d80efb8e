"""How far long work has come, on standard error: often on a terminal, over one line, and now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

_TERMINAL_EVERY_S, _FILE_EVERY_S = 0.2, 5.0
_CLEAR = "\r\x1b[K"


@dataclass(slots=True)
class Progress:
    """How far work on `what` (a plural) has come."""

    what: str
    _terminal: bool = field(default_factory=lambda: sys.stderr.isatty())
    _began: float = field(default_factory=lambda: time.monotonic())
    _last: float = 0.0

    def step(self, done: int, total: int, beside: str = "") -> None:
        """Say it if it is time, with what is to say beside; on a terminal the end is always said."""
        now = time.monotonic()
        end = self._terminal and done == total
        if now - max(self._last, self._began) < (_TERMINAL_EVERY_S if self._terminal else _FILE_EVERY_S) and not end:
            return
        self._last = now
        rate = done / max(now - self._began, 1e-9)
        said = f"{done:,} of {total:,} {self.what}, {f'{rate:.0f}' if rate >= 10 else f'{rate:.1f}'} a second{beside}"
        print(f"{_CLEAR}{said}" if self._terminal else said, end="" if self._terminal and not end else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    def aside(self, sentence: str) -> None:
        """Say something else meanwhile, on a line of its own."""
        print(f"{_CLEAR * self._terminal}{sentence}", file=sys.stderr)
