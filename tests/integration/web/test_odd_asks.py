"""What the pages say of alerts that no rule of the contract raised, and of odd names and odd asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import quote_plus

import pytest
from markupsafe import escape
from sqlalchemy import text

from monitor.daemon.context import Context
from monitor.daemon.jobs import longest, turns
from monitor.daemon.run import run_once
from monitor.records import EPOCH, AlertEvent, Window
from monitor.spec.load import Shelf
from monitor.store import alerts, incidents
from monitor.watch import Incident
from monitor.web.pages import MOST_ALERTS
from monitor.web.view import surroundings

GOLDEN = text("""
    INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name,
        measure, severity, state, episode, breaches, clears, window_end, value, threshold, n, reason, revision)
    VALUES ('presses/golden-accuracy/v1.0/-/-/-', 'presses', 'v1.0', '', '', '', '', 'golden-accuracy', 'golden', '',
        'map50_95', 'critical', 'firing', 1, 1, 0, '2026-03-02', 0.5, 0.0, 60, '', 1)
""")


def open_incident(plant, camera: str, version: str = "v1.0", stage: str = "") -> str:
    """Name of an incident as the gathering writes it, with what was told of it."""
    day = date(2026, 3, 2)
    incident = Incident((camera,), "optics", day, day, ("brightness",), frozenset({(camera,)}), day)
    frozen = plant.freeze(1)
    with plant.context.database.begin() as conn:
        kept = incidents.open_new(conn, incidents.Watch("presses", version, stage), frozen, incident)
        window = Window(EPOCH, EPOCH + timedelta(days=1))
        why = {"sentence": "Optics moved.", "reason": "a stream alarmed"}
        alerts.add_event(conn, AlertEvent(kept.key, 1, "ok", "firing", window, EPOCH, None, 0.0, 0, why))
        return kept.name


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


MANY = text("""
    INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name,
        measure, severity, state, episode, breaches, clears, window_end, value, threshold, n, reason, revision)
    SELECT 'presses/brightness-drift/v1.0/' || i, 'presses', 'v1.0', '', 'cam-1', 'part', i::text,
        'brightness-drift', 'brightness', '', 'psi', 'warning', 'firing', 1, 1, 0, '2026-03-02', 0.5, 0.3, 60, '', 1
    FROM generate_series(1, 2100) i
""")


def test_many_alerts_are_counted_all_and_listed_in_part(plant, browse):
    plant.day(0)
    with plant.context.database.begin() as conn:
        conn.execute(MANY)
    for path, left in (("/", "and 2,050 more"), ("/alerts", "and 1,600 more")):
        page = browse(path).text
        assert "2,100 firing" in page
        assert left in page
        assert page.count("<b>brightness-drift</b>") == MOST_ALERTS[path]
    assert "2100 firing alerts: brightness." in browse("/").text
    assert "No alert is open for" in browse("/alerts", camera="cam-idle").text
    context = plant.context
    context.metrics.refresh(context.database, context.shelf.contracts, turns(), context.clock())
    assert 'monitor_alerts_open{severity="warning"} 2100.0' in browse("/metrics").text


@pytest.mark.parametrize("camera", ["cam#1", "cam 50%", "cam/1", "cam#2#3"])
def test_an_incident_is_found_whatever_its_camera_is_called(plant, browse, camera):
    plant.day(0)
    name = open_incident(plant, camera)
    answer = browse("/incident", key=name)
    assert answer.status_code == 200
    assert name.replace("'", "&#39;") in answer.text


@pytest.mark.parametrize("camera", ["$__timeFrom()", "a $__timeFilter(b)", "${model:sqlstring}", "'; --"])
def test_a_page_of_a_camera_that_is_called_like_a_piece_of_a_query_shows_it(plant, browse, camera):
    plant.cameras = ("cam-1", camera)
    plant.day(0)
    for path in ("/", "/health", "/predictions", "/drift"):
        answer = browse(path, camera=camera)
        assert answer.status_code == 200, path
        assert str(escape(camera)) in answer.text
    assert "60" in browse("/health", camera=camera).text


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


def test_what_is_on_of_a_model_that_is_watched_no_more_is_resolved_and_told(plant, story_start):
    for day in range(4):
        plant.day(day)
    incident = open_incident(plant, "cam-1")
    for day in (4, 5):
        plant.day(day, light=0.8)

    def told() -> list[tuple[str, str]]:
        with plant.context.database.begin() as conn:
            rows = conn.execute(text("SELECT alert_key, to_state FROM alert_event ORDER BY event_id"))
            return [(row[0], row[1]) for row in rows]

    key = "presses/brightness-drift/v1.0/cam-1/-/-"
    assert (key, "resolved") not in told()
    folder = plant.context.settings.contracts_dir
    other = (folder / "presses.toml").read_text().replace('"presses"', '"welds"')
    (folder / "presses.toml").unlink()
    (folder / "welds.toml").write_text(other)
    plant.jobs(6, hours=3)
    assert (key, "resolved") not in told(), "until a restart the contract stays in force"
    (another := folder / "another").mkdir()
    nothing = Context(plant.context.settings, plant.context.database, Shelf(another))
    run_once(nothing, story_start + timedelta(days=6, hours=3, minutes=30))
    assert (key, "resolved") not in told(), "a folder without any contract says nothing of the plant"
    restarted = Context(plant.context.settings, plant.context.database, Shelf(folder))
    for hour in (4, 5):
        run_once(restarted, story_start + timedelta(days=6, hours=hour))
    assert told().count((key, "resolved")) == 1
    with plant.context.database.begin() as conn:
        (closed,) = incidents.read(conn, key=incident)
        (reason,) = conn.execute(text("SELECT reason FROM alert WHERE alert_key = :key"), {"key": key}).scalars()
    assert closed.incident.closed_on is not None
    assert "no contract of presses is in force any more" in reason
