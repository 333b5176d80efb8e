"""What Prometheus scrapes. `refresh` reads the database now and then; a scrape prints what was read and asks nobody.

The registry is our own and bounded: at most `budget` series, what goes beyond is dropped and counted.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from monitor.errors import MonitorError
from monitor.spec.load import LoadedContract
from monitor.store import names, reporting
from monitor.store.database import Connection, Database
from monitor.store.jobs import health

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUDGET = 2000
_ALL_STATES = ("firing", "flapping", "pending", "resolved", "ok", "undecided", "no-data")
ACTIVE_LABELS = ("alertname", "rule", "severity", "model", "camera", "class_name")
SCORE_LABELS = ("rule", "model", "camera", "class_name")
_log = logging.getLogger(__name__)


class Metrics:
    """The daemon's figures in memory. Safe to use from several threads."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._read: dict[str, list[Metric]] = {}
        self._database_up = False
        self._job_runs: dict[tuple[str, str], int] = {}
        self._answers: dict[tuple[str, str], int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self._registry)

    def database_up(self, is_up: bool) -> None:
        """Note whether the database answered last time."""
        with self._lock:
            self._database_up = is_up

    def job_ended(self, job: str, state: str) -> None:
        """Count a run of a job by how it ended: `done` or `failed`."""
        with self._lock:
            self._job_runs[job, state] = self._job_runs.get((job, state), 0) + 1

    def answered(self, path: str, status: int) -> None:
        """Count an answer over HTTP. `path`: one of those that are served, or `other`."""
        with self._lock:
            self._answers[path, str(status)] = self._answers.get((path, str(status)), 0) + 1

    def refresh(
        self,
        database: Database,
        contracts: Mapping[str, LoadedContract],
        jobs: Mapping[str, timedelta],
        now: datetime,
    ) -> int:
        """Read everything anew; returns the number of parts read. What cannot be read keeps its last values.

        Raises:
            MonitorError: the last error, after every part was tried.
        """
        parts: dict[str, Callable[[Connection], Iterable[Metric]]] = {
            "alerts": lambda conn: _alerts(conn, contracts),
            "jobs": lambda conn: _jobs(conn, jobs),
            "contracts": lambda conn: _contracts(contracts, now),
            "intake": _intake,
            "disk": lambda conn: _disk(database),
        }
        failed: MonitorError | None = None
        for name, part in parts.items():
            try:
                with database.begin() as conn:
                    reporting.bound(conn)
                    found = list(part(conn))
                with self._lock:
                    self._read[name] = found
            except MonitorError as error:
                failed = error
                _log.warning("the metrics about %s keep their last values: %s", name, error)
        if failed is not None:
            raise failed
        return len(parts)

    def describe(self) -> list[Metric]:
        """Nothing: a registry asks so as to find clashes, and must not read anything for that."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Families in order of weight; the series beyond the budget are dropped and counted."""
        with self._lock:
            families = [*self._own(), *(family for part in self._read.values() for family in part)]
        left, dropped = self._budget - 2, 0
        for family in families:
            shown = copy(family)  # the next scrape starts from the whole one
            shown.samples = family.samples[: max(0, left)]
            dropped += len(family.samples) - len(shown.samples)
            left -= len(shown.samples)
            yield shown
        yield _number("monitor_series", "Series on this page, these two apart.", self._budget - 2 - left)
        yield _number("monitor_series_dropped", "Series left out of this page for want of budget.", dropped)

    def _own(self) -> Iterator[Metric]:
        yield _number("monitor_database_up", "1 if the database answered last time.", int(self._database_up))
        runs = CounterMetricFamily(
            "monitor_job_runs", "Runs of a job since the start, by end.", labels=["job", "state"]
        )
        for labels, count in sorted(self._job_runs.items()):
            runs.add_metric(labels, count)
        yield runs
        answers = CounterMetricFamily(
            "monitor_http_answers", "Answers over HTTP since the start, by status.", labels=["path", "status"]
        )
        for labels, count in sorted(self._answers.items()):
            answers.add_metric(labels, count)
        yield answers


