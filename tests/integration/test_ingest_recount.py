"""Roll-ups equal a recount from the raw frames, written a second time without the product's readers."""

from __future__ import annotations

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from recounting import CONTRACT, NOW, by_span, plain, record, recount, start_of_day
from sqlalchemy import text

from monitor.ingest.stage import drain
from monitor.records import Histogram, SeriesKey, Window
from monitor.spec.load import load_contract
from monitor.store import histograms
from monitor.store.database import Database


def test_rollups_equal_a_recount(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.ingest.lines.BATCH_LINES", 90)
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
    start, end = NOW - timedelta(hours=6), NOW + timedelta(hours=1)
    with database.begin() as conn:
        frames = [dict(row) for row in conn.execute(text("SELECT * FROM frame")).mappings()]
        assert len(frames) == 400
        for minutes in (60, 15):
            assert plain(by_span(conn, start, end, minutes)) == plain(recount(frames, minutes))
        assert conn.execute(text("SELECT count(*) FROM rollup WHERE batch_id > 0")).scalar_one() == 0
        summed: dict[SeriesKey, Histogram] = {}
        for (key, _), histogram in by_span(conn, start, end, 60, version="v1").items():
            summed[key] = summed[key] + histogram if key in summed else histogram
        assert plain(histograms.read(conn, "line", start, end, version="v1")) == plain(summed)
        some = histograms.read(conn, "line", start, end, signals=["brightness"])
        assert {key.signal for key in some} == {"brightness"}
        assert histograms.read(conn, "other", start, end) == {}
        live, shadow = (histograms.read(conn, "line", start, end, shadow=which) for which in (False, True))
        assert plain(live | shadow) == plain(histograms.read(conn, "line", start, end))
        assert {key.scope.shadow for key in live} == {False}
        assert {key.scope.shadow for key in shadow} == {True}
        counted = Counter(
            (frame["version"], start_of_day(frame["captured_at"])) for frame in frames if not frame["shadow"]
        )
        by_day = histograms.window_frames(conn, "line", timedelta(days=1))
        assert {(v, at): n for v, days in by_day.items() for at, n in days.items()} == counted
        assert histograms.window_frames(conn, "line", timedelta(days=1), NOW) == {
            v: {at: n} for (v, at), n in counted.items() if at == NOW
        }
        hour = Window(NOW - timedelta(hours=2), NOW - timedelta(hours=1))
        assert histograms.frames_between(conn, "line", "v1", hour) == sum(
            hour.start <= frame["captured_at"] < hour.end and frame["version"] == "v1" and not frame["shadow"]
            for frame in frames
        )


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
                    "INSERT INTO rollup SELECT series_id, start_at, :batch, n, frames, total, squares, bins,"
                    " counts FROM rollup WHERE batch_id = 0"
                ),
                {"batch": batch},
            )
        rows = conn.execute(text("SELECT count(*) FROM rollup WHERE batch_id = 0")).scalar_one()
        before = plain(histograms.read(conn, "line", start, end))
        assert histograms.merge(conn, NOW) == rows
        assert plain(histograms.read(conn, "line", start, end)) == before
        assert conn.execute(text("SELECT count(*) FROM rollup")).scalar_one() == rows
        assert histograms.merge(conn, NOW) == 0
    assert {key: value[1] for key, value in before.items()} == {key: 3 * value[1] for key, value in once.items()}


def test_an_intake_does_not_wait_for_whoever_keeps_all_from_merging(database: Database, tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    contracts = {"line": load_contract(tmp_path / "line.toml")}
    rng = random.Random(8)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    one_hour = {"camera": "a", "captured_at": (NOW - timedelta(minutes=90)).isoformat()}
    for name in "ab":
        (incoming / f"{name}.jsonl").write_text(json.dumps(record(rng, ord(name)) | one_hour), encoding="utf-8")
    fresh = text("SELECT count(*) FROM rollup WHERE batch_id > 0")

    def counted() -> Any:
        with database.begin() as conn:
            found = histograms.read(conn, "line", NOW - timedelta(days=1), NOW)
            return plain(found), conn.execute(fresh).scalar_one()

    with ThreadPoolExecutor(1) as other, database.begin() as stopped:
        histograms.hold_merges(stopped)
        assert other.submit(drain, database, tmp_path, contracts, NOW).result(60).stored == 2
        assert not list(incoming.iterdir())
        before, waiting = counted()
    assert waiting > 0
    drain(database, tmp_path, contracts, NOW)
    assert counted() == (before, 0)


def test_the_running_hour_is_merged_when_it_is_over(database: Database, tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    contracts = {"line": load_contract(tmp_path / "line.toml")}
    rng = random.Random(7)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    running = NOW + timedelta(minutes=40)
    for number in range(2):
        at = {"captured_at": (NOW + timedelta(minutes=number)).isoformat(), "camera": "a", "version": "v1"}
        lines = [json.dumps(record(rng, 50 * number + i) | at) for i in range(20)]
        (incoming / f"{number}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        drain(database, tmp_path, contracts, running)
    with database.begin() as conn:
        assert conn.execute(text("SELECT count(DISTINCT batch_id), min(batch_id) > 0 FROM rollup")).one() == (2, True)
        before = plain(histograms.read(conn, "line", NOW, NOW + timedelta(hours=1)))
        assert histograms.merge(conn, NOW + timedelta(minutes=59)) == 0
        assert histograms.merge(conn, NOW + timedelta(minutes=60)) > 0
        assert conn.execute(text("SELECT DISTINCT batch_id FROM rollup")).scalars().all() == [0]
        assert plain(histograms.read(conn, "line", NOW, NOW + timedelta(hours=1))) == before
