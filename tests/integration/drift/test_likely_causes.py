"""An incident says what it is likely to be: drifts of known cause, through Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from seven_cameras import (
    BASELINE,
    DAYS,
    RAMP,
    line,
    plant,
)

from monitor.cli.main import main
from monitor.records import AlertEvent
from monitor.settings import Settings
from monitor.store import alerts, incidents
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
