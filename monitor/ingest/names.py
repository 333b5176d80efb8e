"""Names that nobody declared: so many may be new a day, the rest count under one.

Where a contract leaves cameras, or the values of a condition, open, each new name is a series of every signal. A
producer that writes a number into the name would make them without end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from monitor.records import FrameColumns
from monitor.spec.contract import OTHER, Contract
from monitor.spec.load import LoadedContract
from monitor.store import names
from monitor.store.database import Connection
from monitor.store.names import OpenName

NEW_A_DAY = 200
"""New names of one source, model and condition (or of its cameras) on one day of arrival, UTC."""
CAMERA = ""
"""Stands in the place of the condition."""


def named(model: str, condition: str) -> str:
    """What the names are, in words."""
    return f"cameras of {model}" if condition == CAMERA else f"values of {condition} of {model}"


@dataclass(frozen=True, slots=True)
class Open:
    """What a contract leaves open: cameras but for those that it lists (None: nothing is), and conditions."""

    listed: frozenset[str] | None
    conditions: frozenset[str]

    @classmethod
    def of(cls, contract: Contract) -> Open:
        """What one contract leaves open."""
        listed = frozenset(camera.name for camera in contract.cameras.list)
        free = (each.name for each in contract.conditions if each.of == "frame" and not each.values)
        return cls(listed if contract.cameras.policy == "open" else None, frozenset(free))


@dataclass(frozen=True, slots=True)
class Within:
    """Frames whose names are within the bounds, and which rows had others, by model and condition."""

    columns: FrameColumns
    others: Mapping[tuple[str, str], list[int]]


def bound_names(
    conn: Connection, source: str, columns: FrameColumns, contracts: Mapping[str, LoadedContract], now: datetime
) -> Within:
    """The frames with `__other__` for every new name beyond the day's; the camera's own name stays beside it.

    The new names become known in the caller's transaction.
    """
    rules = {model: Open.of(loaded.contract) for model, loaded in contracts.items()}
    said = _said(columns, rules)
    if not said:
        return Within(columns, {})
    beyond = said.keys() - names.admit(conn, source, said, NEW_A_DAY, now.date())
    if not beyond:
        return Within(columns, {})
    camera, own, slices = list(columns.camera), list(columns.camera_said), list(columns.slices)
    others: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name in sorted(beyond):
        model, condition, _ = name
        others[model, condition] += said[name]
        for row in said[name]:
            if condition == CAMERA:
                camera[row], own[row] = OTHER, camera[row]
            else:
                slices[row] = {**slices[row], condition: OTHER}
    return Within(replace(columns, camera=camera, camera_said=own, slices=slices), others)


def _said(columns: FrameColumns, rules: Mapping[str, Open]) -> dict[OpenName, list[int]]:
    """The names that are nobody's own and the rows that say them, in the order in which they come."""
    found: dict[OpenName, list[int]] = defaultdict(list)
    for row, (model, camera, slices) in enumerate(zip(columns.model, columns.camera, columns.slices, strict=True)):
        free = rules[model]
        if free.listed is not None and camera not in free.listed and camera != OTHER:
            found[model, CAMERA, camera].append(row)
        if free.conditions:
            for condition, value in slices.items():
                if condition in free.conditions and value != OTHER:
                    found[model, condition, value].append(row)
    return found
