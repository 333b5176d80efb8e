"""What every dashboard must hold, rule by rule, each decidable from its JSON alone. A finding is a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.panels.expand import variables_of
from monitor.panels.grafana import MOST_A_ROW, SCHEMA_VERSION, SOURCES, TAG, VARIABLES

Json = dict[str, Any]
MOST_PANELS = 16
TYPES = {"timeseries", "stat", "table", "bargauge", "barchart", "histogram", "heatmap", "state-timeline", "text"}
UNITS = {
    "short",
    "none",
    "percent",
    "percentunit",
    "ms",
    "s",
    "m",
    "h",
    "d",
    "bytes",
    "cps",
    "reqps",
    "ops",
    "string",
}
"""Ids of `@grafana/data` that mean the same in Grafana 11 to 13."""
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_WRITES = r"\b(insert|update|delete|drop|alter|create|grant|truncate|copy|call|do|set)\b"
_RATES = r"\b(?:rate|increase|irate)\(\s*(?:\w+\(\s*)*\w+(?:\{[^}]*\})?\[([^\]]+)\]"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold, and where."""

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text} ({self.rule})"


def findings(dashboards: Sequence[Json]) -> list[Finding]:
    """Every rule over every dashboard; what they must not share is looked for among all of them."""
    found = [
        Finding(name, str(one.get("uid")), said)
        for one in dashboards
        for name, rule in RULES.items()
        for said in rule(one)
    ]
    for uid, count in Counter(str(one.get("uid")) for one in dashboards).items():
        found += [Finding("uid", uid, f"{count} dashboards have this uid")] if count > 1 else []
    return found


