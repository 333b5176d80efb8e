"""Alerts over HTTP as somebody on call would use it: look, take on, silence, resolve, read the history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import text

from monitor.records import Alert, AlertEvent, Scope, SeriesKey, Window
from monitor.store import alerts, outbox

KEY = "presses/light/v1/cam-1/lighting=low/-"


@pytest.fixture
def desk(plant) -> Iterator[httpx.Client]:
    """A client that may operate, beside one firing alert that the log has heard of."""
    with plant.database.begin() as conn:
        conn.execute(text("TRUNCATE alert, alert_event, outbox, silence, alert_deed CASCADE"))
        series = SeriesKey(Scope("presses", "v1", "", "cam-1", "lighting", "low"), "brightness")
        window = Window(plant.now - timedelta(days=1), plant.now)
        facts = ("light", "psi", "warning", "firing", 1, 1, 0, window.start, window.end, 0.6, 0.5, 60, "because")
        assert alerts.save(conn, Alert(KEY, series, *facts))
        why = {"sentence": "It is dark.", "severity": "warning", "rule": "light"}
        event = AlertEvent(KEY, 1, "pending", "firing", window, plant.now, 0.6, 0.5, 60, why)
        outbox.add(conn, alerts.add_event(conn, event), event, ["log"], plant.now)
    with httpx.Client(base_url=plant.address, headers=plant.bearer("operate"), timeout=60) as client:
        yield client


def test_an_alert_is_seen_taken_on_and_resolved(plant, desk):
    [listed] = desk.get("/v1/alerts").json()["alerts"]
    assert (listed["key"], listed["state"], listed["acknowledged_by"]) == (KEY, "firing", None)
    assert listed["labels"]["slice"] == "lighting=low"
    assert (listed["fired"]["said"], listed["fired"]["value"]) == ("It is dark.", 0.6)
    assert (listed["now"]["said"], listed["now"]["n"], listed["now"]["limit"]) == ("because", 60, 0.5)
    path = f"/v1/alerts/{quote(KEY)}"
    taken = desk.post(f"{path}/ack", json={"by": "A. Roe", "note": "on my\nway"})
    assert (taken.status_code, taken.json()["acknowledged_by"]) == (200, "A. Roe")
    resolved = desk.post(f"{path}/resolve", json={"note": "lamp replaced"})
    assert resolved.json()["state"] == "resolved"
    assert desk.get("/v1/alerts").json() == {"alerts": []}
    story = desk.get(path).json()
    said = {line["what"]: (line["who"], line["said"]) for line in story["history"] if line["who"] != "monitor"}
    assert said["acknowledged"] == ("A. Roe (token operate )", "on my way")
    assert said["resolved"] == ("operate  (token operate )", "lamp replaced"), "the token's name, where none is given"
    assert plant.ask("SELECT count(*) FROM outbox o JOIN alert_event e USING (event_id)"
                     " WHERE e.to_state = 'resolved' AND o.channel = 'log'") == 1  # fmt: skip


def test_a_silence_begins_is_listed_and_ends(plant, desk):
    ends_at = plant.now + timedelta(hours=8)
    body = {"matchers": ["camera=cam-1", "rule!=other"], "reason": "lens swap", "ends_at": ends_at.isoformat()}
    made = desk.post("/v1/silences", json=body).json()
    assert made["in_force"]
    assert datetime.fromisoformat(made["ends_at"]) == ends_at
    assert [one["id"] for one in desk.get("/v1/silences").json()["silences"]] == [made["id"]]
    [listed] = desk.get("/v1/alerts").json()["alerts"]
    assert listed["silenced_until"] is not None
    ended = desk.delete(f"/v1/silences/{made['id']}")
    assert (ended.status_code, ended.json()["in_force"]) == (200, False)
    assert desk.get("/v1/silences").json() == {"silences": []}
    assert len(desk.get("/v1/silences?all=1").json()["silences"]) == 1
    assert desk.delete(f"/v1/silences/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/alerts/no/such/ack", {"by": "x"}, 404),
        (f"/v1/alerts/{KEY}/ack", {"by": "a\x1b[31m"}, 400),
        (f"/v1/alerts/{KEY}/ack", {"who": "x"}, 400),
        (f"/v1/alerts/{KEY}/resolve", {}, 400),
        (f"/v1/alerts/{KEY}/ack", {"note": "x" * 20_000}, 413),
        ("/v1/silences", {"matchers": [], "reason": "x", "ends_at": "2026-03-03T13:00:00Z"}, 400),
        ("/v1/silences", {"matchers": ["camera=a"], "reason": "x", "ends_at": "2026-03-20T13:00:00Z"}, 409),
        ("/v1/silences", {"matchers": ["camera=a"], "reason": "x", "ends_at": "2026-03-03T11:00:00Z"}, 409),
        ("/v1/silences", {"matchers": ["colour=a"], "reason": "x", "ends_at": "2026-03-03T13:00:00Z"}, 409),
        ("/v1/silences", {"matchers": ["model=*"], "reason": "x", "ends_at": "2026-03-03T13:00:00Z"}, 409),
        ("/v1/silences", {"matchers": ["rule!=a"], "reason": "x", "ends_at": "2026-03-03T13:00:00Z"}, 409),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(desk, path, body, status):
    answer = desk.post(path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10
