"""Reviews and business events in files: what is taken in, what is set aside, and what a kill costs."""

from __future__ import annotations

import gzip
import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from killing import kill_at
from plants import NOW, START, Record, box, contract, frame, review, take
from sqlalchemy import text

from monitor.ingest import stage as ingest
from monitor.ingest.replay import replay
from monitor.review import stage
from monitor.settings import Settings
from monitor.spec.load import LoadedContract
from monitor.store import business
from monitor.store.database import Database, open_database
from monitor.store.rejects import Which

Contracts = dict[str, LoadedContract]
AT = START.isoformat()
TABLES = ("review", "review_rollup", "business_event", "measurement", "reviewed_window", "frame", "intake_total")
CSV = f"""event_id,kind,at,model,camera,minutes,before,after,version,note
w1,work_order,{AT},line,cam-1,,,,,
d1,missed_defect,{AT},line,cam-1,,,,,"a dent, found late"

f1,false_alarm,{AT},line,cam-2,12.5,,,,
t1,throughput,{AT},line,,,100,130,,
v2,deployment,{AT},line,,,,,v2,new lamp
x1,false_alarm,{AT},line,cam-2,many,,,,
x2,throughput,{AT},line,,,0,130,,
x3,work_order,{AT},other,,,,,,
"""


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    return contract(tmp_path / "contracts")


def drop(folder: Path, name: str, content: bytes | list[Record]) -> None:
    path = folder / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = b"\n".join(json.dumps(one).encode() for one in content)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def rows(database: Database, sentence: str) -> list[tuple[Any, ...]]:
    with database.begin() as conn:
        return [tuple(row) for row in conn.execute(text(sentence))]


def test_business_events_come_as_csv_or_lines(database: Database, contracts: Contracts, tmp_path: Path) -> None:
    drop(tmp_path, "mes/day.events.csv", CSV.encode())
    done = ingest.drain(database, tmp_path, contracts, NOW)
    # The line of titles and the empty one are blank: line numbers are those of the file.
    assert (done.lines, done.stored, done.rejected, done.blank) == (10, 5, 3, 2)
    assert done.why_rejected == {"invalid": 2, "unknown_model": 1}
    assert rows(database, "SELECT kind, minutes, before, after, version, note FROM business_event ORDER BY kind") == [
        ("deployment", None, None, None, "v2", "new lamp"),
        ("false_alarm", 12.5, None, None, "", ""),
        ("missed_defect", None, None, None, "", "a dent, found late"),
        ("throughput", None, 100.0, 130.0, "", ""),
        ("work_order", None, None, None, "", ""),
    ]
    assert [line for (line,) in rows(database, "SELECT line_number FROM reject ORDER BY 1")] == [8, 9, 10]
    drop(tmp_path, "mes/more.events.jsonl", [{"event_id": "w1", "kind": "work_order", "at": AT, "model": "line"}])
    again = ingest.drain(database, tmp_path, contracts, NOW)
    assert again.why_rejected == {"conflict": 1}, "of the same name, and without its camera"
    with database.begin() as conn:
        [live] = business.deployments(conn, "line", START, NOW)
    assert (live.version, live.at, live.text) == ("v2", START, "new lamp")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"finished_at": "2026-03-02T09:00:00"}, "invalid"),
        ({"finished_at": "2027-03-02T09:00:00Z"}, "future"),
        ({"started_at": "2026-03-02T10:00:00Z"}, "invalid"),
        ({"review_prob": 0}, "invalid"),
        ({"review_prob": 1.5}, "invalid"),
        ({"reviewer": ""}, "invalid"),
        ({"reviewer": "a\0b"}, "bad_text"),
        ({"detections": [{"verdict": "fine", "index": 0}]}, "invalid"),
        ({"detections": [{"verdict": "confirmed"}]}, "invalid"),
        ({"detections": [{"verdict": "confirmed", "class": "carton"}]}, "invalid"),
        ({"detections": [{"verdict": "confirmed", "index": 0, "class": "carton"}]}, "invalid"),
        ({"detections": [{"verdict": "wrong_class", "index": 0}]}, "invalid"),
        ({"detections": [{"verdict": "confirmed", "index": 0, "right_class": "pouch"}]}, "invalid"),
        ({"detections": [{"verdict": "confirmed", "index": 0}] * 2}, "invalid"),
        ({"missed": [{"class": "carton", "box": [4, 4, 2, 8]}]}, "bad_box"),
        ({"mood": "good"}, "invalid"),
        ({"schema_version": 2}, "unknown_schema"),
    ],
)
def test_what_is_no_review_is_set_aside_and_costs_no_other(
    database: Database, contracts: Contracts, changed: Record, reason: str
) -> None:
    good = review("good", "e", 1, [{"verdict": "confirmed", "index": 0}])
    bad = review("bad", "e", 1, []) | changed
    done = take(database, contracts, "r.reviews.jsonl", [bad, good])
    assert (done.stored, done.why_rejected) == (1, {reason: 1})


