"""What a baseline is made of, its hash, and what it says it can support."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from monitor.drift.freeze import content_hash, frames_of, freeze, image_histograms
from monitor.drift.readiness import readiness
from monitor.imaging.stats import image_stats
from monitor.records import Baseline, BaselineHistogram, Histogram, Scope, SeriesKey
from monitor.signals import SIGNALS
from monitor.spec.contract import Contract
from monitor.spec.load import parse_contract
from monitor.stats.null import quantile

CONTRACT = """
[model]
name = "m"
[[classes]]
name = "carton"
[[classes]]
name = "pouch"
[cameras]
policy = "declared"
list = [{ name = "cam-1" }, { name = "cam-2" }]
[[conditions]]
name = "lighting"
values = ["day", "evening"]
[[alerts]]
name = "brightness-drift"
signal = "brightness"
measure = "psi"
above = 0.3
min_n = 60
[[alerts]]
name = "mix"
signal = "class_share"
measure = "js"
above = 0.05
min_n = 200
scope = "model"
[[alerts]]
name = "gain"
signal = "gain_db"
measure = "psi"
above = 0.3
min_n = 60
"""


def contract(text: str = CONTRACT) -> Contract:
    return parse_contract(text)


def series(signal: str, values: np.ndarray, camera: str = "cam-1", class_name: str = "", **scope: str):
    known = SIGNALS[signal]
    counts = np.bincount(known.edges.bin_of(values), minlength=known.edges.count + 2)
    n = len(values)
    h = Histogram(known.edges.id, counts, n, n, int(np.rint(values * known.scale).sum()), n)
    return {SeriesKey(Scope("m", "v1", camera=camera, **scope), signal, class_name): h}


def status(frames: int, camera: str = "cam-1", **scope: str):
    empty = np.zeros(SIGNALS["status"].edges.count + 2, dtype=np.int64)
    key = SeriesKey(Scope("m", "v1", camera=camera, **scope), "status")
    return {key: Histogram(SIGNALS["status"].edges.id, empty, frames, frames, 0, frames)}


def logs(first: int = 400, second: int = 100) -> dict[SeriesKey, Histogram]:
    draw = np.random.default_rng(3)
    return {
        **status(first, "cam-1"),
        **status(second, "cam-2"),
        **status(450, "cam-1", slice_name="lighting", slice_value="day"),
        **series("brightness", draw.normal(120, 10, first), "cam-1"),
        **series("brightness", draw.normal(120, 10, second), "cam-2"),
        **series("confidence", draw.uniform(0.5, 1, 500), "cam-1"),
        **series("confidence", draw.uniform(0.5, 1, 490), "cam-1", "carton"),
        **series("confidence", draw.uniform(0.5, 1, 10), "cam-1", "pouch"),
    }


def baseline(rows: dict[SeriesKey, BaselineHistogram], **fields: object) -> Baseline:
    made = Baseline(
        id=1,
        model="m",
        version="v1",
        source="logs",
        period_start=datetime(2026, 3, 1, tzinfo=UTC),
        period_end=datetime(2026, 3, 29, tzinfo=UTC),
        frames=frames_of(rows),
        sha256=content_hash(rows),
        contract_hash="c0ffee",
        created_at=datetime(2026, 3, 30, tzinfo=UTC),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def test_rows_are_by_camera_and_of_all_cameras_each_with_its_groups() -> None:
    rows = freeze(logs(), 10)
    whole = rows[SeriesKey(Scope("m", "v1"), "brightness")]
    assert whole.histogram.n == 500
    assert len(whole.cuts) == 10
    assert rows[SeriesKey(Scope("m", "v1", camera="cam-2"), "brightness")].histogram.n == 100
    assert frames_of(rows) == 500


def test_shadow_frames_and_other_edges_are_not_frozen() -> None:
    shadow = {replace(k, scope=replace(k.scope, shadow=True)): h for k, h in series("brightness", np.ones(9)).items()}
    older = {k: replace(h, edges_id="grey:lin:0:255:9") for k, h in series("contrast", np.ones(9)).items()}
    assert freeze({**shadow, **older}, 10) == {}


def test_the_hash_is_of_the_content_and_not_of_the_order() -> None:
    rows = freeze(logs(), 10)
    assert content_hash(dict(reversed(rows.items()))) == content_hash(rows)
    assert content_hash(freeze(logs(first=401), 10)) != content_hash(rows)
    assert content_hash(freeze(logs(), 9)) != content_hash(rows)
    assert len(content_hash(rows)) == 64


def test_images_give_the_signals_of_pixels_for_every_camera() -> None:
    draw = np.random.default_rng(5)
    frames = [draw.integers(0, 200, (24, 32, 3), dtype=np.uint8) for _ in range(40)]
    found = image_histograms("m", [image_stats(frame) for frame in frames])
    recipe = image_stats(frames[0]).recipe
    assert {k.signal for k in found} == {
        "brightness", "pixel_brightness", "contrast", "sharpness", "red_balance", "blue_balance", "resolution",
    }  # fmt: skip
    assert {k.scope for k in found} == {Scope("m", "")}
    means = sorted(image_stats(frame).brightness for frame in frames)
    grey = found[SeriesKey(Scope("m", ""), "brightness", recipe=recipe)]
    assert grey.counts.sum() == grey.n == grey.frames == grey.squares == 40
    assert grey.total == sum(round(1000 * mean) for mean in means)
    assert grey.counts[1 + int(means[0])] >= 1
    pixels = found[SeriesKey(Scope("m", ""), "pixel_brightness", recipe=recipe)]
    assert (pixels.counts.sum(), pixels.n, pixels.squares) == (40_000, 40, 40)
    assert pixels.total / 40_000 == pytest.approx(np.mean(means), abs=4)
    side = found[SeriesKey(Scope("m", ""), "resolution")]
    assert side.total == 40 * round(1000 * math.sqrt(24 * 32))


def test_recipes_are_never_mixed() -> None:
    frame = np.random.default_rng(6).integers(0, 255, (32, 32), dtype=np.uint8)
    found = image_histograms("m", [image_stats(frame), image_stats(frame, step=2)])
    assert [h.n for k, h in found.items() if k.signal == "brightness"] == [1, 1]
    assert [h.n for k, h in found.items() if k.signal == "resolution"] == [2]


def test_the_report_says_how_big_and_how_broad() -> None:
    rows = freeze(logs(), 10)
    ready = readiness(contract(), baseline(rows), rows)
    assert (ready.frames, ready.days) == (500, 28)
    assert ready.cameras == {"cam-1": 400, "cam-2": 100}
    assert ready.classes == {"carton": (490, 490), "pouch": (10, 10)}
    assert ready.slices == {("lighting", "day"): 450}
    assert [said.split(" has ")[0].split(" is on ")[0] for said in ready.lacks] == [
        "class pouch",
        "slice lighting = evening",
    ]


def test_the_report_names_rules_that_chance_outweighs_and_rules_without_anything() -> None:
    rows = freeze(logs(), 10)
    ready = readiness(contract(), baseline(rows), rows)
    grey, mix = ready.rules
    assert (grey.rule, grey.camera, grey.frames) == ("brightness-drift", "cam-2", 100)
    assert grey.noise == pytest.approx(quantile(10, 60, 100))
    assert not grey.sharp
    assert "freeze a bigger one" not in str(grey)
    assert f"{math.ceil(grey.enough_n)} frames on" in str(grey)
    assert quantile(10, math.ceil(grey.enough_n), 100) <= 0.3
    assert (mix.rule, mix.groups, mix.frames, mix.sharp) == ("mix", 3, 500, True)
    assert ready.blind == ("gain",)


def test_a_baseline_that_no_window_is_big_enough_for() -> None:
    rows = freeze(logs(second=50), 10)
    grey = readiness(contract(), baseline(rows), rows).rules[0]
    assert grey.enough_n == math.inf
    assert "freeze a bigger one" in str(grey)


def test_a_camera_too_small_is_not_compared() -> None:
    rows = freeze(logs(second=20), 10)
    ready = readiness(contract(), baseline(rows), rows)
    assert (ready.rules[0].camera, ready.rules[0].frames) == ("cam-1", 400)
    assert "camera cam-2 has 20 frames, fewer than 30: it is not compared" in ready.lacks


def test_uneven_frames_need_more_of_them() -> None:
    text = CONTRACT.replace('signal = "brightness"', 'signal = "confidence"')
    rows = freeze(logs(), 10)
    uneven = {
        key: replace(row, histogram=replace(row.histogram, squares=4 * row.histogram.n)) for key, row in rows.items()
    }
    even, crowded = (readiness(contract(text), baseline(r), r).rules[0] for r in (rows, uneven))
    assert (even.frames, crowded.frames) == (500, 500)
    assert even.noise == pytest.approx(quantile(10, 60, 500))
    assert crowded.noise == pytest.approx(quantile(10, 60 / 4, 500 / 4))
    assert quantile(10, crowded.enough_n / 4, 500 / 4) == pytest.approx(0.3)


def test_from_images_the_report_says_what_is_not_known() -> None:
    stats = [image_stats(np.full((8, 8), level, dtype=np.uint8)) for level in range(100, 140)]
    rows = freeze(image_histograms("m", stats), 10)
    made = baseline(rows, version="", source="images", period_start=None, period_end=None, frames=40)
    ready = readiness(contract(), made, rows)
    assert ready.days is None
    assert [said.split(" ")[0] for said in ready.lacks] == ["40", "it"]
    assert [(rule.rule, rule.frames) for rule in ready.rules] == [("brightness-drift", 40)]
    assert ready.blind == ("mix", "gain")
