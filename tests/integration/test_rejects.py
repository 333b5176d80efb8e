"""What was set aside: counted, shown, taken in after all, or given up; nothing is lost and nothing counted twice."""

from __future__ import annotations

import argparse
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.cli import rejects as command
from monitor.errors import TryAgain, UsageError
from monitor.ingest import replay as replaying
from monitor.ingest import stage
from monitor.ingest.replay import replay
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import ledger, rejects
from monitor.store.database import Database
from monitor.store.rejects import RejectKey, Which

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
[model]
name = "line"
[cameras]
list = [{ name = "cam-1" }]
[[classes]]
name = "carton"
"""
MENDED = CONTRACT.replace('{ name = "cam-1" }', '{ name = "cam-1" }, { name = "cam-2" }')
BAD_BOX = {"class": "carton", "confidence": 0.5, "box": [1, 1, 900, 9]}
GOOD_BOX = {"class": "carton", "confidence": 0.5, "box": [1, 1, 9, 9]}


def contracts(folder: Path, said: str) -> dict[str, LoadedContract]:
    (folder / "line.toml").write_text(said, encoding="utf-8")
    return {"line": load_contract(folder / "line.toml")}


def record(number: int, camera: str = "cam-1", **said: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number:03}",
        "captured_at": (NOW - timedelta(minutes=7 * number)).isoformat(),
        "model": "line",
        "version": "v1",
        "camera": camera,
        "width": 640,
        "height": 480,
        "detections": [GOOD_BOX] * (number % 3),
    } | said


def take_in(database: Database, folder: Path, name: str, records: list[Any], said: str = CONTRACT) -> stage.Summary:
    path = folder / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in records]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return stage.drain(database, folder, contracts(folder, said), NOW)


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.begin() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def counted(database: Database) -> dict[str, Any]:
    """All that a frame leaves behind, without the numbers of batches."""
    return {
        "frame": rows(database, "SELECT to_jsonb(frame) - 'batch_id' FROM frame ORDER BY source, event_id"),
        "frame_key": rows(database, "SELECT * FROM frame_key ORDER BY 1, 2"),
        "rollup": rows(database, "SELECT * FROM rollup ORDER BY 1, 2, 3"),
    }


def states(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT batch_id, line_number, part, state, reason FROM reject ORDER BY 1, 2, 3")


MIXED = [
    record(1),
    record(2, camera="cam-2"),
    b'{"event_id": ',
    record(3, camera="cam-2", detections=[GOOD_BOX, BAD_BOX]),
    record(4, camera="cam-9"),
    record(5, detections=[BAD_BOX]),
]


def test_a_mended_contract_takes_in_what_it_can_and_the_rest_stays_open(database: Database, tmp_path: Path) -> None:
    assert take_in(database, tmp_path, "a.jsonl", MIXED).rejected == 4
    done = replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    assert (done.chosen, done.stored, done.refused, done.parts) == (5, 2, 2, 1)
    assert done.reasons == {"not_json": 1, "unknown_camera": 1}
    first, again = (batch for (batch,) in rows(database, "SELECT batch_id FROM batch ORDER BY 1"))
    assert states(database) == [
        (first, 2, 0, "replayed", "unknown_camera"),
        (first, 3, 0, "open", "not_json"),
        (first, 4, 0, "replayed", "unknown_camera"),
        (first, 5, 0, "open", "unknown_camera"),
        (first, 6, 0, "open", "box_outside_image"),
        (again, 2, 0, "open", "box_outside_image"),
    ]
    assert rows(
        database, "SELECT lines, stored, rejected, detections_rejected FROM batch ORDER BY batch_id DESC LIMIT 1"
    ) == [(2, 2, 0, 1)]
    assert rows(database, "SELECT DISTINCT replay_batch_id, settled_at FROM reject WHERE state = 'replayed'") == [
        (again, NOW)
    ]


def test_replayed_frames_count_as_if_they_had_never_been_set_aside(database: Database, tmp_path: Path) -> None:
    take_in(database, tmp_path, "a.jsonl", MIXED)
    replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    replayed = counted(database)
    with database.begin() as conn:
        conn.execute(text("TRUNCATE batch, reject, frame_key, frame, rollup"))
    take_in(database, tmp_path / "clean", "a.jsonl", MIXED, MENDED)
    assert replayed == counted(database)
    assert len(replayed["frame"]) == 4


def test_twice_and_the_file_once_more_change_nothing(database: Database, tmp_path: Path) -> None:
    take_in(database, tmp_path, "a.jsonl", MIXED)
    mended = contracts(tmp_path, MENDED)
    replay(database, mended, Which(), NOW)
    before, settled = counted(database), states(database)
    again = replay(database, mended, Which(), NOW)
    assert (again.stored, again.duplicate, again.refused) == (0, 0, 2)
    assert take_in(database, tmp_path, "b.jsonl", MIXED, MENDED).repeated == len(MIXED)
    assert (counted(database), states(database)) == (before, settled)


def test_a_line_that_came_in_another_way_meanwhile_is_settled_as_a_duplicate(
    database: Database, tmp_path: Path
) -> None:
    take_in(database, tmp_path, "a.jsonl", [record(1), record(2, camera="cam-2")])
    take_in(database, tmp_path, "b.jsonl", [record(2, camera="cam-2")], MENDED)
    before = counted(database)
    done = replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    assert (done.stored, done.duplicate, done.refused) == (0, 1, 0)
    assert counted(database) == before
    assert {state for *_, state, _ in states(database)} == {"replayed"}


def test_a_conflict_is_found_by_the_database_and_costs_the_others_nothing(database: Database, tmp_path: Path) -> None:
    lines = [record(1), record(1, camera="cam-2"), record(2, camera="cam-2")]
    take_in(database, tmp_path, "a.jsonl", lines)
    done = replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    assert (done.stored, done.refused, done.reasons) == (1, 1, {"conflict": 1})
    assert [(line, state, reason) for _, line, _, state, reason in states(database)] == [
        (2, "open", "conflict"),
        (3, "replayed", "unknown_camera"),
    ]
    assert rows(database, "SELECT sum(rejected) FROM batch") == [(2,)]


def adds_up(database: Database, lines: int) -> None:
    """The ledger's sums count every line once, and say of what is still rejected what the rejects say."""
    left = "SELECT reason, sum(count - mended) FROM intake_total WHERE outcome = 'rejected' AND count > mended"
    still = "SELECT reason, count(*) FROM reject WHERE whole_line AND state <> 'replayed'"
    by_reason = " GROUP BY 1 ORDER BY 1"
    assert rows(database, left + by_reason) == rows(database, still + by_reason)
    stored = rows(database, "SELECT coalesce(sum(count), 0) FROM intake_total WHERE outcome = 'stored'")
    assert stored == rows(database, "SELECT count(*) FROM frame")
    outcomes = "('stored', 'duplicate', 'blank', 'rejected')"
    query = f"SELECT sum(count - mended), min(count - mended) >= 0 FROM intake_total WHERE outcome IN {outcomes}"
    assert rows(database, query) == [(lines, True)]


