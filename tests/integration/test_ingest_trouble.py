"""What must never stop the intake: one bad file, a full quarantine, another worker at the same files."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.errors import FilesLeft
from monitor.ingest import workers
from monitor.ingest.batch import Summary
from monitor.ingest.spool import Spool, Waiting
from monitor.ingest.stage import drain, load
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
[model]
name = "line"
[cameras]
list = [{ name = "cam-1" }]
[[classes]]
name = "carton"
"""
Contracts = Mapping[str, LoadedContract]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    return {"line": load_contract(tmp_path / "line.toml")}


def line(number: int, **said: Any) -> bytes:
    """A good record; `said` replaces or adds fields."""
    good = {"event_id": f"e{number}", "captured_at": "2026-03-02T08:00:00Z", "model": "line", "version": "v1"}
    return json.dumps(good | {"camera": "cam-1", "width": 64, "height": 48} | said).encode()


def drop(folder: Path, name: str, *lines: bytes) -> None:
    path = folder / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(each + b"\n" for each in lines))


def left(folder: Path, name: str) -> list[str]:
    """The files below one of the spool's folders."""
    return sorted(str(p.relative_to(folder / name)) for p in (folder / name).rglob("*") if p.is_file())


def column(database: Database, query: str) -> list[Any]:
    with database.begin() as conn:
        return list(conn.execute(text(query)).scalars())


def test_a_nul_in_a_fields_name_costs_its_line_alone(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", b'{"a\\u0000b":1}', line(1))
    drop(tmp_path, "b.jsonl", line(2))
    assert drain(database, tmp_path, contracts, NOW).stored == 2
    [detail] = column(database, "SELECT detail FROM reject")
    assert "`a\\x00b`" in detail
    assert left(tmp_path, "incoming") == []


def test_a_file_the_database_refuses_stays_and_the_others_go_on(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    for number, name in enumerate("abc"):
        drop(tmp_path, f"{name}.jsonl", line(number))
    with database.begin() as conn:
        conn.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.file_name = 'b.jsonl'"
                " THEN RAISE character_not_in_repertoire; END IF; RETURN NEW; END $$"
            )
        )
        conn.execute(text("CREATE TRIGGER refuse BEFORE UPDATE ON batch FOR EACH ROW EXECUTE FUNCTION refuse()"))
    with pytest.raises(FilesLeft, match=r"b\.jsonl.*character_not_in_repertoire") as refused:
        drain(database, tmp_path, contracts, NOW)
    assert "a.jsonl" not in str(refused.value)
    assert left(tmp_path, "incoming") == ["b.jsonl"]
    assert column(database, "SELECT event_id FROM frame ORDER BY 1") == ["e0", "e2"]
    with database.begin() as conn:
        conn.execute(text("DROP TRIGGER refuse ON batch"))
    assert drain(database, tmp_path, contracts, NOW).stored == 1


def test_a_file_whose_disk_fails_does_not_stop_the_others(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "b.jsonl", line(1))
    # Reading this one from its beginning is an input/output error, as on a failing disk.
    failing = Waiting(Path("/proc/self/mem"), "spool", "a.jsonl")
    with pytest.raises(FilesLeft, match="mem cannot be read: Input/output error"):
        load(database, [failing, *Spool(tmp_path).waiting()], contracts, NOW)
    assert column(database, "SELECT event_id FROM frame") == ["e1"]


def between(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """Have another worker do `other` after the first look into the ledger, before the batch is entered."""
    real, waiting = workers.answered, [other]

    def answered(*args: Any) -> Any:
        if waiting:
            waiting.pop()()
        return real(*args)

    monkeypatch.setattr(workers, "answered", answered)


def test_what_another_worker_just_took_in_is_done_and_not_quarantined(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "a.jsonl", line(1), line(2))
    between(monkeypatch, lambda: load(database, Spool(tmp_path).waiting(), contracts, NOW))
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.lines, summary.repeated, summary.good_before, summary.quarantined) == (2, 2, 2, 0)
    assert left(tmp_path, "done") == ["2026-03-02/a.jsonl"]
    assert left(tmp_path, "quarantine") == []


def test_what_another_worker_just_rejected_is_quarantined_for_the_true_reason(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "a.jsonl", line(1, camera="cam-9"), line(2, model="x"))
    between(monkeypatch, lambda: load(database, Spool(tmp_path).waiting(), contracts, NOW))
    assert drain(database, tmp_path, contracts, NOW).quarantined == 1
    reason = (tmp_path / "quarantine" / "a.jsonl.reason").read_text(encoding="utf-8")
    assert "None of the 2 lines" in reason
    assert "unknown_camera 1" in reason
    assert "unknown_model 1" in reason


