"""Boards → Grafana's classic dashboard JSON (v1, schemaVersion 39), which Grafana 11 to 13 load from a file.

Nothing in it is particular to a place: sources, models, cameras are variables, thresholds come by query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

from monitor.panels.expand import variables_of
from monitor.panels.observable import BASELINE, THRESHOLD, Board, N, Observable, Query

Json = dict[str, Any]

SCHEMA_VERSION = 39
TAG = "monitor"
MOST_A_ROW = 4
SOURCES = {
    "postgres": {"type": "grafana-postgresql-datasource", "uid": "${ds_postgres}"},
    "prometheus": {"type": "prometheus", "uid": "${ds_prometheus}"},
}
_MODEL = "model IN (${model:sqlstring})"
VARIABLES: dict[str, tuple[str, str, str]] = {
    "model": ("Model", "", "SELECT DISTINCT model FROM reporting.series ORDER BY model"),
    "version": (
        "Version",
        "version",
        f"SELECT DISTINCT version FROM reporting.series WHERE {_MODEL} ORDER BY version DESC",
    ),
    "stage": (
        "Stage",
        "stage",
        f"SELECT stage FROM reporting.series s LEFT JOIN reporting.model_stage USING (model, stage) WHERE {_MODEL}"
        " AND stage <> '' GROUP BY stage ORDER BY min(place), stage",
    ),
    "camera": ("Camera", "camera", f"SELECT DISTINCT camera FROM reporting.series WHERE {_MODEL} ORDER BY camera"),
    "class": (
        "Class",
        "class_name",
        f"SELECT DISTINCT class_name FROM reporting.series WHERE {_MODEL} AND signal = 'confidence'"
        " AND class_name <> '' ORDER BY class_name",
    ),
    "slice": (
        "Slice",
        "",
        f"SELECT slice FROM reporting.series WHERE {_MODEL} GROUP BY slice ORDER BY slice <> 'all', slice",
    ),
}
"""Label, what stands for "all" (a column that equals itself, so that no list has to be spelt out), and"
" query of each."""
EVERYTHING = {name: everything for name, (_, everything, _) in VARIABLES.items() if everything}
_DEPLOYMENTS = (
    "SELECT at AS time, model || ' ' || version || ': ' || note AS text, 'deployment' AS tags"
    " FROM reporting.deployment WHERE $__timeFilter(at){of_model} ORDER BY at LIMIT 100"
)
_ALERTS = (
    "SELECT decided_at AS time, sentence AS text, state || ',' || severity AS tags FROM reporting.told"
    " WHERE $__timeFilter(decided_at){of_model} ORDER BY decided_at LIMIT 100"
)
_AWAY = "max(monitor_database_up) == 0"


def panel_id(name: str) -> int:
    """The number of an observable's panel: the same whatever else stands on the dashboard."""
    return 1 + crc32(name.encode()) % 99_991


