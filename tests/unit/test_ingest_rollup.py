"""Frames → roll-ups: a worked example, and addition: what two batches add is what one batch of both adds."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest import rollup
from monitor.ingest.parse import parse, rules_of
from monitor.ingest.rollup import roll_up
from monitor.records import FrameColumns, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract, parse_contract
from monitor.upkeep import RollupColumns

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TEXT = """
class_policy = "open"
[model]
name = "line"
[cameras]
policy = "open"
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
"""
CONTRACTS = {"line": LoadedContract(parse_contract(TEXT), TEXT, "0" * 16, Path("line.toml"))}
Row = tuple[SeriesKey, str, int, int]
Cells = tuple[int, int, int, int, dict[int, int]]


def columns(*records: dict[str, Any]) -> FrameColumns:
    base = {"model": "line", "version": "v1", "camera": "c", "width": 64, "height": 64}
    lines = [json.dumps({"event_id": str(i)} | base | said).encode() for i, said in enumerate(records)]
    result = parse(lines, 1, rules_of(CONTRACTS, NOW), NOW)
    assert not result.rejects
    return result.columns


def rows(rolled: RollupColumns) -> dict[Row, Cells]:
    """Each row by its series and start: n, frames, total, squares, count by bin."""
    found: dict[Row, Cells] = {}
    ends = np.cumsum(rolled.cells).tolist()
    for i in range(len(rolled)):
        held = slice(ends[i] - int(rolled.cells[i]), ends[i])
        bins = dict(zip(rolled.bins[held].tolist(), rolled.counts[held].tolist(), strict=True))
        at = (*SeriesKey.of_name(rolled.names[rolled.series_row[i]]), int(rolled.start_us[i]))
        assert at not in found
        numbers = (rolled.n, rolled.frames, rolled.total, rolled.squares)
        found[at] = (*(int(column[i]) for column in numbers), bins)
    return found


def pick(rolled: dict[Row, Cells], signal: str, minutes: int = 60, **of: Any) -> dict[tuple[str, str, int], Cells]:
    """Rows of one signal by (class, slice value, start in minutes after NOW)."""
    return {
        (key.class_name, key.scope.slice_value, (start - int(NOW.timestamp()) * 1_000_000) // 60_000_000): cells
        for (key, _, span, start), cells in rolled.items()
        if key.signal == signal and span == minutes and all(getattr(key.scope, k) == v for k, v in of.items())
    }


def box(name: str, confidence: float) -> dict[str, Any]:
    return {"class": name, "confidence": confidence, "box": [0, 0, 32, 32]}


def test_two_frames_by_hand() -> None:
    first = {
        "captured_at": "2026-03-02T12:05:00Z",
        "slices": {"lighting": "day"},
        "latency_ms": 20.0,
        "detections": [box("carton", 0.905), box("carton", 0.5), box("pouch", 1.0)],
    }
    second = {"captured_at": "2026-03-02T12:50:00Z", "status": "timeout", "detections": [box("carton", 0.5)]}
    rolled = rows(roll_up(columns(first, second)))
    # confidence lies on 100 bins of 0.01: 0.905 in bin 91, 0.5 in bin 51, 1.0 above the top edge, in bin 101.
    assert pick(rolled, "confidence") == {
        ("", "", 0): (4, 2, 2_905_000, 9 + 1, {51: 2, 91: 1, 101: 1}),
        ("carton", "", 0): (3, 2, 1_905_000, 4 + 1, {51: 2, 91: 1}),
        ("pouch", "", 0): (1, 1, 1_000_000, 1, {101: 1}),
        ("", "day", 0): (3, 1, 2_405_000, 9, {51: 1, 91: 1, 101: 1}),
        ("carton", "day", 0): (2, 1, 1_405_000, 4, {51: 1, 91: 1}),
        ("pouch", "day", 0): (1, 1, 1_000_000, 1, {101: 1}),
    }
    # A frame that failed gives no count of detections; three of them fall into [3, 4), bin 4.
    assert pick(rolled, "detections", slice_value="") == {("", "", 0): (1, 1, 3, 1, {4: 1})}
    assert pick(rolled, "status", 60, slice_value="") == {
        ("", "", 0): (2, 2, 0, 2, {}),
        ("ok", "", 0): (1, 1, 0, 1, {}),
        ("timeout", "", 0): (1, 1, 0, 1, {}),
    }
    assert pick(rolled, "status", 15, slice_value="").keys() == {
        ("", "", 0),
        ("ok", "", 0),
        ("", "", 45),
        ("timeout", "", 45),
    }
    assert pick(rolled, "latency_ms", 60).keys() == {("", "", 0), ("", "day", 0)}
    assert [(place, cells[:3]) for place, cells in pick(rolled, "latency_ms", 15).items()] == [
        (("", "", 0), (1, 1, 20_000))
    ]
    assert pick(rolled, "brightness") == {}
    assert {key.signal for key, _, span, _ in rolled if span == 15} == {"status", "latency_ms"}


def test_pixels_and_recipes_and_shadow() -> None:
    image = {"brightness": 60, "contrast": 1, "sharpness": 0, "red_balance": 0, "blue_balance": 0}
    half = [5, 5] + [0] * 30
    base = {"captured_at": "2026-03-02T12:00:00Z"}
    rolled = rows(
        roll_up(
            columns(
                base | {"image": image | {"recipe": "a", "histogram": half}},
                base | {"image": image | {"recipe": "a", "histogram": [0] * 31 + [7]}},
                base | {"image": image | {"recipe": "b", "histogram": half}},
                base | {"image": image | {"recipe": "a", "histogram": half}, "shadow": True},
                base,
            )
        )
    )
    scope = Scope("line", "v1", camera="c")
    cells = {
        (key.scope == scope, key.recipe): value
        for (key, *_), value in rolled.items()
        if key.signal == "pixel_brightness"
    }
    # Bins of 8 levels: the first two stand for 4 and 12, the last for 252; each frame weighs 1000.
    assert cells == {
        (True, "a"): (2, 2, 500 * 4 + 500 * 12 + 1000 * 252, 2, {1: 500, 2: 500, 32: 1000}),
        (True, "b"): (1, 1, 8000, 1, {1: 500, 2: 500}),
        (False, "a"): (1, 1, 8000, 1, {1: 500, 2: 500}),
    }
    resolutions = [value for (key, *_), value in rolled.items() if key.signal == "resolution"]
    assert sorted(n for n, *_ in resolutions) == [1, 4]


def test_nothing_in_nothing_out() -> None:
    assert len(roll_up(columns())) == 0


SAID = st.fixed_dictionaries(
    {
        "captured_at": st.sampled_from(
            [f"2026-03-02T{h}:{m}:00Z" for h in (9, 10) for m in ("00", "14", "15", "59")]
        ).map(lambda at: at.replace("T9", "T09")),
        "camera": st.sampled_from("ab"),
        "shadow": st.booleans(),
        "status": st.sampled_from(["ok", "error"]),
        "latency_ms": st.none() | st.floats(0, 1e9),
        "slices": st.dictionaries(st.just("lighting"), st.sampled_from(["day", "night"])),
        "detections": st.lists(st.builds(box, st.sampled_from(["carton", "pouch"]), st.floats(0, 1)), max_size=3),
    }
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(SAID, max_size=12), st.integers(0, 12))
def test_what_two_batches_add_is_what_one_adds(records: list[dict[str, Any]], cut: int) -> None:
    together = rows(roll_up(columns(*records)))
    added: dict[Row, Cells] = {}
    for part in (records[:cut], records[cut:]):
        for at, (n, frames, total, squares, bins) in rows(roll_up(columns(*part))).items():
            was = added.get(at, (0, 0, 0, 0, {}))
            both = Counter(was[4]) + Counter(bins)
            added[at] = (was[0] + n, was[1] + frames, was[2] + total, was[3] + squares, dict(both))
    assert added == together
    for (key, *_), (n, frames, _, squares, _) in together.items():
        if SIGNALS[key.signal].per == "detection":
            assert frames <= n <= squares <= n * n <= frames * squares
        else:
            assert squares == frames == n


def test_sparse_and_dense_counting_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"recipe": "a", "brightness": 60, "contrast": 1, "sharpness": 0, "red_balance": 0, "blue_balance": 0}
    image["histogram"] = [3, 0, 4] + [0] * 29
    said = [
        {
            "captured_at": f"2026-03-02T{i % 12:02}:00:00Z",
            "image": image,
            "latency_ms": i,
            "detections": [box("a", i / 40)],
        }
        for i in range(40)
    ]
    dense = rows(roll_up(columns(*said)))
    monkeypatch.setattr(rollup, "_DENSE_CELLS", 0)
    assert rows(roll_up(columns(*said))) == dense


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_a_bin_is_the_one_that_a_search_of_the_edges_finds(name: str) -> None:
    edges = SIGNALS[name].edges
    at = edges.values()
    values = np.concatenate(
        (
            at,
            np.nextafter(at, -np.inf),
            np.nextafter(at, np.inf),
            np.linspace(at[0] - 1, at[-1] + 1, 999),
            [-1e9, 1e9],
        )
    )
    assert edges.bin_of(values).tolist() == np.searchsorted(at, values, side="right").tolist()