def test_a_rejected_line_that_came_with_another_file_meanwhile_counts_as_good(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", line(1, camera="cam-2"))
    assert drain(database, tmp_path, contracts, NOW).quarantined == 1
    (tmp_path / "line.toml").write_text(CONTRACT.replace("cam-1", "cam-2"), encoding="utf-8")
    mended = {"line": load_contract(tmp_path / "line.toml")}
    drop(tmp_path, "b.jsonl", line(1, camera="cam-2"), line(2, camera="cam-2"))
    (tmp_path / "quarantine" / "a.jsonl").rename(tmp_path / "incoming" / "c.jsonl")
    assert drain(database, tmp_path, mended, NOW).stored == 2
    assert left(tmp_path, "done") == ["2026-03-02/b.jsonl", "2026-03-02/c.jsonl"]


@pytest.mark.parametrize("lines", [[line(1)], [line(1, camera="cam-9")]], ids=["good", "bad"])
def test_a_file_that_another_worker_moved_is_not_moved_again(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]
) -> None:
    drop(tmp_path, "a.jsonl", *lines)
    between(monkeypatch, lambda: drain(database, tmp_path, contracts, NOW))
    assert drain(database, tmp_path, contracts, NOW).quarantined == 0
    found = left(tmp_path, "done") + left(tmp_path, "quarantine")
    assert found in (["2026-03-02/a.jsonl"], ["a.jsonl", "a.jsonl.reason"])


def test_two_workers_at_once_share_the_files(database: Database, tmp_path: Path, contracts: Contracts) -> None:
    for number in range(20):
        drop(tmp_path, f"good-{number:02}.jsonl", line(number), line(100 + number))
        drop(tmp_path, f"worse-{number:02}.jsonl", line(number, camera="cam-9"))
    start = threading.Barrier(2)

    def work(_: int) -> Summary:
        start.wait(10)
        return drain(database, tmp_path, contracts, NOW)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(work, range(2)))
    assert sum(each.stored for each in found) == 40
    assert sum(each.quarantined for each in found) == 20
    # A name that the other worker held for a moment is numbered.
    done, aside = ([name.replace("-2.jsonl", ".jsonl") for name in left(tmp_path, f)] for f in ("done", "quarantine"))
    assert done == [f"2026-03-02/good-{number:02}.jsonl" for number in range(20)]
    assert aside == [f"worse-{number:02}.jsonl{end}" for number in range(20) for end in ("", ".reason")]
    reasons = {path.read_text(encoding="utf-8")[:60] for path in (tmp_path / "quarantine").glob("*.reason")}
    assert reasons == {"None of the 1 lines could be taken in: unknown_camera 1. Table"[:60]}


def test_a_day_that_is_a_file_keeps_no_frame_out(database: Database, tmp_path: Path, contracts: Contracts) -> None:
    drop(tmp_path, "a.jsonl", line(1))
    drop(tmp_path, "b.jsonl", line(2))
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "2026-03-02").write_text("", encoding="utf-8")
    with pytest.raises(FilesLeft, match=r"(?s)a\.jsonl.*b\.jsonl"):
        drain(database, tmp_path, contracts, NOW)
    assert column(database, "SELECT event_id FROM frame ORDER BY 1") == ["e1", "e2"]
    (tmp_path / "done" / "2026-03-02").unlink()
    assert drain(database, tmp_path, contracts, NOW).repeated == 2
    assert left(tmp_path, "done") == ["2026-03-02/a.jsonl", "2026-03-02/b.jsonl"]


def test_each_file_is_said_once_in_a_line_that_adds_up(
    database: Database, tmp_path: Path, contracts: Contracts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="monitor.ingest")
    box = {"class": "pallet", "confidence": 0.5, "box": [1, 1, 9, 9]}
    drop(tmp_path, "a.jsonl", line(1, detections=[box, box]), line(2), line(3, camera="cam-9"))
    drop(tmp_path, "b.jsonl", line(1, detections=[box, box]), b"", line(4))
    drop(tmp_path, "c\n.jsonl", line(5, camera="cam-9"))
    drain(database, tmp_path, contracts, NOW)
    assert caplog.messages == [
        "a.jsonl: 3 lines = 2 stored + 0 duplicate + 1 rejected (unknown_camera 1); "
        "2 detections set aside (unknown_class 2)",
        "b.jsonl: 3 lines = 1 stored + 1 duplicate + 0 rejected + 1 blank",
        "c\\n.jsonl: 1 line = 0 stored + 0 duplicate + 1 rejected (unknown_camera 1); in quarantine",
    ]
    caplog.clear()
    drop(tmp_path, "d.jsonl", line(1, detections=[box, box]), line(2), line(3, camera="cam-9"))
    drain(database, tmp_path, contracts, NOW)
    assert caplog.messages == ["d.jsonl: 3 lines = 0 stored + 0 duplicate + 0 rejected + 3 taken in before"]
    caplog.clear()
    (tmp_path / "done" / "2026-03-02").rename(tmp_path / "done" / "2026-03-01")
    (tmp_path / "done" / "2026-03-02").write_text("", encoding="utf-8")
    drop(tmp_path, "e.jsonl", line(6))
    for _ in range(3):
        with pytest.raises(FilesLeft):
            drain(database, tmp_path, contracts, NOW)
    assert caplog.messages == ["e.jsonl: 1 line = 1 stored + 0 duplicate + 0 rejected"]
