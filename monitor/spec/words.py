"""How values, keys and choices are put in a sentence."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

_LONGEST = 60


def shown(value: object) -> str:
    """A value as it stands in TOML, cut short; tables and lists by their kind."""
    if isinstance(value, str):
        return json.dumps(_cut(value), ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        # A number of thousands of digits is refused by repr itself.
        return _cut(repr(value)) if isinstance(value, float) or value.bit_length() < 1000 else "a very long number"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"


def quoted(key: str) -> str:
    """A key as it stands in TOML: in quotes where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def choice(words: Iterable[str]) -> str:
    """`"psi", "kl", "js"`."""
    return ", ".join(map(shown, words))


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "psi"?` when a known word is like it, else nothing."""
    close = difflib.get_close_matches(word[:128], list(known), n=1, cutoff=0.6)
    return f"; did you mean {shown(close[0])}?" if close else ""


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """The text of a fault: a word that is not one of those known."""
    names = list(dict.fromkeys(known))
    return f"{shown(word)} is no known {kind}{nearest(word, names)} (known: {choice(names) or 'none'})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
