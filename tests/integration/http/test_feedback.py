"""Reviews and business events over HTTP: the promises of frames, each kind by its own right."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from monitor.review import stage

NDJSON = {"Content-Type": "application/x-ndjson"}


def said(name: str, **other: Any) -> bytes:
    record = {
        "review_id": name,
        "event_id": "e1",
        "source": "line-7",
        "reviewer": "ada",
        "finished_at": "2026-03-03T07:00:00Z",
        "detections": [{"index": 0, "verdict": "false_positive"}],
    }
    return json.dumps(record | other).encode() + b"\n"


def event(name: str, **other: Any) -> bytes:
    record = {"event_id": name, "kind": "work_order", "at": "2026-03-03T07:00:00Z", "model": "presses"}
    return json.dumps(record | other).encode() + b"\n"


@pytest.fixture
def desk(plant):
    """A client that may send reviews as `desk`."""
    headers = NDJSON | plant.bearer("review", source="desk")
    with httpx.Client(base_url=plant.address, headers=headers, timeout=60) as client:
        yield client


def test_a_review_waits_for_its_frame_and_counts(plant, desk, record):
    answer = desk.post("/v1/reviews", content=said("r1") + said("r2", reviewer=""))
    assert answer.status_code == 200
    assert (answer.json()["stored"], answer.json()["rejected"], answer.json()["source"]) == (1, 1, "desk")
    assert stage.settle(plant.database) == 0
    with plant.sender() as line:
        assert line.post("/v1/frames", content=record(1)).status_code == 200
    assert stage.settle(plant.database) == 1
    assert plant.ask("SELECT sum(false_positive) FROM review_rollup WHERE camera = 'cam-1'") == 1


def test_a_body_sent_again_changes_nothing(plant, desk):
    first = desk.post("/v1/reviews", content=said("r1"), headers={"Idempotency-Key": "one"}).json()
    again = desk.post("/v1/reviews", content=said("r1"), headers={"Idempotency-Key": "one"}).json()
    assert again == first | {"repeated": True}
    other = desk.post("/v1/reviews", content=said("r2"), headers={"Idempotency-Key": "one"})
    assert other.status_code == 409
    assert plant.ask("SELECT count(*) FROM review") == 1


def test_one_id_stands_for_one_batch_of_each_kind(plant, body):
    headers = NDJSON | plant.bearer("ingest", source="line-7")
    key = {"Idempotency-Key": "a.reviews.jsonl"}
    with httpx.Client(base_url=plant.address, headers=headers | key, timeout=60) as client:
        assert client.post("/v1/frames", content=body(3)).json()["stored"] == 3
        assert client.post("/v1/events", content=event("w1") + event("w2", kind="party")).json()["stored"] == 1
        assert client.post("/v1/reviews", content=said("r1")).status_code == 403
    assert plant.stored() == 3
    assert plant.ask("SELECT count(*) FROM business_event") == 1
    assert plant.ask("SELECT count(*) FROM review") == 0
