"""A contract written out: itself as TOML with every default filled in, and its form as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from monitor.spec.contract import Contract
from monitor.spec.sections import write_duration
from monitor.spec.words import quoted


def as_toml(contract: Contract) -> str:
    """The contract as TOML text, which reads back as the same contract; what has no value is named in a comment."""
    return "\n".join(_table(contract.model_dump(by_alias=True), "")) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a contract, for editors; what hangs on two values only `spec check` can tell."""
    schema = Contract.model_json_schema(by_alias=True, schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "monitor contract"}


class _Schema(GenerateJsonSchema):
    """Defaults as they stand in TOML."""

    def encode_default(self, dft: Any) -> Any:
        return write_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _table(values: Mapping[str, Any], path: str) -> Iterator[str]:
    """The lines of one table: its own values first, then the tables and lists of tables inside it."""
    inner: list[tuple[str, Any]] = []
    for key, value in values.items():
        if value is None:
            yield f"# {key} is not set"
        elif isinstance(value, dict) or (isinstance(value, tuple) and value and isinstance(value[0], dict)):
            inner.append((key, value))
        else:
            yield f"{quoted(key)} = {_value(value)}"
    for key, value in inner:
        name = f"{path}.{key}" if path else key
        for entry in value if isinstance(value, tuple) else (value,):
            yield ""
            yield f"[[{name}]]" if isinstance(value, tuple) else f"[{name}]"
            yield from _table(entry, name)


def _value(value: Any) -> str:
    if isinstance(value, str):
        # A TOML string is a JSON string, but for the delete character, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
