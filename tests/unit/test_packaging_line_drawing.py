"""The drawn plant of examples/packaging-line: what it draws, how its days are made, how its detector is scored."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parents[2] / "examples" / "packaging-line"
NAMES = ("plant", "detector", "production")


@pytest.fixture(scope="module", autouse=True)
def _example_on_path() -> Iterator[None]:
    """The example's scripts import each other by bare name, as running one of them lets them."""
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def plant() -> ModuleType:
    return importlib.import_module("plant")


@pytest.fixture(scope="module")
def detector() -> ModuleType:
    return importlib.import_module("detector")


@pytest.fixture(scope="module")
def production() -> ModuleType:
    return importlib.import_module("production")


def test_the_same_seed_draws_the_same_frame_and_another_seed_another(plant: ModuleType) -> None:
    first, again, other = (plant.draw(plant.Scene(seed=seed)) for seed in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    camera=st.sampled_from(["cam-1", "cam-2", "cam-3"]),
    light=st.floats(0.3, 1.2),
    new_packaging=st.floats(0.0, 0.5),
    blur_sigma=st.sampled_from([0.0, 0.4, 2.5]),
    seed=st.integers(0, 2**32),
)
def test_every_frame_has_valid_boxes_and_known_classes(
    plant: ModuleType, camera: str, light: float, new_packaging: float, blur_sigma: float, seed: int
) -> None:
    scene = plant.Scene(camera, light, new_packaging, blur_sigma, seed=seed)
    frame, boxes, class_ids = plant.draw(scene)
    assert frame.shape == (160, 160, 3)
    assert frame.dtype == np.uint8
    assert boxes.shape == (len(class_ids), 4)
    assert len(class_ids) <= 5
    assert np.isfinite(boxes).all()
    assert (boxes >= 0).all()
    assert (boxes <= 160).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 4).all()
    assert set(class_ids.tolist()) <= {0, 1, 2}


def test_a_box_encloses_what_was_painted(plant: ModuleType) -> None:
    """Without light's flicker, noise and neighbours, the pixels that differ from the bare belt are the box."""
    rng = np.random.default_rng(0)
    bare = np.zeros((3, 160, 160), dtype=np.float32)
    canvas = bare.copy()
    box = plant._put(canvas, "carton", plant.Pose(80.0, 70.0, 20.0, 12.0, 0.0), rng)
    assert box == (60, 58, 100, 82)
    painted = (canvas > 0.5 * 66).any(axis=0)  # a carton's weakest channel, at least half covered
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == box


@pytest.mark.parametrize("camera", ["cam-1", "cam-2", "cam-3"])
def test_mean_brightness_follows_the_light(plant: ModuleType, camera: str) -> None:
    def brightness(light: float) -> float:
        frames = [plant.draw(plant.Scene(camera, light, noise_sigma=0.0, seed=seed))[0] for seed in range(20)]
        return float(np.mean(frames))

    full, half = brightness(1.0), brightness(0.5)
    assert half / full == pytest.approx(0.5, abs=0.01)  # the cut to whole grey levels takes up to 0.5 of about 70


def test_blur_takes_detail_away_and_noise_adds_it(plant: ModuleType) -> None:
    def detail(**knobs: float) -> float:
        frame = plant.draw(plant.Scene(seed=3, **knobs))[0].astype(np.float64)
        return float(np.abs(np.diff(frame, axis=1)).mean())

    assert detail(blur_sigma=2.0) < 0.7 * detail()
    assert detail(noise_sigma=12.0) > 1.5 * detail()


def test_new_packaging_is_its_share_of_the_line_and_leaves_the_mix_alone(plant: ModuleType) -> None:
    rng = np.random.default_rng(1)
    scene = plant.Scene("cam-2", new_packaging=0.35)
    kinds = [kind for _ in range(2000) for kind, _ in plant._arrange(scene, plant.LINES["cam-2"], rng)]
    packages = [kind for kind in kinds if kind in plant.KIND_CLASS]
    assert packages.count("paper pouch") / len(packages) == pytest.approx(0.35, abs=0.02)
    pouches = sum(plant.KIND_CLASS[kind] == "pouch" for kind in packages)
    assert pouches / len(packages) == pytest.approx(0.50, abs=0.02)


