"""A query's text with its macros and variables filled in, as Grafana does it, for whoever runs it without Grafana.

After grafana/grafana: pkg/tsdb/grafana-postgresql-datasource/macros.go (time macros), public/app/features/templating
and @grafana/scenes (variables: `${name:sqlstring}` quotes each value and doubles its quotes, a custom "all" goes
in as it is), packages/grafana-data/src/datetime/rangeutil.ts (rounding of an interval).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ALL = "$__all"
_MACRO = re.compile(r"\$__(timeFilter|timeGroupAlias|timeGroup|timeFrom|timeTo)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""Seconds that an interval is rounded to; the limit between two is as below."""
_LIMITS = (
    *(1.5, 3.5, 7.5, 12.5, 17.5, 25, 45, 90, 210, 450, 750, 1050, 1500, 2700, 5400, 9000, 16_200, 32_400),
    *(86_400, 604_800),
)


@dataclass(frozen=True, slots=True)
class View:
    """What a person looks at: a period, values of variables (ALL: everything), and how many points are drawn."""

    start: datetime
    end: datetime
    variables: Mapping[str, str | Sequence[str]]
    points: int = 120
    least: timedelta = timedelta(hours=1)
    """The smallest interval of the panel."""

    @property
    def interval(self) -> int:
        """Seconds that one point stands for."""
        return max(rounded((self.end - self.start).total_seconds() / self.points), int(self.least.total_seconds()))


def rounded(seconds: float) -> int:
    """The round number of seconds that Grafana takes for an interval of about so many."""
    for step, limit in zip(_STEPS, _LIMITS, strict=True):
        if seconds < limit:
            return step
    return 604_800


def expand(sql: str, view: View, everything: Mapping[str, str]) -> str:
    """The statement that Postgres is sent. `everything` is what stands for a variable when all is chosen.

    Raises:
        KeyError: the text names a variable that the view does not have.
    """
    milliseconds = sql.replace("$__interval_ms", str(1000 * view.interval))
    spans = milliseconds.replace("$__interval", f"{view.interval}s")
    timed = _MACRO.sub(lambda found: _macro(found[1], found[2], view), spans)
    # Last, which is not Grafana's order: a camera may be called like a macro, and a value must stay a value.
    return _VARIABLE.sub(lambda found: _value(found[1], found[2], view, everything), timed)


def variables_of(text: str) -> set[str]:
    """The names of the variables that a text uses, those of Grafana itself apart."""
    plain = re.findall(r"(?<!\$)\$(?!__)(\w+)", text)
    return {name for name, _ in _VARIABLE.findall(text) if not name.startswith("__")} | set(plain)


def _value(name: str, how: str, view: View, everything: Mapping[str, str]) -> str:
    value = view.variables[name]
    if value in (ALL, [ALL], (ALL,)):
        return everything[name]
    values = [value] if isinstance(value, str) else value
    if how != "sqlstring":
        return ",".join(values)
    return ",".join("'" + one.replace("'", "''") + "'" for one in values)


def _macro(name: str, inner: str, view: View) -> str:
    arguments = [part.strip() for part in inner.split(",")]
    start, end = (at.astimezone(UTC).strftime("'%Y-%m-%dT%H:%M:%S.%fZ'") for at in (view.start, view.end))
    if name == "timeFilter":
        return f"{arguments[0]} BETWEEN {start} AND {end}"
    if name in ("timeFrom", "timeTo"):
        return start if name == "timeFrom" else end
    seconds = _span(arguments[1].strip("'"))
    group = f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"
    return f'{group} AS "time"' if name == "timeGroupAlias" else group


def _span(said: str) -> int:
    return int(said[:-1]) * _SECONDS[said[-1]]
