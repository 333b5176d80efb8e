"""Ask a running Grafana for every dashboard, and for an answer to every query on it: `make verify-grafana`.

Each uid has to be loaded from its file, and each target has to be answered without an error through `/api/ds/query`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from monitor.panels.expand import ALL, View, expand, variables_of

ROOT = Path(__file__).parents[2]
GRAFANA = os.environ.get("GRAFANA_URL", "http://127.0.0.1:3000")
SOURCES = {"${ds_postgres}": "monitor-postgres", "${ds_prometheus}": "monitor-prometheus"}
BACK = timedelta(days=30)


def targets(panels: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every target with its panel's title."""
    for panel in panels:
        for target in panel.get("targets", ()):
            yield panel.get("title", ""), target
        yield from targets(panel.get("panels", []))


def query(target: dict[str, Any], everything: dict[str, str], now: datetime) -> dict[str, Any]:
    """The target with its variables and time macros filled in."""
    source = {**target["datasource"], "uid": SOURCES.get(target["datasource"]["uid"], target["datasource"]["uid"])}
    sent = {**target, "datasource": source, "intervalMs": 3_600_000, "maxDataPoints": 500}
    for key in ("rawSql", "expr"):
        if text := target.get(key):
            chosen = dict.fromkeys(variables_of(text), ALL)
            sent[key] = expand(text, View(now - BACK, now, chosen), everything)
    start, end = (str(int(at.timestamp() * 1000)) for at in (now - BACK, now))
    return {"queries": [sent], "from": start, "to": end}


def wrongs(grafana: httpx.Client, board: dict[str, Any], now: datetime) -> Iterator[str]:
    """What is wrong with one dashboard and the answers to its queries."""
    found = grafana.get(f"/api/dashboards/uid/{board['uid']}").raise_for_status().json()
    if not found["meta"].get("provisioned"):
        yield f"{board['uid']} is not provisioned from its file"
    everything = {one["name"]: one.get("allValue") or "''" for one in board["templating"]["list"]}
    for title, target in targets(board["panels"]):
        answer = grafana.post("/api/ds/query", json=query(target, everything, now))
        told = [one.get("error") for one in answer.json().get("results", {}).values()]
        if answer.is_error or any(told):
            yield f"{board['uid']} / {title}: {next(filter(None, told), answer.text[:400])}"


def main() -> int:
    """Print a line a failure and the counts; exit 1 if anything failed."""
    password = (ROOT / "secrets" / "grafana_admin_password").read_text().strip()
    boards = [json.loads(file.read_text()) for file in sorted((ROOT / "dashboards" / "grafana").glob("*.json"))]
    with httpx.Client(base_url=GRAFANA, auth=("admin", password), timeout=60) as grafana:
        failures = [wrong for board in boards for wrong in wrongs(grafana, board, datetime.now(UTC))]
    asked = sum(len(list(targets(board["panels"]))) for board in boards)
    print("\n".join([*failures, f"{len(boards)} dashboards, {asked} queries, {len(failures)} failures"]))
    return 1 if failures or not boards else 0


if __name__ == "__main__":
    sys.exit(main())