def _gauge(
    name: str, help_text: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _number(name: str, help_text: str, number: float) -> GaugeMetricFamily:
    return _gauge(name, help_text, [((), number)])


def _intake(conn: Connection) -> Iterator[Metric]:
    counted = reporting.intake(conn)
    # A counter must never fall, so a line that was rejected and taken in later stays counted among the rejected.
    lines = {"stored": counted.stored, "duplicate": counted.duplicate, "rejected": counted.rejected_ever}
    for what, count in lines.items():
        yield CounterMetricFamily(f"monitor_lines_{what}", f"Log lines {what}.", value=count)
    set_aside = CounterMetricFamily(
        "monitor_set_aside", "Lines and single detections set aside, by reason.", labels=["reason", "part"]
    )
    for one in counted.reasons:
        set_aside.add_metric([one.reason, "line" if one.whole_line else "detection"], one.ever)
    yield set_aside
    others: Counter[tuple[str, str]] = Counter()
    for other in names.beyond(conn):
        others[other.model, other.condition or "camera"] += other.frames
    beyond = CounterMetricFamily(
        "monitor_other_name_frames",
        "Frames that count under __other__ because too many new names came in a day.",
        labels=["model", "name_of"],
    )
    for labels, count in sorted(others.items()):
        beyond.add_metric(labels, count)
    yield beyond
    if counted.last_received_at is not None:
        newest = counted.last_received_at.timestamp()
        yield _number("monitor_last_batch_timestamp_seconds", "When the newest batch was taken in.", newest)


def _jobs(conn: Connection, jobs: Mapping[str, timedelta]) -> Iterator[Metric]:
    every = {(job,): turn.total_seconds() for job, turn in jobs.items()}
    yield _gauge("monitor_job_interval_seconds", "Turn of a job.", every.items(), ("job",))
    done = {(one.job,): one.done_at.timestamp() for one in health(conn, list(jobs)) if one.done_at is not None}
    yield _gauge(
        "monitor_job_last_success_timestamp_seconds", "End of the last good run of a job.", done.items(), ("job",)
    )


def _contracts(contracts: Mapping[str, LoadedContract], now: datetime) -> Iterator[Metric]:
    known = {(model, loaded.hash): 1.0 for model, loaded in contracts.items()}
    yield _gauge("monitor_contract_info", "1 for each contract in force.", known.items(), ("model", "contract_hash"))
    yield _number("monitor_refreshed_timestamp_seconds", "When these figures were read.", now.timestamp())


def _alerts(conn: Connection, contracts: Mapping[str, LoadedContract]) -> Iterator[Metric]:
    in_force = [(model, rule.name) for model, loaded in contracts.items() for rule in loaded.contract.rules]
    rows = reporting.alerts(conn, _ALL_STATES, in_force, limit=BUDGET)
    severities = dict.fromkeys(("critical", "warning", "info"), 0)
    active: dict[tuple[str, ...], float] = {}
    scores: dict[tuple[str, ...], reporting.AlertRow] = {}
    # Version, stage and slice are no labels: of alerts that differ in nothing else the newest and then the worst
    # stands for all, since a label set may occur once.
    for row in sorted(rows, key=lambda one: (one.window_end, (one.value or 0.0) - one.threshold)):
        if row.state in ("firing", "flapping"):
            severities[row.severity] = severities.get(row.severity, 0) + 1
            labels = (
                _alert_name(row.rule),
                row.rule,
                row.severity,
                row.scope.model,
                row.scope.camera,
                row.class_name,
            )
            active[labels] = 1.0
        if row.value is not None:
            scores[row.rule, row.scope.model, row.scope.camera, row.class_name] = row
    by_severity = {(severity,): float(count) for severity, count in severities.items()}
    yield _gauge("monitor_alerts_open", "Alerts that are firing.", by_severity.items(), ("severity",))
    yield _gauge("monitor_alert_active", "1 for each alert that is firing.", active.items(), ACTIVE_LABELS)
    value = [(key, row.value) for key, row in scores.items() if row.value is not None]
    yield _gauge("monitor_drift_score", "What an alert rule looked at in its last window.", value, SCORE_LABELS)
    threshold = [(key, row.threshold) for key, row in scores.items()]
    yield _gauge("monitor_drift_threshold", "What that had to exceed, chance allowed for.", threshold, SCORE_LABELS)


def _disk(database: Database) -> Iterator[Metric]:
    if database.postgres is None:
        return
    room = database.postgres.room
    yield _number("monitor_disk_free_bytes", "Room on the disk of the embedded Postgres.", room.free)
    yield _number("monitor_disk_reserve_bytes", "Below this much room nothing is taken in.", room.reserve)
    yield _number("monitor_disk_ballast_bytes", "Held by the ballast; 0 once it was given up.", room.held)


def _alert_name(rule: str) -> str:
    """`brightness-drift` → `BrightnessDrift`, as Prometheus' alerts are commonly named."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", rule))
