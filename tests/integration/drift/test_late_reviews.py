"""Reviews come days after their frames: what they say is told as soon as they say it, and once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from seven_cameras import BASELINE, DAY, DAYS, START, Line, line, plant

from monitor.feedback import ReviewCell, ReviewPlace
from monitor.store import incidents, measurements, overrides
from monitor.store.database import Database
from monitor.watch import ALARM

CAMERA = "cam-5"
KEY = f"line/incident/v1/south / {CAMERA}/model"
LATE = 2
"""Days after which a frame's review has come."""


@pytest.fixture
def reviewed(database: Database, tmp_path: Path) -> Line:
    """A plant in which nothing drifts."""
    return line(database, tmp_path, plant(5, {}))


def review(plant: Line, day: int, corrected: int, of: int = 40) -> None:
    """`corrected` of so many reviewed detections of a day, all of one hour and band."""
    at = START + day * DAY + timedelta(hours=14)
    place = ReviewPlace("line", "v1", at, "", CAMERA, False, "", "", "carton", 3, True)
    with plant.database.begin() as conn:
        cell = ReviewCell(confirmed=of - corrected, false_positive=corrected)
        overrides.replace(conn, {("line", "v1", at)}, {place: cell})


def told(plant: Line) -> list[incidents.Kept]:
    with plant.database.begin() as conn:
        return [one for one in incidents.read(conn, key=KEY) if "override" in one.incident.signals]


def alarms(plant: Line) -> list[int]:
    """The days on which the sum over reviews passed its limit."""
    with plant.database.begin() as conn:
        found = measurements.read(conn, "line", signal="override", measure=ALARM)
    return [(one.window.start - START).days for one in found]


@pytest.mark.parametrize("late", [0, LATE])
def test_corrections_that_rise_are_an_incident_however_late_the_reviews_come(reviewed: Line, late: int) -> None:
    for day in range(BASELINE):
        review(reviewed, day, 4)
    for day in range(BASELINE, DAYS):
        reviewed.write(day, day + 1)
        if day - late >= BASELINE:
            review(reviewed, day - late, 16)
        reviewed.tick(day)
    (incident,) = told(reviewed)
    assert (incident.incident.opened_on - START.date()).days == min(alarms(reviewed)) + late
    assert (incident.incident.onset - START.date()).days == BASELINE
    before = reviewed.all_rows()
    assert reviewed.tick(DAYS - 1) == (0, 0)
    assert reviewed.all_rows() == before
