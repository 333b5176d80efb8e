"""Alerts: where each rule stands on each series, what was told, and how far the windows have been judged."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text

from monitor.records import ALL, Alert, AlertEvent, Scope, SeriesKey, Window
from monitor.store.database import Connection

_REOPENED = text("""
    SELECT w.version, w.window_start, w.window_end, w.baseline_id
    FROM judged j
    JOIN measured_window w ON w.model = j.model AND w.version = j.version AND w.window_end <= j.window_end
        AND (j.decided_end IS NULL OR w.window_end > j.decided_end)
    WHERE j.model = :model AND j.rule = :rule AND w.window_end - w.window_start = :length AND EXISTS (
        SELECT FROM measurement m
        WHERE m.model = w.model AND m.version = w.version AND m.window_start = w.window_start
            AND m.window_end = w.window_end AND NOT m.shadow AND m.signal = :signal AND m.measure = :measure
            AND (m.camera <> '') = :by_camera AND (m.slice_name <> '') = :by_slice
            AND (m.class_name <> '') = :by_class
            AND m.state = 'ok' AND m.n >= :min_n)
    ORDER BY w.window_end, w.version
""")
_SCOPE = ("model", "version", "stage", "camera", "slice_name", "slice_value")


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A measured window that a rule has not judged yet; `baseline_id` is None where there was no baseline."""

    version: str
    window: Window
    baseline_id: int | None


@dataclass(frozen=True, slots=True)
class Watched:
    """What a rule looks at, and the least frames that it judges by."""

    rule: str
    signal: str
    measure: str
    by_camera: bool
    by_slice: bool
    by_class: bool
    min_n: int


@dataclass(frozen=True, slots=True)
class Opening:
    """An episode as it was told when it opened: the end of its window, the numbers of that, and the sentence."""

    window_end: datetime
    value: float | None
    threshold: float
    n: int
    low: float | None
    high: float | None
    said: str


def read(conn: Connection, model: str = ALL, *, rule: str = "", version: str = "", prefix: str = "") -> list[Alert]:
    """Alerts by key, narrowed by whatever is given."""
    rows = conn.execute(
        text(
            "SELECT alert_key, model, version, stage, camera, slice_name, slice_value, signal, class_name, rule,"
            " measure, severity, state, episode, breaches, clears, since, window_end, value, threshold, n, reason,"
            " revision, calm_since, low, high"
            " FROM alert WHERE (:model = '' OR model = :model) AND (:rule = '' OR rule = :rule)"
            " AND (:version = '' OR version = :version) AND starts_with(alert_key, :prefix) ORDER BY alert_key"
        ),
        {"model": model, "rule": rule, "version": version, "prefix": prefix},
    )
    return [_alert(row) for row in rows]


def active_models(conn: Connection) -> list[str]:
    """The models that an alert or incident is on of."""
    rows = conn.execute(
        text(
            "SELECT model FROM alert WHERE state IN ('firing', 'flapping')"
            " UNION SELECT model FROM incident WHERE closed_on IS NULL ORDER BY 1"
        )
    )
    return list(rows.scalars())


def firing(conn: Connection, rules: Collection[tuple[str, str]]) -> dict[str, int]:
    """How many alerts of `rules`, each (model, rule), fire, by severity."""
    rows = conn.execute(
        text(
            "SELECT severity, count(*) FROM alert WHERE state IN ('firing', 'flapping') AND (model, rule) IN"
            " (SELECT * FROM unnest(CAST(:models AS text[]), CAST(:rules AS text[]))) GROUP BY severity"
        ),
        {"models": [model for model, _ in rules], "rules": [rule for _, rule in rules]},
    )
    return {severity: int(count) for severity, count in rows}


