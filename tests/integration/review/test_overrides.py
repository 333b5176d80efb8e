"""Reviews in a real Postgres: counts equal to a recount by hand, whatever comes late, twice, first or never."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from plants import NOW, START, Counted, Record, box, by_hand, contract, frame, review, take
from sqlalchemy import text

from monitor.feedback import VERDICTS
from monitor.review import stage
from monitor.spec.load import LoadedContract
from monitor.store import measurements, overrides, reviews
from monitor.store.database import Database

Contracts = dict[str, LoadedContract]
_versions = count(1)


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    return contract(tmp_path / "contracts")


def counted(database: Database, version: str) -> Counted:
    with database.begin() as conn:
        cells = overrides.counted(conn, START - timedelta(days=9), NOW, version=version)
    found: Counted = Counter()
    for place, cell in cells.items():
        where = (place.start_at.isoformat()[:13], place.camera, place.slice_value, place.class_name, place.band)
        for what in (*VERDICTS, "missed", "frames"):
            found[(*where, place.chosen, what)] += getattr(cell, what)
    return +found


VERDICT = st.sampled_from(VERDICTS)
CLASS = st.sampled_from(["carton", "pouch"])
# The edges of the bands and what lies beside them, above all.
CONFIDENCE = st.sampled_from([0.0, 0.29, 0.3, 0.5, 0.699, 0.7, 0.85, 1.0]) | st.floats(0, 1)


@st.composite
def plant(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """Some frames over a few hours; reviews of them, of one frame several, of some frames none."""
    frames = [
        frame(
            f"e{i}",
            draw(st.integers(0, 200)),
            draw(st.lists(st.tuples(CLASS, CONFIDENCE), max_size=4)),
            camera=draw(st.sampled_from(["cam-1", "cam-2"])),
            slices={"lighting": draw(st.sampled_from(["day", "night"]))},
        )
        for i in range(draw(st.integers(1, 5)))
    ]
    said = []
    for i in range(draw(st.integers(0, 8))):
        seen = draw(st.sampled_from(frames))
        places = draw(st.lists(st.sampled_from(range(4)), unique=True))
        verdicts = [
            _verdict(draw(VERDICT), place, seen["detections"][place]["class"], draw(st.booleans()))
            for place in places
            if place < len(seen["detections"])
        ]
        missed = [{"class": name} for name in draw(st.lists(CLASS, max_size=2))]
        chosen = {"review_prob": 0.5} if draw(st.booleans()) else {}
        settles = draw(st.booleans())
        minute = draw(st.integers(-500, 2000))
        said.append(review(f"r{i}", seen["event_id"], minute, verdicts, missed=missed, settles=settles, **chosen))
    return frames, said


def _verdict(verdict: str, place: int, class_name: str, by_box: bool) -> Record:
    named: Record = {"class": class_name, "box": box(place)} if by_box else {"index": place}
    return {"verdict": verdict, **named} | ({"right_class": "other"} if verdict == "wrong_class" else {})


@given(plant(), st.randoms(use_true_random=False))
@examples(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_counts_are_those_of_a_recount_by_hand_whatever_the_order(
    database: Database, contracts: Contracts, made: tuple[list[Record], list[Record]], rng: Any
) -> None:
    frames, said = made
    version = f"v{next(_versions)}"
    frames = [one | {"version": version} for one in frames]
    batches = [("jsonl", [one]) for one in frames] + [("reviews.jsonl", [one]) for one in said]
    rng.shuffle(batches)
    for number, (kind, records) in enumerate(batches):
        take(database, contracts, f"{number}.{kind}", records, version)
        if rng.random() < 0.5:
            stage.settle(database)
    stage.settle(database)
    assert counted(database, version) == by_hand(frames, said)
    with database.begin() as conn:
        assert reviews.count_waiting(conn) == 0


def test_a_review_counts_in_the_hour_of_its_frame_and_late_ones_revise_its_window(
    database: Database, contracts: Contracts
) -> None:
    take(database, contracts, "f.jsonl", [frame(f"e{i}", i, [("carton", 0.9)]) for i in range(60)])
    verdicts = [[{"verdict": "false_positive" if i < 12 else "confirmed", "index": 0}] for i in range(60)]
    said = [review(f"r{i}", f"e{i}", 3000, verdicts[i], review_prob=1.0) for i in range(60)]
    take(database, contracts, "a.reviews.jsonl", said[:40])
    assert stage.settle(database) == 40
    assert stage.run(database, contracts["line"], NOW) == 1
    assert stage.run(database, contracts["line"], NOW) == 0
    assert value(database, "raw") == (pytest.approx(12 / 40), 40)
    take(database, contracts, "b.reviews.jsonl", said[40:])
    assert stage.settle(database) == 20
    assert stage.run(database, contracts["line"], NOW) == 1
    assert value(database, "raw") == (pytest.approx(12 / 60), 60)
    assert value(database, "raw_false_positive") == (pytest.approx(12 / 60), 60)
    assert value(database, "raw_band_4") == (pytest.approx(12 / 60), 60)


def value(database: Database, measure: str) -> tuple[float | None, int]:
    """What a measure says of all cameras and classes together."""
    with database.begin() as conn:
        [found] = measurements.read(
            conn, "line", camera="", slice_name="", signal="override", class_name="", measure=measure
        )
    assert found.window.start == START.replace(hour=0)
    return found.value, found.n


def test_more_frames_of_a_window_revise_the_honest_share(database: Database, contracts: Contracts) -> None:
    """The sure detections are right and the unsure wrong; how many there are of each is known from the frames."""
    unsure = [frame(f"u{i}", i, [("carton", 0.4)]) for i in range(50)]
    sure = [frame(f"s{i}", i, [("carton", 0.95)]) for i in range(500)]
    take(database, contracts, "f.jsonl", unsure + sure[:50])
    wrong = [
        review(f"ru{i}", f"u{i}", 90, [{"verdict": "false_positive", "index": 0}], review_prob=1) for i in range(50)
    ]
    right = [
        review(f"rs{i}", f"s{i}", 90, [{"verdict": "confirmed", "index": 0}], review_prob=0.5) for i in range(50)
    ]
    take(database, contracts, "r.reviews.jsonl", wrong + right)
    stage.settle(database)
    stage.run(database, contracts["line"], NOW)
    before, _ = value(database, "honest")
    assert before == pytest.approx(0.5, abs=0.05)
    take(database, contracts, "g.jsonl", sure[50:])
    assert stage.run(database, contracts["line"], NOW) == 1
    after, n = value(database, "honest")
    # One detection in eleven is unsure, and those are wrong.
    assert (after, n) == (pytest.approx(1 / 11, abs=0.02), 100)
    assert value(database, "raw") == (pytest.approx(0.5), 100)


def test_a_second_review_is_kept_and_the_first_counts(database: Database, contracts: Contracts) -> None:
    take(database, contracts, "f.jsonl", [frame("e", 0, [("carton", 0.9)])])
    late = review("a", "e", 50, [{"verdict": "confirmed", "index": 0}], reviewer="bob")
    first = review("b", "e", 40, [{"verdict": "bad_box", "index": 0}])
    settling = review("c", "e", 10, [{"verdict": "false_positive", "index": 0}], settles=True)
    for number, one in enumerate((late, settling, first)):
        take(database, contracts, f"{number}.reviews.jsonl", [one])
        stage.settle(database)
    assert counted(database, "v1")["2026-03-02T09", "cam-1", "", "carton", 4, False, "bad_box"] == 1
    assert counted(database, "v1") == by_hand([frame("e", 0, [("carton", 0.9)])], [late, first, settling])
    with database.begin() as conn:
        kept = reviews.listing(conn, 10)
    assert [one.review_id for one in kept] == ["a", "b", "c"]


def test_the_same_review_twice_is_a_duplicate_and_another_of_its_name_a_conflict(
    database: Database, contracts: Contracts
) -> None:
    one = review("r", "e", 5, [{"verdict": "confirmed", "index": 0}])
    other = review("r", "e", 5, [{"verdict": "bad_box", "index": 0}])
    assert take(database, contracts, "a.reviews.jsonl", [one]).stored == 1
    again = take(database, contracts, "b.reviews.jsonl", [one, other, one])
    assert (again.stored, again.duplicate, again.rejected) == (0, 2, 1)
    assert again.why_rejected == {"conflict": 1}
    third = take(database, contracts, "c.reviews.jsonl", [other])
    assert (third.stored, third.rejected, third.why_rejected) == (0, 1, {"conflict": 1})
    same_batch = take(database, contracts, "a.reviews.jsonl", [one])
    assert (same_batch.stored, same_batch.repeated) == (0, 1)


def test_an_orphan_waits_and_counts_when_its_frame_comes(database: Database, contracts: Contracts) -> None:
    take(
        database, contracts, "r.reviews.jsonl", [review("r", "e", 5, [{"verdict": "confirmed", "index": 0}])], "desk"
    )
    mine = review("s", "e", 5, [{"verdict": "bad_box", "index": 0}], source="plant")
    take(database, contracts, "s.reviews.jsonl", [mine], "desk")
    assert stage.settle(database) == 0
    take(database, contracts, "f.jsonl", [frame("e", 0, [("carton", 0.9)])])
    # The review that names no source speaks of a frame that its own sender sent, which is another.
    assert stage.settle(database) == 1
    assert counted(database, "v1")["2026-03-02T09", "cam-1", "", "carton", 4, False, "bad_box"] == 1
    with database.begin() as conn:
        assert [one.review_id for one in reviews.listing(conn, 10, waiting=True)] == ["r"]


def test_a_verdict_without_its_detection_is_said_and_not_counted(database: Database, contracts: Contracts) -> None:
    take(database, contracts, "f.jsonl", [frame("e", 0, [("carton", 0.9), ("pouch", 0.4)])])
    verdicts = [
        {"verdict": "confirmed", "index": 7},
        {"verdict": "confirmed", "class": "pouch", "box": box(0)},
        {"verdict": "bad_box", "class": "pouch", "box": [95, 0, 150, 40]},
    ]
    take(database, contracts, "r.reviews.jsonl", [review("r", "e", 5, verdicts)])
    stage.settle(database)
    assert {key[3:]: n for key, n in counted(database, "v1").items() if key[2] == ""} == {
        ("", -1, False, "frames"): 1,
        ("pouch", 1, False, "bad_box"): 1,
    }
    with database.begin() as conn:
        assert reviews.listing(conn, 1)[0].unmatched == 2


def test_places_are_not_trusted_where_a_detection_was_set_aside(database: Database, contracts: Contracts) -> None:
    broken = frame("e", 0, [("carton", 0.9), ("pouch", 0.9)])
    broken["detections"][0]["box"] = [5, 5, 5, 5]
    assert take(database, contracts, "f.jsonl", [broken]).detections_rejected == 1
    verdicts = [{"verdict": "false_positive", "index": 0}, {"verdict": "confirmed", "class": "pouch", "box": box(1)}]
    take(database, contracts, "r.reviews.jsonl", [review("r", "e", 5, verdicts)])
    stage.settle(database)
    assert counted(database, "v1")["2026-03-02T09", "cam-1", "", "pouch", 4, False, "confirmed"] == 1
    assert not any(key[-1] == "false_positive" for key in counted(database, "v1"))


def test_counts_conserve(database: Database, contracts: Contracts) -> None:
    """The table refuses a row whose verdicts do not add up."""
    with pytest.raises(Exception, match="conservation"), database.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO review_rollup VALUES ('line', 'v', now(), '', 'c', false, '', '', '', 0, true, 2, 1, 0,"
                " 0, 0, 0, 0)"
            )
        )