def test_rejected_reviews_are_replayed_by_themselves(
    database: Database, contracts: Contracts, tmp_path: Path
) -> None:
    early = {"event_id": "w", "kind": "work_order", "at": AT, "model": "line"}
    drop(tmp_path, "a.events.jsonl", [early])
    drop(tmp_path, "b.jsonl", [frame("e", 0, [])])
    known = {"else": contracts["line"]}
    assert ingest.drain(database, tmp_path, known, NOW).why_rejected == {"unknown_model": 2}
    done = replay(database, contracts, Which(), NOW)
    assert (done.chosen, done.stored) == (2, 2)
    assert rows(database, "SELECT event_id FROM business_event") == [("w",)]
    assert rows(database, "SELECT event_id FROM frame") == [("e",)]


def test_killed_at_every_commit_it_ends_in_the_same_tables(
    settings: Settings, database: Database, contracts: Contracts, tmp_path: Path
) -> None:
    """Frames, reviews (late, double, orphan) and events: as killed work leaves them, and as other work does."""
    frames = [frame(f"e{i}", i, [("carton", 0.4), ("pouch", 0.9)]) for i in range(40)]
    verdicts = [{"verdict": "false_positive", "index": 0}, {"verdict": "confirmed", "class": "pouch", "box": box(1)}]
    said = [review(f"r{i}", f"e{i % 30}", 100 + i, verdicts, review_prob=0.5) for i in range(36)]
    said.append(review("orphan", "nobody", 3, []))

    def work(one: Database) -> None:
        ingest.drain(one, tmp_path, contracts, NOW)
        stage.settle(one)
        stage.run(one, contracts["line"], NOW)

    def fill() -> None:
        drop(tmp_path, "1.reviews.jsonl.gz", said[:20])
        drop(tmp_path, "2.jsonl", frames)
        drop(tmp_path, "3.reviews.jsonl", said[20:])
        drop(tmp_path, "4.events.csv", CSV.encode())

    with open_database(settings) as fresh:
        fill()
        work(fresh)
    whole = {name: content(database, name) for name in TABLES}
    assert len(whole["review"]) == 37
    assert whole["measurement"]
    for number in count(1):
        with database.begin() as conn:
            conn.execute(text(f"TRUNCATE {', '.join(TABLES)}, batch, frame_key, rollup CASCADE"))
        shutil.rmtree(tmp_path / "incoming")
        fill()
        if not kill_at(settings, work, number, after=number % 2 == 0):
            break
        with open_database(settings) as again:
            work(again)
        assert {name: content(database, name) for name in TABLES} == whole
    assert number > 10


def content(database: Database, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table without the numbers and times that tell attempts apart."""
    kept = "to_jsonb(t) - 'batch_id' - 'last_at'"
    return rows(database, f"SELECT {kept} #>> '{{}}' FROM {table} t ORDER BY 1")
