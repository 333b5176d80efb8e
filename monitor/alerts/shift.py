"""What moved most: the groups of a histogram, or the classes of a mix, whose share changed most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.alerts.wording import figure, per_cent
from monitor.records import Ints
from monitor.signals import SIGNALS
from monitor.stats.groups import regroup

MOST = 3


@dataclass(frozen=True, slots=True)
class Shifted:
    """A part of a distribution with its share then and now, 0 to 1."""

    part: str
    then: float
    now: float

    def __str__(self) -> str:
        return f"{self.part}: {per_cent(self.now)} instead of {per_cent(self.then)}"


def of_groups(signal: str, now: Ints, then: Ints, cuts: Ints) -> list[Shifted]:
    """The groups of equal mass in the baseline that gained or lost most; fine counts [bins + 2]."""
    p, q = (regroup(counts, cuts) / counts.sum() for counts in (now, then))
    parts = [_range(signal, first, last) for first, last in zip([0, *(cuts[:-1] + 1)], cuts, strict=True)]
    return _most([Shifted(part, float(b), float(a)) for part, a, b in zip(parts, p, q, strict=True)])


def of_classes(now: Mapping[str, int], then: Mapping[str, int]) -> list[Shifted]:
    """The classes, or outcomes, whose share changed most; those that are new count from nought."""
    whole, before = sum(now.values()), sum(then.values())
    if not whole or not before:
        return []
    names = sorted(now.keys() | then.keys())
    return _most([Shifted(name, then.get(name, 0) / before, now.get(name, 0) / whole) for name in names])


def _most(parts: Sequence[Shifted]) -> list[Shifted]:
    ranked = sorted(parts, key=lambda one: (-abs(one.now - one.then), one.part))
    return [one for one in ranked[:MOST] if one.now != one.then]


def _range(signal: str, first: int, last: int) -> str:
    """`96.0 to 104.0`: the values of a run of fine bins; the outer ones are open."""
    edges = SIGNALS[signal].edges.values()
    low = figure(float(edges[first - 1])) if first > 0 else None
    high = figure(float(edges[last])) if last < len(edges) else None
    if low is None or high is None:
        return "all values" if low == high else f"under {high}" if low is None else f"{low} and more"
    return f"{low} to {high}"
