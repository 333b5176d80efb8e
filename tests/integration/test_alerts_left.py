"""Alerts on what has left the contract: a camera, a class, a stage, a condition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.alerts import stage
from monitor.alerts.homeless import homeless
from monitor.records import Baseline, Measurement, Scope, SeriesKey, Window
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import alerts, baselines, measurements
from monitor.store.database import Database
from monitor.store.measurements import MeasuredWindow

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = "presses"
CONTRACT = """
[model]
name = "presses"
[[classes]]
name = "dent"
[[classes]]
name = "scratch"
[[cameras.list]]
name = "cam-1"
[[cameras.list]]
name = "cam-2"
[[conditions]]
name = "lighting"
values = ["day", "night"]
[[conditions]]
name = "shift"
"""


def loaded(said: str) -> LoadedContract:
    return LoadedContract(parse_contract(said), said, "c0ffee", Path("presses.toml"))


def silent(database: Database, day: int, camera: str, hours: float, baseline: int) -> None:
    """A window in which a camera that never is silent for more than an hour was so for more, as drift measures it."""
    window = Window(START + day * DAY, START + (day + 1) * DAY)
    facts: dict[str, Any] = {"baseline_value": 1.0}
    key = SeriesKey(Scope(MODEL, "v1", camera=camera), "status")
    row = Measurement(key, "silence", window, hours, "ok", 500, 14_000, baseline, "c0ffee", **facts)
    with database.begin() as conn:
        measurements.claim_window(conn, MODEL, "v1", MeasuredWindow(window, 500, baseline, "c0ffee"))
        measurements.save(conn, [row])


def test_a_camera_that_was_taken_down_is_silent_for_nobody(database: Database) -> None:
    with database.begin() as conn:
        frozen = Baseline(0, MODEL, "v1", "logs", START - 28 * DAY, START, 14_000, "ab", "c0", START)
        number = baselines.save(conn, frozen, {}).id
    key = "presses/camera-silent/v1/cam-2/-/-"

    def said(contract: str, day: int) -> list[str]:
        stage.run(database, loaded(contract), START + (day + 1) * DAY)
        with database.begin() as conn:
            return [event.to_state for event in reversed(alerts.events(conn, key))]

    silent(database, 0, "cam-2", 12.0, number)
    assert said(CONTRACT, 0) == ["firing"]
    without = CONTRACT.replace('[[cameras.list]]\nname = "cam-2"\n', "")
    silent(database, 1, "cam-2", 24.0, number)
    assert said(without, 1) == ["firing", "resolved"]
    # Its baseline knows it still, so that each day says that it is silent.
    for day in (2, 3):
        silent(database, day, "cam-2", 24.0, number)
        assert said(without, day) == ["firing", "resolved"]
    with database.begin() as conn:
        assert alerts.events(conn, key)[0].evidence["reason"] == "camera cam-2 is not in the contract any more"
    silent(database, 4, "cam-2", 24.0, number)
    assert said(CONTRACT, 4) == ["firing", "resolved", "firing"]


def of(signal: str = "confidence", class_name: str = "", **scope: str) -> SeriesKey:
    return SeriesKey(Scope(MODEL, "v1", **scope), signal, class_name)


GONE = "is not in the contract any more"
STAGES = 'name = "presses"\nstages = ["screen", "verify"]'


@pytest.mark.parametrize(
    ("change", "series", "why"),
    [
        (("", ""), of(camera="cam-2"), None),
        (('name = "cam-2"', 'name = "cam-3"'), of(camera="cam-2"), f"camera cam-2 {GONE}"),
        (('name = "cam-2"', 'name = "cam-3"\n[cameras]\npolicy = "open"'), of(camera="cam-2"), None),
        (('name = "scratch"', 'name = "crack"'), of(class_name="scratch"), f"class scratch {GONE}"),
        (('name = "scratch"', 'name = "crack"'), of("class_share", "scratch"), f"class scratch {GONE}"),
        (("[model]", 'class_policy = "open"\n[model]'), of(class_name="scar"), None),
        (("", ""), of("status", "timeout"), None),
        (("", ""), of("business", "leak"), None),
        (("", ""), of("override", "leak"), None),
        (("", ""), of(stage="screen"), f"stage screen {GONE}"),
        (('name = "presses"', STAGES), of(stage="screen"), None),
        (('name = "presses"', STAGES), of(), "the contract tells stages apart now"),
        (('name = "presses"', STAGES), of("latency_ms"), None),
        (('name = "presses"', STAGES), of("golden"), None),
        (("", ""), of(slice_name="lighting", slice_value="night"), None),
        (("", ""), of(slice_name="lighting", slice_value="__other__"), None),
        (('"night"', '"dusk"'), of(slice_name="lighting", slice_value="night"), f"lighting = night {GONE}"),
        (('"shift"', '"crew"'), of(slice_name="shift", slice_value="late"), f"condition shift {GONE}"),
        (("", ""), of("golden", camera="cam-9"), None),
        (("", ""), of("golden", slice_name="object_size", slice_value="small"), None),
    ],
)
def test_what_has_no_place_in_the_contract_any_more(
    change: tuple[str, str], series: SeriesKey, why: str | None
) -> None:
    assert homeless(parse_contract(CONTRACT.replace(*change) if change[0] else CONTRACT), series) == why