def save(conn: Connection, alert: Alert) -> bool:
    """Store the alert's next row, if the stored one is still of the revision that `alert` was made from.

    False: somebody else was faster; what they decided stands and nothing was written.
    """
    statement = text(
        "INSERT INTO alert (alert_key, model, version, stage, camera, slice_name, slice_value, signal, class_name,"
        " rule, measure, severity, state, episode, breaches, clears, since, window_end, value, threshold, n, reason,"
        " revision, calm_since, low, high)"
        " VALUES (:key, :model, :version, :stage, :camera, :slice_name, :slice_value, :signal, :class_name, :rule,"
        " :measure, :severity, :state, :episode, :breaches, :clears, :since, :window_end, :value, :threshold, :n,"
        " :reason, :revision + 1, :calm_since, :low, :high) ON CONFLICT (alert_key) DO UPDATE SET"
        " signal = :signal, measure = :measure,"
        " severity = :severity, state = :state, episode = :episode, breaches = :breaches, clears = :clears,"
        " since = :since, window_end = :window_end, value = :value, threshold = :threshold, n = :n, reason = :reason,"
        " calm_since = :calm_since, low = :low, high = :high,"
        " revision = alert.revision + 1 WHERE alert.revision = :revision RETURNING 1"
    )
    series = alert.series
    scope = {name: getattr(series.scope, name) for name in _SCOPE}
    own = {field.name: getattr(alert, field.name) for field in fields(alert) if field.name != "series"}
    values = {**scope, **own, "signal": series.signal, "class_name": series.class_name}
    return conn.execute(statement, values).scalar() is not None


def add_event(conn: Connection, event: AlertEvent) -> int:
    """Store what was decided; returns its id. An alert turns to one state once an episode: the schema keeps it."""
    statement = text(
        "INSERT INTO alert_event (alert_key, episode, from_state, to_state, window_start, window_end, decided_at,"
        " value, threshold, n, evidence) VALUES (:alert_key, :episode, :from_state, :to_state, :window_start,"
        " :window_end, :decided_at, :value, :threshold, :n, cast(:evidence AS jsonb)) RETURNING event_id"
    )
    values = {
        "alert_key": event.alert_key,
        "episode": event.episode,
        "from_state": event.from_state,
        "to_state": event.to_state,
        "window_start": event.window.start,
        "window_end": event.window.end,
        "decided_at": event.decided_at,
        "value": event.value,
        "threshold": event.threshold,
        "n": event.n,
        "evidence": json.dumps(event.evidence, allow_nan=False),
    }
    return int(conn.execute(statement, values).scalar_one())


def openings(conn: Connection, keys: Sequence[str]) -> dict[tuple[str, int], Opening]:
    """What was told of these alerts or incidents when they opened, by key and episode."""
    rows = conn.execute(
        text(
            "SELECT DISTINCT ON (alert_key, episode) alert_key, episode, window_end, value, threshold, n,"
            " CAST(evidence -> 'current' ->> 'low' AS double precision),"
            " CAST(evidence -> 'current' ->> 'high' AS double precision),"
            " coalesce(evidence ->> 'finding', evidence ->> 'sentence', '')"
            " FROM alert_event WHERE alert_key = ANY(:keys) AND to_state <> 'resolved'"
            " ORDER BY alert_key, episode, event_id DESC"
        ),
        {"keys": list(keys)},
    )
    return {(row[0], row[1]): Opening(*row[2:]) for row in rows}


def events(conn: Connection, alert_key: str, limit: int = 100) -> list[AlertEvent]:
    """What was told about one alert, newest first."""
    rows = conn.execute(
        text(
            "SELECT alert_key, episode, from_state, to_state, window_start, window_end, decided_at, value, threshold,"
            " n, evidence, event_id FROM alert_event WHERE alert_key = :key ORDER BY event_id DESC LIMIT :limit"
        ),
        {"key": alert_key, "limit": limit},
    )
    return [event_of(tuple(row)) for row in rows]