def points(one: Observable) -> int:
    """How many points a panel asks for: of Postgres one an hour of a day and one a day of a month."""
    return 30 if one.source == "postgres" else min(360, 1000 // one.series)


def dashboard(board: Board) -> Json:
    """The dashboard of a board."""
    named = _variables_of(board)
    return {
        "id": None,
        "uid": board.uid,
        "title": f"Monitor: {board.title}",
        "description": board.question,
        "tags": [TAG],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "timezone": "utc",
        "refresh": "1m",
        "time": {"from": board.start, "to": "now"},
        "timepicker": {"refresh_intervals": ["30s", "1m", "5m", "15m", "1h"]},
        "fiscalYearStartMonth": 0,
        "weekStart": "",
        "links": [_siblings()],
        "templating": {"list": [*_source_variables(), *(_variable(name) for name in VARIABLES if name in named)]},
        "annotations": {"list": _annotations("model" in named)},
        "panels": _placed(board),
    }


def _variables_of(board: Board) -> set[str]:
    used: set[str] = set()
    for one in board.observables:
        for query in (*one.queries, *((one.threshold,) if one.threshold else ())):
            used |= variables_of(query.text)
    return used & set(VARIABLES)


def _siblings() -> Json:
    return {
        "type": "dashboards",
        "title": "Monitor",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "The other dashboards, with the same time and choices",
        "url": "",
    }


def _source_variables() -> list[Json]:
    return [
        {
            "name": f"ds_{name}",
            "label": name.capitalize(),
            "type": "datasource",
            "query": source["type"],
            "hide": 0,
            "includeAll": False,
            "multi": False,
            "options": [],
            "refresh": 1,
            "regex": "",
            "skipUrlSync": False,
        }
        for name, source in SOURCES.items()
    ]


def _variable(name: str) -> Json:
    label, everything, query = VARIABLES[name]
    chosen: Json = {"text": ["All"], "value": ["$__all"]} if everything else {"text": "all", "value": "all"}
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCES["postgres"],
        "query": query,
        "hide": 0,
        "includeAll": bool(everything),
        "multi": bool(everything),
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 0,
        # Which model is chosen the first of the list says.
        **({} if name == "model" else {"current": chosen}),
        **({"allValue": everything} if everything else {}),
    }


def _annotations(by_model: bool) -> list[Json]:
    of_model = f" AND {_MODEL}" if by_model else ""
    drawn = (("Deployments", "blue", _DEPLOYMENTS), ("Alerts", "red", _ALERTS))
    found = [
        {
            "name": name,
            "datasource": SOURCES["postgres"],
            "enable": True,
            "hide": False,
            "iconColor": colour,
            "target": {
                "refId": "Anno",
                "format": "table",
                "rawQuery": True,
                "editorMode": "code",
                "rawSql": sql.format(of_model=of_model),
            },
        }
        for name, colour, sql in drawn
    ]
    away = {"refId": "Anno", "expr": _AWAY, "range": True, "instant": False, "interval": "60s"}
    said = {
        "titleFormat": "The database was away",
        "textFormat": "Numbers of this time may be missing",
    }
    head = {"name": "Database away", "datasource": SOURCES["prometheus"], "enable": True, "hide": False}
    return [*found, {**head, "iconColor": "orange", "target": away, **said}]


def _placed(board: Board) -> list[Json]:
    panels, x, y, row_height, in_row = [], 0, 0, 0, 0
    for one in board.observables:
        if x + one.width > 24 or in_row == MOST_A_ROW:
            x, y, row_height, in_row = 0, y + row_height, 0, 0
        panels.append(_panel(one) | {"gridPos": {"x": x, "y": y, "w": one.width, "h": one.height}})
        x, row_height, in_row = x + one.width, max(row_height, one.height), in_row + 1
    return panels


def _panel(one: Observable) -> Json:
    source = SOURCES[one.source]
    panel: Json = {
        "id": panel_id(one.name),
        "type": one.kind,
        "title": one.title,
        "description": one.description,
        "datasource": source,
        "targets": [_target(one, query) for query in one.queries],
        "maxDataPoints": points(one),
        "options": _OPTIONS[one.kind](one),
        "fieldConfig": {"defaults": _defaults(one), "overrides": _overrides(one)},
        "transparent": False,
    }
    if one.source == "postgres":
        panel["interval"] = "1h"
    if one.period:
        panel |= {"timeFrom": one.period, "hideTimeOverride": False}
    if one.threshold is not None:
        panel["targets"].append(_target(one, one.threshold, "table"))
        panel["transformations"] = [_threshold(one)]
    return panel


def _threshold(one: Observable) -> Json:
    """The contract's bound becomes the threshold of the judged columns; without a bound there is none."""
    judged = {"id": "byRegexp", "options": f"/^({'|'.join(one.judged)})$/"}
    options = {
        "configRefId": one.threshold.ref if one.threshold else "",
        "mappings": [{"fieldName": THRESHOLD, "handlerKey": "threshold1", "reducerId": "lastNotNull"}],
        "applyTo": judged,
    }
    return {"id": "configFromData", "options": options}