ALL_KNOWN = MENDED.replace('{ name = "cam-2" }', '{ name = "cam-2" }, { name = "cam-9" }')


def test_the_sums_count_a_replayed_line_once(database: Database, tmp_path: Path) -> None:
    take_in(database, tmp_path, "a.jsonl", MIXED)
    adds_up(database, 6)
    replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    adds_up(database, 6)
    with database.begin() as conn:
        assert rejects.drop(conn, Which(reason="not_json"), "a test rig", NOW) == 1
    replay(database, contracts(tmp_path, ALL_KNOWN), Which(), NOW)
    adds_up(database, 6)
    assert rows(database, "SELECT count FROM intake_total WHERE outcome = 'stored'") == [(5,)]


def test_the_sums_follow_a_line_that_is_refused_for_another_reason(database: Database, tmp_path: Path) -> None:
    lines = [record(1), record(1, camera="cam-2"), record(1, camera="cam-2", site="x"), record(2, camera="cam-2")]
    take_in(database, tmp_path, "a.jsonl", lines)
    for _ in range(2):
        replay(database, contracts(tmp_path, MENDED), Which(), NOW)
        adds_up(database, 4)
        query = "SELECT reason, count, mended FROM intake_total WHERE outcome = 'rejected' ORDER BY 1"
        assert rows(database, query) == [("conflict", 2, 0), ("unknown_camera", 3, 3)]


