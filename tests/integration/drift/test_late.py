"""Records that come late revise what was measured of their hour, and never what was decided on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from monitor.alerts import stage as alerts
from monitor.drift import baseline
from monitor.drift import stage as drift
from monitor.records import Window

START = datetime(2026, 3, 2, tzinfo=UTC)
"""The plant's first day."""
DAY = timedelta(days=1)


def decided(plant: Any) -> list[tuple[Any, ...]]:
    with plant.database.begin() as conn:
        return [
            tuple(row)
            for query in (
                "SELECT to_jsonb(alert) FROM alert WHERE rule = 'brightness-drift' ORDER BY alert_key",
                "SELECT * FROM alert_event ORDER BY 1",
            )
            for row in conn.execute(text(query))
        ]


def test_late_records_change_a_measurement_and_no_alert_in_either_direction(plant: Any) -> None:
    plant.send(range(7))
    baseline.from_logs(plant.database, plant.loaded, "v1", Window(START, START + 7 * DAY), START + 7 * DAY)
    plant.send(range(7, 10), cameras=("cam-1",), brightness=180)
    plant.send(range(7, 10), cameras=("cam-2",))
    now = START + 11 * DAY
    drift.run(plant.database, plant.loaded, now)
    alerts.run(plant.database, plant.loaded, now)
    before = decided(plant)
    states = {row[0]["camera"]: row[0]["state"] for row in before if isinstance(row[0], dict)}
    assert states == {"cam-1": "firing", "cam-2": "ok"}
    values = {one.key.scope.camera: one for one in _newest(plant)}
    # So many dark frames that the alert would not have fired, and so many bright ones that another would have.
    plant.send(range(8, 10), cameras=("cam-1",), frames=1400)
    plant.send(range(8, 10), cameras=("cam-2",), frames=1400, brightness=180)
    assert drift.run(plant.database, plant.loaded, now) == 2
    revised = {one.key.scope.camera: one for one in _newest(plant)}
    assert {camera: one.n for camera, one in revised.items()} == {"cam-1": 1460, "cam-2": 1460}
    assert revised["cam-1"].value < 0.15 < 0.3 < values["cam-1"].value
    assert revised["cam-2"].value > 0.3 > values["cam-2"].value
    alerts.run(plant.database, plant.loaded, now)
    assert decided(plant) == before


def _newest(plant: Any) -> list[Any]:
    found = plant.measured(signal="brightness", measure="psi", slice_name="", last=1)
    return [one for one in found if one.key.scope.camera]
