"""A window against a baseline: values, states, slices, classes, recipes."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, entropy

from monitor.drift.compare import ReadyBaseline, compare, make_ready, with_all_cameras
from monitor.drift.freeze import freeze
from monitor.measures import CLASS_SHARE, mean_of
from monitor.records import Baseline, Histogram, Measurement, Scope, SeriesKey, Window
from monitor.signals import SIGNALS

WINDOW = Window(datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC))
Series = dict[SeriesKey, Histogram]
MIN_N = 30


def histogram(signal: str, values: np.ndarray, frames: int | None = None) -> Histogram:
    """A histogram counted value by value, without the product's own binning."""
    known = SIGNALS[signal]
    edges = known.edges.values().tolist()
    counts = np.zeros(known.edges.count + 2, dtype=np.int64)
    for value in values.tolist():
        counts[sum(edge <= value for edge in edges)] += 1
    total = sum(round(value * known.scale) for value in values.tolist())
    n = len(values)
    frames = n if frames is None else frames
    each, more = divmod(n, max(frames, 1))  # dealt out as evenly as can be
    squares = (frames - more) * each**2 + more * (each + 1) ** 2
    return Histogram(known.edges.id, counts, n, frames, total, squares)


def key(signal: str, camera: str = "cam-1", class_name: str = "", recipe: str = "", **scope: str) -> SeriesKey:
    return SeriesKey(Scope("m", "v1", camera=camera, **scope), signal, class_name, recipe)


def grey(n: int, mean: float = 120, seed: int = 1) -> Histogram:
    return histogram("brightness", np.random.default_rng(seed).normal(mean, 10, n))


def ready(series: Series, groups: int = 10, source: str = "logs") -> ReadyBaseline:
    baseline = Baseline(7, "m", "v1", source, None, None, 0, "", "", WINDOW.start)
    return make_ready(baseline, freeze(series, groups), "v1", MIN_N)


def measured(now: Series, known: ReadyBaseline, signals: tuple[str, ...] = ("brightness",)) -> list[Measurement]:
    return compare(now, known, WINDOW, signals, "c0ffee")


def one(found: list[Measurement], wanted: SeriesKey, measure: str = "psi") -> Measurement:
    (only,) = [m for m in found if m.key == wanted and m.measure == measure]
    return only


