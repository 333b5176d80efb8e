"""Alarms → Prometheus' rule file, promtool's unit tests of it, and Alertmanager's configuration, as YAML.

Strings are written as JSON writes them, which YAML reads alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from monitor.panels.alarms import ALARMS, Alarm
from monitor.panels.runbooks import FOLDER, link

_HEAD = "# Made by `monitor dashboards build`; change the registry, not this file.\n"
NEVER_QUIET = {"Watchdog"}


def rule_file(grafana_url: str = "") -> str:
    """The alerting rules; `grafana_url` is what links to panels begin with."""
    groups = {
        "monitor-contract": [one for one in ALARMS if one.name == "MonitorAlert"],
        "monitor-self": [one for one in ALARMS if one.name != "MonitorAlert"],
    }
    lines = [_HEAD + "groups:"]
    for name, alarms in groups.items():
        lines += [f"  - name: {name}", "    rules:"]
        for one in alarms:
            lines += _rule(one, grafana_url)
    return "\n".join(lines) + "\n"


def _rule(one: Alarm, grafana_url: str) -> Iterator[str]:
    yield f"      - alert: {one.name}"
    yield f"        expr: {json.dumps(one.expr)}"
    if one.waits:
        yield f"        for: {one.waits}"
    if one.lasts:
        yield f"        keep_firing_for: {one.lasts}"
    labels = ({"severity": one.severity} if one.severity else {}) | one.own
    if labels:
        yield "        labels:"
        yield from _mapping(labels, 10)
    yield "        annotations:"
    yield from _mapping(notes(one, grafana_url), 10)


def notes(one: Alarm, grafana_url: str = "") -> dict[str, str]:
    """What an alert says beside its labels."""
    return {
        "summary": one.summary,
        "description": one.description,
        "runbook_url": f"{FOLDER}/{one.runbook}.md",
        "dashboard_url": f"{grafana_url}{link(one.panel)}",
    }


def _mapping(said: Mapping[str, str], indent: int) -> Iterator[str]:
    for key, value in said.items():
        yield f"{' ' * indent}{key}: {json.dumps(value, ensure_ascii=False)}"


def unit_tests() -> str:
    """promtool's tests: of each alert one that fires and one that stays quiet, and of samples that stop."""
    lines = [_HEAD + "rule_files:", "  - ../rules/monitor.yaml", "evaluation_interval: 1m", "tests:"]
    for one in ALARMS:
        lines += _test(one, f"{one.name} fires", one.fires, f"{one.minutes}m", fires=True)
        if one.name not in NEVER_QUIET:
            lines += _test(one, f"{one.name} stays quiet", one.quiet, f"{one.minutes}m", fires=False)
    for one in (one for one in ALARMS if one.lasts and one.labels):
        stopped = {series: re.sub(r"x\d+$", "x20", samples) for series, samples in one.fires.items()}
        # Twenty minutes of samples, five of looking back for the last one, and then what the rule itself adds.
        lasts = int(one.lasts.removesuffix("m"))
        lines += _test(one, f"{one.name} goes on when its samples stop", stopped, f"{20 + lasts}m", fires=True)
        lines += _test(one, f"{one.name} ends after that", stopped, f"{20 + 5 + lasts + 16}m", fires=False)
    return "\n".join(lines) + "\n"


def _test(one: Alarm, name: str, samples: Mapping[str, str], at: str, *, fires: bool) -> Iterator[str]:
    yield f"  - name: {json.dumps(name)}"
    yield "    interval: 1m"
    if samples:
        yield "    input_series:"
        for series, values in samples.items():
            yield f"      - series: {json.dumps(series)}"
            yield f"        values: {json.dumps(values)}"
    yield "    alert_rule_test:"
    yield f"      - eval_time: {at}"
    yield f"        alertname: {one.name}"
    # Where an alert is raised for each of several families, the samples of one leave the others missing.
    expected = [alarm for alarm in ALARMS if alarm.name == one.name and (fires if alarm is one else bool(one.own))]
    if not expected:
        yield "        exp_alerts: []"
        return
    yield "        exp_alerts:"
    for alarm in expected:
        labels = ({"severity": alarm.severity} if alarm.severity else {}) | alarm.own | alarm.labels
        yield "          - exp_labels:"
        yield from _mapping(labels, 14)
        yield "            exp_annotations:"
        yield from _mapping({key: _filled(said, labels) for key, said in notes(alarm).items()}, 14)


def _filled(said: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), said)


ALERTMANAGER = (
    _HEAD
    + """\
# Four receivers, by severity. They hold no address: nobody is told until one is added, its secret in a file, such as
#   webhook_configs: [{ url: ..., http_config: { authorization: { credentials_file: ... } } }]
# Exactly one path pages: where Prometheus passes alerts on, the daemon's own push to Alertmanager stays off.
route:
  receiver: warning
  group_by: [alertname, rule, model]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    - matchers: [alertname="Watchdog"]
      receiver: watchdog
      group_wait: 0s
      group_interval: 1m
      repeat_interval: 1m
    - matchers: [severity="critical"]
      receiver: critical
      group_wait: 10s
      repeat_interval: 1h
    - matchers: [severity="info"]
      receiver: info
      repeat_interval: 24h
receivers:
  - name: critical
  - name: warning
  - name: info
  - name: watchdog
inhibit_rules:
  # Who is down says nothing that is true of the rest.
  - source_matchers: [alertname=~"MonitorDown|MonitorUnknown|MonitorDatabaseAway"]
    target_matchers: [alertname=~"Monitor(FiguresOld|JobLate|JobFailing|IntakeSilent|MetricMissing|HttpErrors)"]
  - source_matchers: [severity="critical"]
    target_matchers: [severity=~"warning|info"]
    equal: [alertname, rule, model, camera, class_name, stage]
"""
)
