"""Names that nobody declared: so many may be new a day, the rest count under one.

Where a contract leaves cameras, or the values of a condition, open, each new name is a series of every signal. A
producer that writes a number into the name would make them without end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace

from monitor.ingest.columns import Rules
from monitor.records import OTHER, FrameColumns

NEW_A_DAY = 200
"""New names of one source, model and condition (or of its cameras) on one day of arrival, UTC."""
CAMERA = ""
"""Stands in the place of the condition."""
OpenName = tuple[str, str, str]
"""Model, condition (`CAMERA`: the camera) and name."""


def named(model: str, condition: str) -> str:
    """What the names are, in words."""
    return f"cameras of {model}" if condition == CAMERA else f"values of {condition} of {model}"


def said_by(columns: FrameColumns, rules: Mapping[str, Rules]) -> dict[OpenName, list[int]]:
    """The names that no contract lists and the rows that say them, in the order in which they come."""
    found: dict[OpenName, list[int]] = defaultdict(list)
    if not any(rule.listed is not None or rule.free for rule in rules.values()):
        return found
    for row, (model, camera, slices) in enumerate(zip(columns.model, columns.camera, columns.slices, strict=True)):
        rule = rules[model]
        if rule.listed is not None and camera not in rule.listed and camera != OTHER:
            found[model, CAMERA, camera].append(row)
        if rule.free:
            for condition, value in slices.items():
                if condition in rule.free and value != OTHER:
                    found[model, condition, value].append(row)
    return found


def without(
    columns: FrameColumns, said: Mapping[OpenName, list[int]], beyond: Collection[OpenName]
) -> tuple[FrameColumns, dict[tuple[str, str], list[int]]]:
    """The frames with `__other__` for the names `beyond`, the camera's own name beside it; and the rows of these
    frames by model and condition."""
    camera, own, slices = list(columns.camera), list(columns.camera_said), list(columns.slices)
    others: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name in sorted(said.keys() & set(beyond)):
        model, condition, _ = name
        others[model, condition] += said[name]
        for row in said[name]:
            if condition == CAMERA:
                camera[row], own[row] = OTHER, camera[row]
            else:
                slices[row] = {**slices[row], condition: OTHER}
    return replace(columns, camera=camera, camera_said=own, slices=slices), dict(others)
