"""What must hold between the values of a contract, each of which is right by itself."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from monitor.spec.contract import AcceptanceCriterion, Contract
from monitor.spec.faults import Fault, Place, path
from monitor.spec.golden import GoldenSpec
from monitor.spec.soundness import rule_faults
from monitor.spec.words import shown, unknown

_SHARES = frozenset({"precision", "recall", "f1", "ap50", "ap50_95", "map50", "map50_95", "calibration_error"})
_OVER_CLASSES = frozenset({"map50", "map50_95", "latency_p95_ms"})


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def find_faults(contract: Contract, unread: Container[str] = ()) -> list[Fault]:
    """Every fault between values, none of them fatal to finding the next.

    `unread` names sections that hold faults of their own and are here empty or incomplete; nothing is said that
    hangs on them.
    """
    return [
        *_names(contract),
        *_cameras(contract, unread),
        *_conditions(contract),
        *_model(contract),
        *_golden(contract.golden),
        *rule_faults(contract, unread),
        *(
            fault
            for i, criterion in enumerate(contract.acceptance)
            for fault in _criterion(contract, criterion, ("acceptance", i), unread)
        ),
    ]


def _names(contract: Contract) -> Iterator[Fault]:
    yield from _twice(("classes",), contract.classes)
    yield from _twice(("cameras", "list"), contract.cameras.list)
    yield from _twice(("conditions",), contract.conditions)
    yield from _twice(("failure_modes",), contract.failure_modes)
    yield from _twice(("alerts",), contract.alerts)
    yield from _twice(("acceptance",), contract.acceptance)
    yield from _repeated(("model", "stages"), contract.model.stages)
    yield from _repeated(("drift", "signals"), contract.drift.signals)
    for i, condition in enumerate(contract.conditions):
        yield from _repeated(("conditions", i, "values"), condition.values)


def _twice(place: Place, entries: Sequence[_Named]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if entry.name.startswith("__"):
            yield Fault((*place, i, "name"), "names that begin with __ are the product's own; choose another")
        if first.setdefault(entry.name, i) != i:
            before = path((*place, first[entry.name]))
            yield Fault(
                (*place, i, "name"), f"{shown(entry.name)} is already the name of {before}; names must differ"
            )


def _repeated(place: Place, words: Sequence[str]) -> Iterator[Fault]:
    for i, word in enumerate(words):
        if word.startswith("__"):
            yield Fault((*place, i), f"{shown(word)}: names that begin with __ are the product's own; choose another")
        if word in words[:i]:
            yield Fault((*place, i), f"{shown(word)} stands there twice; once is enough")


def _cameras(contract: Contract, unread: Container[str]) -> Iterator[Fault]:
    if "cameras" not in unread and contract.cameras.policy == "declared" and not contract.cameras.list:
        yield Fault(
            ("cameras", "list"),
            'no camera is declared, so every frame would be rejected; add [[cameras.list]], or set policy = "open"',
        )


def _conditions(contract: Contract) -> Iterator[Fault]:
    for i, condition in enumerate(contract.conditions):
        place = ("conditions", i)
        bounds = condition.box_area_bounds
        if condition.name == "camera":
            yield Fault((*place, "name"), "every number is kept by camera anyway; leave this condition out")
        if bounds and condition.of != "object":
            yield Fault((*place, "box_area_bounds"), 'bands of box area need of = "object"')
        if any(low >= high for low, high in pairwise(bounds)):
            yield Fault((*place, "box_area_bounds"), "the bounds do not ascend; order them from small to large")
        if bounds and len(condition.values) != len(bounds) + 1:
            yield Fault(
                (*place, "values"),
                f"{len(bounds)} bounds part {len(bounds) + 1} bands, but {len(condition.values)} values are named",
            )


def _model(contract: Contract) -> Iterator[Fault]:
    for key in ("mean", "std"):
        channels = 1 if contract.input.colour == "grey" else 3
        given = len(getattr(contract.input, key))
        if given not in (0, channels):
            yield Fault(
                ("input", key),
                f"{given} values for the {channels} channels of colour = {shown(contract.input.colour)}",
            )
    if (contract.input.width is None) != (contract.input.height is None):
        missing = "width" if contract.input.width is None else "height"
        yield Fault(("input", missing), "width and height go together; give both or neither")
    retention = contract.retention
    if retention.raw_days > retention.rollup_days:
        yield Fault(
            ("retention", "raw_days"),
            f"{retention.raw_days} days of records outlive the {retention.rollup_days} days of their roll-ups; "
            "make rollup_days at least as long",
        )
    mix = contract.review.mix
    total = mix.random + mix.uncertain + mix.disagreement + mix.novel
    if abs(total - 1) > 1e-6:
        yield Fault(("review", "mix"), f"the shares sum to {total:g}; make them sum to 1")


def _criterion(
    contract: Contract, criterion: AcceptanceCriterion, place: Place, unread: Container[str]
) -> Iterator[Fault]:
    classes = [c.name for c in contract.classes]
    if criterion.class_name and "classes" not in unread and criterion.class_name not in classes:
        yield Fault((*place, "class"), unknown("class", criterion.class_name, classes))
    if criterion.class_name and criterion.measure in _OVER_CLASSES:
        yield Fault(
            (*place, "class"), f"{criterion.measure} is over all classes; leave class out or use ap50, ap50_95"
        )
    bounds = {"at_least": criterion.at_least, "at_most": criterion.at_most}
    if sum(bound is not None for bound in bounds.values()) != 1:
        yield Fault(place, "needs exactly one bound: at_least or at_most")
    for key, bound in bounds.items():
        if bound is not None and criterion.measure in _SHARES and not 0 <= bound <= 1:
            yield Fault((*place, key), f"{criterion.measure} lies between 0 and 1; {bound:g} cannot be its bound")
    yield from _slice(contract, criterion, place, unread)


def _slice(
    contract: Contract, criterion: AcceptanceCriterion, place: Place, unread: Container[str]
) -> Iterator[Fault]:
    values: dict[str, Iterable[str]] = {c.name: c.values for c in contract.conditions}
    values["camera"] = [camera.name for camera in contract.cameras.list]
    for name, value in criterion.slice.items():
        where = (*place, "slice", name)
        if name not in values:
            if "conditions" not in unread:
                yield Fault(where, unknown("condition", name, values))
            continue
        if ("cameras" if name == "camera" else "conditions") in unread:
            continue
        declared = list(values[name])
        closed = declared if name != "camera" or contract.cameras.policy == "declared" else []
        if closed and value not in closed:
            yield Fault(where, unknown(f"value of {name}", value, closed))


def _golden(said: GoldenSpec) -> Iterator[Fault]:
    """What scoring needs beside a set: found out at night, it would cost the night."""
    if (said.manifest or said.challenge_manifest) and not said.model:
        yield Fault(("golden", "model"), "a set without a model is never scored; name the ONNX file in use")
    if not said.model:
        return
    needs = {
        "model_sha256": "what `sha256sum` says of the file, so that no other is loaded",
        "version": "the version's name, as it stands in records",
        "convention": 'how its outputs are read, such as "yolov8"',
        "outputs": 'the model\'s own names by role, such as { output = "output0" }',
    }
    for key, what in needs.items():
        if not getattr(said, key):
            yield Fault(("golden", key), f"a model cannot be scored without it; write {what}")
    if "image" not in said.inputs:
        yield Fault(("golden", "inputs"), 'names no input for image; write { image = "images" } with its own name')
    for role in sorted(said.inputs.keys() - {"image", "sizes"}):
        yield Fault(("golden", "inputs", role), "is no role of an input; there are image and sizes")
