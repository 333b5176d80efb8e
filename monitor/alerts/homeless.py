"""What an alert is about may have left the contract: a camera that was taken down, a class, a stage, a condition.

Its baseline goes on to know it, so that it would be silent, or missing among the others, for ever. What has no place
in the contract is judged no more, and what fires on it is over.
"""

from __future__ import annotations

from monitor.feedback import BUSINESS, OVERRIDE
from monitor.measures import STATUS
from monitor.records import OTHER, SeriesKey
from monitor.scoring import SCORED
from monitor.spec.contract import Contract

_WHOLE = frozenset({"latency_ms", OVERRIDE, BUSINESS})
"""Signals that a pipeline has as a whole too, beside those of its stages."""
_CLASSED_ELSEWHERE = frozenset({STATUS, OVERRIDE, BUSINESS})
"""Signals whose classes are kinds of errors, or what people and the plant name."""


def homeless(contract: Contract, series: SeriesKey) -> str | None:
    """Why a series has no place in the contract any more; None: it has one, or is of a set that is scored anew each
    night, whatever hangs in the plant."""
    if series.signal in SCORED:
        return None
    scope, gone = series.scope, "is not in the contract any more"
    cameras = {camera.name for camera in contract.cameras.list}
    if contract.cameras.policy == "declared" and scope.camera and scope.camera not in cameras:
        return f"camera {scope.camera} {gone}"
    if scope.stage and scope.stage not in contract.model.stages:
        return f"stage {scope.stage} {gone}"
    if contract.model.stages and not scope.stage and series.signal not in _WHOLE:
        return "the contract tells stages apart now"
    is_classed = contract.class_policy == "declared" and series.signal not in _CLASSED_ELSEWHERE
    if is_classed and series.class_name not in ("", *(one.name for one in contract.classes)):
        return f"class {series.class_name} {gone}"
    if scope.slice_name:
        values = {one.name: one.values for one in contract.conditions}.get(scope.slice_name)
        if values is None:
            return f"condition {scope.slice_name} {gone}"
        if values and scope.slice_value not in (*values, OTHER):
            return f"{scope.slice_name} = {scope.slice_value} {gone}"
    return None
