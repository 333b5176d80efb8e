"""What the sections of a contract are written in: names, shares, durations, and how strict a table is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)

from monitor.spec.words import choice, nearest

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
_UNITS = {"d": DAY, "h": HOUR, "m": timedelta(minutes=1)}
_DURATION = r"^[0-9]{1,5}[dhm]$"
_NAME = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"
_LABEL = r"^[^\x00-\x1f\x7f]*$"
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_SHA256 = r"^([0-9a-f]{64})?$"
PATTERNS = {
    _NAME: "text without control characters and without space at its ends",
    _LABEL: "one line of text without control characters",
    _SHA256: "a SHA-256: 64 hexadecimal digits in small letters, as sha256sum writes them",
    _TIME: 'a time of day from "00:00" to "23:59"',
}
"""What each pattern asks for, in words."""


def read_duration(said: object) -> timedelta:
    """`"1d"`, `"6h"` or `"90m"` as a timedelta.

    Raises:
        ValueError: anything else.
    """
    if isinstance(said, timedelta):
        return said
    if not isinstance(said, str) or not re.fullmatch(_DURATION, said):
        raise ValueError('a duration in quotes: a whole number and d, h or m, such as "1d", "6h" or "90m"')
    return int(said[:-1]) * _UNITS[said[-1]]


def write_duration(duration: timedelta) -> str:
    """The shortest text that `read_duration` reads back: whole minutes in the largest unit that fits."""
    unit = next(name for name, length in _UNITS.items() if duration % length == timedelta(0))
    return f"{duration // _UNITS[unit]}{unit}"


def _tumbling(window: timedelta) -> timedelta:
    whole_hours = window > timedelta(0) and window % HOUR == timedelta(0)
    if not whole_hours or (DAY % window and window % DAY):
        raise ValueError('whole hours that divide a day or are made of whole days, such as "1h", "6h", "1d" or "7d"')
    return window


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta(0):
        raise ValueError('longer than nothing, such as "1d" or "6h"')
    return duration


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """A validator that passes the known words; the error of any other names them and the nearest."""
    words = tuple(known)

    def check(said: str) -> str:
        if said not in words:
            raise ValueError(choice(words) + nearest(said, words))
        return said

    return check


Element = TypeVar("Element")
Many = Annotated[tuple[Element, ...], Strict(False)]
"""TOML's lists are taken in as tuples; their elements stay strict."""
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=_NAME)]
"""What something is called in records and keys: no control characters, no space at its ends."""
Label = Annotated[str, Field(max_length=128, pattern=_LABEL)]
"""One line that may be empty."""
TimeOfDay = Annotated[str, Field(pattern=_TIME)]
Sha256 = Annotated[str, Field(pattern=_SHA256)]
"""That of a file; may be empty."""
Text = Annotated[str, Field(max_length=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Whole = Annotated[int, Field(ge=1, le=1_000_000_000)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Settle = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    PlainSerializer(write_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]
"""A duration that may be nothing."""
Duration = Annotated[Settle, AfterValidator(_positive)]
Tumbling = Annotated[Settle, AfterValidator(_tumbling)]
"""The length of windows that follow each other and always begin at the same hours of a day."""


class Section(BaseModel):
    """A table of the contract: unknown keys are faults, types are not coerced, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
