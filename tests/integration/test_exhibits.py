"""The frames that are shown beside a finding: those that show it, of the right place and time, five at the most."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from plants import START, contract, frame, take

from monitor.feedback import EventRecord
from monitor.records import Scope, SeriesKey, Window
from monitor.store import business, exhibits
from monitor.store.database import Database

WINDOW = Window(START - timedelta(hours=9), START + timedelta(hours=15))


def image(level: float) -> dict[str, object]:
    said = {"recipe": "r", "brightness": level, "contrast": 10, "sharpness": 5}
    return {"image": said | {"red_balance": 0, "blue_balance": 0, "histogram": [1] * 32}}


@pytest.fixture
def filled(database: Database, tmp_path: Path) -> Database:
    """Two hours of two cameras; in the second hour light falls, confidence varies, and two frames fail."""
    records = [frame(f"old-{i}", i, [("carton", 0.9)], **image(10)) for i in range(6)]
    for i in range(12):
        said = {"status": "timeout"} if i in (3, 7) else {}
        found = [] if said else [("carton", 0.4 + i / 25), ("pouch", 0.9)]
        night = {"slices": {"lighting": "night"}} if i % 2 else {}
        records.append(frame(f"new-{i}", 60 + i, found, **image(100 - i), **said, **night))
    records.append(frame("elsewhere", 65, [("carton", 0.3)], camera="cam-2", **image(1)))
    take(database, contract(tmp_path / "contracts"), "frames", records)
    return database


def names(database: Database, signal: str, class_name: str = "", *, up: bool = False, **scope: str) -> list[str]:
    key = SeriesKey(Scope("line", "v1", **{"camera": "cam-1"} | scope), signal, class_name)
    with database.begin() as conn:
        return [one.event_id for one in exhibits.frames(conn, key, WINDOW, up=up)]


def test_the_darkest_of_the_last_hour_with_frames(filled: Database) -> None:
    assert names(filled, "brightness") == ["new-11", "new-10", "new-9", "new-8", "new-7"]
    assert names(filled, "brightness", up=True)[:2] == ["new-0", "new-1"]
    assert names(filled, "brightness", camera="")[0] == "elsewhere"


def test_the_least_sure_of_a_class(filled: Database) -> None:
    assert names(filled, "confidence", "carton")[:3] == ["new-0", "new-1", "new-2"]


def test_the_errors_alone(filled: Database) -> None:
    assert names(filled, "status") == names(filled, "status", "timeout") == ["new-7", "new-3"]
    assert names(filled, "status", camera="cam-2") == ["elsewhere"], "where none failed the newest"


def test_an_hour_with_too_few_takes_those_before_it(filled: Database) -> None:
    assert names(filled, "class_share", "pouch", camera="cam-1")[0] == "new-11"
    assert len(names(filled, "brightness", camera="cam-2")) == 1


def test_of_a_slice_those_of_the_slice(filled: Database) -> None:
    found = names(filled, "brightness", slice_name="lighting", slice_value="night", camera="")
    assert found == ["new-11", "new-9", "new-7", "new-5", "new-3"]


def test_what_an_event_is_about(filled: Database) -> None:
    order = EventRecord("o-1", "work_order", START, "line", camera="cam-1", frame="new-4", source="plant")
    with filled.begin() as conn:
        business.insert(conn, None, "plant", [order], [b"0"])
    assert names(filled, "business", camera="") == ["new-4"]


def test_where_nothing_was_there_is_nothing(filled: Database) -> None:
    assert names(filled, "brightness", camera="cam-9") == []


def test_business_events_take_version_stage_and_slices_from_their_frame(filled: Database) -> None:
    order = EventRecord("o-1", "work_order", START, "line", frame="new-5", source="plant")
    bare = EventRecord("o-2", "false_alarm", START, "line", minutes=3.0)
    with filled.begin() as conn:
        business.insert(conn, None, "plant", [order, bare], [b"0", b"1"])
        first, second = sorted(business.events(conn, "line", WINDOW), key=lambda one: -len(one.version))
    assert (first.version, first.camera, first.slices) == ("v1", "cam-1", (("lighting", "night"),))
    assert (second.version, second.camera, second.minutes) == ("", "", 3.0)
