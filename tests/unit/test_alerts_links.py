"""Where an alert leads: panels that exist on the dashboard of its pillar, and what moved most, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from monitor.alerts.beside import deployed_before
from monitor.alerts.links import BOARDS, Links
from monitor.alerts.shift import of_classes, of_groups
from monitor.feedback import Deployment
from monitor.measures import MEASURES
from monitor.panels.grafana import panel_id
from monitor.panels.registry import BY_UID, OBSERVABLES
from monitor.records import Scope, Window
from monitor.spec.rules import COUNTED, READY, WATCHED, pillar_of

START = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
SCOPE = Scope("m 1", "v1", camera="o'brien & co")
GRAFANA = Links("http://page", "https://grafana.example/")


@pytest.mark.parametrize("signal", [*WATCHED, *COUNTED])
def test_every_measure_has_a_panel_on_the_board_of_its_pillar(signal: str) -> None:
    pillar = pillar_of(signal)
    for measure in MEASURES.values():
        if not measure.fits(signal):
            continue
        link = urlsplit(GRAFANA.panel(SCOPE, WINDOW, pillar, signal, measure.name))
        board = BY_UID[link.path.strip("/").removeprefix("d/")]
        assert board.uid == ("monitor-drift" if measure.needs_baseline else BOARDS[pillar])
        numbers = [panel_id(one.name) for one in board.observables]
        assert int(parse_qs(link.query)["viewPanel"][0]) in numbers, (signal, measure.name)


def test_a_link_names_the_board_the_scope_and_the_time() -> None:
    rule = READY["error-rate"]
    link = urlsplit(GRAFANA.panel(SCOPE, WINDOW, rule.pillar, rule.signal, rule.measure))
    assert (link.netloc, link.path) == ("grafana.example", "/d/monitor-health/")
    asked = {name: value for name, (value,) in parse_qs(link.query).items()}
    assert (asked["var-model"], asked["var-camera"]) == (SCOPE.model, SCOPE.camera)
    assert int(asked["from"]) < 1000 * START.timestamp() < 1000 * WINDOW.end.timestamp() < int(asked["to"])
    assert OBSERVABLES["error-rate"].name == "error-rate"


def test_a_link_keeps_the_stage_of_a_pipeline_and_names_none_where_there_is_none() -> None:
    rule = READY["error-rate"]
    for stage in ("", "verification"):
        scope = replace(SCOPE, stage=stage)
        for links, name in ((GRAFANA, "var-stage"), (Links("http://page/"), "stage")):
            for link in (
                links.panel(scope, WINDOW, rule.pillar, rule.signal, rule.measure),
                links.incident(scope, WINDOW),
            ):
                assert parse_qs(urlsplit(link).query).get(name, [""]) == [stage]


def test_without_grafana_links_lead_to_the_page_at_the_end_of_the_window() -> None:
    link = urlsplit(Links("http://page/").panel(SCOPE, WINDOW, "inference", "status", "error_rate"))
    assert (link.netloc, link.path) == ("page", "/")
    assert parse_qs(link.query) == {
        "model": ["m 1"],
        "version": ["v1"],
        "camera": ["o'brien & co"],
        "at": ["2026-03-03T00:00"],
    }


def test_the_groups_that_moved_most_are_named_by_their_values() -> None:
    """Grey levels in bins of one: half of the mass moved from 100 to 120 down to under 100."""
    now, then = np.zeros(258, dtype=np.int64), np.zeros(258, dtype=np.int64)
    then[[51, 111, 201]] = 20, 60, 20
    now[[51, 111, 201]] = 50, 30, 20
    moved = of_groups("brightness", now, then, np.array([100, 120, 257]))
    assert [(one.part, one.then, one.now) for one in moved] == [
        ("100.0 to 120.0", 0.6, 0.3),
        ("under 100.0", 0.2, 0.5),
    ]


def test_the_classes_that_moved_most_count_new_ones_from_nought() -> None:
    moved = of_classes({"a": 50, "new": 50}, {"a": 90, "b": 10})
    assert [str(one) for one in moved] == [
        "new: 50.0 % instead of 0.0 %",
        "a: 50.0 % instead of 90.0 %",
        "b: 0.0 % instead of 10.0 %",
    ]
    assert of_classes({}, {"a": 1}) == []


def test_a_deployment_stands_right_before_what_began_within_two_windows_of_it() -> None:
    live = Deployment("m", "v2", START, "new")
    near = timedelta(days=2)
    hours = {-30: False, -20: True, 0: True, 40: True, 50: False}
    assert {h: deployed_before(live, START + timedelta(hours=h), near) for h in hours} == hours
    assert not deployed_before(None, START, near)
    assert not deployed_before(live, None, near)
