"""Every family that /metrics shows, as data: what it is called, what it counts, which labels it carries.

The page is written from this table and its documentation is generated from it, so neither can know a family that the
other does not. Labels hold names that the contract declares or intake has bounded, never free text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Exposed:
    """One family; a counter's name ends in `_total`, as its samples' names do."""

    name: str
    type: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


WHOSE = ("rule", "severity", "pillar", "model", "camera", "class_name", "stage")
"""Labels of whatever is said of an alert. `camera` is empty for all cameras, and an incident's place where that holds
several; `stage` is empty for a model without stages, and for a pipeline as a whole."""

METRICS: dict[str, Exposed] = {
    one.name: one
    for one in (
        Exposed("monitor_build_info", "gauge", "1, labelled with the version that runs.", ("version",)),
        Exposed("monitor_database_up", "gauge", "1 if the database answered last time."),
        Exposed("monitor_refreshed_timestamp_seconds", "gauge", "When these figures were last read."),
        Exposed(
            "monitor_alert_active",
            "gauge",
            "1 for each firing alert and open incident.",
            ("alertname", *WHOSE),
        ),
        Exposed("monitor_refresh_failed", "gauge", "1 for a part that keeps its last values.", ("part",)),
        Exposed("monitor_job_runs_total", "counter", "Runs of a job since the start, by end.", ("job", "state")),
        Exposed(
            "monitor_http_answers_total",
            "counter",
            "Answers over HTTP, by status.",
            ("path", "status"),
        ),
        Exposed(
            "monitor_alerts_open",
            "gauge",
            "Alerts that are firing: of the contracts' rules, and of golden runs.",
            ("severity",),
        ),
        Exposed(
            "monitor_incidents_open", "gauge", "Open incidents of the calibrated lanes, by cause.", ("model", "cause")
        ),
        Exposed("monitor_job_interval_seconds", "gauge", "Turn of a job.", ("job",)),
        Exposed(
            "monitor_job_longest_run_seconds", "gauge", "A run of a job that lasts no longer is not late.", ("job",)
        ),
        Exposed("monitor_job_last_success_timestamp_seconds", "gauge", "End of a job's last good run.", ("job",)),
        Exposed("monitor_leader", "gauge", "1 for who leads; 0: the lease ran out.", ("worker",)),
        Exposed("monitor_leader_epoch", "gauge", "Grows by one with each change of the leader."),
        Exposed("monitor_audit_findings", "gauge", "What the auditor finds wrong, by check.", ("check",)),
        Exposed("monitor_lane_streams", "gauge", "Streams of the calibrated lanes.", ("model", "version", "state")),
        Exposed("monitor_contract_info", "gauge", "1 for each contract in force.", ("model", "contract_hash")),
        Exposed("monitor_lines_stored_total", "counter", "Log lines stored."),
        Exposed("monitor_lines_duplicate_total", "counter", "Log lines that were there already."),
        Exposed("monitor_lines_rejected_total", "counter", "Log lines set aside, those taken in later included."),
        Exposed(
            "monitor_set_aside_total",
            "counter",
            "Lines and single detections set aside, by reason.",
            ("reason", "part"),
        ),
        Exposed(
            "monitor_other_name_frames_total",
            "counter",
            "Frames that count under __other__ because too many new names came in a day.",
            ("model", "name_of"),
        ),
        Exposed("monitor_last_batch_timestamp_seconds", "gauge", "When the newest batch was taken in."),
        Exposed("monitor_disk_free_bytes", "gauge", "Room on the disk of the embedded Postgres."),
        Exposed("monitor_disk_reserve_bytes", "gauge", "Below this much room nothing is taken in."),
        Exposed("monitor_disk_ballast_bytes", "gauge", "Held by the ballast; 0 once it was given up."),
        Exposed("monitor_drift_score", "gauge", "What an alert rule looked at in its last window.", WHOSE),
        Exposed("monitor_drift_threshold", "gauge", "What that had to exceed, chance allowed for.", WHOSE),
        Exposed("monitor_series", "gauge", "Series on this page, these two apart."),
        Exposed("monitor_series_dropped", "gauge", "Series left out of this page for want of budget."),
    )
}
"""By name, in the order of the page: where the budget is short, the last are left out first."""
