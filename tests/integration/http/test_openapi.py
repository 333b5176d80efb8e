"""The description of what is served is true: requests made from it, whatever they hold, are answered as it says."""

from __future__ import annotations

import json

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from monitor.cli.spec import record_schema
from monitor.web.access import ROUTES

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
    unsupported_method,
]


@schemathesis.serializer("application/x-ndjson")
def as_line(context, value) -> bytes:
    """A record, or whatever stands in its place, as one line."""
    return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"


@pytest.fixture
def schema(open_plant):
    """The description, read as its readers read it."""
    found = schemathesis.openapi.from_url(f"{open_plant.address}/openapi.json", headers=open_plant.bearer("read"))
    found.config.update(base_url=open_plant.address)
    return found


def describe(plant) -> dict:
    return httpx.get(f"{plant.address}/openapi.json", headers=plant.bearer("read")).json()


def test_every_route_is_described_with_its_right(plant):
    document = describe(plant)
    told = {
        (method.upper(), path): bool(operation["security"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert told == {(m, path.replace(":path", "")): right != "open" for (m, path), right in ROUTES.items()}
    assert document["openapi"].startswith("3.1")


def test_a_record_is_described_as_the_command_prints_it(plant):
    schemas = json.dumps(describe(plant)["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/")
    printed = record_schema()["$defs"]
    assert printed
    assert {name: schema for name, schema in json.loads(schemas).items() if name in printed} == printed
    assert msgspec.json.decode(schemas)


def probe(operation: APIOperation, mode: GenerationMode, headers: dict[str, str], examples: int) -> set[int]:
    """The statuses that an operation answers with to requests that its description allows, or does not."""
    seen = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Case) -> None:
        answer = case.call(headers=headers)
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS, headers=headers)

    ask()
    return seen


def test_no_request_breaks_the_server_or_passes_without_its_token(open_plant, schema):
    for (method, path), right in ROUTES.items():
        headers = open_plant.bearer(right, source="fuzz") if method != "GET" else open_plant.bearer("read")
        operation = schema[path.replace(":path", "")][method]
        if method == "GET":
            nothing = path in ("/why", "/incident") or "{" in path
            assert probe(operation, GenerationMode.POSITIVE, headers, 10) & {200, 404 if nothing else 503}
            continue
        if right == "operate":
            # There are no alerts here, and the ends of silences that are made up lie anywhere.
            assert probe(operation, GenerationMode.POSITIVE, headers, 20) & {404, 409}
            continue
        assert 200 in probe(operation, GenerationMode.POSITIVE, headers, 50)
        assert 400 in probe(operation, GenerationMode.NEGATIVE, headers, 50)
    assert open_plant.ask("SELECT sum(lines) FROM batch WHERE source = 'fuzz'") > 25