def test_a_file_dropped_again_hands_its_rejects_on(database: Database, tmp_path: Path) -> None:
    take_in(database, tmp_path, "a.jsonl", MIXED)
    assert take_in(database, tmp_path, "b.jsonl", MIXED, MENDED).stored == 2
    adds_up(database, 6)
    first, again = (batch for (batch,) in rows(database, "SELECT batch_id FROM batch ORDER BY 1"))
    whole = (
        "SELECT batch_id, line_number, replay_batch_id FROM reject WHERE whole_line AND state = '{}' ORDER BY 1, 2"
    )
    assert rows(database, whole.format("open")) == [(again, 3, None), (again, 5, None)]
    assert rows(database, whole.format("replayed")) == [(first, line, again) for line in (2, 3, 4, 5)]
    done = replay(database, contracts(tmp_path, ALL_KNOWN), Which(), NOW)
    assert (done.stored, done.refused) == (1, 1)
    adds_up(database, 6)
    last = take_in(database, tmp_path, "c.jsonl", MIXED, ALL_KNOWN)
    assert (last.repeated, last.good_before, last.why_still) == (6, 5, {"not_json": 1})
    adds_up(database, 6)


def test_a_file_whose_lines_were_all_replayed_is_done(database: Database, tmp_path: Path) -> None:
    lines = [record(1, camera="cam-2"), record(2, camera="cam-2")]
    assert take_in(database, tmp_path, "a.jsonl", lines).quarantined == 1
    replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    again = take_in(database, tmp_path, "a.jsonl", lines, MENDED)
    assert (again.quarantined, again.repeated, again.good_before) == (0, 2, 2)
    adds_up(database, 2)


def test_lines_that_are_replayed_while_their_file_is_taken_in_count_once(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [record(1), record(2, camera="cam-2"), record(3, camera="cam-2")]
    take_in(database, tmp_path, "a.jsonl", lines)
    number = rows(database, "SELECT min(batch_id) FROM batch")[0][0]
    find = ledger.find_earlier

    def find_and_replay(*args: Any) -> Any:
        found = find(*args)
        replay(database, contracts(tmp_path, MENDED), Which(keys=(RejectKey(number, 2),)), NOW)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "find_earlier", find_and_replay)
        with pytest.raises(TryAgain, match="replayed"):
            take_in(database, tmp_path, "a.jsonl", lines, MENDED)
    adds_up(database, 3)
    assert stage.drain(database, tmp_path, contracts(tmp_path, MENDED), NOW).stored == 1
    adds_up(database, 3)


