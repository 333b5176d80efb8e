"""What retention keeps for the sake of what is open, and how reviews go: by their own period, with their counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plants import NOW, START, contract, frame, review, take
from sqlalchemy import text

from monitor.cli.retention import outlook, report
from monitor.ingest import retention
from monitor.records import Baseline, Window
from monitor.review import recount, stage
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import baselines, incidents
from monitor.store.database import Database
from monitor.store.incidents import Watch
from monitor.watch import Incident

DAY = timedelta(days=1)
MIDNIGHT = START.replace(hour=0)
PERIODS = "[retention]\nraw_days = 30\nrollup_days = 40\nreview_days = 60\n"
AFTER_ALL = MIDNIGHT + 200 * DAY
Contracts = dict[str, LoadedContract]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    contract(tmp_path / "contracts")
    path = tmp_path / "contracts" / "line.toml"
    path.write_text(path.read_text(encoding="utf-8") + PERIODS, encoding="utf-8")
    return {"line": load_contract(path)}


@pytest.fixture(autouse=True)
def plant(database: Database, contracts: Contracts) -> None:
    """A frame and its review on each of five days, two reviews of frames that never came, a work order."""
    for day in range(5):
        minute = day * 24 * 60
        take(database, contracts, f"{day}.jsonl", [frame(f"e{day}", minute, [("carton", 0.9)])])
        said = [review(f"r{day}", f"e{day}", minute + 60, [{"verdict": "confirmed", "index": 0}])]
        take(database, contracts, f"{day}.reviews.jsonl", said)
    for day in (0, 4):
        take(database, contracts, f"lost{day}.reviews.jsonl", [review(f"w{day}", "never", day * 24 * 60, [])])
    order = {"event_id": "o1", "kind": "work_order", "at": START.isoformat(), "model": "line", "version": "v1"}
    take(database, contracts, "a.events.jsonl", [order])
    assert stage.settle(database) == 5


def days_of(database: Database, table: str, column: str) -> list[int]:
    """The days, counted from START, on which a table has rows."""
    with database.begin() as conn:
        rows = conn.execute(text(f"SELECT DISTINCT CAST({column} AS date) FROM {table} ORDER BY 1")).scalars()
        return [(day - START.date()).days for day in rows if day is not None]


def of(database: Database, query: str) -> list[Any]:
    with database.begin() as conn:
        return list(conn.execute(text(query)).scalars())


def test_reviews_go_by_a_period_of_their_own_with_what_is_counted_of_them(
    database: Database, contracts: Contracts
) -> None:
    now = MIDNIGHT + 62 * DAY + timedelta(hours=5)  # 60 days before is the second day of the five
    planned = retention.plan(database, contracts, now)
    assert (planned.reviews, planned.waiting) == ({"line": 2}, 1)
    assert "  2 reviews of line from before 2026-03-04" in outlook(planned)
    assert "  1 reviews from before 2026-03-04 whose frame never came" in outlook(planned)
    taken = retention.run(database, contracts, now)
    assert taken.reviews == 3
    assert ", 3 reviews, " in report(taken)[0]
    assert days_of(database, "review", "captured_at") == days_of(database, "review_rollup", "start_at") == [2, 3, 4]
    assert of(database, "SELECT review_id FROM review WHERE captured_at IS NULL") == ["w4"]
    found = recount.run(database, Window(START, START + 5 * DAY))
    assert (found.compared > 0, found.differing) == (True, 0)
    assert retention.run(database, contracts, now).total == 0


def test_the_ledger_keeps_the_batches_of_reviews_and_events_that_are_kept(
    database: Database, contracts: Contracts
) -> None:
    retention.run(database, contracts, MIDNIGHT + 62 * DAY)
    kept = ["2.reviews.jsonl", "3.reviews.jsonl", "4.reviews.jsonl", "a.events.jsonl", "lost4.reviews.jsonl"]
    assert of(database, "SELECT file_name FROM batch ORDER BY 1") == kept
    for table in ("review", "business_event"):
        assert of(database, f"SELECT count(*) FROM {table} WHERE batch_id NOT IN (SELECT batch_id FROM batch)") == [0]


def open_incident(database: Database) -> str:
    """One that began on the third day and goes on, against a baseline of the first."""
    frozen = Baseline(0, "line", "v1", "logs", MIDNIGHT, MIDNIGHT + DAY, 1, "ab", "c0", NOW)
    newer = Baseline(0, "line", "v1", "logs", MIDNIGHT + 4 * DAY, MIDNIGHT + 5 * DAY, 1, "ac", "c0", NOW)
    onset, last = date(2026, 3, 4), date(2026, 3, 5)
    one = Incident(("cam-1",), "optics", last, onset, ("brightness",), frozenset({("cam-1",)}), last)
    with database.begin() as conn:
        old = baselines.save(conn, frozen, {}).id
        baselines.save(conn, newer, {})  # so that the incident alone holds the first
        return incidents.open_new(conn, Watch("line", "v1", ""), old, one).key


def test_what_an_open_incident_rests_on_stays_until_it_is_closed(database: Database, contracts: Contracts) -> None:
    key = open_incident(database)
    why = {v.day: v.why for v in retention.plan(database, contracts, AFTER_ALL).days if not v.goes}
    assert why[date(2026, 3, 4)] == why[date(2026, 3, 5)] == f"the open incident {key}"
    assert why[date(2026, 3, 2)].endswith(f"which the open incident {key} rests on")
    retention.run(database, contracts, AFTER_ALL)
    held = [0, 2, 3]
    assert days_of(database, "frame", "captured_at") == days_of(database, "rollup", "start_at") == held
    assert days_of(database, "review", "captured_at") == days_of(database, "review_rollup", "start_at") == held
    with database.begin() as conn:
        conn.execute(text("UPDATE incident SET closed_on = '2026-04-01'"))
    retention.run(database, contracts, AFTER_ALL)
    for table in ("frame", "rollup", "review", "review_rollup"):
        assert of(database, f"SELECT count(*) FROM {table}") == [0]


def test_a_session_in_another_time_zone_holds_the_same_days(database: Database, contracts: Contracts) -> None:
    open_incident(database)
    with database.begin() as conn:
        here = retention.retention.holds(conn, NOW)
        conn.execute(text("SET LOCAL timezone = 'Pacific/Kiritimati'"))
        there = retention.retention.holds(conn, NOW)
    assert here == there
    assert any(hold.start == datetime(2026, 3, 4, tzinfo=UTC) for hold in here)
