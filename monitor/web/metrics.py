"""What Prometheus scrapes. `refresh` reads the database now and then; a scrape prints what was read and asks nobody.

The registry is our own and bounded: at most `budget` series, what goes beyond is dropped and counted.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from monitor.alerts.incidents import CAUSES
from monitor.errors import DependencyAway, MonitorError
from monitor.scoring import OWN_RULES
from monitor.spec.load import LoadedContract
from monitor.spec.rules import pillar_of
from monitor.store import alerts, baselines, findings, incidents, lease, names, reporting, watched
from monitor.store.database import Connection, Database
from monitor.store.jobs import health
from monitor.upkeep import CHECKS
from monitor.watch import label
from monitor.web.exposed import METRICS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUDGET = 2000
_FIRING = ("firing", "flapping")
_ALL_STATES = (*_FIRING, "pending", "resolved", "ok", "undecided", "no-data")
_SCORES = "monitor_drift_score", "monitor_drift_threshold"
_PLACES = list(METRICS)
_log = logging.getLogger(__name__)

Samples = Iterable[tuple[tuple[str, ...], float]]


class Metrics:
    """The daemon's figures in memory. Safe to use from several threads."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._read: dict[str, list[Metric]] = {}
        self._failed: dict[str, float] = {}
        self._database_up = False
        self._job_runs: dict[tuple[str, ...], float] = {}
        self._answers: dict[tuple[str, ...], float] = {}
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
        longest: Mapping[str, timedelta] | None = None,
    ) -> int:
        """Read everything anew; `jobs` says how often each has its turn, `longest` how long a run of it may last.

        Returns the number of parts read. What cannot be read keeps its last values.

        Raises:
            MonitorError: a part could not be read; raised when every other one was tried.
        """
        parts: dict[str, Callable[[Connection], Iterable[Metric]]] = {
            "alerts": lambda conn: _alerts(conn, contracts),
            "jobs": lambda conn: _jobs(conn, jobs, longest or {}),
            "contracts": lambda conn: _contracts(contracts, now),
            "intake": _intake,
            "audit": _audit,
            "watch": lambda conn: _watch(conn, contracts),
            "disk": lambda conn: _disk(database),
        }
        failures: list[Exception] = []
        for name, part in parts.items():
            try:
                with database.begin() as conn:
                    reporting.bound(conn)
                    found = list(part(conn))
                with self._lock:
                    self._read[name] = found
                    self._failed[name] = 0.0
            except Exception as error:  # noqa: BLE001 - raised below, when the other parts were read
                failures.append(error)
                with self._lock:
                    self._failed[name] = 1.0
                _log.warning("the metrics about %s keep their last values: %s", name, error)
        for failure in failures:
            if isinstance(failure, DependencyAway):
                raise failure
        if failures:
            raise MonitorError("; ".join(map(str, failures))) from failures[-1]
        return len(parts)

    def describe(self) -> list[Metric]:
        """Nothing: a registry asks so as to find clashes, and must not read anything for that."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Families in the order of METRICS; the series beyond the budget are dropped, the last first, and counted."""
        with self._lock:
            families = [*self._own(), *(family for part in self._read.values() for family in part)]
        families.sort(key=lambda family: _PLACES.index(_full_name(family)))
        left, dropped = self._budget - 2, 0
        # A score says nothing without its threshold, so both end with the same alert.
        scored = (left - sum(len(family.samples) for family in families if family.name not in _SCORES)) // 2
        for family in families:
            most = max(0, min(left, scored) if family.name in _SCORES else left)
            shown = Metric(family.name, family.documentation, family.type)
            shown.samples = family.samples[:most]
            dropped += len(family.samples) - len(shown.samples)
            left -= len(shown.samples)
            yield shown
        yield _number("monitor_series", self._budget - 2 - left)
        yield _number("monitor_series_dropped", dropped)

    def _own(self) -> Iterator[Metric]:
        yield _family("monitor_build_info", [((version("monitor-vision"),), 1.0)])
        yield _number("monitor_database_up", int(self._database_up))
        yield _family("monitor_refresh_failed", [((part,), failed) for part, failed in self._failed.items()])
        yield _family("monitor_job_runs_total", sorted(self._job_runs.items()))
        yield _family("monitor_http_answers_total", sorted(self._answers.items()))