@pytest.mark.parametrize("knobs", [{"camera": "cam-9"}, {"new_packaging": 1.5}, {"light": -0.1}])
def test_an_impossible_scene_is_refused(plant: ModuleType, knobs: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|use one of"):
        plant.Scene(**knobs)


def test_a_day_can_be_drawn_alone_and_stays_within_the_shift(production: ModuleType) -> None:
    long, short = (production.produce_day(40, "cam-2", n, drifted=True, seed=9) for n in (6, 3))
    for a, b in zip(long, short, strict=False):
        np.testing.assert_array_equal(a.frame, b.frame)
    offsets = [shot.captured_offset_s for shot in long]
    assert offsets == sorted(offsets)
    assert offsets[0] >= 6 * 3600
    assert offsets[-1] < 22 * 3600
    other = production.produce_day(40, "cam-2", 3, drifted=True, seed=10)
    assert not np.array_equal(other[0].frame, short[0].frame)


def test_the_story_is_clean_for_four_weeks_and_then_ages(production: ModuleType) -> None:
    for day in (0, 27):
        assert production.day_scene(day, "cam-2", True, 4) == production.day_scene(day, "cam-2", False, 4)
    last, still = production.day_scene(97, "cam-2", True, 4), production.day_scene(97, "cam-2", False, 4)
    assert last.light == pytest.approx(0.5 * still.light)
    assert last.new_packaging == pytest.approx(0.35)
    assert still.new_packaging == 0.0
    assert still.light == pytest.approx(1.0, abs=0.03)
    assert production.day_scene(97, "cam-1", True, 4).new_packaging == 0.0
    middle = production.day_scene(62, "cam-1", True, 4).light / production.day_scene(62, "cam-1", False, 4).light
    assert middle == pytest.approx(0.75)  # 35 of 70 days
    with pytest.raises(ValueError, match="use 0 to 97"):
        production.produce_day(98, "cam-1", 1, drifted=True, seed=4)


def test_suppression_keeps_the_best_of_a_class_and_other_classes(detector: ModuleType) -> None:
    """Worked by hand: boxes 40 wide; 10 px apart overlap by 30/50 = 0.6, 20 px apart by 20/60 = 0.33."""
    rows = [(50, 0, 0.9), (60, 0, 0.8), (80, 0, 0.7), (50, 1, 0.6), (120, 2, 0.2)]
    output = np.zeros((2, 7, len(rows)), dtype=np.float32)
    for i, (x, class_id, score) in enumerate(rows):
        output[1, :4, i] = (x, 60, 40, 40)
        output[1, 4 + class_id, i] = score
    empty, found = detector.decode(output, 0.25)
    assert empty == []
    assert [(d.class_name, round(d.confidence, 3)) for d in found] == [
        ("carton", 0.9),
        ("carton", 0.7),
        ("pouch", 0.6),
    ]
    assert found[0].box == (30.0, 40.0, 70.0, 80.0)


def test_precision_and_recall_by_hand(detector: ModuleType) -> None:
    """Two real objects; one hit, one double of it, one of a wrong class, one below the production threshold."""
    truth = detector.Truth(np.array([[0.0, 0, 40, 40], [100, 100, 140, 140]]), np.array([0, 1]))
    ours = [
        detector.Detection("carton", 0.8, (2.0, 0.0, 42.0, 40.0)),
        detector.Detection("carton", 0.7, (0.0, 0.0, 40.0, 40.0)),
        detector.Detection("bottle", 0.9, (100.0, 100.0, 140.0, 140.0)),
        detector.Detection("pouch", 0.4, (100.0, 100.0, 140.0, 140.0)),
    ]
    assert detector.matches(ours, truth) == [True, False, False, True]
    score = detector.precision_recall([ours], [truth])
    assert score == (1, 2, 1)
    assert score.precision == pytest.approx(1 / 3)
    assert score.recall == 0.5


def test_the_shipped_detector_finds_what_lies_on_the_belt(detector: ModuleType, production: ModuleType) -> None:
    pytest.importorskip("onnxruntime", reason="the example's detector runs on onnxruntime")
    shots = [s for camera in ("cam-1", "cam-2", "cam-3") for s in production.produce_day(3, camera, 30, True, 77)]
    model = detector.Detector(EXAMPLE / "detector.onnx")
    found = model.detect([shot.frame for shot in shots])
    score = detector.precision_recall(found, [shot.truth for shot in shots])
    assert score.hits > 150
    assert score.precision > 0.94
    assert score.recall > 0.9
    alone = model.detect([shots[4].frame])
    assert [d.class_name for d in alone[0]] == [d.class_name for d in found[4]]
