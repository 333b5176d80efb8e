"""Every PromQL of every dashboard on a real Prometheus with 30 days behind it, filled in by promtool from what the
daemon exposes; and the shipped rules loaded by it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import httpx
import packing
import pytest
from daemons import eventually
from packing import Filled
from prometheus_client.parser import text_string_to_metric_families

from monitor.panels.check import queries
from monitor.panels.expand import rounded

FOLDER = Path(__file__).parents[2] / "dashboards"
SCRAPE_S = 15
RANGES = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "30d": timedelta(days=30)}
END = int(packing.NOW.timestamp()) // 3600 * 3600
"""The last sample; on the hour, so that steps of whole hours meet samples."""
TARGET = {"job": "monitor", "instance": "daemon"}


def moments() -> list[int]:
    """When the page was scraped: hourly for 30 days, by the minute for a day, every 15 s of the last two hours."""
    hourly = range(END - 31 * 86_400, END + 1, 3600)
    return sorted({*hourly, *range(END - 90_000, END + 1, 60), *range(END - 7200, END + 1, SCRAPE_S)})


def history(page: str) -> Iterator[str]:
    """The page as if it had been scraped for 30 days, as OpenMetrics: counters grow, times go with the time."""
    for family in text_string_to_metric_families(page):
        yield f"# TYPE {family.name} {family.type}"
        for sample in family.samples:
            # As a scrape does it: a label of the page that the target has too is kept under another name.
            own = {(f"exported_{key}" if key in TARGET else key): value for key, value in sample.labels.items()}
            said = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in (own | TARGET).items())
            for number, at in enumerate(moments()):
                value = sample.value * (number + 1) if family.type == "counter" else sample.value
                value = at - 10 if sample.name.endswith("_timestamp_seconds") else value
                yield f"{sample.name}{{{said}}} {value} {at}"
    yield "# TYPE up gauge"
    yield from (f'up{{job="monitor",instance="daemon"}} 1 {at}' for at in moments())
    yield "# EOF"


@pytest.fixture(scope="module")
def server(
    filled: Filled, tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]
) -> Iterator[httpx.Client]:
    """A Prometheus with 30 days of what the plant's daemon exposes, and the shipped rules."""
    for tool in ("promtool", "prometheus"):
        if shutil.which(tool) is None:
            missing("prometheus", f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    metrics = filled.context.metrics
    metrics.job_ended("alerts", "failed")
    metrics.answered("/v1/frames", 200)
    (folder / "history.txt").write_text("\n".join(history(metrics.exposition().decode())) + "\n")
    create = ("promtool", "tsdb", "create-blocks-from", "--max-block-duration=744h", "openmetrics")
    subprocess.run((*create, "history.txt", "data"), cwd=folder, check=True, capture_output=True, timeout=120)
    rules = json.dumps([str(FOLDER / "prometheus" / "rules" / "*.yaml")])
    (folder / "prometheus.yml").write_text(f"global: {{evaluation_interval: 1s}}\nrule_files: {rules}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y")
    command = ("prometheus", *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error")
    process = subprocess.Popen(command, cwd=folder)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            eventually(lambda: _ready(client))
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((FOLDER / "grafana").glob("*.json"))]


def ask(client: httpx.Client, expr: str, span: timedelta, points: int) -> list[dict[str, Any]]:
    """The series of a range query, as Grafana asks: step from the points, rates over at least four scrapes."""
    step = max(rounded(span.total_seconds() / points), SCRAPE_S)
    said = expr.replace("$__rate_interval", f"{max(step + SCRAPE_S, 4 * SCRAPE_S)}s")
    asked = {"query": said, "start": END - int(span.total_seconds()), "end": END, "step": step}
    answer = client.get("/api/v1/query_range", params=asked).json()
    assert answer["status"] == "success", (said, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.parametrize("span", RANGES)
def test_every_query_is_answered_within_its_bounds(server: httpx.Client, span: str) -> None:
    count = 0
    for board in boards():
        for panel in board["panels"]:
            rows = series = 0
            for target in (one for one in panel["targets"] if "expr" in one):
                found = ask(server, target["expr"], RANGES[span], panel["maxDataPoints"])
                assert found, (panel["title"], target["expr"])
                series += len(found)
                rows += sum(len(one["values"]) for one in found)
                count += 1
            assert series <= 12, panel["title"]
            assert rows <= 1500, panel["title"]
        for where, target in queries(board):
            if "expr" in target and where.startswith("annotation"):
                assert ask(server, target["expr"], RANGES[span], 100) == []  # the database was never away
    assert count >= 15


def test_the_shipped_rules_are_loaded_without_fault(server: httpx.Client) -> None:
    eventually(lambda: "unknown" not in {rule["health"] for rule in _rules(server)}, seconds=90)
    assert {rule["health"] for rule in _rules(server)} == {"ok"}
    assert {rule["name"] for rule in _rules(server) if rule["state"] == "firing"} >= {"Watchdog"}


def _rules(client: httpx.Client) -> list[dict[str, Any]]:
    groups = client.get("/api/v1/rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_a_number_is_the_one_that_the_daemon_exposes(server: httpx.Client, filled: Filled) -> None:
    page = filled.context.metrics.exposition().decode()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    scores = [sample.value for sample in samples if sample.name == "monitor_drift_score"]
    found = server.get("/api/v1/query", params={"query": "max(monitor_drift_score)", "time": END}).json()
    assert float(found["data"]["result"][0]["value"][1]) == pytest.approx(max(scores))
