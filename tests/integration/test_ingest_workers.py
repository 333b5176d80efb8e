"""Lines that are read in processes of their own: the same tables as in one, whatever becomes of those processes."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.drift import baseline
from monitor.drift import stage as drift
from monitor.errors import DependencyAway, OtherContent, UsageError
from monitor.ingest import spool, workers
from monitor.ingest.lines import Lines, find_batches
from monitor.ingest.parse import rules_of
from monitor.ingest.prepare import pack, prepare, unpack
from monitor.ingest.stage import drain, load, take_lines
from monitor.ingest.workers import Workers
from monitor.records import Window
from monitor.spec.load import LoadedContract, load_contract
from monitor.store.database import Database

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
[model]
name = "line"
[cameras]
policy = "open"
list = [{ name = "cam-1" }]
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
[drift]
window = "2h"
min_n = 100
[retention]
raw_days = 30
"""
Contracts = dict[str, LoadedContract]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    return {"line": load_contract(tmp_path / "line.toml")}


def line(number: int, **said: Any) -> bytes:
    rng = random.Random(number)
    record = {
        "event_id": f"e{number:05}",
        "captured_at": (NOW - timedelta(hours=5) + timedelta(seconds=5 * number)).isoformat(),
        "model": "line",
        "version": "v1",
        "camera": rng.choice(["cam-1", "cam-2"]),
        "width": 640,
        "height": 480,
        "latency_ms": round(rng.uniform(5, 50), 2),
        "slices": {"lighting": rng.choice(["day", "night"])},
        "detections": [
            {"class": rng.choice(["carton", "pouch"]), "confidence": rng.random(), "box": [1, 2, 31, 42]}
            for _ in range(rng.randint(0, 3))
        ],
    }
    return json.dumps(record | said).encode()


def lines(count: int = 2500) -> list[bytes]:
    """Frames of some hours, and of every kind of bad line a few."""
    said = [line(number) for number in range(count)]
    said[7] = b"{"
    said[8] = b""
    said[9] = line(9, camera="ka\u017c", slices={"lighting": "zmierzch"})
    said[10] = line(11)
    said[2100] = line(2100, latency_ms=2e9)
    said[2200] = line(1, width=1)
    return said


def drop(folder: Path, name: str, said: list[bytes]) -> None:
    (folder / "incoming").mkdir(parents=True, exist_ok=True)
    (folder / "incoming" / name).write_bytes(b"\n".join(said) + b"\n")


def tables(database: Database) -> dict[str, list[str]]:
    queries = {
        "batch": "SELECT source, name, sha256, lines, stored, duplicate, rejected, blank, detections_rejected"
        " FROM batch",
        "reject": "SELECT line_number, part, whole_line, reason, detail, raw FROM reject",
        "frame_key": "SELECT * FROM frame_key",
        "frame": "SELECT event_id, to_jsonb(frame) - 'batch_id' FROM frame",
        "series": "SELECT * FROM series",
        "rollup": "SELECT series_id, start_at, batch_id = 0, to_jsonb(rollup) - 'batch_id' FROM rollup",
    }
    with database.begin() as conn:
        found = {name: sorted(map(repr, conn.execute(text(query)))) for name, query in queries.items()}
        conn.execute(
            text("TRUNCATE batch, reject, frame_key, frame, series, rollup, rollup_claim, intake_total, open_name")
        )
    return found