def _family(name: str, samples: Samples) -> Metric:
    """A family as METRICS describes it."""
    one = METRICS[name]
    kind = CounterMetricFamily if one.type == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(name, one.help, labels=one.labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _number(name: str, number: float) -> Metric:
    return _family(name, [((), number)])


def _full_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _intake(conn: Connection) -> Iterator[Metric]:
    counted = reporting.intake(conn)
    # A counter must never fall, so a line that was rejected and taken in later stays counted among the rejected.
    yield _number("monitor_lines_stored_total", counted.stored)
    yield _number("monitor_lines_duplicate_total", counted.duplicate)
    yield _number("monitor_lines_rejected_total", counted.rejected_ever)
    reasons = [((one.reason, "line" if one.whole_line else "detection"), float(one.ever)) for one in counted.reasons]
    yield _family("monitor_set_aside_total", reasons)
    others: Counter[tuple[str, ...]] = Counter()
    for other in names.beyond(conn):
        others[other.model, other.condition or "camera"] += other.frames
    yield _family("monitor_other_name_frames_total", sorted(others.items()))
    if counted.last_received_at is not None:
        yield _number("monitor_last_batch_timestamp_seconds", counted.last_received_at.timestamp())


def _jobs(conn: Connection, jobs: Mapping[str, timedelta], longest: Mapping[str, timedelta]) -> Iterator[Metric]:
    every = [((job,), turn.total_seconds()) for job, turn in jobs.items()]
    yield _family("monitor_job_interval_seconds", every)
    lasting = [((job,), longest.get(job, timedelta(0)).total_seconds()) for job in jobs]
    yield _family("monitor_job_longest_run_seconds", lasting)
    done = [((one.job,), one.done_at.timestamp()) for one in health(conn, list(jobs)) if one.done_at is not None]
    yield _family("monitor_job_last_success_timestamp_seconds", done)


def _audit(conn: Connection) -> Iterator[Metric]:
    leader = lease.standing(conn)
    if leader is not None:
        yield _family("monitor_leader", [((leader.holder,), float(leader.in_force))])
        yield _number("monitor_leader_epoch", leader.epoch)
    wrong = Counter(one.check for one in findings.standing(conn))
    wrong.update(dict.fromkeys(CHECKS, 0))
    yield _family("monitor_audit_findings", [((check,), float(count)) for check, count in wrong.items()])


def _watch(conn: Connection, contracts: Iterable[str]) -> Iterator[Metric]:
    lanes: dict[tuple[str, ...], float] = {}
    for model in contracts:
        for version_of in baselines.versions(conn, model):
            said = watched.progress(conn, model, version_of)
            if said is not None:
                lanes[model, version_of, "judged"] = float(said.judged)
                lanes[model, version_of, "learning"] = float(said.learnt)
    yield _family("monitor_lane_streams", lanes.items())


def _contracts(contracts: Mapping[str, LoadedContract], now: datetime) -> Iterator[Metric]:
    known = [((model, loaded.hash), 1.0) for model, loaded in contracts.items()]
    yield _family("monitor_contract_info", known)
    yield _number("monitor_refreshed_timestamp_seconds", now.timestamp())


def _alerts(conn: Connection, contracts: Mapping[str, LoadedContract]) -> Iterator[Metric]:
    pillars: dict[tuple[str, str], str] = {(model, rule): "golden" for model in contracts for rule in OWN_RULES}
    pillars |= {(model, rule.name): rule.pillar for model, one in contracts.items() for rule in one.contract.rules}
    rows = reporting.alerts(conn, _ALL_STATES, list(pillars), limit=BUDGET)
    active: dict[tuple[str, ...], float] = {}
    scores: dict[tuple[str, ...], reporting.AlertRow] = {}
    # Version and slice are no labels: of alerts that differ in nothing else the newest and then the worst
    # stands for all, since a label set may occur once. What fires comes first, should the budget not hold all.
    for row in sorted(rows, key=lambda one: (one.state in _FIRING, one.window_end, _excess(one)), reverse=True):
        pillar = pillars[row.scope.model, row.rule]
        whose = (row.rule, row.severity, pillar, row.scope.model, row.scope.camera, row.class_name, row.scope.stage)
        if row.state in _FIRING:
            active[_alert_name(row.rule), *whose] = 1.0
        # What a run judges by itself is held against no number.
        if row.value is not None and row.rule not in OWN_RULES:
            scores.setdefault(whose, row)
    firing = alerts.firing(conn, list(pillars))  # all of them: the rows above are as many as the budget holds
    yield _family(
        "monitor_alerts_open", [((of,), float(firing.get(of, 0))) for of in ("critical", "warning", "info")]
    )
    opened, told = _incidents(conn, contracts)
    yield _family("monitor_incidents_open", opened)
    yield _family("monitor_alert_active", [*active.items(), *told])
    yield _family(
        "monitor_drift_score", [(whose, row.value) for whose, row in scores.items() if row.value is not None]
    )
    yield _family("monitor_drift_threshold", [(whose, row.threshold) for whose, row in scores.items()])


def _excess(row: reporting.AlertRow) -> float:
    return abs((row.value or 0.0) - row.threshold)


def _incidents(conn: Connection, contracts: Mapping[str, LoadedContract]) -> tuple[Samples, Samples]:
    """How many are open by model and cause; and each of them as an alert that fires."""
    counts: dict[tuple[str, ...], float] = {(model, cause): 0.0 for model in contracts for cause in CAUSES.values()}
    told: dict[tuple[str, ...], float] = {}
    for one in incidents.read(conn, open_only=True):
        model, scope, cause = one.watch.model, one.incident.scope, one.incident.cause
        if model not in contracts:
            continue
        is_camera = bool(scope) and contracts[model].contract.cameras.path_of(scope[-1]) == scope
        place, rule = scope[-1] if is_camera else label(scope), f"incident-{cause}"
        counts[model, cause] = counts.get((model, cause), 0.0) + 1.0
        pillar = pillar_of(one.incident.signals[0])
        told[_alert_name(rule), rule, "warning", pillar, model, place, "", one.watch.stage] = 1.0
    return counts.items(), told.items()


def _disk(database: Database) -> Iterator[Metric]:
    if database.postgres is None:
        return
    room = database.postgres.room
    yield _number("monitor_disk_free_bytes", room.free)
    yield _number("monitor_disk_reserve_bytes", room.reserve)
    yield _number("monitor_disk_ballast_bytes", room.held)


def _alert_name(rule: str) -> str:
    """`brightness-drift` → `BrightnessDrift`, as Prometheus' alerts are commonly named."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", rule))
