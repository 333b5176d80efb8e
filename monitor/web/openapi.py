"""`/openapi.json`: what can be asked of the daemon, and everything that it may answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from monitor.feedback import EventRecord, ReviewRecord
from monitor.records import FrameRecord
from monitor.web import alerts, bodies
from monitor.web.access import OPEN
from monitor.web.api import MEDIA_TYPE, Taken
from monitor.web.problem import MEDIA_TYPE as PROBLEM_TYPE
from monitor.web.problem import Problem

_REF = "#/components/schemas/{name}"
_REFUSALS = {
    400: "The body is empty or broken off, or the batch id is none.",
    401: "No token, or none that is in force.",
    403: "The token has not the scope that this asks for.",
    408: f"The body has not arrived within {bodies.SECONDS:g} s.",
    409: "The batch id was used before for other content.",
    413: f"More than {bodies.MOST_BYTES} bytes, packed or unpacked, or more than {bodies.MOST_LINES} lines.",
    415: "The body is not NDJSON, or in an encoding that is not read here.",
    421: "The request names another host than this machine (where the daemon serves this machine alone).",
    422: "The database refuses the lines.",
    429: "Too many bytes are being taken in at once; come back after Retry-After seconds.",
    503: "The database is away or no contract is in force; come back after Retry-After seconds.",
}
_READING = (401, 403, 421, 503)
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_RECORDS: dict[str, type[msgspec.Struct]] = {
    "/v1/frames": FrameRecord,
    "/v1/reviews": ReviewRecord,
    "/v1/events": EventRecord,
}
"""What one line of a body is."""
_COMMAND_REFUSALS = {
    400: "The body is not what is described here.",
    401: _REFUSALS[401],
    403: _REFUSALS[403],
    404: "There is no such alert, incident or silence in force.",
    408: f"The body has not arrived within {alerts.SECONDS:g} s.",
    409: "It stands otherwise: what is asked cannot be done to it.",
    413: f"More than {alerts.MOST_BYTES} bytes.",
    421: _REFUSALS[421],
    503: "The database is away, or somebody else was faster; come back after Retry-After seconds.",
}


def document(app: FastAPI, rights: Mapping[tuple[str, str], str], version: str) -> bytes:
    """The description in OpenAPI 3.1, as JSON. `rights`: what each route asks for."""
    found = get_openapi(
        title="monitor",
        version=version,
        routes=app.routes,
        description="Takes frames, reviews and business events in; shows what became of them.",
    )
    bodies_said = [*_RECORDS.values(), *(record for record in alerts.COMMANDS.values() if record is not None)]
    _, records = msgspec.json.schema_components(bodies_said, ref_template=_REF)
    models = {
        model.__name__: model.model_json_schema(ref_template="#/components/schemas/{model}")
        for model in (Problem, Taken)
    }
    nested = {name: schema for model in models.values() for name, schema in model.pop("$defs", {}).items()}
    found["components"] = {
        "schemas": {**found.get("components", {}).get("schemas", {}), **records, **nested, **models},
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "password": {"type": "http", "scheme": "basic", "description": "A read token as password, any name."},
        },
    }
    for (method, path), right in rights.items():
        operation = found["paths"][path.replace(":path", "")][method.lower()]
        if (method, path) in alerts.COMMANDS:
            _complete_command(operation, alerts.COMMANDS[method, path])
        else:
            _complete(operation, right, _RECORDS.get(path))
            if "{" in path:
                _refuse(operation, {404: _COMMAND_REFUSALS[404]})
    for gone in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(gone, None)
    return json.dumps(found).encode()


def _body(record: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "required": True,
        "description": "One record a line (NDJSON), with Content-Encoding gzip or zstd if it is packed.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name=record.__name__)}}},
    }


def _complete(operation: dict[str, Any], right: str, record: type[msgspec.Struct] | None) -> None:
    """Say of an operation who may ask for it, what it takes, and how it may be refused."""
    writes = record is not None
    refusals = tuple(_REFUSALS) if writes else (421,) if right == OPEN else _READING
    operation["security"] = [] if right == OPEN else [{"token": []}] if writes else [{"token": []}, {"password": []}]
    if record is not None:
        operation["requestBody"] = _body(record)
    _refuse(operation, {status: _REFUSALS[status] for status in refusals})


def _complete_command(operation: dict[str, Any], record: type[msgspec.Struct] | None) -> None:
    """The same of an operation that does something about alerts."""
    operation["security"] = [{"token": []}]
    if record is not None:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=record.__name__)}}}
        operation["requestBody"] = {"required": True, "content": content}
    _refuse(operation, _COMMAND_REFUSALS)


def _refuse(operation: dict[str, Any], refusals: Mapping[int, str]) -> None:
    operation["responses"].pop("422", None)
    for status, description in refusals.items():
        said: dict[str, Any] = {
            "description": description,
            "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
        if status in (429, 503):
            said["headers"] = _RETRY
        kinds = operation["responses"].setdefault(str(status), said)["content"]
        kinds.setdefault(PROBLEM_TYPE, said["content"][PROBLEM_TYPE])
