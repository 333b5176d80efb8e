"""The page that documents what Prometheus scrapes: each family, and which panels and alerts rest on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from monitor.panels.alarms import ALARMS
from monitor.panels.registry import BOARDS

_HEAD = """\
# Metrics

Made by `monitor dashboards build`. `GET /metrics` prints what the daemon last read; a scrape asks nobody, and answers
while the database is away. A label `job` of a family arrives in Prometheus as `exported_job`.

| family | type | labels | what it is | used by |
|---|---|---|---|---|
"""


class Family(Protocol):
    """One family of metrics as it is exposed."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...


def used() -> dict[str, list[str]]:
    """Each family that a panel or an alert names → their titles, in order."""
    found: dict[str, list[str]] = {}
    for board in BOARDS:
        for one in board.observables:
            for query in (query for query in one.queries if query.source == "prometheus"):
                for name in re.findall(r"\bmonitor_\w+", query.text):
                    found.setdefault(name, []).append(f"{board.title}: {one.title}")
    for alarm in ALARMS:
        for name in re.findall(r"\bmonitor_\w+", alarm.expr):
            found.setdefault(name, []).append(f"alert {alarm.name}")
    return {name: list(dict.fromkeys(users)) for name, users in found.items()}


def page(families: Iterable[Family]) -> str:
    """The documentation of all families as Markdown."""
    users = used()
    rows = [
        f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels) or '–'} | {one.help}"
        f" | {'; '.join(users.get(one.name, ())) or 'whoever asks'} |"
        for one in families
    ]
    return _HEAD + "\n".join(rows) + "\n"
