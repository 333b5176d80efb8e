"""What Prometheus gets, read back with its own parser."""

from __future__ import annotations

from datetime import date

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text

from monitor.daemon.jobs import JOBS, turns
from monitor.errors import MonitorError
from monitor.store import incidents, reporting
from monitor.watch import Incident
from monitor.web.exposed import METRICS
from monitor.web.metrics import Metrics


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels; a label set that occurs twice is refused."""
    found = {}
    for family in text_string_to_metric_families(page):
        assert family.documentation, family.name
        for one in family.samples:
            key = (one.name, frozenset(one.labels.items()))
            assert key not in found, key
            found[key] = one.value
    return found


def of(found: dict, name: str, **labels: str) -> list[float]:
    """Values of the samples of that name that carry these labels."""
    return [value for (one, said), value in found.items() if one == name and labels.items() <= dict(said).items()]


def test_before_anything_was_read(plant):
    found = samples(Metrics().exposition().decode())
    assert of(found, "monitor_database_up") == [0]
    assert of(found, "monitor_series") == [2], "this one, and the version that runs"


def test_the_plant_in_numbers(drifted, read):
    found = samples(read("/metrics").text)
    assert of(found, "monitor_database_up") == [1]
    assert of(found, "monitor_lines_stored_total") == [1260]
    assert of(found, "monitor_alerts_open", severity="warning") == [1]
    assert of(
        found,
        "monitor_alert_active",
        alertname="BrightnessDrift",
        rule="brightness-drift",
        severity="warning",
        pillar="input",
        model="presses",
        camera="cam-1",
        class_name="",
    ) == [1]
    (score,) = of(found, "monitor_drift_score", camera="cam-1", rule="brightness-drift")
    (threshold,) = of(found, "monitor_drift_threshold", camera="cam-1", rule="brightness-drift")
    assert score > threshold > 0.2
    assert of(found, "monitor_drift_score", camera=drifted.cameras[1], rule="brightness-drift")[0] < threshold
    assert len(of(found, "monitor_job_last_success_timestamp_seconds")) == len(JOBS)
    assert of(found, "monitor_job_runs_total", job="drift", state="done") == [7]
    assert of(found, "monitor_series_dropped") == [0]


def test_what_goes_beyond_the_budget_is_dropped_and_counted(drifted, story_start):
    whole, small = Metrics(), Metrics(budget=12)
    for metrics in (whole, small):
        metrics.refresh(drifted.context.database, drifted.context.shelf.contracts, turns(), story_start)
    assert small.exposition() == small.exposition(), "a scrape leaves nothing behind"
    everything, few = (samples(one.exposition().decode()) for one in (whole, small))
    assert len(few) == 12
    assert of(few, "monitor_series_dropped") == [len(everything) - 12]
    assert of(few, "monitor_alert_active") == [1], "alerts come before the rest"


def test_a_scrape_asks_the_database_nothing(drifted, read):
    asked = []
    engine = drifted.context.database.engine
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert "monitor_alert_active" in read("/metrics").text
    assert asked == []
    read("/")
    assert asked, "the listener works"


ALERT = text("""
    INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name,
        measure, severity, state, episode, breaches, clears, window_end, value, threshold, n, reason, revision)
    VALUES (:version, 'presses', :version, '', 'cam-1', '', '', 'brightness-drift', 'brightness', '', 'psi',
        'critical', :state, 1, 0, 0, '2026-03-02', 0.5, 0.3, 60, '', 1)
