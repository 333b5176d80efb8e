"""The shipped dashboards hold every rule, and every rule notices when it is broken on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.main import main
from monitor.panels import check

Board = dict[str, Any]
FOLDER = Path(__file__).parents[2] / "dashboards"


@pytest.fixture(scope="module")
def boards() -> list[Board]:
    return [json.loads(path.read_text()) for path in sorted((FOLDER / "grafana").glob("*.json"))]


def test_the_shipped_files_hold_every_rule_and_are_what_build_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboards", "check", str(FOLDER)]) == 0
    assert capsys.readouterr().out.startswith(f"{len(check.RULES)} rules, 8 dashboards, ")


def test_a_file_that_was_changed_by_hand_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboards", "build", "--out", str(tmp_path)]) == 0
    assert main(["dashboards", "check", str(tmp_path)]) == 0
    path = tmp_path / "grafana" / "monitor-health.json"
    path.write_text(path.read_text().replace("Error rate", "Errors"))
    assert main(["dashboards", "check", str(tmp_path)]) == 1
    assert "monitor-health.json is not what `monitor dashboards build` writes" in capsys.readouterr().out


def panel(board: Board, kind: str = "timeseries", source: str = "rawSql") -> Board:
    """The first panel of a kind."""
    return next(one for one in board["panels"] if one["type"] == kind and source in one["targets"][0])


def put(path: str, value: Any) -> Callable[[Board], None]:
    """Sets one field of a dashboard; steps are parted by a slash."""

    def change(board: Board) -> None:
        *steps, last = path.split("/")
        for step in steps:
            board = board[int(step) if isinstance(board, list) else step]
        board[last] = value  # type: ignore[index]

    return change


def sql(old: str, new: str, kind: str = "timeseries") -> Callable[[Board], None]:
    """Changes the SQL of the first panel of a kind."""

    def change(board: Board) -> None:
        target = panel(board, kind)["targets"][0]
        assert old in target["rawSql"], old
        target["rawSql"] = target["rawSql"].replace(old, new)

    return change


def expr(new: str) -> Callable[[Board], None]:
    """Replaces the PromQL of an annotation, which every dashboard has."""

    def change(board: Board) -> None:
        next(one for one in board["annotations"]["list"] if "expr" in one["target"])["target"]["expr"] = new

    return change


def twice(board: Board) -> None:
    board["panels"][1]["id"] = board["panels"][0]["id"]


def over(board: Board) -> None:
    board["panels"][1]["gridPos"] = dict(board["panels"][0]["gridPos"])


def many(board: Board) -> None:
    board["panels"] += [deepcopy(board["panels"][0]) for _ in range(17)]


def without_note(word: str) -> Callable[[Board], None]:
    def change(board: Board) -> None:
        notes = board["annotations"]
        notes["list"] = [one for one in notes["list"] if word not in str(one["target"].get("rawSql"))]

    return change


def without_source(board: Board) -> None:
    board["templating"]["list"] = [one for one in board["templating"]["list"] if one["name"] != "ds_prometheus"]


def unused(board: Board) -> None:
    board["templating"]["list"].append({"name": "line", "type": "query", "query": "SELECT 1 AS x", "refresh": 2})


def late(board: Board) -> None:
    next(one for one in board["templating"]["list"] if one["type"] == "query")["refresh"] = 1


def legend(board: Board) -> None:
    panel(board)["options"]["legend"]["showLegend"] = False


def baked(board: Board) -> None:
    panel(board, "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"].append({"color": "red", "value": 0.15})


def bound_left_out(board: Board) -> None:
    one = next(one for one in board["panels"] if any(t["refId"] == "B" for t in one["targets"]))
    one["transformations"][0]["options"]["mappings"] = []


MUTATIONS: dict[str, list[Callable[[Board], None]]] = {
    "inputs": [put("__inputs", [{"name": "DS_POSTGRES"}])],
    "id": [put("id", 7)],
    "uid": [put("uid", "Kx8y_1"), put("uid", None)],
    "editable": [put("editable", True)],
    "question": [put("description", "Inference health")],
    "tag": [put("tags", ["ml"])],
    "links": [put("links/0/keepTime", False), put("links/0/includeVars", False), put("links", [])],
    "refresh": [put("refresh", "5s"), put("refresh", "")],
    "schema-version": [put("schemaVersion", 41)],
    "sources": [without_source],
    "variable-refresh": [late],
    "variable-use": [unused, sql("${camera:sqlstring}", "${kamera:sqlstring}")],
    "deployments": [without_note("reporting.deployment")],
    "alerts": [without_note("reporting.told")],
    "panel-id": [twice, put("panels/0/id", None)],
    "title": [put("panels/0/title", " ")],
    "description": [put("panels/0/description", "Errors."), put("panels/0/description", "")],
    "unit": [put("panels/0/fieldConfig/defaults/unit", "frames"), put("panels/0/fieldConfig/defaults/unit", None)],
    "type": [put("panels/0/type", "natel-discrete-panel")],
    "overlap": [over, put("panels/0/gridPos/x", 20)],
    "density": [many],
    "datasource": [
        put("panels/0/datasource", {"type": "prometheus", "uid": "P1809"}),
        put("panels/0/targets/0/datasource", {"type": "postgres", "uid": "abc"}),
        put("annotations/list/0/datasource", "Postgres"),
    ],
    "rate-interval": [expr("sum(rate(monitor_job_runs_total[5m]))")],
    "raw-total": [expr("sum(monitor_job_runs_total)")],
    "percentiles": [sql(" GROUP BY", ", avg(p95) GROUP BY"), expr("avg(histogram_quantile(0.95, x))")],
    "time-filter": [sql("$__timeFilter(start_at)", "true")],
    "order": [sql("ORDER BY", "-- ORDER")],
    "named-columns": [put("panels/0/targets/0/rawSql", "SELECT * FROM reporting.alert WHERE $__timeFilter(since)")],
    "read-only": [
        put("panels/0/targets/0/rawSql", "DELETE FROM reporting.alert WHERE $__timeFilter(since)"),
        put("panels/0/targets/0/rawSql", "SELECT name FROM public.access_token WHERE $__timeFilter(created_at)"),
        sql("SELECT", "BEGIN READ WRITE; SELECT"),
    ],
    "quoting": [sql("${camera:sqlstring}", "$camera"), sql("${camera:sqlstring}", "'${camera}'")],
    "legend": [legend],
    "baked-threshold": [baked],
    "threshold-used": [bound_left_out],
    "no-value": [
        put("panels/0/fieldConfig/defaults/noValue", "0"),
        put("panels/0/fieldConfig/defaults/noValue", ""),
    ],
    "n-beside-rates": [sql(" AS n ", " AS frames ")],
    "baseline-beside": [sql(" AS baseline", " AS usual")],
}
"""Ways to break each rule; on the dashboard of inference health, or another that is named below."""
ELSEWHERE = {"baseline-beside": "monitor-predictions"}


def test_every_rule_has_a_mutation() -> None:
    assert set(MUTATIONS) == set(check.RULES)


@pytest.mark.parametrize(("rule", "change"), [(rule, change) for rule, ways in MUTATIONS.items() for change in ways])
def test_breaking_a_rule_is_noticed(boards: list[Board], rule: str, change: Callable[[Board], None]) -> None:
    of = next(one for one in boards if one["uid"] == ELSEWHERE.get(rule, "monitor-health"))
    broken = deepcopy(of)
    change(broken)
    assert list(check.RULES[rule](of)) == []
    assert list(check.RULES[rule](broken)) != []


def test_two_dashboards_with_one_uid_are_noticed(boards: list[Board]) -> None:
    assert [one.rule for one in check.findings([boards[0], deepcopy(boards[0])])] == ["uid"]
