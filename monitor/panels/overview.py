"""The overview: is the model well, which camera is worst, since when, and what is to be done?"""

from __future__ import annotations

from dataclasses import replace

from monitor.panels import drifting, health, overrides, predictions
from monitor.panels.observable import MONTH, Board, Observable, Query
from monitor.panels.sql import AT_STAGES, CORRECTED, IN_ORDER, LIVE, ON_CAMERAS, at_stage, rollups, verdicts

_WEEK_AGO = "$__timeTo()::timestamptz - interval '7 days'"
_MEANS = (
    ("confidence", "mean confidence"),
    ("detections", "detections a frame"),
    ("latency_ms", "mean latency, ms"),
    ("brightness", "brightness, grey level"),
    ("sharpness", "sharpness, ln variance"),
)
_SIGNALS = ", ".join(f"'{signal}'" for signal, _ in _MEANS)
_NAMED = ", ".join(f"('{signal}', {place}, '{what}')" for place, (signal, what) in enumerate(_MEANS, 3))
_DAILY = (
    "daily AS (SELECT stage, signal, day, sum(n) FILTER (WHERE class_name = '')::double precision AS n,"
    " sum(sum) FILTER (WHERE class_name = '') AS sum,"
    " sum(n) FILTER (WHERE class_name NOT IN ('', 'ok'))::double precision AS failed "
    + rollups(f"(signal = 'status' OR signal IN ({_SIGNALS}) AND class_name = '')")
    + " GROUP BY 1, 2, 3),"
    " verdicts AS (SELECT stage, date_trunc('day', start_at, 'UTC') AS day,"
    f" {CORRECTED}::double precision AS corrected, sum(reviewed)::double precision AS n"
    f" {verdicts(overrides.DETECTIONS)} GROUP BY 1, 2),"
    " named AS (SELECT 1 AS place, 'frames a day' AS what, stage, day, n AS total, NULL AS n FROM daily"
    " WHERE signal = 'status' UNION ALL SELECT 2, 'error rate', stage, day, coalesce(failed, 0), n FROM daily"
    " WHERE signal = 'status' UNION ALL SELECT place, what, stage, day, sum, n FROM daily"
    f" JOIN (VALUES {_NAMED}) AS mean (signal, place, what) USING (signal)"
    " UNION ALL SELECT 9, 'override rate', stage, day, corrected, n FROM verdicts),"
)
_SPANS = (
    "spans AS (SELECT place, what, stage, coalesce(sum(n), sum(total)) AS n,"
    f" sum(total) FILTER (WHERE day >= {_WEEK_AGO}) / nullif(coalesce(sum(n) FILTER (WHERE day >= {_WEEK_AGO}),"
    f" count(*) FILTER (WHERE day >= {_WEEK_AGO})), 0) AS now,"
    f" sum(total) FILTER (WHERE day < {_WEEK_AGO}) / nullif(coalesce(sum(n) FILTER (WHERE day < {_WEEK_AGO}),"
    f" count(*) FILTER (WHERE day < {_WEEK_AGO})), 0) AS before,"
    f" stddev_samp(total / coalesce(nullif(n, 0), 1)) FILTER (WHERE day < {_WEEK_AGO}) AS spread"
    " FROM named GROUP BY place, what, stage)"
)
_TRENDS = (
    f"WITH {_DAILY} {_SPANS}"
    f' SELECT {at_stage("what")} AS what, before AS "the weeks before", now AS "last 7 days",'
    " CASE WHEN now IS NULL OR spread IS NULL THEN '… too short' WHEN now - before > spread THEN '▲ rising'"
    " WHEN before - now > spread THEN '▼ falling' ELSE '▬ steady' END AS trend, n AS n FROM spans"
    f" ORDER BY {IN_ORDER}, place"
)


def _of(board: Board, name: str) -> Observable:
    found = next(one for one in board.observables if one.name == name)
    return replace(found, name=f"overview-{name}", width=8, height=4)