""")


def test_alerts_that_differ_in_no_label_give_one_sample(plant, browse):
    plant.jobs(0)
    with plant.context.database.begin() as conn:
        for version, state in (("v1", "firing"), ("v2", "ok")):
            conn.execute(ALERT, {"version": version, "state": state})
    plant.jobs(0, hours=3)
    found = samples(browse("/metrics").text)
    assert of(found, "monitor_alert_active") == [1]
    assert of(found, "monitor_drift_score") == [0.5]
    assert of(found, "monitor_alerts_open", severity="critical") == [1]


def test_alerts_of_a_rule_that_was_removed_are_gone(plant, browse):
    plant.jobs(0)
    with plant.context.database.begin() as conn:
        conn.execute(ALERT, {"version": "v1", "state": "firing"})
    plant.day(0)
    for page in (browse("/metrics").text, browse("/").text):
        assert "brightness-drift" in page
    contract = plant.context.settings.contracts_dir / "presses.toml"
    contract.write_text(contract.read_text().replace("brightness-drift", "another-rule"))
    plant.jobs(1, hours=3)
    found = samples(browse("/metrics").text)
    for name in ("monitor_alert_active", "monitor_drift_score", "monitor_drift_threshold"):
        assert of(found, name, rule="brightness-drift") == []
    assert of(found, "monitor_alerts_open", severity="critical") == [0]
    assert "brightness-drift" not in browse("/").text


def test_a_line_that_is_taken_in_later_does_not_make_a_counter_fall(plant, browse, day_of_records):
    lines = day_of_records(0, "a")
    file = plant.drop("mixed", [line | {"model": "rollers"} for line in lines[:7]] + lines[7:])
    plant.jobs(1)
    before = samples(browse("/metrics").text)
    assert of(before, "monitor_lines_stored_total") == [53]
    assert of(before, "monitor_lines_rejected_total") == [7]
    contract = plant.context.settings.contracts_dir / "presses.toml"
    contract.with_name("rollers.toml").write_text(contract.read_text().replace('"presses"', '"rollers"'))
    (done,) = (plant.context.settings.spool_dir / "done").rglob("mixed.jsonl")
    done.rename(file)
    plant.jobs(1, hours=3)
    after = samples(browse("/metrics").text)
    assert of(after, "monitor_lines_stored_total") == [60]
    assert of(after, "monitor_lines_rejected_total") == [7]
    assert of(after, "monitor_set_aside_total", reason="unknown_model") == [7]
    page = browse("/self").text
    assert "60 lines = 60 stored + 0 duplicate + 0 rejected + 0 blank" in page
    assert "Nothing is set aside" in page


def test_the_last_values_outlive_the_database(plant, browse, admin):
    plant.day(0)
    before = samples(browse("/metrics").text)
    assert of(before, "monitor_lines_stored_total") == [120]
    engine = plant.context.database.engine
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} ALLOW_CONNECTIONS false"))
    engine.dispose()
    assert plant.jobs(1, hours=3) == {}
    after = samples(browse("/metrics").text)
    assert of(after, "monitor_database_up") == [0]
    assert of(after, "monitor_lines_stored_total") == [120]
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} ALLOW_CONNECTIONS true"))
    assert set(plant.jobs(1, hours=4)) == set(turns())
    assert of(samples(browse("/metrics").text), "monitor_database_up") == [1]


def test_reasons_carry_no_more_labels_than_the_budget_allows(plant, browse, day_of_records):
    lines = day_of_records(0, "cam-1")
    for number, line in enumerate(lines[:30]):
        line["model"] = f"model-{number}"
    plant.drop("strangers", lines)
    plant.jobs(1)
    assert of(samples(browse("/metrics").text), "monitor_set_aside_total") == [30]


def test_every_job_tells_its_turn(read):
    assert of(samples(read("/metrics").text), "monitor_job_interval_seconds", job="intake") == [2]


def test_the_page_and_the_table_of_metrics_say_the_same(read):
    page = read("/metrics").text
    described = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        described[name] = (family.type, family.documentation)
        for one in family.samples:
            assert set(one.labels) == set(METRICS[name].labels), name
    # Of the disk only the embedded Postgres can tell, of a leader and of lanes only a daemon that has been at it.
    elsewhere = {name for name in METRICS if "_disk_" in name or name.startswith("monitor_leader")}
    table = {name: (one.type, one.help) for name, one in METRICS.items()}
    assert described.keys() | elsewhere == table.keys()
    assert described.items() <= table.items()


def test_scores_and_thresholds_are_dropped_in_pairs(plant):
    plant.jobs(0)
    with plant.context.database.begin() as conn:
        for number in range(9):
            conn.execute(ALERT_OF_CAMERA, {"camera": f"c{number}", "state": "firing" if number == 7 else "ok"})
    whole = Metrics()
    whole.refresh(plant.context.database, plant.context.shelf.contracts, turns(), plant.context.clock())
    small = Metrics(budget=len(samples(whole.exposition().decode())) - 7)
    small.refresh(plant.context.database, plant.context.shelf.contracts, turns(), plant.context.clock())
    found = samples(small.exposition().decode())
    scored, bounded = (
        {dict(said)["camera"] for one, said in found if one == f"monitor_drift_{what}"}
        for what in ("score", "threshold")
    )
    assert scored == bounded
    assert len(scored) == 9 - 4
    assert "c7" in scored, "what fires is the last to go"


ALERT_OF_CAMERA = text("""
    INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name,
        measure, severity, state, episode, breaches, clears, window_end, value, threshold, n, reason, revision)
    VALUES (:camera, 'presses', 'v1', '', :camera, '', '', 'brightness-drift', 'brightness', '', 'psi',
        'critical', :state, 1, 0, 0, '2026-03-02', 0.5, 0.3, 60, '', 1)
""")


def test_an_open_incident_is_an_active_alert(plant, browse):
    for day in range(4):
        plant.day(day)
    plant.freeze(4)
    watch = incidents.Watch("presses", "v1.0", "")
    here = ("north", "press 1", "cam-1")
    found = Incident(
        here, "optics", date(2026, 3, 8), date(2026, 3, 7), ("brightness",), frozenset({here}), date(2026, 3, 8)
    )
    with plant.context.database.begin() as conn:
        incidents.open_new(conn, watch, 1, found)
    plant.jobs(5)
    page = samples(browse("/metrics").text)
    assert of(page, "monitor_incidents_open", cause="optics") == [1]
    labels = {"alertname": "IncidentOptics", "camera": "cam-1", "pillar": "input", "severity": "warning"}
    assert of(page, "monitor_alert_active", **labels) == [1]


def test_one_part_that_fails_leaves_the_others_fresh(drifted, story_start, monkeypatch):
    metrics = Metrics()
    contracts = drifted.context.shelf.contracts
    metrics.refresh(drifted.context.database, contracts, turns(), story_start)
    monkeypatch.setattr(reporting, "intake", lambda conn: {}["gone"])
    later = story_start.replace(year=2027)
    with pytest.raises(MonitorError, match="gone"):
        metrics.refresh(drifted.context.database, contracts, turns(), later)
    found = samples(metrics.exposition().decode())
    assert of(found, "monitor_refreshed_timestamp_seconds") == [later.timestamp()]
    assert of(found, "monitor_lines_stored_total") == [1260], "the last values stay"
    assert of(found, "monitor_refresh_failed", part="intake") == [1]
    assert sum(of(found, "monitor_refresh_failed")) == 1