def test_the_numbers_are_those_of_the_formulas_on_ten_groups() -> None:
    before, now = grey(1000), grey(60, mean=128, seed=2)
    known = ready({key("brightness"): before})
    found = measured({key("brightness"): now}, known)
    # Recounted without the product's grouping: deciles by running sum, nearest bin to each tenth.
    mass = np.cumsum(before.counts)
    cuts = sorted(
        {int(np.argmin(np.where(before.counts > 0, abs(mass - tenth * 100), 1e9))) for tenth in range(1, 10)}
    )
    p, q = (np.array([part.sum() for part in np.split(h.counts, [c + 1 for c in cuts])]) for h in (now, before))
    assert len(p) == 10
    p, q = (p + 0.5) / (60 + 5), (q + 0.5) / (1000 + 5)
    psi, kl, js, mean = (one(found, key("brightness"), name) for name in ("psi", "kl", "js", "mean"))
    assert psi.value == pytest.approx(float(entropy(p, q) + entropy(q, p)), abs=1e-12)
    assert kl.value == pytest.approx(float(entropy(p, q)), abs=1e-12)
    assert js.value == pytest.approx(float(entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2, abs=1e-12)
    assert psi.noise == pytest.approx((1 / 60 + 1 / 1000) * chi2.ppf(0.999, 9))
    assert kl.noise == pytest.approx(psi.noise / 2)
    assert js.noise == pytest.approx(psi.noise / 8)
    assert mean.value == mean.now_mean == psi.now_mean == now.total / 60 / 1000
    assert psi.baseline_mean == before.total / 1000 / 1000
    assert (psi.n, psi.baseline_n, psi.baseline_id, psi.contract_hash, psi.window) == (60, 1000, 7, "c0ffee", WINDOW)
    assert mean.noise is None
    assert {m.state for m in found} == {"ok"}


def test_all_cameras_together_are_measured_under_the_empty_name() -> None:
    known = ready({key("brightness", f"cam-{i}"): grey(200, seed=i) for i in (1, 2)})
    found = measured({key("brightness", f"cam-{i}"): grey(40, seed=9 + i) for i in (1, 2)}, known)
    whole = one(found, key("brightness", ""))
    assert (whole.state, whole.n, whole.baseline_n) == ("ok", 80, 400)


@pytest.mark.parametrize(("n", "state"), [(29, "insufficient"), (30, "ok")])
def test_too_few_frames_are_no_number(n: int, state: str) -> None:
    found = measured({key("brightness"): grey(n)}, ready({key("brightness"): grey(500)}))
    for measure in ("psi", "kl", "js", "mean"):
        m = one(found, key("brightness"), measure)
        assert (m.state, m.value is None, m.n) == (state, state != "ok", n)
        assert m.now_mean is not None


def test_without_a_baseline_there_are_means_alone() -> None:
    found = measured({key("brightness"): grey(60)}, make_ready(None, {}, "v1", MIN_N))
    psi, mean = one(found, key("brightness")), one(found, key("brightness"), "mean")
    assert (psi.state, psi.value, psi.baseline_id, psi.baseline_n) == ("no_baseline", None, None, 0)
    assert (mean.state, mean.value) == ("ok", mean.now_mean)


def test_a_camera_that_fell_silent_is_no_data() -> None:
    known = ready({key("brightness", f"cam-{i}"): grey(200, seed=i) for i in (1, 2)})
    found = measured({key("brightness", "cam-1"): grey(60)}, known)
    silent = one(found, key("brightness", "cam-2"))
    assert (silent.state, silent.value, silent.n, silent.baseline_n) == ("no_data", None, 0, 200)
    assert one(found, key("brightness", "")).n == 60


def test_a_camera_is_compared_with_itself_and_never_with_the_others() -> None:
    """Three healthy cameras at three levels of light, and a fourth, as healthy, between them."""
    levels = {"cam-1": 80, "cam-2": 120, "cam-3": 160}
    known = ready({key("brightness", name): grey(200, mean) for name, mean in levels.items()})
    found = measured({key("brightness", "cam-4"): grey(60, 100), key("brightness", "cam-1"): grey(60, 80)}, known)
    new, mean = one(found, key("brightness", "cam-4")), one(found, key("brightness", "cam-4"), "mean")
    assert (new.state, new.value, new.noise, new.baseline_id, new.baseline_mean) == ("no_baseline", *[None] * 4)
    assert (mean.state, mean.value) == ("ok", mean.now_mean)
    assert one(found, key("brightness", "cam-1")).state == "ok"
    few = ready({key("brightness", "cam-1"): grey(200), key("brightness", "cam-2"): grey(10)})
    small = one(measured({key("brightness", "cam-2"): grey(60)}, few), key("brightness", "cam-2"))
    assert (small.state, small.value, small.baseline_n) == ("insufficient", None, 10)


def test_a_baseline_from_images_serves_every_camera() -> None:
    known = ready({key("brightness", ""): grey(200)}, source="images")
    found = measured({key("brightness", name): grey(60) for name in ("cam-1", "cam-2")}, known)
    assert {(m.key.scope.camera, m.baseline_n) for m in found} == {("", 200), ("cam-1", 200), ("cam-2", 200)}
    assert {m.state for m in found} == {"ok"}


def test_a_baseline_of_few_values_is_not_enough_data() -> None:
    found = measured({key("brightness"): grey(60)}, ready({key("brightness"): grey(10)}))
    assert one(found, key("brightness")).state == "insufficient"
    assert one(found, key("brightness"), "mean").state == "ok"


def test_another_recipe_is_never_compared_and_is_no_silence() -> None:
    known = ready({key("brightness", recipe="full-1"): grey(500)})
    found = measured({key("brightness", recipe="every4-1"): grey(60)}, known)
    assert {m.key.recipe for m in found} == {"every4-1"}
    assert one(found, key("brightness", recipe="every4-1")).state == "no_baseline"


def test_other_edges_are_never_compared() -> None:
    known = ready({key("brightness"): grey(500)})
    moved = replace(grey(60), edges_id="grey:lin:0:256:999")
    assert one(measured({key("brightness"): moved}, known), key("brightness")).state == "no_baseline"


def test_slices_are_compared_with_the_same_slice() -> None:
    evening = {"slice_name": "lighting", "slice_value": "evening"}
    night = {"slice_name": "lighting", "slice_value": "night"}
    known = ready({key("brightness"): grey(500), key("brightness", **evening): grey(300, mean=60)})
    now = {key("brightness", **evening): grey(60, mean=60), key("brightness", **night): grey(60, mean=20)}
    found = measured(now, known)
    same = one(found, key("brightness", **evening))
    assert same.value is not None
    assert same.value < same.noise  # type: ignore[operator]
    assert same.baseline_n == 300
    assert one(found, key("brightness", **night)).state == "no_baseline"
    assert one(found, key("brightness", "", **evening)).n == 60


def test_what_is_not_asked_for_and_status_are_left_out() -> None:
    edges = SIGNALS["status"].edges
    status = Histogram(edges.id, np.zeros(3, dtype=np.int64), 60, 60, 0)
    series = {
        key("brightness"): grey(60),
        key("contrast"): histogram("contrast", np.full(60, 30.0)),
        key("status"): status,
    }
    found = measured(series, ready(series), ("brightness", "status"))
    assert {m.key.signal for m in found} == {"brightness"}


def shares(camera: str, frames: int, **counts: int) -> Series:
    """Confidences by class: every detection at 0.9."""
    series = {
        key("confidence", camera, name): histogram("confidence", np.full(n, 0.9), min(n, frames))
        for name, n in counts.items()
    }
    series[key("confidence", camera)] = histogram("confidence", np.full(sum(counts.values()), 0.9), frames)
    return series


def test_the_mix_of_classes_worked_by_hand() -> None:
    known = ready(shares("cam-1", 400, carton=600, pouch=200))
    found = measured(shares("cam-1", 50, carton=60, pouch=20, bottle=20), known, (CLASS_SHARE,))
    # Groups: carton, pouch, and all that the baseline had not seen.
    p = np.array([60.5, 20.5, 20.5]) / 101.5
    q = np.array([600.5, 200.5, 0.5]) / 801.5
    psi = one(found, key(CLASS_SHARE))
    assert psi.value == pytest.approx(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-12)
    assert psi.noise == pytest.approx((1 / 50 + 1 / 400) * chi2.ppf(0.999, 2))
    assert (psi.n, psi.baseline_n) == (50, 400)
    carton, bottle = (one(found, key(CLASS_SHARE, class_name=name), "mean") for name in ("carton", "bottle"))
    assert (carton.value, carton.baseline_mean) == (0.6, 0.75)
    assert (bottle.value, bottle.baseline_mean) == (0.2, None)
    assert {m.measure for m in found if m.key.class_name} == {"mean"}
    assert {m.measure for m in found if not m.key.class_name} == {"psi", "kl", "js"}


def test_a_class_that_vanished_has_the_share_nought() -> None:
    known = ready(shares("cam-1", 400, carton=600, pouch=200))
    found = measured(shares("cam-1", 50, carton=80), known, (CLASS_SHARE, "confidence"))
    gone = one(found, key(CLASS_SHARE, class_name="pouch"), "mean")
    assert (gone.state, gone.value, gone.n, gone.baseline_mean) == ("ok", 0.0, 50, 0.25)
    assert one(found, key("confidence", class_name="pouch")).state == "no_data"
    nothing = one(measured({}, known, (CLASS_SHARE,)), key(CLASS_SHARE))
    assert (nothing.state, nothing.value) == ("no_data", None)


def test_confidences_are_compared_by_class() -> None:
    known = ready(shares("cam-1", 400, carton=600, pouch=200))
    found = measured(shares("cam-1", 50, carton=60, pouch=40), known, ("confidence",))
    assert one(found, key("confidence", class_name="pouch")).baseline_n == 200
    assert one(found, key("confidence", class_name="pouch")).n == 40


def test_means_are_exact_and_pixels_weigh_by_the_frame() -> None:
    edges = SIGNALS["pixel_brightness"].edges
    counts = np.zeros(edges.count + 2, dtype=np.int64)
    counts[3] = 2000  # two frames of grey level 16 to 24
    assert mean_of("pixel_brightness", Histogram(edges.id, counts, 2, 2, 40_000)) == 20
    assert mean_of("brightness", histogram("brightness", np.array([100.0, 101.5]))) == 100.75
    assert mean_of("brightness", Histogram("", np.zeros(3, dtype=np.int64))) is None


values = st.lists(st.floats(-10, 300, allow_nan=False), max_size=40).map(np.array)


@settings(derandomize=True, max_examples=60)
@given(values, values)
def test_histograms_of_parts_add_up_to_that_of_the_whole(a: np.ndarray, b: np.ndarray) -> None:
    added = histogram("brightness", a) + histogram("brightness", b)
    whole = histogram("brightness", np.concatenate((a, b)))
    binned = np.bincount(SIGNALS["brightness"].edges.bin_of(np.concatenate((a, b))), minlength=258)
    assert (added.counts == whole.counts).all()
    assert (whole.counts == binned).all()
    assert (added.n, added.frames, added.total, added.squares) == (
        whole.n,
        whole.frames,
        whole.total,
        len(a) + len(b),
    )


@settings(derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), values), max_size=6))
def test_all_cameras_are_the_sum_whatever_the_order(parts: list[tuple[str, np.ndarray]]) -> None:
    series: Series = {}
    for camera, part in parts:
        one_camera = key("brightness", camera)
        h = histogram("brightness", part)
        series[one_camera] = series[one_camera] + h if one_camera in series else h
    forth = with_all_cameras(series)
    back = with_all_cameras(dict(reversed(series.items())))
    assert forth.keys() == back.keys()
    whole = forth.get(key("brightness", ""))
    assert (whole.n if whole else 0) == sum(len(part) for _, part in parts)
    if whole:
        assert (whole.counts == back[key("brightness", "")].counts).all()


def test_chance_alone_stays_under_the_noise() -> None:
    draw = np.random.default_rng(11)
    known = ready({key("brightness"): histogram("brightness", draw.normal(120, 10, 3000))})
    beyond = 0
    for _ in range(300):
        now = {key("brightness"): histogram("brightness", draw.normal(120, 10, 100))}
        m = one(measured(now, known), key("brightness"))
        beyond += m.value > m.noise  # type: ignore[operator]
    assert beyond <= 3