OBSERVABLES = (
    _of(health.BOARD, "throughput-now"),
    _of(predictions.BOARD, "detections-count"),
    _of(predictions.BOARD, "confidence-now"),
    _of(overrides.BOARD, "override-rate-now"),
    _of(health.BOARD, "latency-p95-now"),
    _of(health.BOARD, "error-rate-now"),
    Observable(
        name="alerts",
        title="Alerts that are active",
        question="What is wrong now, where, and since when?",
        good="no rows.",
        bad="rows: the gravest and then the oldest stands first.",
        next_steps=(
            "Read the sentence, then the runbook: monitor dashboards runbook RULE.",
            "Acknowledge it, so that others know that you are at it: `monitor alerts ack`.",
        ),
        queries=(
            Query(
                f"SELECT state, severity, rule, {at_stage(drifting.CAMERA)} AS camera,"
                " class_name AS class, since, value, threshold, n, reason FROM reporting.alert"
                " WHERE model IN (${model:sqlstring}) AND version IN (${version:sqlstring})"
                " AND state IN ('firing', 'flapping', 'pending') AND coalesce(since, window_end) <= $__timeTo()"
                " ORDER BY state = 'pending', severity <> 'critical', since NULLS LAST, rule LIMIT 50"
            ),
        ),
        unit="short",
        no_value="No alert is active.",
        kind="table",
        owner="on-call",
        smallest=MONTH,
        words={
            "firing": "red",
            "flapping": "red",
            "pending": "orange",
            "critical": "red",
            "warning": "orange",
            "info": "blue",
        },
    ),
    Observable(
        name="alerts-told",
        title="Last alerts and how they ended",
        question="What was told last, and is it over?",
        good="each firing row has a resolved row above it.",
        bad="the same alert again and again: its cause has not been mended, or its rule is too tight.",
        next_steps=(
            "Write a note on what it was: `monitor alerts resolve`.",
            "Too tight: try other numbers with `monitor backtest` before changing the contract.",
        ),
        queries=(
            Query(
                'SELECT decided_at AS "time", state, severity, rule, place, sentence, likely_cause AS "likely cause",'
                ' first_step AS "do first", frames FROM reporting.told WHERE $__timeFilter(decided_at)'
                " AND model IN (${model:sqlstring}) ORDER BY decided_at DESC, event_id DESC LIMIT 30"
            ),
        ),
        unit="short",
        no_value="Nothing was told in this time range.",
        kind="table",
        owner="on-call",
        smallest=MONTH,
        words={
            "firing": "red",
            "flapping": "red",
            "resolved": "green",
            "critical": "red",
            "warning": "orange",
            "info": "blue",
        },
    ),
    Observable(
        name="cameras",
        title="Cameras, the worst first",
        question="Which camera is worst?",
        good="no firing alert, a last hour close to now, errors near zero.",
        bad="a camera with alerts, with errors, or one that has gone silent.",
        next_steps=(
            "Choose the camera above; every dashboard then speaks of it.",
            "Read its incidents on the drift dashboard.",
        ),
        queries=(
            Query(
                f"SELECT {at_stage('heard.camera')} AS camera, (SELECT count(*) FROM reporting.alert a"
                " WHERE a.model IN (${model:sqlstring}) AND a.state IN ('firing', 'flapping')"
                " AND a.camera = heard.camera AND a.stage IN (heard.stage, '')) AS \"alerts firing\","
                ' failed * 1.0 / nullif(frames, 0) AS "error rate", newest AS "last hour", frames AS n'
                f" FROM (SELECT stage, camera, max(start_at) AS newest, coalesce({health.FAILED}, 0) AS failed,"
                f" {health.FRAMES} AS frames FROM reporting.rollup WHERE $__timeFilter(start_at) AND {ON_CAMERAS}"
                f" AND {AT_STAGES} AND {LIVE} AND signal = 'status' AND slice = 'all' GROUP BY 1, 2) heard"
                " ORDER BY 2 DESC, 3 DESC NULLS LAST, 4, 1 LIMIT 25"
            ),
        ),
        unit="short",
        units={"error rate": "percentunit"},
        no_value="No frames in this time range.",
        kind="table",
        rate=True,
    ),
    Observable(
        name="trends",
        title="Trends of 30 days",
        question="What has been changing slowly?",
        good="steady: the last week lies within the spread of the days before.",
        bad="rising or falling: the last week lies outside it. For a model a slow change is the usual way to fail.",
        next_steps=(
            "Open the dashboard of that number and read since when.",
            "See whether an incident is open for it on the drift dashboard.",
        ),
        queries=(Query(_TRENDS),),
        unit="short",
        no_value="No frames in the last 30 days.",
        kind="table",
        smallest=MONTH,
        rate=True,
        period="30d",
        words={"▲ rising": "orange", "▼ falling": "orange", "▬ steady": "green", "… too short": "text"},
    ),
    replace(_of(health.BOARD, "throughput"), width=8, height=8),
    replace(_of(predictions.BOARD, "confidence"), width=8, height=8),
    replace(_of(overrides.BOARD, "override-rate"), width=8, height=8),
)
BOARD = Board(
    "monitor-overview",
    "Overview",
    "Is the model well, which camera is worst, since when, and what is to be done?",
    OBSERVABLES,
)
