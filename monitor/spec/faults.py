"""A fault of a contract as one sentence: where it stands, what was found there, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args

from pydantic_core import ErrorDetails

from monitor.spec.contract import Contract
from monitor.spec.sections import PATTERNS, Section
from monitor.spec.words import choice, nearest, quoted, shown

Place = tuple[str | int, ...]
"""Keys and 0-based positions from the top of the file down."""

_ALLOWED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list in [ ]",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "text of at least {min_length} character",
    "string_too_long": "text of at most {max_length} characters",
    "too_long": "at most {max_length} entries",
}


_OF_ALL_RULES = ("window", "settle")
"""Keys of [drift] that people look for in a rule."""


class Fault(NamedTuple):
    """What is wrong at one place of a contract."""

    place: Place
    text: str

    def sentence(self, data: Mapping[str, Any]) -> str:
        """The fault with its place in the file; `data` is the parsed TOML, from which a list's entries are named."""
        name = _name_at(data, self.place)
        return f"{path(self.place)}{f' (in {shown(name)})' if name else ''}: {self.text}"


def in_order(faults: Iterable[Fault], data: Mapping[str, Any]) -> list[str]:
    """The faults as sentences, in the order in which their sections stand in the parsed file `data`."""
    sections = list(data)

    def position(fault: Fault) -> tuple[int, list[tuple[int, str]]]:
        top = fault.place[0]
        steps = [(step, "") if isinstance(step, int) else (-1, step) for step in fault.place[1:]]
        return sections.index(top) if top in sections else -1, steps

    return [fault.sentence(data) for fault in sorted(faults, key=position)]


def path(place: Place) -> str:
    """`("alerts", 2, "measure")` as `alerts[2].measure`; entries are counted from 0."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{quoted(step)}" if text else quoted(step)
    return text


def from_validation(error: ErrorDetails) -> Fault:
    """One error of the validation of a contract as a fault."""
    place: Place = error["loc"]
    if error["type"] == "extra_forbidden":
        return Fault(place, _unknown_key(place))
    if error["type"] == "missing":
        return Fault(place, _missing(place))
    found = error["input"]
    return Fault(place, f"found {shown(found)}; allowed: {_allowed(error)}")


def _allowed(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], error["msg"])
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        return choice(words) + (nearest(error["input"], words) if isinstance(error["input"], str) else "")
    if kind in _ALLOWED:
        return _ALLOWED[kind].format(**context)
    return error["msg"].removeprefix("Input should be ")


def _unknown_key(place: Place) -> str:
    key = str(place[-1])
    if place[0] in ("alerts", "ready") and key in _OF_ALL_RULES:
        return (
            f"unknown key: a rule has no {key} of its own. Every rule judges the windows of [drift]; set {key} there "
            "for all of them, and for_windows here for how many in a row must breach"
        )
    section = _section(place[:-1])
    known = _keys(section) if section else []
    hint = nearest(key, known)
    if not hint and len(place) > 1 and key in _keys(Contract):
        hint = "; it belongs at the top of the file, before the first [section], or is a section of its own"
    return f"unknown key{hint} (known here: {', '.join(known)})"


def _missing(place: Place) -> str:
    section = _section(place)
    if section is not None:
        needed = [f.alias or name for name, f in section.model_fields.items() if f.is_required()]
        brackets = "[[{}]]" if isinstance(_annotation(Contract, place[0]), tuple) else "[{}]"
        return f"missing; write {brackets.format(path(place))} with {' and '.join(needed)}"
    parents = [step for step in place[:-1] if isinstance(step, str)]
    listed = isinstance(place[-2], int)
    return f"missing; every {'[[' if listed else '['}{'.'.join(parents)}{']]' if listed else ']'} needs it"


def _keys(section: type[Section]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _annotation(section: type[Section], key: str | int) -> Any:
    """What stands under a key of a section: its type, or (type, ...) for a list of it; None for an unknown key."""
    for name, field in section.model_fields.items():
        if key == (field.alias or name):
            return get_args(field.annotation) or field.annotation
    return None


def _section(place: Place) -> type[Section] | None:
    """The section that a place names, None where none is."""
    section: type[Section] = Contract
    named: type[Section] | None = None  # what stands under the names of a table of sections
    for step in place:
        if isinstance(step, int):
            continue
        if named is not None:
            section, named = named, None
            continue
        found = _annotation(section, step)
        if isinstance(found, tuple) and len(found) > 1 and _is_section(found[-1]):
            named = found[-1]
            continue
        found = found[0] if isinstance(found, tuple) else found
        if not _is_section(found):
            return None
        section = found
    return None if named is not None else section


def _is_section(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Section)


def _name_at(data: Mapping[str, Any], place: Place) -> str | None:
    """The name of the innermost list entry on the way to a place."""
    name = None
    node: Any = data
    for step in place:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(step, int):
            said = node.get("name") if isinstance(node, dict) else None
            name = said if isinstance(said, str) else None
    return name
