"""What the check of a line accepts, Postgres accepts through the binary path and gives back as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from accepted import NOW, contracts, stored_and_read
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitor.store.database import Database

RULES = contracts()
ANY = st.characters(codec=None)
TEXTS = st.text(ANY, max_size=6) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40
)
NAMES = (
    st.sampled_from(["v1", "carton", "a", "ü" * 128, "\U0001f4a1" * 64, "'; DROP TABLE frame; --", "\\N", "\t"])
    | TEXTS
)
EDGES = st.sampled_from([0.0, -0.0, 5e-324, 1e-9, 1e9, -1e9, 1e9 + 1, 3.4e38, 3.5e38, 1e308, 2.0**53, 0.1])
NUMBERS = EDGES | st.floats(allow_nan=False) | st.integers(-(2**40), 2**40)
SIDES = st.sampled_from([1, 2, 640, 65_535]) | st.integers(0, 70_000)
BOXES = st.lists(st.floats(-2, 700, width=32) | EDGES, min_size=4, max_size=4).map(
    lambda b: [b[0], b[1], b[0] + abs(b[2]), b[1] + abs(b[3])]
)
TIMES = st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 3, 11), timezones=st.just(UTC)).map(datetime.isoformat)  # noqa: DTZ001
DETECTIONS = st.lists(
    st.fixed_dictionaries({"class": NAMES, "confidence": st.floats(0, 1) | EDGES, "box": BOXES}), max_size=4
)
IMAGES = st.fixed_dictionaries(
    {
        "recipe": NAMES,
        "brightness": st.floats(0, 255),
        "contrast": st.floats(0, 128),
        "sharpness": NUMBERS,
        "red_balance": NUMBERS,
        "blue_balance": st.floats(-2, 2),
        "histogram": st.lists(st.integers(0, 2**31 - 1), min_size=32, max_size=32),
    }
)
RECORDS = st.fixed_dictionaries(
    {
        "event_id": NAMES,
        "captured_at": TIMES,
        "model": st.just("line"),
        "version": NAMES,
        "camera": NAMES,
        "width": SIDES,
        "height": SIDES,
    },
    optional={
        "status": st.sampled_from(["ok", "timeout", "x" * 32]),
        "latency_ms": NUMBERS,
        "queue_depth": st.integers(0, 2**31 - 1),
        "shadow": st.booleans(),
        "site": TEXTS,
        "line": TEXTS,
        "image_uri": TEXTS,
        "image": IMAGES,
        "slices": st.dictionaries(st.just("lighting") | NAMES, NAMES, max_size=3),
        "camera_meta": st.dictionaries(
            st.sampled_from(["gain_db", "exposure_ms"]) | NAMES, NUMBERS | TEXTS, max_size=3
        ),
        "detections": DETECTIONS,
        "embedding": st.lists(NUMBERS, max_size=5),
    },
)
seen = {"stored": 0, "lines": 0}


@settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # a smaller example would cost hundreds of transactions
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(RECORDS, min_size=1, max_size=8), st.booleans())
def test_what_is_accepted_is_stored_and_read_back(
    database: Database, records: list[dict[str, Any]], ascii: bool
) -> None:
    lines = [json.dumps(said, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for said in records]
    with database.engine.connect() as conn, conn.begin() as transaction:
        seen["stored"] += stored_and_read(conn, lines, RULES)
        seen["lines"] += len(lines)
        transaction.rollback()


def test_enough_of_it_was_accepted() -> None:
    if not seen["lines"]:
        pytest.skip("the property above was not run")
    assert seen["stored"] > seen["lines"] / 5, "a property of what is accepted needs much that is"


def test_a_record_with_every_field_at_its_edge_is_stored(database: Database) -> None:
    box = {"class": "\U0001f4a1" * 64, "confidence": 1.0, "box": [0, 0, 65_535, 65_535]}
    said = {
        "event_id": "ü" * 128,
        "captured_at": (NOW + timedelta(days=1)).isoformat(),
        "model": "line",
        "version": "v" * 128,
        "camera": "\U0001f4a1" * 64,
        "width": 65_535,
        "height": 65_535,
        "latency_ms": 1e9,
        "queue_depth": 2**31 - 1,
        "image_uri": "\U0001f4a1" * 2048,
        "slices": {f"s{n}": "x" * 128 for n in range(31)} | {"lighting": "ü" * 128},
        "camera_meta": {f"m{n}": -1e9 for n in range(32)},
        "detections": [box] * 2001,
        "embedding": [3.4e38, -3.4e38, 1e-46] * 1365,
    }
    with database.engine.connect() as conn, conn.begin() as transaction:
        assert stored_and_read(conn, [json.dumps(said, ensure_ascii=False).encode()], RULES) == 1
        transaction.rollback()