def latest_events(conn: Connection, limit: int = 100) -> list[AlertEvent]:
    """What was told last, of any alert, newest first."""
    rows = conn.execute(
        text(
            "SELECT alert_key, episode, from_state, to_state, window_start, window_end, decided_at, value, threshold,"
            " n, evidence, event_id FROM alert_event ORDER BY event_id DESC LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [event_of(tuple(row)) for row in rows]


def event_of(columns: Sequence[Any]) -> AlertEvent:
    """An event from the columns that `events` selects, in that order."""
    key, episode, left, reached, start, end, *rest = columns
    return AlertEvent(key, episode, left, reached, Window(start, end), *rest)


def unjudged(conn: Connection, model: str, rule: str, length: timedelta) -> list[Unjudged]:
    """Measured windows of `length` that come after the last one that the rule judged, by version; oldest first."""
    rows = conn.execute(
        text(
            "SELECT w.version, w.window_start, w.window_end, w.baseline_id FROM measured_window w"
            " LEFT JOIN judged j ON j.model = w.model AND j.rule = :rule AND j.version = w.version"
            " WHERE w.model = :model AND w.window_end - w.window_start = :length"
            " AND (j.window_end IS NULL OR w.window_end > j.window_end) ORDER BY w.window_end, w.version"
        ),
        {"model": model, "rule": rule, "length": length},
    )
    return [Unjudged(row[0], Window(row[1], row[2]), row[3]) for row in rows]


def reopened(conn: Connection, model: str, watched: Watched, length: timedelta) -> list[Unjudged]:
    """Windows of `length` that the rule judged, without a verdict in them or after them, and that now have a number.

    Oldest first.
    """
    rows = conn.execute(_REOPENED, {"model": model, "length": length, **asdict(watched)})
    return [Unjudged(row[0], Window(row[1], row[2]), row[3]) for row in rows]


def reopen(conn: Connection, model: str, rule: str, version: str, window: Window) -> None:
    """Make `window` and those after it unjudged again; nothing where it, or a later one, has had a verdict."""
    conn.execute(
        text(
            "WITH back AS (UPDATE judged SET window_end = :start WHERE model = :model AND rule = :rule"
            " AND version = :version AND window_end > :start AND (decided_end IS NULL OR decided_end <= :start)"
            " RETURNING 1)"
            " UPDATE alert SET window_end = :start, revision = revision + 1 FROM back WHERE model = :model"
            " AND rule = :rule AND version = :version AND window_end > :start"
        ),
        {"model": model, "rule": rule, "version": version, "start": window.start},
    )


def settle(conn: Connection, model: str, rule: str, version: str, window_end: datetime) -> None:
    """Say that the windows up to this one are judged for good."""
    conn.execute(
        text("UPDATE judged SET decided_end = :end WHERE model = :model AND rule = :rule AND version = :version"),
        {"model": model, "rule": rule, "version": version, "end": window_end},
    )


def advance(conn: Connection, model: str, rule: str, version: str, window_end: datetime) -> bool:
    """Take a window for this transaction to judge; False: it, or a later one, has been judged already.

    Two workers at the same window: the second waits here for the first to commit, and then gets False.
    """
    statement = text(
        "INSERT INTO judged (model, rule, version, window_end) VALUES (:model, :rule, :version, :end)"
        " ON CONFLICT (model, rule, version) DO UPDATE SET window_end = :end WHERE judged.window_end < :end"
        " RETURNING 1"
    )
    values = {"model": model, "rule": rule, "version": version, "end": window_end}
    return conn.execute(statement, values).scalar() is not None


def last_windows(conn: Connection, model: str) -> dict[str, datetime]:
    """End of the newest measured window of each version."""
    rows = conn.execute(
        text("SELECT version, max(window_end) FROM measured_window WHERE model = :model GROUP BY version"),
        {"model": model},
    )
    return {row[0]: row[1] for row in rows}


def _alert(row: Row[Any]) -> Alert:
    columns: Sequence[Any]
    key, *columns = row
    scope, (signal, class_name), rest = columns[:6], columns[6:8], columns[8:]
    return Alert(key, SeriesKey(Scope(*scope), signal, class_name), *rest)