def test_sources_keep_their_own_ids_and_large_pages_are_cut(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("line-1/a.jsonl", "line-2/a.jsonl"):
        (tmp_path / "incoming" / source).parent.mkdir(parents=True)
        take_in(database, tmp_path, source, [record(0), *(record(n, camera="cam-2") for n in range(1, 12))])
    monkeypatch.setattr(replaying, "BATCH_LINES", 5)
    monkeypatch.setattr(replaying, "BATCH_BYTES", 600)
    done = replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    assert (done.chosen, done.stored) == (22, 22)
    assert rows(database, "SELECT source, count(*) FROM frame GROUP BY 1 ORDER BY 1") == [
        ("line-1", 12),
        ("line-2", 12),
    ]
    assert rows(database, "SELECT count(*) > 4 FROM batch WHERE name LIKE 'replay:%'") == [(True,)]


def test_what_is_kept_of_a_long_line_is_not_taken_for_the_line(database: Database, tmp_path: Path) -> None:
    long = record(2, camera="cam-2", embedding=[0.123456789] * 4096) | {
        "slices": {f"c{n}": "x" * 100 for n in range(32)}
    }
    padded = json.dumps(long).encode() + b" " * (1 << 16)
    take_in(database, tmp_path, "a.jsonl", [record(1), padded])
    done = replay(database, contracts(tmp_path, MENDED), Which(), NOW)
    assert (done.chosen, done.cut, done.stored, done.refused) == (1, 1, 0, 0)
    assert [state for *_, state, _ in states(database)] == ["open"]


def test_two_who_replay_at_once_store_once(database: Database, tmp_path: Path) -> None:
    take_in(database, tmp_path, "a.jsonl", [record(0), *(record(n, camera="cam-2") for n in range(1, 40))])
    mended = contracts(tmp_path, MENDED)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(replay(database, mended, Which(), NOW))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(one.stored for one in found) == 39
    assert all(one.chosen == one.stored + one.gone for one in found)
    assert rows(database, "SELECT count(*) FROM frame") == [(40,)]


def test_a_kill_between_storing_and_settling_is_no_state_to_be_in(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(database, tmp_path, "a.jsonl", MIXED)
    mended, before = contracts(tmp_path, MENDED), (counted(database), states(database))

    def fail(*_: Any) -> None:
        raise RuntimeError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(rejects, "settle_replayed", fail)
        with pytest.raises(RuntimeError):
            replay(database, mended, Which(), NOW)
    assert (counted(database), states(database)) == before
    assert replay(database, mended, Which(), NOW).stored == 2


def test_without_a_contract_nothing_is_tried(database: Database) -> None:
    with pytest.raises(UsageError, match="no contract"):
        replay(database, {}, Which(), NOW)


@pytest.mark.parametrize("said", ["12", "12:", "a:1", "1:2.x", "1:2.3.4", "-1:2", "1:２"])
def test_a_key_is_read_as_it_is_written(said: str) -> None:
    for key in (RejectKey(12, 7), RejectKey(3, 1, 2)):
        assert RejectKey.parse(str(key)) == key
    with pytest.raises(UsageError, match="BATCH:LINE"):
        RejectKey.parse(said)


def monitor(settings: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    args = parser.parse_args(["rejects", *words])
    return int(args.run(args, settings))


@pytest.fixture
def set_aside(database: Database, settings: Settings, tmp_path: Path) -> int:
    """Six rejects of one batch, whose number it gives; the folder holds a contract that was mended since."""
    take_in(database, tmp_path, "a\x1b[31m.jsonl", [*MIXED, b"\x1b]0;title\x07"])
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "line.toml").write_text(MENDED, encoding="utf-8")
    return int(rows(database, "SELECT min(batch_id) FROM batch")[0][0])


@pytest.mark.usefixtures("set_aside")
def test_the_list_counts_and_is_bounded(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor(settings, "list") == 0
    said = capsys.readouterr().out
    assert "2026-03-02        3        0  unknown_camera      spool" in said
    assert "2026-03-02        0        1  box_outside_image   spool" in said
    assert "a\\x1b[31m.jsonl" in said
    assert "\x1b" not in said
    assert monitor(settings, "list", "--limit", "1") == 0
    assert "... 5 more" in capsys.readouterr().out
    assert monitor(settings, "list", "--reason", "conflict") == 0
    assert "nothing that was set aside is open" in capsys.readouterr().err


def test_one_is_shown_without_acting_on_the_terminal(
    settings: Settings, set_aside: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert monitor(settings, "show", f"{set_aside}:7") == 0
    said = capfdbinary.readouterr().out.decode()
    assert "not_json: " in said
    assert "\\x1b]0;title\\x07" in said
    assert "\x1b" not in said
    assert monitor(settings, "show", f"{set_aside}:7", "--raw") == 0
    assert capfdbinary.readouterr().out == b"\x1b]0;title\x07"
    with pytest.raises(UsageError, match="there is no reject"):
        monitor(settings, "show", f"{set_aside}:1")


def test_replay_and_drop_by_choice(
    database: Database, settings: Settings, set_aside: int, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(command, "clock", lambda: NOW)
    for words in (["replay"], ["drop", "--because", "x"], ["replay", "--all", "--reason", "x"]):
        with pytest.raises(UsageError, match="say which"):
            monitor(settings, *words)
    assert monitor(settings, "replay", f"{set_aside}:2") == 0
    assert "1 chosen: 1 stored" in capsys.readouterr().out
    assert monitor(settings, "replay", "--reason", "unknown_camera") == 0
    assert "2 chosen: 1 stored, 0 stored before, 0 blank, 1 refused again" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--because"):
        monitor(settings, "drop", "--all", "--because", " ")
    assert monitor(settings, "drop", "--reason", "not_json", "--because", "a test rig") == 0
    assert "2 dropped" in capsys.readouterr().out
    kept = rows(database, "SELECT reason, note, raw, settled_at FROM reject WHERE state = 'dropped'")
    assert kept == [("not_json", "a test rig", b"", NOW)] * 2
    assert monitor(settings, "list") == 0
    assert "not_json" not in capsys.readouterr().out
    assert monitor(settings, "list", "--all") == 0
    assert "not_json" in capsys.readouterr().out
    with database.begin() as conn:
        assert rejects.drop(conn, Which(reason="not_json"), "again", NOW) == 0
