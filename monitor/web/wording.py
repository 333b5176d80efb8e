"""How the pages write things: numbers with their unit, times, and the addresses that lead from page to page."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from monitor.store import reporting
from monitor.web.view import Place

TONES = {"critical": "bad", "warning": "watch", "info": "quiet"}
_UNITS: dict[str, tuple[float, str]] = {
    "percentunit": (100.0, " %"),
    "ms": (1.0, " ms"),
    "s": (1.0, " s"),
    "m": (1.0, " min"),
    "h": (1.0, " h"),
    "reqps": (1.0, " a second"),
    "cps": (1.0, " a second"),
}
"""What a value is multiplied with, and what is written behind it, by the unit's id in the registry of observables."""


def amount(value: float | None, unit: str = "short") -> str:
    """A value in the unit of its observable; a dash for what is not known."""
    if value is None:
        return "–"
    if unit == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    factor, sign = _UNITS.get(unit, (1.0, ""))
    return number(value * factor) + sign


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits (four places where it is tiny), thousands set apart; a dash for what is not known."""
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 0.001:
        return f"{round(value, 4) + 0.0:.4f}"
    # What rounds up to one place more would be written with an exponent.
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:#.{digits}g}".rstrip(".")


def when(at: datetime | date | None) -> str:
    """`2026-05-01 12:00`, in UTC; a day as itself."""
    if at is None:
        return "never"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if isinstance(at, datetime) else f"{at:%Y-%m-%d}"


def ago(at: datetime | None, now: datetime) -> str:
    """How long `at` lies back from `now`, or ahead of it."""
    if at is None:
        return "never"
    return f"in {length(at - now)}" if at > now else f"{length(now - at)} ago"


def length(duration: timedelta) -> str:
    """`5 s`, `3 min`, `7 h`, `12 days`: one unit, rounded down."""
    seconds = int(duration.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * size if unit == "days" else size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def title_of(signal: str) -> str:
    """A signal's or lane's name as a title."""
    words = {"latency_ms": "Latency", "exposure_ms": "Exposure", "gain_db": "Gain"}
    return words.get(signal) or signal.replace("_", " ").capitalize()


def link(
    place: Place,
    path: str = "/",
    camera: str | None = None,
    of: reporting.Produced | None = None,
    days: int | None = None,
    **more: str,
) -> str:
    """The address of a page for the same place, or with another camera, period, or model, version and stage."""
    one = of or place.of
    parts = {"model": one.model, "version": one.version, "stage": one.stage, **more}
    if of is None:
        parts["camera"] = place.camera if camera is None else camera
    if place.mode == "asked" and one == place.of:
        parts["at"] = place.at.isoformat().replace("+00:00", "Z")
    if back := days or place.days:
        parts["days"] = str(back)
    return f"{path}?" + urlencode({name: value for name, value in parts.items() if value or name == "stage"})


FILTERS: dict[str, Callable[..., Any]] = {
    "when": when,
    "ago": ago,
    "duration": length,
    "number": number,
    "amount": amount,
    "thousands": lambda n: f"{n:,}",
    "title_of": title_of,
    "quoted": shlex.quote,
    "tone": lambda severity: TONES.get(severity, "quiet"),
}
"""What templates may write with."""
