"""Every query of every dashboard on a real Postgres as the reading role, at 1 h, 24 h and 30 d, on a plant of 45 days
and on an empty database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import packing
import psycopg
import pytest
from packing import Filled, Served

from monitor.panels.check import queries
from monitor.panels.expand import ALL, View, expand
from monitor.panels.grafana import EVERYTHING
from monitor.panels.observable import MONTH, Observable
from monitor.panels.registry import BOARDS

FOLDER = Path(__file__).parents[2] / "dashboards" / "grafana"
RANGES = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "30d": MONTH}
MOST_ROWS, MOST_SERIES = 1500, 12
CHOICES: dict[str, dict[str, Any]] = {
    "everything": {"version": [ALL], "stage": [ALL], "camera": [ALL], "class": [ALL], "slice": "all"},
    "one of each": {
        "version": ["v1"],
        "stage": [""],
        "camera": ['o\'brien "x"'],
        "class": ["pouch"],
        "slice": "lighting = night",
    },
}
OBSERVABLES = [one for board in BOARDS for one in board.observables if not one.name.startswith("overview-")]


def view(one: dict[str, Any], span: timedelta, chosen: dict[str, Any], model: str = "packing") -> View:
    """What somebody sees who looks at a panel over `span`; the panel may have a range of its own."""
    length = MONTH if one.get("timeFrom") == "30d" else span
    variables = {"model": model, **chosen}
    return View(packing.NOW - length, packing.NOW, variables, points=one.get("maxDataPoints", 100))


def asked(board: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The place, the panel and the text of each query to Postgres: of panels, annotations and variables."""
    panels = {panel["title"]: panel for panel in board["panels"]}
    for where, target in queries(board):
        if "rawSql" in target:
            yield where, next((panels[title] for title in panels if repr(title) in where), {}), target["rawSql"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", {}, variable["query"]


@pytest.fixture(scope="module")
def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


@pytest.fixture(scope="module")
def reader(filled: Filled) -> Iterator[psycopg.Connection]:
    with filled.reader() as connection:
        yield connection


def answer(conn: psycopg.Connection, sql: str, seen: View) -> list[dict[str, Any]]:
    """The rows of a query, by column."""
    cursor = conn.execute(expand(sql, seen, EVERYTHING).encode())
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    assert len(set(names)) == len(names)
    assert "?column?" not in names
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("span", RANGES)
def test_every_query_is_answered(
    reader: psycopg.Connection, boards: list[dict[str, Any]], span: str, choice: str
) -> None:
    count = 0
    for board in boards:
        for where, panel, sql in asked(board):
            rows = answer(reader, sql, view(panel, RANGES[span], CHOICES[choice]))
            lines = {row.get("metric") for row in rows}
            columns = len(rows[0]) - 1 if rows and "time" in rows[0] else 0
            assert len(rows) <= MOST_ROWS, (board["uid"], where)
            assert max(len(lines), columns) <= MOST_SERIES, (board["uid"], where)
            count += 1
    assert count > 100


@pytest.mark.parametrize("span", RANGES)
@pytest.mark.parametrize("one", OBSERVABLES, ids=lambda one: one.name)
def test_an_observable_has_something_to_show_from_its_smallest_range_up(
    reader: psycopg.Connection, one: Observable, span: str
) -> None:
    if one.source != "postgres" or RANGES[span] < one.smallest:
        return
    seen = view({"timeFrom": one.period, "maxDataPoints": 30}, RANGES[span], CHOICES["everything"])
    rows = answer(reader, one.queries[0].text, seen)
    assert rows
    assert any(value is not None for row in rows for name, value in row.items() if name != "time")


def test_an_empty_database_is_no_error(empty: Served, boards: list[dict[str, Any]]) -> None:
    chosen = {"version": [ALL], "stage": [ALL], "camera": [ALL], "class": [ALL], "slice": ""}
    with empty.reader() as conn:
        for board in boards:
            for _, panel, sql in asked(board):
                answer(conn, sql, view(panel, MONTH, chosen, model=""))


def test_no_query_reads_raw_frames(filled: Filled, boards: list[dict[str, Any]]) -> None:
    """Not at 30 days, whatever the plan: no view that a panel reads is over them."""
    with filled.database.begin() as owner:
        for board in boards:
            for where, panel, sql in asked(board):
                said = expand(sql, view(panel, MONTH, CHOICES["everything"]), EVERYTHING)
                plan = owner.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {said}".replace("%", "%%")).scalar_one()
                read = set(relations(plan))
                assert not {name for name in read if name.startswith(("frame", "reject"))}, (board["uid"], where)


def relations(plan: Any) -> Iterator[str]:
    """The tables that a plan reads."""
    if isinstance(plan, dict):
        yield from [plan["Relation Name"]] if "Relation Name" in plan else []
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            yield from relations(part)
