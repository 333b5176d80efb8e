"""Replay and retention, killed at a COMMIT and run again, end where they would have ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from killing import killed_everywhere
from sqlalchemy import text

from monitor.ingest import retention, stage
from monitor.ingest.replay import replay
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database
from monitor.store.rejects import Which

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 4
DAY = timedelta(days=1)
CONTRACT = """
[model]
name = "a"
[cameras]
list = [{{ name = "cam-1" }}{more}]
[[classes]]
name = "carton"
[retention]
raw_days = 30
rollup_days = 40
"""
Contracts = dict[str, LoadedContract]


def contract(folder: Path, more: str = "") -> Contracts:
    (folder / "a.toml").write_text(CONTRACT.format(more=more), encoding="utf-8")
    return {"a": load_contract(folder / "a.toml")}


@pytest.fixture
def filled(database: Database, tmp_path: Path) -> Path:
    """Four days of two cameras, one of which the contract did not know; gives the folder."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for day in range(DAYS):
        at = (START + day * DAY + timedelta(hours=9)).isoformat()
        lines = [
            {"event_id": f"{day}{camera}", "captured_at": at, "model": "a", "version": "1", "camera": camera}
            | {"width": 9, "height": 9}
            for camera in ("cam-1", "cam-2")
        ]
        (incoming / "x.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        stage.run(database, tmp_path, contract(tmp_path), START + (day + 1) * DAY)
    return tmp_path


def tables(database: Database) -> dict[str, list[str]]:
    """Everything that the two write, but for the numbers of batches."""
    questions = {
        "frame": "SELECT to_jsonb(t) - 'batch_id' FROM frame t",
        "frame_key": "SELECT to_jsonb(t) FROM frame_key t",
        "rollup": "SELECT to_jsonb(t) FROM rollup t",
        "batch": "SELECT to_jsonb(t) - 'batch_id' FROM batch t",
        "reject": "SELECT to_jsonb(t) - 'batch_id' - 'replay_batch_id' FROM reject t",
        "dropped_day": "SELECT to_jsonb(t) FROM dropped_day t",
        "partitions": "SELECT to_jsonb(relname) FROM pg_class WHERE relname ~ '^(dropped_)?frame_\\d+$'",
    }
    with database.begin() as conn:
        return {
            name: sorted(map(repr, conn.execute(text(question)).scalars())) for name, question in questions.items()
        }


def test_a_replay_killed_at_every_commit_stores_all_and_nothing_twice(
    settings: Settings, database: Database, filled: Path
) -> None:
    mended, now = contract(filled, ', { name = "cam-2" }'), START + 5 * DAY
    kills = killed_everywhere(settings, lambda database: replay(database, mended, Which(), now))
    assert kills >= 4
    with database.begin() as conn:
        assert conn.execute(text("SELECT count(*), count(DISTINCT event_id) FROM frame")).one() == (8, 8)
        assert set(conn.execute(text("SELECT state FROM reject")).scalars()) == {"replayed"}
        of = "rollup JOIN series USING (series_id) WHERE signal = 'resolution'"
        assert conn.execute(text(f"SELECT sum(n) FROM {of}")).scalar_one() == 8


def test_retention_killed_at_every_commit_ends_where_it_would_have(
    settings: Settings, database: Database, filled: Path
) -> None:
    rules, now = contract(filled), START + 33 * DAY
    kills = killed_everywhere(settings, lambda database: retention.run(database, rules, now))
    assert kills >= 8
    killed = tables(database)
    assert [len(killed[name]) for name in ("frame", "frame_key", "dropped_day", "partitions")] == [1, 1, 3, 1]
    with database.begin() as conn:
        conn.execute(text("TRUNCATE batch, reject, frame_key, frame, rollup, dropped_day"))
    for day in range(DAYS):
        path = filled / "done" / f"{START + (day + 1) * DAY:%Y-%m-%d}" / "x.jsonl"
        path.rename(filled / "incoming" / "x.jsonl")
        stage.run(database, filled, rules, START + (day + 1) * DAY)
    retention.run(database, rules, now)
    assert tables(database) == killed