def _target(one: Observable, query: Query, shape: str = "") -> Json:
    head: Json = {"refId": query.ref, "datasource": SOURCES[query.source], "editorMode": "code"}
    if query.source == "prometheus":
        instant = one.kind == "stat"
        shown = {"expr": query.text, "legendFormat": query.legend, "range": not instant, "instant": instant}
        return head | shown
    wide = "time_series" if one.kind == "timeseries" else "table"
    return head | {"format": shape or wide, "rawQuery": True, "rawSql": query.text}


def _defaults(one: Observable) -> Json:
    """No number of a contract stands here: one neutral step, and the rest comes by query."""
    base = "text" if one.kind == "table" or not one.threshold else "green"
    shown: Json = {
        "unit": one.unit,
        "noValue": one.no_value,
        "thresholds": {"mode": "absolute", "steps": [{"color": base, "value": None}]},
        "color": {"mode": "palette-classic" if one.kind in ("timeseries", "barchart") else "thresholds"},
        "custom": _CUSTOM.get(one.kind, {}),
        "mappings": [],
    }
    if one.words:
        said = {word: {"color": colour, "index": i} for i, (word, colour) in enumerate(one.words.items())}
        shown["mappings"] = [{"type": "value", "options": said}]
    return shown


def _overrides(one: Observable) -> list[Json]:
    found = [_by_name(name, {"unit": unit}) for name, unit in one.units.items()]
    if one.kind == "timeseries":
        dashed = {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom.fillOpacity": 0}
        grey, red = {"mode": "fixed", "fixedColor": "#8e8e8e"}, {"mode": "fixed", "fixedColor": "red"}
        found += [_by_name(BASELINE, dashed | {"color": grey}), _by_name(THRESHOLD, dashed | {"color": red})]
        bars = {"custom.drawStyle": "bars", "custom.fillOpacity": 12, "custom.lineWidth": 0}
        pale = {"mode": "fixed", "fixedColor": "#8e8e8e"}
        found.append(_by_name(N, bars | {"custom.axisPlacement": "right", "unit": "short", "color": pale}))
    if one.kind == "stat":
        text = {"mode": "fixed", "fixedColor": "text"}
        found += [_by_name(N, {"color": text, "unit": "short"}), _by_name(BASELINE, {"color": text})]
    if one.kind == "barchart":
        found.append(_by_name(N, {"custom.hideFrom": {"viz": True, "legend": True, "tooltip": False}}))
    return found


def _by_name(name: str, properties: Mapping[str, Any]) -> Json:
    said = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": said}


def _legend(one: Observable) -> Json:
    return {"showLegend": one.series > 1, "displayMode": "list", "placement": "bottom", "calcs": []}


_OPTIONS: dict[str, Any] = {
    "timeseries": lambda one: {
        "legend": _legend(one),
        "tooltip": {"mode": "multi", "sort": "none"},
    },
    "stat": lambda one: {
        # One row a stage, each shown.
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": one.source == "postgres"},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value_and_name",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    },
    "table": lambda one: {"showHeader": True, "cellHeight": "sm", "frameIndex": 0},
    "barchart": lambda one: {
        "orientation": "auto",
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0,
        "xTickLabelMaxLength": 0,
        "showValue": "never",
        "stacking": "none",
        "groupWidth": 0.7,
        "barWidth": 0.95,
        "barRadius": 0,
        "fullHighlight": False,
        "legend": _legend(one) | {"showLegend": True},
        "tooltip": {"mode": "multi", "sort": "none"},
    },
}
_CUSTOM: dict[str, Json] = {
    "timeseries": {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 6,
        "showPoints": "auto",
        "spanNulls": False,
    },
    "table": {"align": "auto", "inspect": False, "cellOptions": {"type": "color-text"}},
    "barchart": {"lineWidth": 1, "fillOpacity": 80},
}
