"""What the pages say of alerts that no rule of the contract raised, and of odd names and odd asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import quote_plus

import pytest
from sqlalchemy import text

from monitor.daemon.jobs import longest
from monitor.store import incidents
from monitor.watch import Incident
from monitor.web.view import surroundings

GOLDEN = text("""
    INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name,
        measure, severity, state, episode, breaches, clears, window_end, value, threshold, n, reason, revision)
    VALUES ('presses/golden-accuracy/v1.0/-/-/-', 'presses', 'v1.0', '', '', '', '', 'golden-accuracy', 'golden', '',
        'map50_95', 'critical', 'firing', 1, 1, 0, '2026-03-02', 0.5, 0.0, 60, '', 1)
""")


def open_incident(plant, camera: str, version: str = "v1.0", stage: str = "") -> str:
    incident = Incident(
        (camera,),
        "optics",
        date(2026, 3, 2),
        date(2026, 3, 2),
        ("brightness",),
        frozenset({(camera,)}),
        date(2026, 3, 2),
    )
    plant.freeze(1)
    with plant.context.database.begin() as conn:
        watch = incidents.Watch("presses", version, stage)
        return incidents.open_new(conn, watch, 1, incident).name


def test_a_failing_golden_set_is_no_healthy_model(plant, browse):
    plant.day(0)
    with plant.context.database.begin() as conn:
        conn.execute(GOLDEN)
    plant.jobs(1, hours=3)
    page = browse("/").text
    assert "golden-accuracy" in page
    assert "monitor golden gate" in page
    assert 'monitor_alert_active{alertname="GoldenAccuracy"' in browse("/metrics").text
    assert "monitor_drift_score{" not in "".join(
        one for one in browse("/metrics").text.splitlines() if "golden-acc" in one
    )


@pytest.mark.parametrize("camera", ["cam#1", "cam 50%", "cam/1", "cam#2#3"])
def test_an_incident_is_found_whatever_its_camera_is_called(plant, browse, camera):
    plant.day(0)
    name = open_incident(plant, camera)
    answer = browse("/incident", key=name)
    assert answer.status_code == 200
    assert name.replace("'", "&#39;") in answer.text


def test_an_incident_of_another_version_is_no_healthy_model_either(plant, browse):
    plant.day(0)
    name = open_incident(plant, "cam-1", version="v0.9")
    page = browse("/", model="presses", version="v1.0").text
    assert quote_plus(name) in page
    assert "No incident is open" not in page
    assert quote_plus(name) not in browse("/drift", model="presses", version="v1.0").text


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", {"model": "\0"}),
        ("/incident", {"key": "\0"}),
        ("/why", {"model": "presses", "version": "\0", "lane": "override"}),
        ("/why", {"model": "presses", "version": "v1.0", "lane": "override", "camera": "\0"}),
        ("/why", {"model": "presses", "version": "v1.0", "lane": "override", "day": "9999-12-31"}),
    ],
)
def test_what_the_database_cannot_be_asked_is_not_there(drifted, read, path, query):
    answer = read(path, **query)
    assert answer.status_code == 404
    assert "Not here" in answer.text


def test_a_night_that_scores_for_an_hour_makes_no_job_late(plant, browse, story_start):
    plant.jobs(0)
    now = story_start + timedelta(hours=5)
    with plant.context.database.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO job_run (job, scheduled_for, started_at, state)"
                " VALUES ('golden', :at, :at, 'running'), ('drift', :at, :at, 'running')"
            ),
            {"at": now - timedelta(hours=1)},
        )
        late = surroundings(conn, replace(plant.site, longest=longest()), now).late
    assert "drift" in late
    assert "golden" not in late
    assert 'monitor_job_longest_run_seconds{job="golden"} 10800.0' in browse("/metrics").text
