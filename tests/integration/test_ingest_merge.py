"""Merging beside a batch that writes into the same hour: neither fails, and the sums are right whoever is first."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from monitor.ingest import batch as taking
from monitor.ingest.lines import Lines
from monitor.ingest.stage import drain, take_lines
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database

HOUR = datetime(2026, 3, 2, 11, tzinfo=UTC)
WITHIN, OVER = HOUR + timedelta(minutes=30), HOUR + timedelta(minutes=70)
Contracts = dict[str, LoadedContract]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    path = tmp_path / "line.toml"
    path.write_text('[model]\nname = "line"\n[cameras]\npolicy = "open"\n[[classes]]\nname = "carton"\n')
    return {"line": load_contract(path)}


def frame(number: int) -> Lines:
    at = (HOUR + timedelta(minutes=number)).isoformat()
    said = {"event_id": f"e{number}", "captured_at": at, "model": "line", "version": "v1", "camera": "c"}
    return Lines.of([json.dumps(said | {"width": 640, "height": 480}).encode()])


def waits_for_a_lock(database: Database) -> bool:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.begin() as conn:
        return bool(conn.execute(text(asked)).scalar_one())


def test_a_merge_that_meets_the_first_batch_since_the_hour_is_over_is_done_next_time(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running hour has rows of its batches. When it is over the first late batch writes the merged row at once;
    the merge, which does not see that row yet, waits for it and must then not fall over it."""
    take_lines(database, "s", "in time", "a", frame(1), contracts, WITHIN)
    fell: list[BaseException] = []

    def merge() -> None:
        try:
            drain(database, tmp_path, {}, OVER)
        except BaseException as error:  # noqa: BLE001 - told to the test
            fell.append(error)

    merging = threading.Thread(target=merge)
    close = taking.ledger.close_batch

    def while_it_is_merged(*said: object, **named: object) -> None:
        merging.start()
        while merging.is_alive() and not waits_for_a_lock(database):
            pass
        close(*said, **named)

    with monkeypatch.context() as patched:
        patched.setattr(taking.ledger, "close_batch", while_it_is_merged)
        take_lines(database, "s", "late", "b", frame(2), contracts, OVER)
    merging.join()
    assert fell == []
    rows = text("SELECT batch_id = 0, sum(n) FROM rollup JOIN series USING (series_id)"
                " WHERE signal = 'resolution' GROUP BY 1 ORDER BY 1")  # fmt: skip
    with database.begin() as conn:
        assert conn.execute(rows).all() == [(False, 1), (True, 1)], "both are there, in rows of their own"
    drain(database, tmp_path, {}, OVER)
    with database.begin() as conn:
        assert conn.execute(rows).all() == [(True, 2)]