def queries(board: Json) -> Iterator[tuple[str, Json]]:
    """Every query of a dashboard with the place where it stands: panels, annotations, variables."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel.get('title')!r} {target.get('refId')}", target
    for note in board["annotations"]["list"]:
        yield f"annotation {note['name']!r}", note["target"]


def _sql(board: Json) -> Iterator[tuple[str, str]]:
    return ((where, target["rawSql"]) for where, target in queries(board) if "rawSql" in target)


def _expr(board: Json) -> Iterator[tuple[str, str]]:
    return ((where, target["expr"]) for where, target in queries(board) if "expr" in target)


def _inputs(board: Json) -> Iterator[str]:
    if "__inputs" in board or "__requires" in board or "${DS_" in str(board):
        yield "it asks for inputs, which files that are provisioned never get"


def _id(board: Json) -> Iterator[str]:
    if board.get("id", "") is not None:
        yield "id must be null: the server gives it"


def _uid(board: Json) -> Iterator[str]:
    if not re.fullmatch(r"monitor-[a-z]+", str(board.get("uid"))):
        yield "its uid is no fixed slug monitor-..."


def _editable(board: Json) -> Iterator[str]:
    if board.get("editable") is not False:
        yield "editable must be false: it comes from a file"


def _question(board: Json) -> Iterator[str]:
    if not str(board.get("description", "")).strip().endswith("?"):
        yield "its description does not say which question it answers"


def _tag(board: Json) -> Iterator[str]:
    if TAG not in board.get("tags", ()):
        yield f"it lacks the tag {TAG}"


def _links(board: Json) -> Iterator[str]:
    links = [one for one in board.get("links", ()) if one.get("type") == "dashboards" and TAG in one.get("tags", ())]
    if not any(one.get("keepTime") and one.get("includeVars") for one in links):
        yield "no link to its siblings that keeps time and variables"


def _refresh(board: Json) -> Iterator[str]:
    said = re.fullmatch(r"(\d+)([smh])", str(board.get("refresh")))
    if said is None or int(said[1]) * _SECONDS[said[2]] < 30:
        yield "refresh must be 30 s or more"


def _schema_version(board: Json) -> Iterator[str]:
    if not isinstance(board.get("schemaVersion"), int) or board["schemaVersion"] > SCHEMA_VERSION:
        yield f"schemaVersion must be {SCHEMA_VERSION} at most, so that Grafana 11 loads it"


def _sources(board: Json) -> Iterator[str]:
    there = {one["query"] for one in board["templating"]["list"] if one["type"] == "datasource"}
    for missing in sorted({source["type"] for source in SOURCES.values()} - there):
        yield f"no variable for a datasource of type {missing}"


def _variable_refresh(board: Json) -> Iterator[str]:
    for one in board["templating"]["list"]:
        if one["type"] == "query" and one.get("refresh") != 2:
            yield f"variable {one['name']} is not read anew when the time range changes"


def _variable_use(board: Json) -> Iterator[str]:
    there = {one["name"] for one in board["templating"]["list"]}
    used = set().union(*(variables_of(text) for text in _texts(board))) - {"__all"}
    for name in sorted(used - there):
        yield f"variable {name} is used and not there"
    for name in sorted(there - used):
        yield f"variable {name} is there and not used"


def _texts(thing: Any) -> Iterator[str]:
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from _texts(value) if key not in ("definition", "current", "options", "description") else ()
    elif isinstance(thing, list):
        for value in thing:
            yield from _texts(value)


def _deployments(board: Json) -> Iterator[str]:
    if not any("reporting.deployment" in sql and "$__timeFilter" in sql for sql in _noted(board)):
        yield "deployments are not drawn on it"


def _alerts(board: Json) -> Iterator[str]:
    if not any("reporting.told" in sql and "$__timeFilter" in sql for sql in _noted(board)):
        yield "alerts are not drawn on it"


def _noted(board: Json) -> list[str]:
    return [str(one["target"].get("rawSql")) for one in board["annotations"]["list"] if one.get("enable")]


def _panel_id(board: Json) -> Iterator[str]:
    ids = Counter(panel.get("id") for panel in board["panels"])
    for number, count in ids.items():
        if count > 1 or not isinstance(number, int) or number < 1:
            yield f"{count} panel(s) with the id {number}"


def _title(board: Json) -> Iterator[str]:
    if any(not str(panel.get("title", "")).strip() for panel in board["panels"]):
        yield "a panel has no title"


def _description(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        said = str(panel.get("description", ""))
        if len(said) < 20 or not all(part in said for part in ("Good:", "Bad:", "Next:")):
            yield f"panel {panel.get('title')!r} does not say what is good, what is bad and what to do"


def _unit(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        shown = panel["fieldConfig"]
        own = [shown["defaults"].get("unit")]
        own += [p["value"] for one in shown["overrides"] for p in one["properties"] if p["id"] == "unit"]
        for unit in own:
            if unit not in UNITS:
                yield f"panel {panel['title']!r} has the unit {unit!r}, which Grafana does not know"


def _type(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        if panel.get("type") not in TYPES:
            yield f"panel {panel['title']!r} is of type {panel.get('type')!r}, which is no core panel"


def _overlap(board: Json) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        if at["x"] < 0 or at["x"] + at["w"] > 24:
            yield f"panel {panel['title']!r} leaves the grid"
        own = [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
        if other := next((taken[cell] for cell in own if cell in taken), None):
            yield f"panels {panel['title']!r} and {other!r} overlap"
        taken.update(dict.fromkeys(own, panel["title"]))


def _density(board: Json) -> Iterator[str]:
    rows = Counter(panel["gridPos"]["y"] for panel in board["panels"])
    if len(board["panels"]) > MOST_PANELS or max(rows.values(), default=0) > MOST_A_ROW:
        yield f"more than {MOST_A_ROW} panels a row, or {MOST_PANELS} in all"


def _datasource(board: Json) -> Iterator[str]:
    known = list(SOURCES.values())
    for where, target in queries(board):
        if target.get("datasource", known[0]) not in known:
            yield f"{where} names its datasource instead of taking it from a variable"
    for thing in (*board["panels"], *board["annotations"]["list"]):
        if thing.get("datasource") not in known:
            name = thing.get("title") or thing.get("name")
            yield f"{name!r} names its datasource instead of taking it from a variable"


def _rate_interval(board: Json) -> Iterator[str]:
    for where, expr in _expr(board):
        if any(span != "$__rate_interval" for span in re.findall(_RATES, expr)):
            yield f"{where} takes a rate over another span than $__rate_interval"


def _raw_total(board: Json) -> Iterator[str]:
    for where, expr in _expr(board):
        if re.search(r"_total\b", re.sub(_RATES, "", expr)):
            yield f"{where} shows a counter itself and not its rate"


def _percentiles(board: Json) -> Iterator[str]:
    for where, text in (*_sql(board), *_expr(board)):
        if re.search(r"\bavg\s*\([^()]*(p\d\d\b|quantile|percentile)", text, re.I):
            yield f"{where} takes the mean of percentiles"


def _time_filter(board: Json) -> Iterator[str]:
    for where, sql in _sql(board):
        # What grows with time is read within a time range, each time that it is read.
        reads = re.split(r"FROM reporting\.(?=(?:rollup|bucket|measured|verdict|business_event)(?:_day)?\b)", sql)
        bound_only = "FROM reporting.threshold" in sql and sql.endswith("AS threshold")
        if ("$__time" not in "".join(reads) and not bound_only) or any("$__time" not in read for read in reads[1:]):
            yield f"{where} does not keep to the time range"


def _order(board: Json) -> Iterator[str]:
    for where, target in queries(board):
        sql = target.get("rawSql", "")
        if target.get("format") == "time_series" and not re.search(r"ORDER BY (1|at|\"?time\"?)", sql):
            yield f"{where} is a time series that is not in order"


def _named(board: Json) -> Iterator[str]:
    for where, sql in _sql(board):
        if re.search(r"SELECT\s+\*\s+FROM\s+reporting\.\w+\s*(?!.*\bAS\b)", sql) or re.match(r"SELECT \*", sql):
            yield f"{where} does not name its columns"


def _read_only(board: Json) -> Iterator[str]:
    for where, sql in _sql(board):
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", sql)
        if not re.match(r"(SELECT|WITH)\b", sql) or re.search(_WRITES, bare, re.I) or ";" in bare:
            yield f"{where} does more than read"
        elif set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)\.", sql)) - {"reporting"}:
            yield f"{where} reads beyond the schema reporting"


def _quoting(board: Json) -> Iterator[str]:
    for where, sql in _sql(board):
        for name in VARIABLES:
            if re.search(rf"\${name}\b|\$\{{{name}\}}|'\$\{{{name}", sql):
                yield f"{where} does not have variable {name} quoted for SQL, or quotes it twice"


def _legend(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        lines = sum("expr" in target for target in panel["targets"]) > 1 or "rawSql" in panel["targets"][0]
        if panel["type"] == "timeseries" and lines and not panel["options"]["legend"]["showLegend"]:
            yield f"panel {panel['title']!r} draws several lines and has no legend"


def _baked(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if any(step.get("value") is not None for step in steps):
            yield f"panel {panel['title']!r} has a threshold of its own; thresholds come from the contract"


def _stat_threshold(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        asked = {target["refId"] for target in panel["targets"] if "reporting.threshold" in target.get("rawSql", "")}
        taken = {
            one["options"]["configRefId"]
            for one in panel.get("transformations", ())
            if one["id"] == "configFromData"
            and any(m["handlerKey"] == "threshold1" for m in one["options"]["mappings"])
        }
        if panel["type"] in ("stat", "table") and panel.get("transformations", asked) and asked - taken - {"A"}:
            yield f"panel {panel['title']!r} asks for the contract's bound and does not use it"


def _no_value(board: Json) -> Iterator[str]:
    for panel in board["panels"]:
        said = str(panel["fieldConfig"]["defaults"].get("noValue", ""))
        if len(said) < 10 or said.strip("0. ") == "":
            yield f"panel {panel['title']!r} does not say in words that there is nothing to show"


def _n(board: Json) -> Iterator[str]:
    for where, sql in _sql(board):
        told = re.search(r"\bAS n\b|AS threshold$|AS \"share of the limit\"", sql)
        if re.search(r"/ nullif\(|\* 1\.0 /|\bavg\(", sql) and not told:
            yield f"{where} shows a rate or a mean without the n that it rests on"


def _baseline(board: Json) -> Iterator[str]:
    for where, target in queries(board):
        sql = target.get("rawSql", "")
        mean = re.search(r"sum\(sum\) / nullif\(sum\(n\), 0\) AS \"", sql)
        if target.get("format") == "time_series" and mean and " AS baseline" not in sql:
            yield f"{where} draws a mean without its baseline beside it"


RULES: dict[str, Callable[[Json], Iterator[str]]] = {
    "inputs": _inputs,
    "id": _id,
    "uid": _uid,
    "editable": _editable,
    "question": _question,
    "tag": _tag,
    "links": _links,
    "refresh": _refresh,
    "schema-version": _schema_version,
    "sources": _sources,
    "variable-refresh": _variable_refresh,
    "variable-use": _variable_use,
    "deployments": _deployments,
    "alerts": _alerts,
    "panel-id": _panel_id,
    "title": _title,
    "description": _description,
    "unit": _unit,
    "type": _type,
    "overlap": _overlap,
    "density": _density,
    "datasource": _datasource,
    "rate-interval": _rate_interval,
    "raw-total": _raw_total,
    "percentiles": _percentiles,
    "time-filter": _time_filter,
    "order": _order,
    "named-columns": _named,
    "read-only": _read_only,
    "quoting": _quoting,
    "legend": _legend,
    "baked-threshold": _baked,
    "threshold-used": _stat_threshold,
    "no-value": _no_value,
    "n-beside-rates": _n,
    "baseline-beside": _baseline,
}
"""Every rule by its name; schema and regeneration are looked at by the tests, for they need more than the JSON."""
