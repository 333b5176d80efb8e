"""Drift that was measured on damaged roll-ups is measured again once they are repaired, and no other is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from monitor.drift import baseline as freezing
from monitor.drift import stage
from monitor.ingest import audit
from monitor.ingest.audit import Task
from monitor.records import Window
from monitor.store import repairs

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 7 * DAY + timedelta(hours=2)
DARKER = """
    UPDATE rollup r SET bins = (SELECT array_agg(bin - 40) FROM unnest(r.bins) bin) FROM series s
    WHERE s.series_id = r.series_id AND s.signal = 'brightness' AND r.start_at >= :start AND r.start_at < :end
"""


def measured(plant: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for one in plant.measured(camera="cam-1", signal="brightness", measure="psi"):
        found.setdefault((one.window.start - START).days, []).append((one.key, one.value, one.n))
    return found


def test_only_the_windows_of_a_repair_are_measured_again(plant: Any) -> None:
    plant.send(range(7))
    freezing.from_logs(plant.database, plant.loaded, "v1", Window(START, START + 4 * DAY), NOW)
    assert stage.run(plant.database, plant.loaded, NOW) == 7
    right = measured(plant)
    day = {"start": START + 5 * DAY, "end": START + 6 * DAY}
    with plant.database.begin() as conn:
        conn.execute(text(DARKER), day)
        repairs.measure_again(conn, "line", "v1", **day)
    assert stage.run(plant.database, plant.loaded, NOW) == 1
    wrong = measured(plant)
    assert [n for n in right if right[n] != wrong[n]] == [5]
    repaired = audit.run(plant.database, Task(Window(START, NOW), repair=True), NOW)
    assert {one.place.series.signal for one in repaired.shown} == {"brightness"}
    assert stage.run(plant.database, plant.loaded, NOW) == 1
    assert measured(plant) == right
    assert stage.run(plant.database, plant.loaded, NOW) == 0
