"""Bounds on what one frame and one producer can make, and that what is counted stays honest within them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.cli import doctor
from monitor.cli.rollups import report
from monitor.ingest import audit
from monitor.ingest.audit import Task
from monitor.ingest.crowd import MOST_STORED
from monitor.ingest.names import NEW_A_DAY as MANY
from monitor.ingest.stage import drain
from monitor.records import Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import histograms, ledger
from monitor.store.database import Database
from monitor.web.metrics import Metrics

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CONTRACT = """
class_policy = "open"
[model]
name = "line"
[cameras]
policy = "open"
list = [{ name = "listed" }]
[[classes]]
name = "carton"
[[conditions]]
name = "lot"
[[conditions]]
name = "lighting"
values = ["day"]
"""
Contracts = dict[str, LoadedContract]


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    return {"line": load_contract(tmp_path / "line.toml")}


def record(number: int, **said: Any) -> dict[str, Any]:
    at = (NOW - timedelta(minutes=5)).isoformat()
    good = {"event_id": f"e{number}", "captured_at": at, "model": "line", "version": "v1", "camera": "listed"}
    return good | {"width": 64, "height": 48} | said


def drop(folder: Path, name: str, records: list[dict[str, Any]]) -> None:
    path = folder / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(said) + "\n" for said in records), encoding="utf-8")


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.begin() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def counted(database: Database, signal: str, class_name: str = "", camera: str = "listed") -> tuple[int, int]:
    """Values and frames of one series on the day."""
    with database.begin() as conn:
        found = histograms.read(conn, "line", NOW - DAY, NOW + DAY, signals=[signal])
    of = found[SeriesKey(Scope("line", "v1", camera=camera), signal, class_name)]
    return of.n, of.frames


PERIOD = Window(NOW - DAY, NOW + DAY)


def crowd(many: int) -> list[dict[str, Any]]:
    """Detections in order of rising confidence; the least sure 40 are of another class."""
    return [
        {
            "class": "carton" if i < many - 40 else "pouch",
            "confidence": round(0.5 * (1 - i / many), 6),
            "box": [0, 0, 9, 1 + i % 40],
        }
        for i in range(many)
    ][::-1]


def test_of_a_crowded_frame_the_surest_detections_are_stored_and_all_are_counted(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    many = MOST_STORED + 500
    drop(tmp_path, "a.jsonl", [record(1, detections=crowd(many)), record(2, detections=crowd(MOST_STORED))])
    drop(tmp_path, "b.jsonl", [record(3, camera="other", detections=crowd(50))])
    assert drain(database, tmp_path, contracts, NOW).stored == 3
    frames = "SELECT event_id, cardinality(det_class), left_out FROM frame ORDER BY 1"
    assert rows(database, frames) == [("e1", MOST_STORED, 500), ("e2", MOST_STORED, 0), ("e3", 50, 0)]
    assert rows(database, "SELECT det_confidence, det_box[4 : 4] FROM frame WHERE event_id = 'e1'") == [
        ([d["confidence"] for d in crowd(many)[500:]], [crowd(many)[500]["box"][3]])
    ]
    assert counted(database, "confidence") == (many + MOST_STORED, 2)
    assert counted(database, "confidence", "pouch") == (80, 2), "40 of each, of which one frame stores none"
    assert counted(database, "detections") == (2, 2)
    total = "SELECT max(total) FROM rollup JOIN series USING (series_id) WHERE signal = 'detections'"
    assert rows(database, total) == [(many + MOST_STORED,)]


def test_an_audit_leaves_alone_what_it_cannot_count_again_and_says_so(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    drop(tmp_path, "a.jsonl", [record(1, detections=crowd(MOST_STORED + 1)), record(2, detections=crowd(60))])
    drop(tmp_path, "b.jsonl", [record(3, camera="other", detections=crowd(50))])
    drain(database, tmp_path, contracts, NOW)
    found = audit.run(database, Task(PERIOD), NOW)
    assert (found.differing, found.blind) == (0, 3 + 2), "confidence by two classes and all, area, aspect"
    assert "5 roll-up rows" in report(found)[-1]
    before = rows(database, "SELECT * FROM rollup ORDER BY 1, 2")
    with database.begin() as conn:  # of each signal one row is spoilt, in both cameras
        conn.execute(text("UPDATE rollup SET total = total + 1"))
    damaged = audit.run(database, Task(PERIOD), NOW)
    assert damaged.differing == len(before) - 5
    assert all(
        one.place.series.scope.camera == "other"
        or one.place.series.signal not in ("confidence", "box_area", "box_aspect")
        for one in damaged.shown
    )
    assert audit.run(database, Task(PERIOD, repair=True), NOW).repaired == len(before) - 5
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    assert counted(database, "confidence") == (MOST_STORED + 61, 2)
    with database.begin() as conn:
        conn.execute(text("UPDATE rollup SET total = total - 1 WHERE total <> 0"))
    rebuilt = audit.run(database, Task(PERIOD, signal="detections", repair=True), NOW)
    assert (rebuilt.repaired, rebuilt.blind) == (2, 0), "how many there were stands on the frame"


def cameras(database: Database) -> set[str]:
    return {name for (name,) in rows(database, "SELECT DISTINCT camera FROM series WHERE slice_name = ''")}


def some(first: int, end: int, prefix: str = "c") -> set[str]:
    return {f"{prefix}{number}" for number in range(first, end)}


def test_new_cameras_beyond_the_days_count_under_one_name_and_keep_their_own(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    first = [record(n, camera=f"c{n}") for n in range(MANY + 5)]
    drop(tmp_path, "a.jsonl", [*first, record(-1), record(-2, camera="c0")])
    summary = drain(database, tmp_path, contracts, NOW)
    assert (summary.stored, summary.others) == (MANY + 7, {("line", ""): 5})
    assert cameras(database) == {"__other__", "listed", *some(0, MANY)}
    kept = "SELECT camera, camera_said FROM frame WHERE camera_said IS NOT NULL ORDER BY event_id"
    assert rows(database, kept) == [("__other__", f"c{n}") for n in range(MANY, MANY + 5)]
    assert counted(database, "status", camera="__other__") == (5, 5)
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    # The same day again: known ones pass, the others do not; a day later as many more do.
    drop(tmp_path, "b.jsonl", [record(1000, camera="c3"), record(1001, camera=f"c{MANY + 4}")])
    assert drain(database, tmp_path, contracts, NOW).others == {("line", ""): 1}
    drop(tmp_path, "c.jsonl", [record(2000 + n, camera=f"c{n}") for n in range(2 * MANY + 1)])
    assert drain(database, tmp_path, contracts, NOW + DAY).others == {("line", ""): 1}
    assert cameras(database) == {"__other__", "listed", *some(0, 2 * MANY)}
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    drop(tmp_path, "d.jsonl", first)
    assert drain(database, tmp_path, contracts, NOW + DAY).duplicate == MANY + 5, "another name makes no other frame"


def test_slice_values_are_bounded_by_condition_and_source(
    database: Database, tmp_path: Path, contracts: Contracts
) -> None:
    for source in ("s1", "s2"):
        said = [record(n, slices={"lot": f"{source}-{n}", "lighting": "dusk"}) for n in range(MANY + 2)]
        drop(tmp_path, f"{source}/a.jsonl", said)
    assert drain(database, tmp_path, contracts, NOW).others == {("line", "lot"): 4}
    values = rows(
        database,
        "SELECT s.name, s.value, count(*) FROM frame, unnest(slice_name, slice_value) AS s (name, value)"
        " GROUP BY 1, 2",
    )
    lots = {value: count for name, value, count in values if name == "lot"}
    assert lots.keys() == {"__other__", *some(0, MANY, "s1-"), *some(0, MANY, "s2-")}
    assert lots["__other__"] == 4
    assert ("lighting", "__other__", 2 * MANY + 4) in values, "a declared condition has no new values"
    assert audit.run(database, Task(PERIOD), NOW).differing == 0


def test_a_batch_that_is_taken_back_takes_its_names_back(
    database: Database, tmp_path: Path, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "a.jsonl", [record(n, camera=f"a{n}") for n in range(MANY)])

    def fail(*_: Any) -> None:
        raise RuntimeError("killed here")

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "close_batch", fail)
        with pytest.raises(RuntimeError):
            drain(database, tmp_path, contracts, NOW)
    drop(tmp_path, "0.jsonl", [record(1000 + n, camera=f"b{n}") for n in range(MANY)])
    drain(database, tmp_path, contracts, NOW)
    assert cameras(database) == {"__other__", *some(0, MANY, "b")}


def test_the_bound_is_exact_among_workers_at_once(database: Database, tmp_path: Path, contracts: Contracts) -> None:
    for worker in range(4):
        for number in range(5):
            said = [record(1000 * worker + 20 * number + i, camera=f"{worker}-{number}-{i}") for i in range(20)]
            drop(tmp_path / str(worker), f"s/{number}.jsonl", said)
    start = threading.Barrier(4)

    def work(worker: int) -> Any:
        start.wait(20)
        return drain(database, tmp_path / str(worker), contracts, NOW)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    assert sum(each.stored for each in found) == 400
    assert sum(each.others.total() for each in found) == 400 - MANY
    assert len(cameras(database)) == MANY + 1
    assert rows(database, "SELECT count(*) FROM open_name") == [(MANY,)]
    assert counted(database, "status", camera="__other__") == (400 - MANY,) * 2


def test_doctor_and_metrics_say_that_too_many_names_came(
    settings: Settings, database: Database, tmp_path: Path, contracts: Contracts, caplog: pytest.LogCaptureFixture
) -> None:
    drop(tmp_path, "a.jsonl", [record(n, camera=f"c{n}", slices={"lot": str(n)}) for n in range(MANY + 3)])
    drain(database, tmp_path, contracts, NOW)
    assert [one.levelname for one in caplog.records if one.name.startswith("monitor.ingest")] == ["WARNING"]
    assert "3 counted under __other__ for too many new cameras of line; 3 counted" in caplog.text
    said = [one for one in doctor.findings(settings, NOW) if one.about == "names"]
    assert [one.mark for one in said] == ["wrong", "wrong"]
    assert said[0].sentence.startswith("3 frames of line from spool count under __other__")
    assert "more than 200 new values of lot" in said[1].sentence
    assert not [one for one in doctor.findings(settings, NOW + 8 * DAY) if one.about == "names"]
    metrics = Metrics()
    metrics.refresh(database, contracts, {}, NOW)
    page = metrics.exposition().decode()
    assert 'monitor_other_name_frames_total{model="line",name_of="camera"} 3.0' in page
    assert 'monitor_other_name_frames_total{model="line",name_of="lot"} 3.0' in page
    assert 'reason="line' not in page, "such frames are stored, not set aside"


def test_doctor_names_what_is_never_taken_in(settings: Settings) -> None:
    incoming = settings.spool_dir / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "a.csv").write_text("", encoding="utf-8")
    (incoming / "b.jsonl").write_text("", encoding="utf-8")
    (incoming / "c.jsonl").symlink_to(incoming / "b.jsonl")
    waits, strangers = (one for one in doctor.findings(settings, NOW) if one.about == "spool")
    assert (waits.mark, waits.sentence[:13]) == ("well", "1 files wait ")
    assert (strangers.mark, strangers.sentence[:2]) == ("wrong", "2 ")
    assert "a.csv, c.jsonl" in strangers.sentence
    assert "(1 of them links)" in strangers.sentence
