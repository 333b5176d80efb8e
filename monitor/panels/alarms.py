"""Alerts that Prometheus raises, as data: those of the contracts, which the daemon decided and Prometheus only
passes on, and those about the monitor itself. Each says with which samples it fires and with which it is quiet."""

from __future__ import annotations

from dataclasses import dataclass, field

Samples = dict[str, str]
"""Series in PromQL's notation → its samples a minute from 0 on, in that of promtool."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alert of Prometheus.

    `runbook` names the page, `panel` the observable that shows it. `lasts` keeps it firing although its samples have
    stopped. `fires` and `quiet` are samples over `minutes`; `labels` those that the firing alert then bears.
    """

    name: str
    expr: str
    severity: str
    summary: str
    description: str
    runbook: str
    panel: str
    fires: Samples
    quiet: Samples
    waits: str = ""
    lasts: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    minutes: int = 30
    own: dict[str, str] = field(default_factory=dict)
    """Labels that the rule adds, beside the severity."""


JOB = 'job="monitor",instance="daemon"'
_ACTIVE = (
    'monitor_alert_active{alertname="BrightnessDrift",rule="brightness-drift",severity="warning",pillar="input",'
    f'model="line",camera="cam-3",class_name="",{JOB}}}'
)
_THERE = {"rule": "brightness-drift", "pillar": "input", "model": "line", "camera": "cam-3"}
_WHERE = {"job": "monitor", "instance": "daemon"}
FAMILIES = (
    "monitor_alerts_open",
    "monitor_contract_info",
    "monitor_database_up",
    "monitor_job_interval_seconds",
    "monitor_job_longest_run_seconds",
    "monitor_job_last_success_timestamp_seconds",
    "monitor_lines_stored_total",
    "monitor_refreshed_timestamp_seconds",
    "monitor_series",
)
"""Families that are on the page of every daemon that has read its database once."""


def _one(name: str, *labels: str) -> str:
    return f"{name}{{{','.join((*labels, JOB))}}}"


def _missing(family: str) -> Alarm:
    return Alarm(
        "MonitorMetricMissing",
        f"absent({family})",
        "warning",
        f"{family} is missing",
        "A family that is always on the page of the monitor is not there; rules over it cannot fire.",
        "monitor-metric-missing",
        "figures-age",
        fires={_one("up"): "1x40"},
        quiet={_one(family): "1x40"},
        waits="10m",
        own={"family": family},
    )


