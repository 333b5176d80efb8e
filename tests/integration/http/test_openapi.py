"""The description of what is served is true: requests made from it, whatever they hold, are answered as it says."""

from __future__ import annotations

import json

import httpx
import msgspec
import schemathesis
from hypothesis import HealthCheck, settings
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
class Lines:
    """A record, or whatever stands in its place, as one line."""

    def serialize(self, context, value):
        return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"


def describe(plant) -> dict:
    return httpx.get(f"{plant.address}/openapi.json", headers=plant.bearer("read")).json()


def test_every_route_is_described_with_its_right(plant):
    document = describe(plant)
    told = {
        (method.upper(), path): bool(operation["security"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert told == {route: right != "open" for route, right in ROUTES.items()}
    assert document["openapi"].startswith("3.1")


def test_a_record_is_described_as_the_command_prints_it(plant):
    schemas = json.dumps(describe(plant)["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/")
    printed = record_schema()["$defs"]
    assert printed
    assert {name: schema for name, schema in json.loads(schemas).items() if name in printed} == printed
    assert msgspec.json.decode(schemas)


def test_no_request_made_from_it_breaks_the_server_or_passes_without_its_token(open_plant):
    """Schemathesis on every operation, with each right and without."""
    schema = schemathesis.openapi.from_url(f"{open_plant.address}/openapi.json", headers=open_plant.bearer("read"))
    schema.config.generation.update(database="none")
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        secret = open_plant.bearer("ingest" if operation.method == "post" else "read", source="fuzz")

        @settings(
            max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        def probe(case, secret=secret):
            answer = case.call(headers=secret)
            seen.add((case.method, case.path, answer.status_code))
            case.validate_response(answer, checks=CHECKS, headers=secret)

        schemathesis.pytest  # noqa: B018
        operation.as_strategy()
        run(operation, probe)
    assert {(method, path) for method, path, _ in seen} == set(ROUTES)
    assert ("POST", "/v1/frames", 200) in seen
