"""A model whose one rule watches light, and windows of it written by hand, as drift would write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.alerts.evaluate import alert_key
from monitor.records import Baseline, Measurement, Scope, SeriesKey, Window
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import baselines, measurements
from monitor.store.database import Database
from monitor.store.measurements import MeasuredWindow

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CONTRACT = """
[model]
name = "presses"
[[classes]]
name = "dent"
[cameras]
policy = "open"
[[alerts]]
name = "light"
signal = "brightness"
measure = "psi"
above = 0.2
for_windows = 1
clear_windows = 1
"""
LOADED = LoadedContract(parse_contract(CONTRACT), CONTRACT, "c0ffee", Path("presses.toml"))


def key_of(camera: str) -> str:
    return alert_key("light", SeriesKey(Scope("presses", "v1", camera=camera), "brightness"))


def freeze(database: Database) -> int:
    """The baseline's number."""
    frozen = Baseline(0, "presses", "v1", "images", None, None, 5040, "ab", "c0", START)
    with database.begin() as conn:
        return baselines.save(conn, frozen, {}).id


def measure(database: Database, baseline: int, number: int, values: Sequence[float]) -> datetime:
    """PSI of brightness of cam-1, cam-2, ... on a day; returns an hour after its end."""
    window = Window(START + number * DAY, START + (number + 1) * DAY)
    found = [
        Measurement(
            SeriesKey(Scope("presses", "v1", camera=f"cam-{camera}"), "brightness", recipe="full"),
            "psi", window, value, "ok", 60, 1680, baseline, "c0ffee", noise=0.0,
        )
        for camera, value in enumerate(values, 1)
    ]  # fmt: skip
    with database.begin() as conn:
        measurements.claim_window(conn, "presses", "v1", MeasuredWindow(window, 60, baseline, "c0ffee"))
        measurements.save(conn, found)
    return window.end + HOUR
