"""Roll-ups equal a recount from the raw frames, written here a second time without the product's readers."""

from __future__ import annotations

import json
import math
import random
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from monitor.errors import UsageError
from monitor.ingest import audit, spool
from monitor.ingest.audit import Task
from monitor.ingest.spool import find_files
from monitor.ingest.stage import drain, load
from monitor.records import Histogram, Scope, SeriesKey, Window
from monitor.signals import SIGNALS, Edges
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import frames as frame_store
from monitor.store import histograms
from monitor.store.database import Database

NOW = datetime(2026, 3, 3, tzinfo=UTC)
PERIOD = Window(NOW - timedelta(days=1), NOW + timedelta(hours=1))
CONTRACT = """
class_policy = "open"
[model]
name = "line"
stages = ["screen", "check"]
[cameras]
policy = "open"
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
[[conditions]]
name = "shift"
values = ["early", "late"]
"""


def record(rng: random.Random, number: int) -> dict[str, Any]:
    """A frame of anything that a record may hold, silent here and there."""
    said: dict[str, Any] = {
        "event_id": f"e{number}",
        "captured_at": (NOW - timedelta(seconds=rng.randint(0, 20_000))).isoformat(),
        "model": "line",
        "version": rng.choice(["v1", "v2"]),
        "camera": rng.choice(["a", "b", "ü"]),
        "stage": rng.choice(["screen", "check"]),
        "width": rng.choice([64, 640]),
        "height": 480,
        "shadow": rng.random() < 0.2,
        "status": rng.choice(["ok", "ok", "ok", "timeout"]),
    }
    if rng.random() < 0.8:
        said["latency_ms"] = rng.choice([0.0, 0.1, 1e9, rng.lognormvariate(3, 1)])
        said["queue_depth"] = rng.choice([0, 1, 2, 2_147_483_647])
    if rng.random() < 0.7:
        said["slices"] = {"lighting": rng.choice(["day", "night"]), "shift": rng.choice(["early", "lunch"])}
    if rng.random() < 0.6:
        said["camera_meta"] = {"gain_db": rng.uniform(-30, 90), "exposure_ms": rng.choice([1, "auto"])}
    if rng.random() < 0.7:
        said["image"] = {
            "recipe": rng.choice(["r1", "r2"]),
            "brightness": rng.uniform(0, 255),
            "contrast": rng.uniform(0, 128),
            "sharpness": rng.uniform(-3, 13),
            "red_balance": rng.uniform(-1.5, 1.5),
            "blue_balance": 0.0,
            "histogram": [rng.randint(0, 9) for _ in range(31)] + [1],
        }
    said["detections"] = []
    for _ in range(rng.randint(0, 4)):
        x, y = rng.randint(0, 30), rng.randint(0, 400)
        box = [x, y, x + rng.randint(1, 120) / 4, y + rng.randint(1, 200) / 4]
        said["detections"].append(
            {"class": rng.choice(["carton", "pouch"]), "confidence": rng.choice([0.0, 1.0, rng.random()]), "box": box}
        )
    return said


Raw = dict[str, Any]
Reading = Callable[[Raw], list[tuple[str, float]]]


def one(name: str) -> Reading:
    return lambda frame: [] if frame[name] is None else [("", frame[name])]


def meta(name: str) -> Reading:
    def read(frame: Raw) -> list[tuple[str, float]]:
        value = (frame["camera_meta"] or {}).get(name)
        return [("", float(value))] if isinstance(value, (int, float)) else []

    return read


def boxes(number: Callable[[Raw, list[float]], float]) -> Reading:
    return lambda frame: [
        (name, number(frame, frame["det_box"][4 * i : 4 * i + 4])) for i, name in enumerate(frame["det_class"])
    ]


READINGS: dict[str, Reading] = {
    **{name: one(name) for name in ("brightness", "contrast", "sharpness", "red_balance", "blue_balance")},
    **{name: one(name) for name in ("latency_ms", "queue_depth")},
    "exposure_ms": meta("exposure_ms"),
    "gain_db": meta("gain_db"),
    "resolution": lambda frame: [("", math.sqrt(frame["width"] * frame["height"]))],
    "detections": lambda frame: [("", len(frame["det_class"]))] if frame["status"] == "ok" else [],
    "confidence": lambda frame: list(zip(frame["det_class"], frame["det_confidence"], strict=True)),
    "box_area": boxes(lambda frame, b: (b[2] - b[0]) * (b[3] - b[1]) / (frame["width"] * frame["height"])),
    "box_aspect": boxes(lambda _, b: math.log((b[2] - b[0]) / (b[3] - b[1]))),
}


