"""What a contract demands of a number, as dashboards draw it: a bound beside the line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """One bound of one rule, criterion or constraint; `above` and `below` are where it begins to be broken.

    Relative bounds are a part of the baseline's value, the others are in the unit of the measure. `class_name` is
    `""` for every class.
    """

    rule: str
    pillar: str
    severity: str
    signal: str
    measure: str
    class_name: str = ""
    above: float | None = None
    below: float | None = None
    relative: bool = False
    min_n: int = 1
    owner: str = ""
