"""Prometheus' rules and Alertmanager's configuration, judged by their own tools; every link leads somewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from monitor.alerts.incidents import CAUSES
from monitor.alerts.links import BOARDS, Links
from monitor.panels.alarms import ALARMS, FAMILIES
from monitor.panels.metrics import used
from monitor.panels.registry import OBSERVABLES
from monitor.panels.rules import NEVER_QUIET, notes
from monitor.panels.runbooks import GUIDES
from monitor.records import Scope, Window
from monitor.spec.rules import READY
from monitor.watch import ALL_LANES
from monitor.web.exposed import METRICS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"
RULES = FOLDER / "prometheus" / "rules" / "monitor.yaml"
TESTS = FOLDER / "prometheus" / "tests" / "monitor.yaml"
ROUTES = FOLDER / "alertmanager" / "alertmanager.yml"
Missing = Callable[[str, str], NoReturn]


@pytest.fixture(scope="module")
def promtool(missing: Missing) -> str:
    return shutil.which("promtool") or missing("prometheus", "promtool is not installed")


@pytest.fixture(scope="module")
def amtool(missing: Missing) -> str:
    return shutil.which("amtool") or missing("alertmanager", "amtool is not installed")


def told(*command: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_promtool_finds_no_fault_in_the_rules(promtool: str) -> None:
    done = told(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stderr
    assert f"{len(ALARMS)} rules found" in done.stdout


def test_every_alert_fires_and_stays_quiet_as_it_says(promtool: str) -> None:
    done = told(promtool, "test", "rules", str(TESTS))
    assert done.returncode == 0, done.stdout + done.stderr
    text = TESTS.read_text()
    for one in ALARMS:
        assert f'"{one.name} fires"' in text
        assert f'"{one.name} stays quiet"' in text or one.name in NEVER_QUIET
        assert not one.lasts or f'"{one.name} goes on when its samples stop"' in text


@pytest.mark.parametrize("broken", ["monitor_alert_active == 0", "monitor_alert_active > 1"])
def test_a_rule_that_is_broken_fails_its_tests(promtool: str, tmp_path: Path, broken: str) -> None:
    for path in (RULES, TESTS):
        copy = tmp_path / path.relative_to(FOLDER)
        copy.parent.mkdir(parents=True)
        copy.write_text(path.read_text().replace("monitor_alert_active == 1", broken))
    done = told(promtool, "test", "rules", str(tmp_path / TESTS.relative_to(FOLDER)))
    assert done.returncode != 0


def test_without_keep_firing_for_an_alert_ends_with_its_samples(promtool: str, tmp_path: Path) -> None:
    for path in (RULES, TESTS):
        copy = tmp_path / path.relative_to(FOLDER)
        copy.parent.mkdir(parents=True)
        copy.write_text(re.sub(r"\n +keep_firing_for: \w+", "", path.read_text()))
    done = told(promtool, "test", "rules", str(tmp_path / TESTS.relative_to(FOLDER)))
    assert done.returncode != 0
    assert "MonitorAlert" in done.stdout + done.stderr


def test_amtool_finds_no_fault_and_every_severity_has_its_route(amtool: str) -> None:
    done = told(amtool, "check-config", str(ROUTES))
    assert done.returncode == 0, done.stderr
    for said, receiver in (
        ("severity=critical", "critical"),
        ("severity=warning", "warning"),
        ("severity=info", "info"),
        ("alertname=Watchdog", "watchdog"),
    ):
        routed = told(amtool, "config", "routes", "test", f"--config.file={ROUTES}", said)
        assert routed.stdout.split() == [receiver]


def panels() -> set[str]:
    """The links of all panels that are there."""
    boards = [json.loads(path.read_text()) for path in (FOLDER / "grafana").glob("*.json")]
    return {f"/d/{board['uid']}?viewPanel={panel['id']}" for board in boards for panel in board["panels"]}


def test_every_link_of_an_alert_leads_somewhere() -> None:
    there = panels()
    for one in ALARMS:
        said = notes(one)
        assert (ROOT / said["runbook_url"]).is_file()
        assert said["dashboard_url"] in there
        assert len(said["summary"]) > 10
        assert len(said["description"]) > 20


def test_every_rule_lane_and_incident_has_its_runbook_and_every_link_in_it_leads_somewhere() -> None:
    there = panels()
    names = {rule.runbook for rule in READY.values()}
    names |= {f"dashboards/runbooks/incident-{cause}.md" for cause in CAUSES.values()}
    names |= {f"dashboards/runbooks/lane-{name.replace('_', '-')}.md" for name in ALL_LANES}
    names |= {f"dashboards/runbooks/{name}.md" for name in GUIDES}
    for name in names:
        text = (ROOT / name).read_text()
        for part in ("## Meaning", "## Impact", "## Diagnosis", "## Mitigation"):
            assert part in text
        links = re.findall(r"\]\((/d/[^)]+)\)", text)
        assert links
        assert set(links) <= there
    for looks in ("Shadows on metal", "Water and condensation", "Camera angle", "Changed background", "in-between"):
        assert looks in (FOLDER / "runbooks" / "incident-optics.md").read_text()


def test_alerts_of_the_daemon_link_to_panels_that_are_there() -> None:
    there = panels()
    links = Links(grafana="http://grafana.example")
    scope = Scope("line", "v1", camera="cam-1")
    start = datetime(2026, 3, 2, tzinfo=UTC)
    window = Window(start, start + timedelta(days=1))
    asked = [(rule.pillar, rule.signal, rule.measure) for rule in READY.values()]
    asked += [(pillar, "brightness", "psi") for pillar in BOARDS if pillar == "input"]
    for one in (*(links.panel(scope, window, *said) for said in asked), links.incident(scope, window)):
        board, number = re.search(r"/d/([\w-]+)/\?.*viewPanel=(\d+)", one).groups()  # type: ignore[union-attr]
        assert f"/d/{board}?viewPanel={number}" in there


def test_every_observable_that_a_guide_names_is_there() -> None:
    assert {name for guide in GUIDES.values() for name in guide.panels} <= set(OBSERVABLES)


def test_every_family_that_is_used_is_exposed_and_every_exposed_one_is_documented() -> None:
    assert set(used()) <= set(METRICS)
    text = (FOLDER / "metrics.md").read_text()
    for one in METRICS.values():
        assert f"| `{one.name}` | {one.type} |" in text
    assert set(FAMILIES) <= set(METRICS)