def test_what_a_worker_read_is_what_this_process_reads(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", lines())
    drain(database, tmp_path, contracts, NOW)
    here = tables(database)
    assert len(here["frame"]) == 2495
    drop(tmp_path, "a.jsonl", lines())
    with Workers(2) as pool:
        drain(database, tmp_path, contracts, NOW, workers=pool)
        assert len(pool._all) == 1
    assert tables(database) == here


def test_a_batch_goes_from_process_to_process_whole(contracts: Contracts) -> None:
    prepared = prepare("s", lines(), 1, rules_of(contracts, NOW), NOW, beyond={("line", "", "cam-2")})
    there = unpack(bytearray(b"".join(pack(prepared))))
    assert b"".join(pack(there)) == b"".join(pack(prepared))
    assert there.rejects == prepared.rejects
    assert there.others == prepared.others != {}


def test_a_few_lines_start_no_process(contracts: Contracts) -> None:
    with Workers() as pool:
        prepared = pool.begin("s", Lines.of(lines()[: workers.SMALL - 1]), rules_of(contracts, NOW), NOW).result()
        assert len(prepared.frames) > 900
        assert not pool._all


def test_another_worker_does_what_a_killed_one_was_at(contracts: Contracts) -> None:
    rules = rules_of(contracts, NOW)
    with Workers() as pool:
        first = pool.begin("s", Lines.of(lines()), rules, NOW).result()
        (worker,) = pool._all
        os.kill(worker._process.pid, signal.SIGKILL)
        again = pool.begin("s", Lines.of(lines()), rules, NOW).result()
        assert b"".join(pack(again)) == b"".join(pack(first))
        assert pool._all.isdisjoint({worker})


def test_where_no_worker_lives_a_sentence_says_so_and_nothing_is_kept(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "a.jsonl", lines())
    monkeypatch.setattr(workers, "_START", "raise SystemExit")
    with (
        Workers() as pool,
        pytest.raises(DependencyAway, match="ended twice over 2500 lines of spool"),
    ):
        drain(database, tmp_path, contracts, NOW, workers=pool)
    assert tables(database)["batch"] == []
    assert (tmp_path / "incoming" / "a.jsonl").exists()


def test_who_waits_does_what_no_worker_has_begun(contracts: Contracts, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rules_of(contracts, NOW)
    monkeypatch.setattr(workers, "_START", "import sys; sys.stdin.read()")  # one that never answers
    with Workers() as pool:
        begun = [pool.begin("s", Lines.of(lines(), 1 + 2500 * i), rules, NOW) for i in range(4)]
        pool.lend_a_hand(begun[0])
        assert [each.done() for each in begun] == [False, True, True, True]
        for i in (1, 2, 3):
            alone = prepare("s", [b"\n".join(lines())], 1 + 2500 * i, rules, NOW)
            assert b"".join(pack(begun[i].result())) == b"".join(pack(alone))
    with pytest.raises(DependencyAway, match="this process is stopping"):
        begun[0].result()


def test_a_heavy_batch_is_left_to_the_workers(contracts: Contracts, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rules_of(contracts, NOW)
    monkeypatch.setattr(workers, "_LIGHT", 1000)
    with Workers() as pool:
        begun = [pool.begin("s", Lines.of(lines()), rules, NOW) for _ in range(3)]
        pool.lend_a_hand(begun[2])
        assert not begun[2].done()
        assert len(begun[2].result().frames) == 2495


def test_a_file_that_became_shorter_is_said_and_costs_no_other(contracts: Contracts, tmp_path: Path) -> None:
    rules, path = rules_of(contracts, NOW), tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines()) + b"\n")
    with path.open("rb") as stream:
        [cut] = find_batches(stream) or []
    os.truncate(path, 1000)
    with Workers() as pool:
        with pytest.raises(UsageError, match=r"a\.jsonl became shorter while it was read; .* rename"):
            pool.begin("s", cut, rules, NOW).result()
        assert len(pool.begin("s", Lines.of(lines()), rules, NOW).result().frames) == 2495
        assert len(pool._all) == 1


def test_what_waits_at_the_end_is_told(contracts: Contracts) -> None:
    rules = rules_of(contracts, NOW)
    pool = Workers()
    begun = [pool.begin("s", Lines.of(lines()), rules, NOW) for _ in range(3)]
    pool.close()
    for each in begun[1:]:
        with pytest.raises(DependencyAway, match="this process is stopping"):
            each.result()
    assert begun[0].done()
    with pytest.raises(DependencyAway, match="this process is stopping"):
        pool.begin("s", Lines.of(lines()), rules, NOW)


def test_many_batches_with_a_hand_lent_are_the_same_tables(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.ingest.lines.BATCH_LINES", 1100)
    said = lines() + [line(number) for number in range(2500, 9000)]
    drop(tmp_path, "a.jsonl", said[:5000])
    drop(tmp_path, "b.jsonl", said[5000:])
    drain(database, tmp_path, contracts, NOW)
    here = tables(database)
    assert len(here["batch"]) > 9
    drop(tmp_path, "a.jsonl", said[:5000])
    drop(tmp_path, "b.jsonl", said[5000:])
    with Workers() as pool:
        drain(database, tmp_path, contracts, NOW, workers=pool)
    assert tables(database) == here


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import os, sys; from datetime import datetime, timezone; from monitor.ingest.workers import Lines, Workers;"
        "pool = Workers(); pool.begin('s', Lines.of([b'{'] * 2000), {}, datetime.now(timezone.utc)).result();"
        "print(next(iter(pool._all))._process.pid, flush=True); os.read(0, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended = select.select([worker], [], [], 30)[0]
    os.close(worker)
    assert ended


def test_lines_by_themselves_are_a_batch_from_any_thread(database: Database, contracts: Contracts) -> None:
    said = lines(6000)
    parts = [Lines.of(said[at : at + 1500]) for at in range(0, 6000, 1500)]

    with Workers(2) as pool, ThreadPoolExecutor(4) as threads:

        def take(part: int) -> int:
            got = take_lines(database, "http", f"n{part}", f"http/n{part}", parts[part], contracts, NOW, pool)
            return got.stored

        # e00001 comes again in another part, and which of the two is the conflict is anybody's guess
        assert sum(threads.map(take, range(4))) == 5995
        assert sum(threads.map(take, range(4))) == 0
        with pytest.raises(OtherContent):
            take_lines(database, "http", "n0", "http/n0", parts[1], contracts, NOW, pool)
    with database.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM frame")).scalar_one() == 5995


def test_history_in_one_load_is_what_came_live_hour_by_hour(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = lines()
    for hour in range(4):
        drop(tmp_path, f"{hour}.jsonl", said[hour * 700 : (hour + 1) * 700])
        drain(database, tmp_path, contracts, NOW - timedelta(hours=4 - hour))
    drain(database, tmp_path, contracts, NOW)
    measured = measurements(database, contracts)
    live = tables(database)
    monkeypatch.setattr("monitor.ingest.lines.BATCH_LINES", 900)
    drop(tmp_path, "all.jsonl", said)
    with Workers() as pool:
        load(
            database,
            [spool.Waiting(tmp_path / "incoming" / "all.jsonl", "spool", "all")],
            contracts,
            NOW,
            workers=pool,
        )
    assert measurements(database, contracts) == measured
    history = tables(database)
    assert [len(history[name]) > 50 for name in ("frame", "series", "rollup")] == [True] * 3
    assert {name: history[name] for name in ("frame", "frame_key", "series", "rollup")} == {
        name: live[name] for name in ("frame", "frame_key", "series", "rollup")
    }


def measurements(database: Database, contracts: Contracts) -> list[str]:
    """What every window of two hours comes to against a baseline of the first; nothing of it is left behind."""
    first = Window(NOW - timedelta(hours=6), NOW - timedelta(hours=4))
    baseline.from_logs(database, contracts["line"], "v1", first, NOW)
    drift.run(database, contracts["line"], NOW + timedelta(days=2))
    with database.begin() as conn:
        found = sorted(map(repr, conn.execute(text("SELECT to_jsonb(m) FROM measurement m"))))
        numbers = conn.execute(text("SELECT count(*) FROM measurement WHERE value > 0")).scalar_one()
        conn.execute(text("TRUNCATE measurement, measured_window"))
    assert numbers > 20
    return found
