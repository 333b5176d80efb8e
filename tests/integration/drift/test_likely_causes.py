"""An incident says what it is likely to be: drifts of known cause, through Postgres."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from seven_cameras import (
    BASELINE,
    DAY,
    DAYS,
    RAMP,
    START,
    line,
    plant,
)

from monitor.cli.main import main
from monitor.records import AlertEvent
from monitor.settings import Settings
from monitor.store import alerts, incidents, rankings
from monitor.store.database import Database


def _of_cam_2(moved: Mapping[str, np.ndarray], database: Database, folder: Path) -> dict[str, AlertEvent]:
    """Every incident's opening, by key, where only cam-2 moved (in sds by day and signal)."""
    one = line(database, folder, plant(5, {("cam-2", signal): sds for signal, sds in moved.items()}))
    one.write(BASELINE, DAYS)
    one.tick(DAYS - 1)
    with database.begin() as conn:
        keys = [found.key for found in incidents.read(conn, "line")]
        return {key: alerts.events(conn, key)[-1] for key in keys}


def test_a_lamp_that_fades_is_named_as_the_likely_cause(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = _of_cam_2({"brightness": -2 * RAMP, "confidence": -RAMP}, database, tmp_path)
    why = told["line/incident/v1/north / cam-2/optics"].evidence
    first, second = why["causes"]
    assert first["name"] == "lamp"
    assert "brightness" in first["signals"]
    assert 1 >= first["share"] >= second["share"] > 0
    assert why["sentence"].startswith(why["finding"])
    assert f"Likely {first['text']} ({100 * first['share']:.0f} %), or {second['text']}" in why["sentence"]
    assert why["sentence"].endswith(f"First: {first['first']}")
    # 0.08 false alarms a month: one in 12.5 months.
    assert why["finding"].endswith("; by chance a camera alarms about once in 12 months.")
    monkeypatch.setenv("MONITOR_DATABASE_URL", str(settings.database_url))
    assert main(["incidents", "show", "line/incident/v1/north / cam-2/optics"]) == 0
    assert f"likely    {100 * first['share']:.0f} % a lamp ages or fails" in capsys.readouterr().out


def test_a_lens_that_jumps_is_named_as_the_likely_cause(database: Database, tmp_path: Path) -> None:
    jump = np.where(np.arange(DAYS) >= 22, 1.5, 0.0)
    told = _of_cam_2({"sharpness": 2 * jump, "brightness": jump, "confidence": -jump}, database, tmp_path)
    for event in told.values():
        assert event.evidence["causes"][0]["name"] == "lens", event.evidence["sentence"]
    assert any(key.endswith("cam-2/optics") for key in told)


def test_a_lens_swapped_while_a_lamp_ages_is_named_beside_it_and_nobody_is_told_again(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swapped = np.where(np.arange(DAYS) >= DAYS - 2, -6.0, 0.0)
    moved = {("cam-2", "brightness"): -2 * RAMP, ("cam-2", "sharpness"): swapped}
    one = line(database, tmp_path, plant(5, moved))
    one.write(BASELINE, DAYS)
    one.tick(DAYS - 1)
    key = "line/incident/v1/north / cam-2/optics"
    with database.begin() as conn:
        (kept,) = incidents.read(conn, key=key)
        (told,) = alerts.events(conn, key)
        course = rankings.of(conn, kept)
    assert told.evidence["causes"][0]["name"] == "lamp", "what was said when it opened stays"
    assert kept.incident.signals == ("brightness", "sharpness")
    assert [cause["name"] for cause in course[-1].causes] == ["lens", "lamp"]
    assert [cause["signals"] for cause in course[-1].causes] == [["sharpness"], ["brightness"]]
    assert (course[0].since, course[-1].day) == (kept.incident.opened_on, (START + (DAYS - 1) * DAY).date())
    days = [day for said in course for day in (said.since, said.day)]
    assert days == sorted(days), "one after the other"
    monkeypatch.setenv("MONITOR_DATABASE_URL", str(settings.database_url))
    assert main(["incidents", "show", key]) == 0
    shown = capsys.readouterr().out
    assert f"When it opened, on {kept.incident.opened_on}: Optics of north / cam-2 (line v1) moved" in shown
    assert f"Now, as of {course[-1].day}: Optics of north / cam-2 (line v1), " in shown
    assert shown.index("likely    ") < shown.index("% a lens was swapped") < shown.index("held likely")
    assert "\n  when it opened            a lamp ages or fails (" in shown
    assert main(["incidents", "show", key, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [said["causes"][0]["name"] for said in plain["course"]][-1] == "lens"
    assert "lens" in plain["now"]["said"]
    assert "lens" not in plain["fired"]["said"]


def test_a_lens_that_was_set_right_again_gives_way_to_the_lamp(database: Database, tmp_path: Path) -> None:
    swapped = np.where((np.arange(DAYS) >= 17) & (np.arange(DAYS) < 20), -4.0, 0.0)
    one = line(database, tmp_path, plant(5, {("cam-2", "brightness"): -2 * RAMP, ("cam-2", "sharpness"): swapped}))
    one.write(BASELINE, DAYS)
    for day in range(BASELINE, DAYS):
        one.tick(day)
    with database.begin() as conn:
        (kept,) = incidents.read(conn, key="line/incident/v1/north / cam-2/optics")
        (told,) = alerts.events(conn, kept.key)
        course = rankings.of(conn, kept)
    assert "lens" in [cause["name"] for cause in told.evidence["causes"]]
    assert course[-1].causes[0]["name"] == "lamp"
    assert "sharpness" not in course[-1].causes[0]["signals"]
