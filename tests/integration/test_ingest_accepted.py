"""What the check of a line accepts, Postgres accepts through the binary path and gives back as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from accepted import NOW, contracts, taken_in
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitor.store.database import Database

RULES = contracts()
SOUND = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zl", "Zp")), max_size=40)
ANY = st.text(st.characters(codec=None), max_size=6)
TEXTS = st.one_of(SOUND, SOUND, SOUND, ANY)
ODD = ["v1", "carton", "a", "ü" * 128, "\U0001f4a1" * 64, "'; DROP TABLE frame; --", "\\N", "\t", "\0", ""]
NAMES = st.one_of(st.sampled_from(ODD[:-3]), SOUND.map(lambda said: said or "x"), st.sampled_from(ODD))
EDGES = st.sampled_from([0.0, -0.0, 5e-324, 1e-9, 1e9, -1e9, 2.0**53 / 1e8, 0.1])
SENSE = st.one_of(EDGES, st.floats(-1e9, 1e9), st.integers(-(10**9), 10**9))
NUMBERS = st.one_of(SENSE, SENSE, SENSE, SENSE, st.sampled_from([1e9 + 1, 3.4e38, 3.5e38, 1e308, 2**63]))
SIDES = st.sampled_from([1, 2, 640, 65_535]) | st.integers(1, 65_535)
BOXES = st.lists(st.floats(-2, 700, width=32) | EDGES, min_size=4, max_size=4).map(
    lambda b: [b[0], b[1], b[0] + abs(b[2]), b[1] + abs(b[3])]
)
TIMES = st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 3, 11), timezones=st.just(UTC)).map(datetime.isoformat)  # noqa: DTZ001
DETECTIONS = st.lists(
    st.fixed_dictionaries({"class": NAMES, "confidence": st.floats(0, 1), "box": BOXES}), max_size=4
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
        "latency_ms": NUMBERS.map(abs),
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
    max_examples=60,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # a smaller example would cost hundreds of transactions
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(RECORDS, min_size=1, max_size=12), st.booleans())
def test_what_is_accepted_is_stored_and_read_back(
    database: Database, tmp_path: Path, records: list[dict[str, Any]], escaped: bool
) -> None:
    lines = [json.dumps(said, ensure_ascii=escaped).encode("utf-8", "surrogatepass") for said in records]
    seen["stored"] += taken_in(database, lines, RULES, tmp_path / "a.jsonl")
    seen["lines"] += len(lines)


def test_enough_of_it_was_accepted() -> None:
    if not seen["lines"]:
        pytest.skip("the property above was not run")
    assert seen["stored"] > seen["lines"] / 5, "a property of what is accepted needs much that is"


@pytest.mark.parametrize("many", [2000, 2001])
def test_a_record_with_every_field_at_its_edge_is_stored(database: Database, tmp_path: Path, many: int) -> None:
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
        "detections": [box] * many,
        "embedding": [3.4e38, -3.4e38, 1e-46] * 1365,
    }
    line = json.dumps(said, ensure_ascii=False).encode()
    assert taken_in(database, [line], RULES, tmp_path / "a.jsonl") == 1
