"""What panels say, against sums made by hand from the very records that were sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import packing
import psycopg
import pytest
from packing import CAMERAS, Filled

from monitor.panels.expand import ALL, View, expand
from monitor.panels.grafana import EVERYTHING
from monitor.panels.registry import OBSERVABLES
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.store import scorings

SPANS = {"24h": timedelta(days=1), "30d": timedelta(days=30)}
CHOICES: dict[str, dict[str, Any]] = {
    "everything": {"version": [ALL], "stage": [ALL], "camera": [ALL], "class": [ALL], "slice": "all"},
    "two cameras at night": {
        "version": ["v1", "v2"], "stage": [ALL], "camera": list(CAMERAS[:2]), "class": [ALL],
        "slice": "lighting = night",
    },
}  # fmt: skip
Row = dict[str, Any]
Ask = Callable[[str], list[Row]]


def at(record: Row) -> datetime:
    return datetime.fromisoformat(record["captured_at"])


class Truth:
    """The records behind one choice: frames of hours that begin within the span."""

    def __init__(self, filled: Filled, span: timedelta, choice: str) -> None:
        chosen = CHOICES[choice]
        first = (packing.NOW - span).replace(minute=0, second=0) + timedelta(hours=1)
        cameras = CAMERAS if chosen["camera"] == [ALL] else chosen["camera"]
        self.light = light = None if chosen["slice"] == "all" else chosen["slice"].removeprefix("lighting = ")
        self.frames = [
            one
            for one in filled.plant.frames
            if at(one) >= first and one["camera"] in cameras and light in (None, one["slices"]["lighting"])
        ]
        self.detections = [d for one in self.frames for d in one["detections"]]
        known = {one["event_id"]: one for one in self.frames}
        self.reviews = [one for one in filled.plant.reviews if one["event_id"] in known]
        self.verdicts = [(known[r["event_id"]], v) for r in self.reviews for v in r["detections"]]
        since = packing.NOW - span
        self.events = [
            one
            for one in filled.plant.events
            if datetime.fromisoformat(one["at"]) >= since and one["camera"] in cameras
        ]


@pytest.fixture(scope="module")
def reader(filled: Filled) -> Iterator[psycopg.Connection]:
    with filled.reader() as connection:
        yield connection


@pytest.fixture(params=[(span, choice) for span in SPANS for choice in CHOICES], ids=" ".join)
def both(request: pytest.FixtureRequest, filled: Filled, reader: psycopg.Connection) -> tuple[Ask, Truth]:
    """How to ask an observable, and what it should say."""
    span, choice = request.param
    seen = View(packing.NOW - SPANS[span], packing.NOW, {"model": "packing", **CHOICES[choice]}, points=30)

    def ask(name: str) -> list[Row]:
        cursor = reader.execute(expand(OBSERVABLES[name].queries[0].text, seen, EVERYTHING).encode())
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return ask, Truth(filled, SPANS[span], choice)


def test_frames_and_errors(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    failed = sum(one["status"] != "ok" for one in truth.frames)
    (now,) = ask("error-rate-now")
    assert int(now["n"]) == len(truth.frames)
    assert float(now["error rate"] or 0) == pytest.approx(failed / len(truth.frames), abs=1e-12)
    assert sum(int(row["frames"]) for row in ask("throughput")) == len(truth.frames)
    assert sum(int(row["frames"]) for row in ask("error-kinds")) == failed
    by_camera = Counter(one["camera"] for one in truth.frames)
    # The table of cameras is of whole cameras, whichever slice is chosen.
    told = {row["camera"]: int(row["n"]) for row in ask("cameras")}
    assert set(told) == set(by_camera)
    assert truth.light is not None or told == by_camera


def test_confidence_and_classes(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    values = [d["confidence"] for d in truth.detections]
    (now,) = ask("confidence-now")
    assert int(now["n"]) == len(values)
    assert now["mean confidence"] == pytest.approx(sum(values) / len(values), abs=1e-9)
    (low,) = ask("low-confidence-now")
    assert float(low["low confidence"] or 0) == pytest.approx(sum(v < 0.5 for v in values) / len(values), abs=1e-12)
    counts = Counter(d["class"] for d in truth.detections)
    rows = {row["class"]: row for row in ask("classes")}
    assert {name: int(row["n"]) for name, row in rows.items()} == counts
    for name, row in rows.items():
        own = [d["confidence"] for d in truth.detections if d["class"] == name]
        assert float(row["share"]) == pytest.approx(len(own) / len(values), abs=1e-12)
        assert row["mean confidence"] == pytest.approx(sum(own) / len(own), abs=1e-9)
    (found,) = ask("detections-now")
    good = [one for one in truth.frames if one["status"] == "ok"]
    assert found["detections a frame"] == pytest.approx(len(values) / len(good), abs=1e-9)
    histogram = ask("confidence-histogram")
    assert sum(int(row["n"]) for row in histogram) == len(values)
    for row in histogram:
        lowest = float(row["confidence"])
        own = sum(lowest <= v < lowest + 0.05 - 1e-9 for v in values)
        assert int(row["n"]) == pytest.approx(own, abs=max(3, 0.01 * own))


def test_latency_is_the_edge_of_the_bucket_that_holds_the_quantile(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    values = sorted(one["latency_ms"] for one in truth.frames)
    (now,) = ask("latency-p95-now")
    assert int(now["n"]) == len(values)
    if len(values) < 300:
        assert now["p95"] is None
        return
    exact = values[-(-95 * len(values) // 100) - 1]
    edges = SIGNALS["latency_ms"].edges.values()
    assert now["p95"] == pytest.approx(float(edges[edges > exact][0]), rel=1e-9)
    assert max(int(row["n"]) for row in ask("latency")) <= len(values)
    assert sum(int(row["n"]) for row in ask("latency")) == len(values)


def test_overrides(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    if not truth.verdicts:
        return
    corrected = sum(v["verdict"] != "confirmed" for _, v in truth.verdicts)
    (now,) = ask("override-rate-now")
    assert int(now["n"]) == len(truth.verdicts)
    assert float(now["override rate"]) == pytest.approx(corrected / len(truth.verdicts), abs=1e-12)
    (reviewed,) = ask("reviewed-now")
    assert int(reviewed["frames"]) == len(truth.reviews)
    kinds = Counter(v["verdict"] for _, v in truth.verdicts)
    drawn = ask("directions")
    for column, kind in (
        ("false positive", "false_positive"),
        ("wrong class", "wrong_class"),
        ("bad box", "bad_box"),
    ):
        assert sum(int(row[column]) for row in drawn) == kinds[kind]
    assert sum(int(row["missed"]) for row in drawn) == sum(len(one["missed"]) for one in truth.reviews)
    by_class = Counter(frame["detections"][v["index"]]["class"] for frame, v in truth.verdicts)
    assert {row["class"]: int(row["n"]) for row in ask("override-classes") if row["n"]} == by_class


def test_business(both: tuple[Ask, Truth]) -> None:
    ask, truth = both
    alarms = [one["minutes"] for one in truth.events if one["kind"] == "false_alarm"]
    rows = ask("false-alarm-minutes-now")
    assert [(row["minutes"], row["n"]) for row in rows] == (
        [(pytest.approx(sum(alarms) / len(alarms)), len(alarms))] if alarms else []
    )
    orders = sum(one["kind"] == "work_order" for one in truth.events)
    assert sum(row["work orders"] for row in ask("work-orders")) == orders
    gains = [one for one in truth.events if one["kind"] == "throughput"]
    rows = ask("throughput-gain-now")
    assert [row["gain"] for row in rows] == ([pytest.approx(0.12)] if gains else [])


def test_days_say_what_their_hours_say(filled: Filled) -> None:
    sums = (
        "SELECT signal, camera, class_name, slice, day, sum(n), round(sum(sum)::numeric, 6) FROM reporting.{view}"
        " WHERE minutes = 60 AND start_at < '2026-03-31Z' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    )
    with filled.database.begin() as conn:
        days, hours = (conn.exec_driver_sql(sums.format(view=view)).all() for view in ("rollup_day", "rollup"))
    assert len(days) > 1000
    assert days == hours


def test_a_better_candidate_does_not_stand_for_the_version_in_use(filled: Filled) -> None:
    night = Window(*((packing.NOW.replace(hour=0, minute=0) - timedelta(days=n)) for n in (1, 0)))
    choice = {"model": "packing", **CHOICES["everything"]}
    asked = [
        expand(query.text, View(packing.NOW - SPANS["30d"], packing.NOW, choice, points=30), EVERYTHING)
        for query in OBSERVABLES["golden-map"].queries
    ]
    with filled.database.engine.connect() as conn:  # what is not committed is gone when it closes
        for number in range(2):
            series = SeriesKey(Scope("packing", f"candidate {number}"), "golden")
            found = Measurement(series, "map50", night, 0.97, "ok", 300, 0, None, "")
            scorings.measure(conn, [found])
        lines, sizes = (conn.exec_driver_sql(text, execution_options={"no_parameters": True}).all() for text in asked)
    last = {name: value for at, name, value in lines if at == night.end}
    assert last == {
        "v1 at 0.5": 0.91,
        "v1 at 0.5 to 0.95": 0.7,
        "candidate 0 at 0.5": 0.97,
        "candidate 1 at 0.5": 0.97,
    }
    assert {value for _, name, value in lines if name == "v1 at 0.5"} == {0.91}
    assert dict(tuple(row) for row in sizes)[night.end] == 300
