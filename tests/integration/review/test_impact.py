"""Business events and the frames of the same days: what a window is held against."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from plants import NOW, START, contract, frame, take

from monitor.drift import baseline
from monitor.feedback import EventRecord
from monitor.records import Window
from monitor.review import impact
from monitor.store import business, measurements
from monitor.store.database import Database

DAY = timedelta(days=1)
MIDNIGHT = START.replace(hour=0)


def test_a_kind_is_held_against_the_days_since_the_plant_told_of_it(database: Database, tmp_path: Path) -> None:
    """40 frames a day; false alarms are told from the first day on, a work order for each ten frames from the
    seventh: over the baseline of eight days that is 100 for 1,000 frames, and not 25."""
    contracts = contract(tmp_path / "contracts")
    (loaded,) = contracts.values()
    frames = [frame(f"f{day}-{n}", 1440 * day + n, []) for day in range(10) for n in range(40)]
    take(database, contracts, "frames.jsonl", frames)
    told = [("false_alarm", 0, 0)] + [("work_order", day, n) for day in range(6, 10) for n in range(4)]
    records = [
        EventRecord(f"{kind}-{day}-{n}", kind, START + day * DAY, "line", version="v1", minutes=8.0)  # type: ignore[arg-type]
        for kind, day, n in told
    ]
    period = Window(MIDNIGHT, MIDNIGHT + 8 * DAY)
    baseline.from_logs(database, loaded, "v1", period, NOW)
    with database.begin() as conn:
        business.insert(conn, None, "plant", records, [one.event_id.encode()[:16].ljust(16) for one in records])
    impact.run(database, loaded, NOW)
    with database.begin() as conn:
        found = measurements.read(
            conn, "line", signal="business", measure="work_order_rate", camera="", start=MIDNIGHT + 9 * DAY
        )
    whole = next(m for m in found if not m.key.class_name and not m.key.scope.slice_name)
    assert (whole.value, whole.n) == (100.0, 40)
    assert (whole.baseline_value, whole.baseline_n) == (100.0, 80)


def test_a_version_that_takes_over_at_noon_answers_for_the_afternoon(database: Database, tmp_path: Path) -> None:
    """One work order for ten frames all day, none of which names its version: both versions have 100 for 1,000."""
    contracts = contract(tmp_path / "contracts")
    (loaded,) = contracts.values()
    parts = [("v1", 0, 40), ("v2", 6, 50)]
    frames = [
        frame(f"{name}-{n}", 60 * hours + n, [], version=name) for name, hours, many in parts for n in range(many)
    ]
    take(database, contracts, "frames.jsonl", frames)
    records = [
        EventRecord(f"{name}-{n}", "work_order", START + timedelta(hours=hours, minutes=9 * n), "line")
        for name, hours, many in parts
        for n in range(many // 10)
    ]
    with database.begin() as conn:
        business.insert(conn, None, "plant", records, [one.event_id.encode()[:16].ljust(16) for one in records])
    impact.run(database, loaded, NOW)
    with database.begin() as conn:
        found = measurements.read(
            conn, "line", signal="business", measure="work_order_rate", camera="", class_name="", slice_name=""
        )
    assert {m.key.scope.version: (m.value, m.n) for m in found} == {"v1": (100.0, 40), "v2": (100.0, 50)}
