"""A live Alertmanager (Debian's): it receives, groups, sees no false end, and the end has the beginning's labels."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from daemons import eventually

from monitor.alerts import deliver
from monitor.alerts.alertmanager import AHEAD, AlertmanagerChannel
from monitor.alerts.evaluate import alert_key
from monitor.alerts.wire import Guard, Wire
from monitor.records import Alert, AlertEvent, Scope, SeriesKey, Window
from monitor.store import alerts, outbox
from monitor.store.database import Database

INTERVAL = timedelta(seconds=2)
"""In the place of a minute: what counts is how many of them pass."""
CONFIG = """
route:
  receiver: hook
  group_by: [alertname, model]
  group_wait: 100ms
  group_interval: 200ms
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


@dataclass
class Running:
    """A running Alertmanager, and what its own receiver was sent."""

    url: str
    amtool: Callable[..., list[dict[str, Any]]]
    sent: list[dict[str, Any]] = field(default_factory=list)

    def said(self, status: str) -> list[dict[str, str]]:
        """Labels of the alerts of that status in the messages that it sent, in order."""
        return [one["labels"] for body in self.sent for one in body["alerts"] if one["status"] == status]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def manager(tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Iterator[Running]:
    program, amtool = shutil.which("prometheus-alertmanager"), shutil.which("amtool")
    if program is None or amtool is None:
        missing("alertmanager", "Alertmanager is not installed (Debian's prometheus-alertmanager)")
    sent: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        config = tmp_path / "alertmanager.yml"
        config.write_text(CONFIG.format(url=f"http://127.0.0.1:{server.server_port}/"))
        port = free_port()
        with (tmp_path / "alertmanager.log").open("w") as log:
            process = subprocess.Popen(
                [program, f"--config.file={config}", f"--storage.path={tmp_path / 'data'}",
                 f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
                stdout=log, stderr=log,
            )  # fmt: skip
        url = f"http://127.0.0.1:{port}"

        def ask(*words: str) -> list[dict[str, Any]]:
            command = [amtool, f"--alertmanager.url={url}", "--output=json", *words]
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
            return list(json.loads(said) or [])

        def up() -> bool:
            try:
                return httpx.get(f"{url}/-/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            eventually(up)
            yield Running(url, ask, sent)
        finally:
            process.terminate()
            process.wait(30)
            server.shutdown()
            thread.join()


@dataclass
class Plant:
    """Alerts that fire and end by hand, and the pushing of them."""

    database: Database
    channel: AlertmanagerChannel

    def turn(self, camera: str, state: str, episode: int = 1, severity: str = "warning") -> None:
        now = datetime.now(UTC)
        series = SeriesKey(Scope("presses", "v1", camera=camera), "brightness")
        key = alert_key("light", series)
        window = Window(now - timedelta(days=1), now)
        with self.database.begin() as conn:
            known = {alert.key: alert.revision for alert in alerts.read(conn)}
            standing = "firing" if state == "firing" else "resolved"
            told = (standing, episode, 1, 0, window.start, now, 0.6, 0.5, 60, "because", known.get(key, 0))
            assert alerts.save(conn, Alert(key, series, "light", "psi", severity, *told))  # type: ignore[arg-type]
            scope = {"model": "presses", "version": "v1", "camera": camera}
            why = {"sentence": f"{camera} is {state}", "rule": "light", "severity": severity, "scope": scope}
            event = AlertEvent(key, episode, "", state, window, now, 0.6 + episode, 0.5, 60, why)
            outbox.add(conn, alerts.add_event(conn, event), event, ["alertmanager"], now)

    def push(self) -> int:
        return deliver.run(self.database, [self.channel], datetime.now(UTC))


@pytest.fixture
def plant(database: Database, manager: Running) -> Plant:
    return Plant(database, AlertmanagerChannel(manager.url, Wire(Guard.of("127.0.0.1")), INTERVAL))


def test_alertmanager_receives_groups_and_ends_with_the_labels_it_began_with(plant: Plant, manager: Running) -> None:
    for camera in ("cam-1", "cam-2"):
        plant.turn(camera, "firing")
    assert plant.push() == 2
    eventually(lambda: len(manager.said("firing")) == 2)
    assert len(manager.sent) == 1, "one message for the group"
    assert manager.sent[0]["groupLabels"] == {"alertname": "Light", "model": "presses"}
    found = manager.amtool("alert", "query")
    assert sorted(one["labels"]["camera"] for one in found) == ["cam-1", "cam-2"]
    assert all("0.6" not in value and "1.6" not in value for one in found for value in one["labels"].values())
    # The contract has meanwhile called the rule graver: the end must still be that of the alert that began.
    plant.turn("cam-1", "resolved", severity="critical")
    assert plant.push() == 1
    eventually(lambda: len(manager.said("resolved")) == 1)
    assert manager.said("resolved")[0] == found[0]["labels"] | {"camera": "cam-1"}
    assert [one["labels"]["camera"] for one in manager.amtool("alert", "query")] == ["cam-2"]
    # A second episode is the same alert again, and one.
    plant.turn("cam-1", "firing", episode=2)
    plant.push()
    eventually(lambda: len(manager.amtool("alert", "query")) == 2)


def test_a_pause_of_three_intervals_is_no_end(plant: Plant, manager: Running) -> None:
    plant.turn("cam-1", "firing")
    plant.push()
    eventually(lambda: len(manager.said("firing")) == 1)
    passes((AHEAD - 1) * INTERVAL)
    assert len(manager.amtool("alert", "query")) == 1
    plant.push()
    # Beyond the end that the first push had set: only the second one keeps it.
    passes((AHEAD - 1) * INTERVAL)
    plant.push()
    assert len(manager.amtool("alert", "query")) == 1
    assert manager.said("resolved") == []
    # A daemon that never comes back is noticed, and this is how it looks.
    eventually(lambda: manager.amtool("alert", "query") == [], 4 * AHEAD)


def test_an_alertmanager_that_forgot_is_told_again(plant: Plant, manager: Running) -> None:
    plant.turn("cam-1", "firing")
    with plant.database.begin() as conn:
        outbox.mark_sent(conn, [row.key for row in claimed(conn)], datetime.now(UTC))
    assert manager.amtool("alert", "query") == []
    assert plant.push() == 0
    eventually(lambda: len(manager.amtool("alert", "query")) == 1)
    began = len(manager.amtool("alert", "query"))
    plant.push()
    assert len(manager.amtool("alert", "query")) == began == 1


def test_what_it_is_by_now_is_told_under_the_same_labels_and_pages_nobody_again(
    plant: Plant, manager: Running
) -> None:
    plant.turn("cam-1", "firing")
    plant.push()
    eventually(lambda: len(manager.said("firing")) == 1)
    began = manager.amtool("alert", "query")[0]
    with plant.database.begin() as conn:
        (alert,) = alerts.read(conn)
        assert alerts.save(conn, replace(alert, value=3.9, low=3.5, high=4.3, n=61, reason="PSI 3.9 is above 0.5"))
    passes(INTERVAL)
    plant.push()
    eventually(lambda: "3.9" in manager.amtool("alert", "query")[0]["annotations"]["now"])
    (now,) = manager.amtool("alert", "query")
    assert now["labels"] == began["labels"]
    assert now["annotations"]["now"].startswith("PSI 3.9 is above 0.5; n 61 (window to 20")
    assert now["annotations"]["summary"] == "cam-1 is firing", "what it was when it fired stays beside it"
    passes(INTERVAL)
    assert len(manager.sent) == 1, "an annotation is no news"


def claimed(conn: Any) -> tuple[outbox.Delivery, ...]:
    now = datetime.now(UTC)
    parcel = outbox.claim(conn, ["alertmanager"], now, now)
    assert parcel is not None
    return parcel.deliveries


def passes(length: timedelta) -> None:
    """Let time pass: the Alertmanager goes by the clock of the machine."""
    over = time.monotonic() + length.total_seconds()
    eventually(lambda: time.monotonic() >= over, length.total_seconds() + 30)
