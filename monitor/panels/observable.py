"""What is worth looking at, as data: a question, the query that answers it, and what to do about the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Source = Literal["postgres", "prometheus"]
Kind = Literal["timeseries", "stat", "table", "bargauge", "barchart"]
Owner = Literal["ops", "on-call", "data"]

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MONTH = timedelta(days=30)

N = "n"
"""The column of every rate and mean that says how many it rests on."""
BASELINE = "baseline"
"""The column of what the frozen baseline says of the same scope."""
THRESHOLD = "threshold"
"""The column of the contract's bound; empty where the contract in force has none."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a source.

    SQL is over views of schema `reporting` alone, with Grafana's macros and variables; the columns' names are what
    people read. `legend` names the lines of a PromQL answer, `ref` the query among those of its panel.
    """

    text: str
    source: Source = "postgres"
    legend: str = ""
    ref: str = "A"


@dataclass(frozen=True, slots=True)
class Observable:
    """One thing worth looking at, whoever draws it.

    `threshold` gives the contract's bound in one row with a column `threshold`; `judged` names the columns that it
    is held against. `rate`: the number is a rate or a mean, so its query has a column `n`. `smallest` is the shortest
    range over which a plant that runs has something to show; below that `no_value` is what is shown. `period` fixes
    the range, whatever the dashboard's (`30d`). `units` are Grafana ids of columns with another unit than `unit`.

    Raises:
        ValueError: something that makes it useful is missing, in words.
    """

    name: str
    title: str
    question: str
    good: str
    bad: str
    next_steps: tuple[str, ...]
    queries: tuple[Query, ...]
    unit: str
    no_value: str
    kind: Kind = "timeseries"
    owner: Owner = "ops"
    smallest: timedelta = HOUR
    rate: bool = False
    threshold: Query | None = None
    judged: tuple[str, ...] = ()
    period: str = ""
    units: dict[str, str] = field(default_factory=dict)
    width: int = 12
    height: int = 8
    series: int = 4
    """The most lines that the answer can have."""
    words: dict[str, str] = field(default_factory=dict)
    """Words that a column may say, each with the colour that it is shown in."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise ValueError(f"an observable's name is a slug such as error-rate, not {self.name!r}")
        for part in ("title", "question", "good", "bad", "no_value", "unit"):
            if not getattr(self, part).strip():
                raise ValueError(f"{self.name} has no {part}; without it nobody knows what to make of it")
        if not self.next_steps or not all(step.strip() for step in self.next_steps):
            raise ValueError(f"{self.name} has no next steps; say what to do when it looks bad")
        if not self.queries:
            raise ValueError(f"{self.name} has no query")
        if self.rate and not any(query.source == "prometheus" or _names(query.text, N) for query in self.queries):
            raise ValueError(f"{self.name} is a rate without its n; add a column n to its query")

    @property
    def source(self) -> Source:
        """Where its numbers come from."""
        return self.queries[0].source

    @property
    def description(self) -> str:
        """What stands behind the (i) of a panel."""
        steps = " ".join(f"{i}. {step}" for i, step in enumerate(self.next_steps, 1))
        return f"{self.question}\n\nGood: {self.good}\n\nBad: {self.bad}\n\nNext: {steps}"


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: observables in their order, under the question that they answer together."""

    uid: str
    title: str
    question: str
    observables: tuple[Observable, ...]
    start: str = "now-24h"


def _names(sql: str, column: str) -> bool:
    return re.search(rf'\bAS "?{re.escape(column)}"?(?![\w])', sql) is not None