def series(frame: Raw, signal: str, class_name: str) -> Iterator[SeriesKey]:
    slices = [("", ""), *zip(frame["slice_name"], frame["slice_value"], strict=True)]
    for name, value in slices:
        scope = Scope(
            frame["model"], frame["version"], frame["stage"], frame["camera"], name, value, shadow=frame["shadow"]
        )
        yield SeriesKey(scope, signal, class_name, frame["recipe"] if SIGNALS[signal].image else "")


def recount(frames: list[Raw], minutes: int) -> dict[tuple[SeriesKey, datetime], Histogram]:
    """Frame by frame, value by value."""
    found: dict[tuple[SeriesKey, datetime], Histogram] = {}
    edges = {name: signal.edges.values().tolist() for name, signal in SIGNALS.items()}

    def cell(frame: Raw, signal: str, class_name: str) -> Iterator[Histogram]:
        at = frame["captured_at"].astimezone(UTC)
        at = at.replace(minute=at.minute // minutes * minutes if minutes < 60 else 0, second=0, microsecond=0)
        for key in series(frame, signal, class_name):
            empty = Histogram(SIGNALS[signal].edges.id, np.zeros(len(edges[signal]) + 1, dtype=np.int64))
            yield found.setdefault((key, at), empty)

    for frame in frames:
        for kind in ("", frame["status"]):
            for histogram in cell(frame, "status", kind):
                histogram.n += 1
                histogram.frames += 1
        if minutes == 60 and frame["brightness_histogram"]:
            for histogram in cell(frame, "pixel_brightness", ""):
                histogram.n += 1
                histogram.frames += 1
                for i, pixels in enumerate(frame["brightness_histogram"]):
                    histogram.counts[i + 1] += pixels
                    histogram.total += pixels * (8 * i + 4)
        for signal, reading in READINGS.items():
            if minutes != 60 and signal not in ("latency_ms", "queue_depth"):
                continue
            by_class: dict[str, list[float]] = defaultdict(list)
            for class_name, value in reading(frame):
                by_class[""].append(value)
                if class_name and signal == "confidence":
                    by_class[class_name].append(value)
            for class_name, values in by_class.items():
                for histogram in cell(frame, signal, class_name):
                    histogram.n += len(values)
                    histogram.frames += 1
                    for value in values:
                        histogram.total += round(value * SIGNALS[signal].scale)
                        histogram.counts[bisect_right(edges[signal], value)] += 1
    return found


def plain(found: dict[Any, Histogram]) -> dict[Any, tuple[Any, ...]]:
    return {key: (h.edges_id, h.n, h.frames, h.total, h.counts.tolist()) for key, h in found.items()}


def test_rollups_equal_a_recount(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "BATCH_LINES", 90)
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    contracts = {"line": load_contract(tmp_path / "line.toml")}
    rng = random.Random(5)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for number in range(2):
        lines = [json.dumps(record(rng, 200 * number + i)) for i in range(200)]
        # Every file repeats frames of the one before: a repeat must not count twice.
        (incoming / f"{number}.jsonl").write_text("\n".join([*lines, lines[0], *lines[5:9]]), encoding="utf-8")
        drain(database, tmp_path, contracts, NOW)
    start, end = NOW - timedelta(days=1), NOW + timedelta(hours=1)
    with database.begin() as conn:
        frames = [dict(row) for row in conn.execute(text("SELECT * FROM frame")).mappings()]
        assert len(frames) == 400
        for minutes in (60, 15):
            read = histograms.read_hours(conn, "line", start, end, minutes=minutes)
            assert plain(read) == plain(recount(frames, minutes))
        assert conn.execute(text("SELECT count(*) FROM rollup WHERE batch_id > 0")).scalar_one() == 0
        summed: dict[SeriesKey, Histogram] = {}
        for (key, _), histogram in histograms.read_hours(conn, "line", start, end, version="v1").items():
            summed[key] = summed[key] + histogram if key in summed else histogram
        assert plain(histograms.read(conn, "line", start, end, version="v1")) == plain(summed)
        some = histograms.read(conn, "line", start, end, signals=["brightness"])
        assert {key.signal for key in some} == {"brightness"}
        assert histograms.read(conn, "other", start, end) == {}


def test_sums_are_right_before_and_after_merging(database: Database, tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    contracts = {"line": load_contract(tmp_path / "line.toml")}
    rng = random.Random(6)
    path = tmp_path / "incoming" / "a.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(json.dumps(record(rng, i)) for i in range(50)), encoding="utf-8")
    drain(database, tmp_path, contracts, NOW)
    start, end = NOW - timedelta(days=1), NOW + timedelta(hours=1)
    with database.begin() as conn:
        once = plain(histograms.read(conn, "line", start, end))
        for batch in (7, 8):  # increments as two further batches would have added them
            conn.execute(
                text(
                    "INSERT INTO rollup SELECT series_id, start_at, :batch, n, frames, total, bins, counts"
                    " FROM rollup WHERE batch_id = 0"
                ),
                {"batch": batch},
            )
        rows = conn.execute(text("SELECT count(*) FROM rollup WHERE batch_id = 0")).scalar_one()
        before = plain(histograms.read(conn, "line", start, end))
        assert histograms.merge(conn) == rows
        assert plain(histograms.read(conn, "line", start, end)) == before
        assert conn.execute(text("SELECT count(*) FROM rollup")).scalar_one() == rows
        assert histograms.merge(conn) == 0
    assert {key: value[1] for key, value in before.items()} == {key: 3 * value[1] for key, value in once.items()}


Contracts = dict[str, LoadedContract]


@pytest.fixture
def filled(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contracts:
    """Two hundred frames of anything, in several batches; gives the contract."""
    monkeypatch.setattr(spool, "BATCH_LINES", 90)
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    contracts = {"line": load_contract(tmp_path / "line.toml")}
    write(tmp_path / "incoming" / "a.jsonl", range(200))
    drain(database, tmp_path, contracts, NOW)
    return contracts


def write(path: Path, numbers: range) -> None:
    path.parent.mkdir(exist_ok=True)
    rng = random.Random(numbers.start)
    path.write_text("\n".join(json.dumps(record(rng, i)) for i in numbers), encoding="utf-8")


def believed(database: Database) -> None:
    """What is rolled up is what a count by hand gives."""
    with database.begin() as conn:
        frames = [dict(row) for row in conn.execute(text("SELECT * FROM frame")).mappings()]
        for minutes in (60, 15):
            read = histograms.read_hours(conn, "line", PERIOD.start, PERIOD.end, minutes=minutes)
            assert plain(read) == plain(recount(frames, minutes))


def do(database: Database, *statements: str) -> list[int]:
    with database.begin() as conn:
        return [conn.execute(text(statement)).rowcount for statement in statements]


ROW = """(SELECT series_id, start_at FROM series JOIN rollup USING (series_id)
    WHERE signal = '{}' AND cardinality(bins) > 0 ORDER BY 1, 2 OFFSET {} LIMIT 1)"""
DAMAGE = [
    f"UPDATE rollup SET n = n + 3 WHERE (series_id, start_at) = {ROW.format('brightness', 0)}",
    f"UPDATE rollup SET total = -total - 1 WHERE (series_id, start_at) = {ROW.format('confidence', 4)}",
    f"UPDATE rollup SET counts[1] = counts[1] + 1 WHERE (series_id, start_at) = {ROW.format('latency_ms', 2)}",
    f"UPDATE rollup SET bins[1] = bins[1] - 1 WHERE (series_id, start_at) = {ROW.format('box_area', 1)}",
    f"DELETE FROM rollup WHERE (series_id, start_at) = {ROW.format('contrast', 3)}",
    "INSERT INTO rollup SELECT series_id, start_at, 77, n, frames, total, bins, counts FROM rollup"
    f" WHERE (series_id, start_at) = {ROW.format('sharpness', 2)}",
    "INSERT INTO rollup SELECT series_id, start_at - interval '9h', 0, n, frames, total, bins, counts FROM rollup"
    f" WHERE (series_id, start_at) = {ROW.format('gain_db', 0)}",
]


@pytest.mark.usefixtures("filled")
def test_an_audit_of_what_intake_counted_finds_nothing(database: Database) -> None:
    with database.begin() as conn:
        rows = conn.execute(text("SELECT count(DISTINCT (series_id, start_at)) FROM rollup")).scalar_one()
    found = audit.run(database, Task(PERIOD), NOW)
    assert (found.compared, found.differing, found.hours) == (rows, 0, 24)
    with database.begin() as conn:
        parts = list(frame_store.read_frames(conn, PERIOD.start, PERIOD.end, rows=7))
    assert [len(part) for part in parts] == [7] * 28 + [4]
    assert audit.run(database, Task(PERIOD, model="other"), NOW).compared == 0


@pytest.mark.usefixtures("filled")
def test_an_audit_finds_every_damaged_cell_and_repairs_it_with_evidence(database: Database) -> None:
    assert do(database, *DAMAGE) == [1] * len(DAMAGE)
    do(
        database,
        "INSERT INTO measured_window SELECT 'line', v, s, s + interval '1 day', 5, NULL, 'c' FROM"
        " unnest(ARRAY['v1', 'v2']) v, unnest(ARRAY[timestamptz '2026-02-27Z', '2026-03-02Z']) s",
    )
    with database.begin() as conn:
        before = plain(histograms.read_hours(conn, "line", PERIOD.start, PERIOD.end))
    found = audit.run(database, Task(PERIOD), NOW)
    assert found.differing == len(found.shown) == len(DAMAGE)
    said = {one.place.series.signal: str(one) for one in found.shown}
    assert "total" not in said["brightness"]
    assert "2 bins differ" in said["box_area"]
    assert len(said) == len(DAMAGE)
    with database.begin() as conn:  # an audit alone changes nothing
        assert plain(histograms.read_hours(conn, "line", PERIOD.start, PERIOD.end)) == before
    repaired = audit.run(database, Task(PERIOD, repair=True), NOW)
    assert (repaired.differing, repaired.repaired) == (len(DAMAGE),) * 2
    believed(database)
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    with database.begin() as conn:
        kept = conn.execute(
            text(
                "SELECT sum(rows_repaired), count(*) FILTER (WHERE occasion = 'audit'), count(*),"
                " sum(jsonb_array_length(evidence)), min(repaired_at) FROM rollup_repair"
            )
        ).one()
        undone = conn.execute(text("SELECT version, window_start FROM measured_window WHERE frames < 5")).all()
    assert (kept[0], kept[1], kept[3], kept[4]) == (len(DAMAGE), kept[2], len(DAMAGE), NOW)
    assert {at.date().isoformat() for _, at in undone} == {"2026-03-02"}
    assert audit.run(database, Task(PERIOD, repair=True), NOW).repaired == 0


def test_what_is_taken_in_during_a_repair_is_counted_once(
    database: Database, tmp_path: Path, filled: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (damaged,) = do(database, "UPDATE rollup SET total = total + 1")  # so that every row is put right
    write(tmp_path / "more" / "b.jsonl", range(500, 620))
    committed = threading.Event()

    def take_in() -> None:  # its merge has to wait for the audit, so it works beside it
        load(database, find_files(tmp_path / "more"), filled, NOW, lambda *_: committed.set())

    worker = threading.Thread(target=take_in)
    read = frame_store.read_frames

    def read_then_take_in(*args: Any, **named: Any) -> Any:
        parts = list(read(*args, **named))
        if parts and not worker.ident:
            worker.start()
            assert committed.wait(60)
        return parts

    monkeypatch.setattr(frame_store, "read_frames", read_then_take_in)
    repaired = audit.run(database, Task(PERIOD, repair=True), NOW)
    worker.join(60)
    assert not worker.is_alive()
    assert repaired.repaired == damaged
    believed(database)
    with database.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM frame")).scalar_one() == 320


@pytest.mark.usefixtures("filled")
def test_a_signal_whose_definition_changed_is_rebuilt_and_no_other_is_touched(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = (
        "SELECT r.* FROM rollup r JOIN series USING (series_id) WHERE signal NOT IN ('sharpness') ORDER BY 1, 2, 3"
    )
    with database.begin() as conn:
        before = [tuple(row) for row in conn.execute(text(others))]
    changed = replace(
        SIGNALS["sharpness"], edges=Edges("sharpness-2", -3, 13, 40), reader=lambda c: c.sharpness * 0.5, scale=10
    )
    monkeypatch.setitem(SIGNALS, "sharpness", changed)
    monkeypatch.setitem(
        READINGS, "sharpness", lambda f: [] if f["sharpness"] is None else [("", f["sharpness"] * 0.5)]
    )
    task = Task(PERIOD, signal="sharpness", repair=True)
    rebuilt = audit.run(database, task, NOW)
    assert rebuilt.repaired == rebuilt.compared > 0
    believed(database)
    with database.begin() as conn:
        assert [tuple(row) for row in conn.execute(text(others))] == before
        edges = text("SELECT edges_id FROM series JOIN rollup USING (series_id) WHERE signal = 'sharpness'")
        assert set(conn.execute(edges).scalars()) == {changed.edges.id}
        evidence = conn.execute(text("SELECT occasion, signal FROM rollup_repair")).all()
        assert {tuple(row) for row in evidence} == {("rebuild", "sharpness")}
    assert audit.run(database, task, NOW).differing == 0
    assert audit.run(database, Task(PERIOD), NOW).differing == 0
    with pytest.raises(UsageError, match="no signal 'sharpnes'"):
        audit.run(database, Task(PERIOD, signal="sharpnes"), NOW)