ALARMS: tuple[Alarm, ...] = (
    Alarm(
        "MonitorAlert",
        "monitor_alert_active == 1",
        "",
        "{{ $labels.rule }} on {{ $labels.camera }} of {{ $labels.model }}",
        "The daemon decided that this rule of the contract is broken. The overview says since when and what to do.",
        "monitor-alert",
        "alerts",
        fires={_ACTIVE: "1x40"},
        quiet={_ACTIVE: "0x40"},
        lasts="15m",
        labels={**_THERE, **_WHERE, "severity": "warning"},
    ),
    Alarm(
        "MonitorDown",
        'up{job="monitor"} == 0',
        "critical",
        "The monitor is not scraped",
        "Prometheus gets no page from the daemon. Nobody is told of what happens at the plant.",
        "monitor-down",
        "figures-age",
        fires={_one("up"): "0x40"},
        quiet={_one("up"): "1x40"},
        waits="2m",
        labels=_WHERE,
    ),
    Alarm(
        "MonitorUnknown",
        'absent(up{job="monitor"})',
        "critical",
        "Prometheus knows of no monitor",
        "There is no target with the job monitor. Nobody is told of what happens at the plant.",
        "monitor-down",
        "figures-age",
        fires={'up{job="other"}': "1x40"},
        quiet={_one("up"): "1x40"},
        waits="5m",
        labels={"job": "monitor"},
    ),
    Alarm(
        "MonitorDatabaseAway",
        "monitor_database_up == 0",
        "critical",
        "The database of the monitor does not answer",
        "The daemon runs and stores nothing until its database is back.",
        "monitor-database-away",
        "database-up",
        fires={_one("monitor_database_up"): "0x40"},
        quiet={_one("monitor_database_up"): "1 0 1x40"},
        waits="2m",
        lasts="5m",
        labels=_WHERE,
    ),
    Alarm(
        "MonitorFiguresOld",
        "time() - monitor_refreshed_timestamp_seconds > 300",
        "warning",
        "The figures of the monitor are old",
        "The daemon has not read its figures for more than five minutes, so alerts may be late.",
        "monitor-figures-old",
        "figures-age",
        fires={_one("monitor_refreshed_timestamp_seconds"): "0x40"},
        quiet={_one("monitor_refreshed_timestamp_seconds"): "0+60x40"},
        waits="5m",
        labels=_WHERE,
    ),
    Alarm(
        "MonitorJobLate",
        "time() - monitor_job_last_success_timestamp_seconds"
        " > 3 * monitor_job_interval_seconds + monitor_job_longest_run_seconds + 120",
        "warning",
        "The job {{ $labels.exported_job }} is late",
        "It has had no good run for more than three of its turns, nor within what a run may last; what it does is"
        " left undone.",
        "monitor-job-late",
        "job-age",
        fires={
            _one("monitor_job_last_success_timestamp_seconds", 'exported_job="drift"'): "0x40",
            _one("monitor_job_interval_seconds", 'exported_job="drift"'): "60x40",
            _one("monitor_job_longest_run_seconds", 'exported_job="drift"'): "0x40",
        },
        quiet={
            _one("monitor_job_last_success_timestamp_seconds", 'exported_job="drift"'): "0+60x40",
            _one("monitor_job_interval_seconds", 'exported_job="drift"'): "60x40",
            _one("monitor_job_longest_run_seconds", 'exported_job="drift"'): "0x40",
        },
        waits="5m",
        labels={"exported_job": "drift", **_WHERE},
    ),
    Alarm(
        "MonitorJobFailing",
        'increase(monitor_job_runs_total{state="failed"}[15m]) >= 3',
        "warning",
        "The job {{ $labels.exported_job }} fails again and again",
        "It has failed at least three times within 15 minutes; what it does is left undone.",
        "monitor-job-failing",
        "job-failures",
        fires={_one("monitor_job_runs_total", 'exported_job="alerts"', 'state="failed"'): "0+1x40"},
        quiet={_one("monitor_job_runs_total", 'exported_job="alerts"', 'state="failed"'): "0 1x40"},
        lasts="15m",
        labels={"exported_job": "alerts", "state": "failed", **_WHERE},
    ),
    Alarm(
        "MonitorIntakeSilent",
        "time() - monitor_last_batch_timestamp_seconds > 6 * 3600",
        "warning",
        "Nothing has come in for six hours",
        "No batch of records has been taken in. Either the plant stands still or the senders are silent.",
        "monitor-intake-silent",
        "last-batch",
        fires={_one("monitor_last_batch_timestamp_seconds"): "0x500"},
        quiet={_one("monitor_last_batch_timestamp_seconds"): "0+60x500"},
        labels=_WHERE,
        minutes=400,
    ),
    Alarm(
        "MonitorLinesRejected",
        "increase(monitor_lines_rejected_total[1h]) > 0.05 * increase(monitor_lines_stored_total[1h])"
        " and increase(monitor_lines_rejected_total[1h]) > 20",
        "warning",
        "More than one line in twenty is set aside",
        "Somebody sends what the contract does not allow. Those frames count nowhere until they are replayed.",
        "monitor-lines-rejected",
        "set-aside",
        fires={
            _one("monitor_lines_rejected_total"): "0+10x80",
            _one("monitor_lines_stored_total"): "0+100x80",
        },
        quiet={
            _one("monitor_lines_rejected_total"): "0+1x80",
            _one("monitor_lines_stored_total"): "0+100x80",
        },
        labels=_WHERE,
        minutes=70,
    ),
    Alarm(
        "MonitorDiskLow",
        "monitor_disk_free_bytes < 2 * monitor_disk_reserve_bytes",
        "warning",
        "The disk of the database is filling up",
        "Less than twice the reserve is free. Below the reserve nothing is taken in.",
        "monitor-disk-low",
        "disk",
        fires={_one("monitor_disk_free_bytes"): "15x40", _one("monitor_disk_reserve_bytes"): "10x40"},
        quiet={_one("monitor_disk_free_bytes"): "25x40", _one("monitor_disk_reserve_bytes"): "10x40"},
        waits="10m",
        labels=_WHERE,
    ),
    Alarm(
        "MonitorSeriesDropped",
        "monitor_series_dropped > 0",
        "warning",
        "The metrics page is longer than its budget",
        "Some scores and alerts are not on the page, so nobody passes them on.",
        "monitor-series-dropped",
        "series-budget",
        fires={_one("monitor_series_dropped"): "7x40"},
        quiet={_one("monitor_series_dropped"): "0x40"},
        waits="10m",
        labels=_WHERE,
    ),
    Alarm(
        "MonitorHttpErrors",
        'sum by (job, instance) (increase(monitor_http_answers_total{status=~"5.."}[15m])) >= 5',
        "warning",
        "The monitor answers with errors",
        "At least five answers of 5xx within 15 minutes; senders must try again.",
        "monitor-http-errors",
        "http-answers",
        fires={_one("monitor_http_answers_total", 'path="/v1/frames"', 'status="503"'): "0+1x40"},
        quiet={_one("monitor_http_answers_total", 'path="/v1/frames"', 'status="200"'): "0+100x40"},
        labels=_WHERE,
    ),
    Alarm(
        "MonitorRefreshFailed",
        "monitor_refresh_failed == 1",
        "warning",
        "The monitor cannot read its {{ $labels.part }}",
        "That part of the metrics page keeps its last values; what rests on them is of then.",
        "monitor-figures-old",
        "figures-age",
        fires={_one("monitor_refresh_failed", 'part="alerts"'): "1x40"},
        quiet={_one("monitor_refresh_failed", 'part="alerts"'): "0x40"},
        waits="10m",
        labels={"part": "alerts", **_WHERE},
    ),
    Alarm(
        "MonitorAuditFinding",
        "monitor_audit_findings > 0",
        "warning",
        "The monitor finds something wrong with itself: {{ $labels.check }}",
        "Its auditor looks at jobs, the outbox, roll-ups and silent sources; `monitor doctor` says what it found.",
        "monitor-audit-finding",
        "job-age",
        fires={_one("monitor_audit_findings", 'check="outbox"'): "2x40"},
        quiet={_one("monitor_audit_findings", 'check="outbox"'): "0x40"},
        waits="10m",
        labels={"check": "outbox", **_WHERE},
    ),
    Alarm(
        "MonitorNoLeader",
        "max by (job) (monitor_leader) == 0",
        "critical",
        "No daemon leads",
        "The lease has run out and nobody took it: records come in, and nothing is measured or told.",
        "monitor-no-leader",
        "job-age",
        fires={_one("monitor_leader", 'worker="a"'): "0x40"},
        quiet={_one("monitor_leader", 'worker="a"'): "0 1x40"},
        waits="2m",
        labels={"job": "monitor"},
    ),
    *(_missing(family) for family in FAMILIES),
    Alarm(
        "Watchdog",
        "vector(1)",
        "none",
        "The way from Prometheus to people works",
        "Fires always. Whoever receives it raises an alarm when it stops.",
        "watchdog",
        "database-up",
        fires={},
        quiet={},
    ),
)
