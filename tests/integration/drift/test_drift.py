"""Roll-ups to measurements through Postgres: what is undone is done, once, and revised when records come late."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, entropy
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from monitor.drift import baseline as freezing
from monitor.drift import stage
from monitor.imaging.stats import image_stats
from monitor.ingest import stage as intake
from monitor.records import Measurement, Window
from monitor.spec.load import load_contract
from monitor.store import measurements

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TABLES = ("measurement", "measured_window")


def freeze(plant: Any, days: int = 7) -> int:
    period = Window(START, START + days * DAY)
    return freezing.from_logs(plant.database, plant.loaded, "v1", period, START + 50 * DAY).baseline.id


def run(plant: Any, day: int, hour: int = 2) -> int:
    return stage.run(plant.database, plant.loaded, START + day * DAY + hour * HOUR)


def dump(plant: Any) -> list[list[Any]]:
    with plant.database.begin() as conn:
        return [sorted(map(repr, conn.execute(text(f"SELECT * FROM {table}")).all())) for table in TABLES]


def one(found: list[Measurement]) -> Measurement:
    (only,) = found
    return only


def brightness(plant: Any, day: int, camera: str = "cam-1", measure: str = "psi", **more: Any) -> Measurement:
    window = {"start": START + day * DAY, "end": START + (day + 1) * DAY}
    where = {"slice_name": "", "signal": "brightness", "measure": measure} | more
    return one(plant.measured(camera=camera, **window, **where))


def test_closed_and_settled_windows_are_measured_once(plant: Any) -> None:
    plant.send(range(7))
    number = freeze(plant)
    assert run(plant, 7, hour=0) == 6  # the seventh has not settled
    assert run(plant, 7, hour=1) == 1
    before = dump(plant)
    assert run(plant, 7, hour=2) == 0
    assert dump(plant) == before
    calm = brightness(plant, 3)
    assert (calm.state, calm.n, calm.baseline_n, calm.baseline_id) == ("ok", 60, 420, number)
    assert calm.contract_hash == plant.loaded.hash
    assert calm.value < calm.noise  # type: ignore[operator]


def test_the_stored_psi_is_that_of_the_raw_values(plant: Any) -> None:
    plant.send(range(7))
    freeze(plant)
    plant.send(range(7, 8), brightness=132)
    run(plant, 8)
    with plant.database.begin() as conn:
        raw = [
            np.array(
                conn.execute(text(f"SELECT brightness FROM frame WHERE camera = 'cam-1' AND {when}")).scalars().all()
            )
            for when in ("captured_at < '2026-03-09'", "captured_at >= '2026-03-09'")
        ]
    # Ten groups by counting whole grey levels, without the product's histograms.
    below = [int((np.floor(raw[0]) <= level).sum()) for level in range(256)]
    cuts = sorted(
        {min(range(256), key=lambda level: (abs(below[level] * 10 - k * 420), level)) for k in range(1, 10)}
    )
    p, q = (np.bincount(np.searchsorted(cuts, np.floor(values), side="left"), minlength=10) for values in raw[::-1])
    p, q = (p + 0.5) / (60 + 5), (q + 0.5) / (420 + 5)
    drifted = brightness(plant, 7)
    assert drifted.value == pytest.approx(float(entropy(p, q) + entropy(q, p)), abs=1e-12)
    assert drifted.value > 0.3 + drifted.noise  # type: ignore[operator]
    assert drifted.now_mean == pytest.approx(raw[1].mean(), abs=1e-3)
    assert drifted.baseline_mean == pytest.approx(raw[0].mean(), abs=1e-3)
    assert brightness(plant, 7, measure="mean").value == drifted.now_mean


def test_late_records_revise_their_window_and_no_other(plant: Any) -> None:
    plant.send(range(7))
    freeze(plant)
    run(plant, 7)
    others = plant.measured(end=START + 5 * DAY)
    plant.send(range(5, 6), frames=30, brightness=180)
    assert run(plant, 7) == 1
    late = brightness(plant, 5)
    assert late.n == 90
    assert late.value > late.noise  # type: ignore[operator]
    assert plant.measured(end=START + 5 * DAY) == others
    assert run(plant, 7) == 0


def test_windows_without_a_baseline_wait_for_one(plant: Any) -> None:
    plant.send(range(3))
    assert run(plant, 3) == 3
    assert brightness(plant, 1).state == "no_baseline"
    assert brightness(plant, 1, measure="mean").state == "ok"
    assert run(plant, 3) == 0
    freeze(plant, 3)
    assert run(plant, 3) == 3
    assert brightness(plant, 1).state == "ok"
    freezing.from_logs(plant.database, plant.loaded, "v1", Window(START, START + DAY), START + 50 * DAY)
    assert run(plant, 3) == 0  # a newer baseline judges what comes


def test_few_frames_and_no_frames_are_states(plant: Any) -> None:
    plant.send(range(7))
    freeze(plant)
    plant.send(range(7, 8), cameras=("cam-1",), frames=20)
    run(plant, 9)
    assert [(m.state, m.value, m.n) for m in (brightness(plant, 7),)] == [("insufficient", None, 20)]
    assert brightness(plant, 7, "cam-2").state == "no_data"
    assert brightness(plant, 8).state == "no_data"
    assert brightness(plant, 8, "").state == "no_data"
    # After a week without a frame the version is out of use.
    assert run(plant, 40) == 6
    assert max(m.window.end for m in plant.measured()) == START + 15 * DAY


def test_slices_classes_and_all_cameras(plant: Any) -> None:
    plant.send(range(7))
    freeze(plant)
    plant.send(range(7, 8), pouches=0.7)
    run(plant, 8)
    day = {"start": START + 7 * DAY, "end": START + 8 * DAY, "measure": "psi"}
    evening = one(plant.measured(camera="", slice_name="lighting", slice_value="evening", signal="brightness", **day))
    assert (evening.n, evening.baseline_n, evening.state) == (60, 420, "ok")
    mix = one(plant.measured(camera="cam-1", slice_name="", signal="class_share", **day))
    assert mix.value > 0.3 + mix.noise  # type: ignore[operator]
    pouch = {"camera": "cam-1", "slice_name": "", "class_name": "pouch"}
    share = one(plant.measured(signal="class_share", **pouch, **day | {"measure": "mean"}))
    assert share.value == pytest.approx(0.7, abs=0.1)
    assert share.baseline_mean == pytest.approx(0.2, abs=0.05)
    assert one(plant.measured(signal="confidence", **pouch, **day)).state == "ok"


def test_another_recipe_is_never_compared(plant: Any) -> None:
    plant.send(range(3))
    freeze(plant, 3)
    image = plant.record(3, "cam-1", 0, np.random.default_rng(1))["image"] | {"recipe": "grey601-every4-1"}
    plant.send(range(3, 4), image=image)
    run(plant, 4)
    other = brightness(plant, 3)
    assert (other.key.recipe, other.state, other.value) == ("grey601-every4-1", "no_baseline", None)
    assert (
        one(plant.measured(camera="cam-1", slice_name="", signal="latency_ms", measure="psi", last=1)).state == "ok"
    )


def test_shadow_frames_are_not_measured(plant: Any) -> None:
    plant.send(range(3))
    freeze(plant, 3)
    plant.send(range(1, 2), shadow=True, brightness=200, frames=70)
    plant.send(range(3), version="v2", shadow=True)
    run(plant, 3)
    assert brightness(plant, 1).n == 60
    assert {m.key.scope.version for m in plant.measured()} == {"v1"}


def test_a_baseline_from_images_serves_every_camera_and_version(plant: Any) -> None:
    draw = np.random.default_rng(2)
    grey = [np.clip(draw.normal(120, 10), 0, 255) for _ in range(300)]
    stats = [image_stats(np.full((8, 8), round(level), dtype=np.uint8)) for level in grey]
    freezing.from_images(plant.database, plant.loaded, stats, START)
    plant.send(range(1))
    plant.send(range(1), version="v2", frames=50)
    run(plant, 1)
    for version, n in (("v1", 60), ("v2", 50)):
        m = brightness(plant, 0, version=version)
        assert (m.state, m.n, m.baseline_n) == ("ok", n, 300)
        assert m.value < m.noise  # type: ignore[operator]
    assert brightness(plant, 0, signal="latency_ms", version="v1").state == "no_baseline"
    sliced = plant.measured(camera="cam-1", slice_name="lighting", signal="brightness", measure="psi")
    assert {m.state for m in sliced} == {"no_baseline"}


def test_images_serve_every_stage_of_a_model(plant: Any) -> None:
    staged = plant.loaded.text.replace('name = "line"', 'name = "line"\nstages = ["screening", "verification"]', 1)
    plant.loaded.path.write_text(staged, encoding="utf-8")
    plant.loaded = load_contract(plant.loaded.path)
    stats = [image_stats(np.full((8, 8), 100 + level % 40, dtype=np.uint8)) for level in range(300)]
    freezing.from_images(plant.database, plant.loaded, stats, START)
    plant.send(range(1), stage="screening")
    run(plant, 1)
    found = plant.measured(slice_name="", signal="brightness", measure="psi")
    assert {(m.key.scope.stage, m.key.scope.camera): m.state for m in found} == {
        ("screening", "cam-1"): "ok",
        ("screening", "cam-2"): "ok",
        ("screening", ""): "ok",
        ("verification", ""): "no_data",
    }


def test_silence_in_windows_still_to_come_is_none(plant: Any) -> None:
    now = datetime.now(UTC)
    yesterday = (now - START) // DAY - 1
    draw = np.random.default_rng(1)
    lines = [plant.record(yesterday, "cam-1", number, draw) for number in range(40)]
    incoming = plant.folder / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "day.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    intake.run(plant.database, plant.folder, {"line": plant.loaded}, now + DAY)
    assert stage.run(plant.database, plant.loaded, now + 5 * DAY) == 1
    assert {m.window.start for m in plant.measured()} == {START + yesterday * DAY}


def test_windows_of_six_hours(plant: Any, tmp_path: Path) -> None:
    path = tmp_path / "six.toml"
    path.write_text(plant.loaded.text + '[drift]\nwindow = "6h"\nsettle = "0h"\n', encoding="utf-8")
    plant.send(range(1))
    plant.loaded = load_contract(path)
    assert run(plant, 1, hour=0) == 3  # 6 to 12 with frames, and two silent ones after it
    windows = {
        (m.window.start.hour, m.state) for m in plant.measured(camera="cam-1", signal="brightness", measure="mean")
    }
    assert windows == {(6, "ok")}


def test_two_workers_at_once_leave_what_one_would(plant: Any) -> None:
    plant.send(range(4))
    freeze(plant, 4)
    workers = [Thread(target=run, args=(plant, 4)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    together = dump(plant)
    with plant.database.begin() as conn:
        conn.execute(text("TRUNCATE measurement, measured_window"))
    run(plant, 4)
    assert dump(plant) == together


def test_the_order_of_loading_does_not_matter(plant: Any) -> None:
    plant.send(range(2, 4))
    run(plant, 4)
    plant.send(range(2))
    run(plant, 4)
    freeze(plant, 4)
    run(plant, 4)
    in_parts = dump(plant)
    with plant.database.begin() as conn:
        conn.execute(text("TRUNCATE measurement, measured_window"))
    run(plant, 4)
    assert dump(plant) == in_parts


def test_a_new_camera_is_not_judged_by_the_others(plant: Any) -> None:
    for camera, level in (("cam-1", 80), ("cam-2", 120), ("cam-3", 160)):
        plant.send(range(3), cameras=(camera,), brightness=level)
    freeze(plant, 3)
    plant.send(range(3, 4), cameras=("cam-4",), brightness=100)
    run(plant, 4)
    new = brightness(plant, 3, "cam-4")
    assert (new.state, new.value, new.baseline_id, new.baseline_mean) == ("no_baseline", None, None, None)
    assert brightness(plant, 3, "cam-4", "mean").state == "ok"
    assert brightness(plant, 3, "cam-1").state == "no_data"
    assert run(plant, 4) == 0


def test_noise_is_that_of_crowded_frames(plant: Any) -> None:
    boxes = [{"class": "carton", "confidence": 0.9, "box": [10, 10, 100, 80]}]
    plant.send(range(3))
    freeze(plant, 3)
    plant.send(range(3, 4), cameras=("cam-1",), frames=59, detections=boxes)
    plant.send(range(3, 4), cameras=("cam-1",), frames=1, detections=21 * boxes)
    run(plant, 4)
    where = {"camera": "cam-1", "slice_name": "", "class_name": "", "measure": "psi", "start": START + 3 * DAY}
    mix = one(plant.measured(signal="class_share", **where))
    # 59 frames of one detection and one of 21: 80 values, 59 + 441 squared. The baseline: 180 frames of two each.
    assert (mix.state, mix.n, mix.baseline_n) == ("ok", 60, 180)
    assert mix.noise == pytest.approx((500 / 80**2 + 1 / 180) * chi2.ppf(0.999, 2))


def test_what_postgres_refuses_is_an_error_of_the_store(plant: Any) -> None:
    plant.send(range(1))
    run(plant, 1)
    measured = plant.measured(last=1)
    with pytest.raises(IntegrityError), plant.database.begin() as conn:
        measurements.save(conn, measured)  # they are there
    with plant.database.begin() as conn:
        measurements.save(conn, [])
        measurements.save(conn, [replace(m, key=replace(m.key, recipe="again")) for m in measured])
    again = [m for m in plant.measured(last=1) if m.key.recipe == "again"]
    assert [replace(m, key=replace(m.key, recipe="")) for m in again] == [
        replace(m, key=replace(m.key, recipe="")) for m in measured
    ]


def test_reading_is_filtered(plant: Any) -> None:
    plant.send(range(3))
    run(plant, 3)
    means = plant.measured(camera="cam-1", slice_name="", class_name="", signal="latency_ms", measure="mean")
    assert [m.window.start for m in means] == [START + day * DAY for day in range(3)]
    newest = plant.measured(signal="latency_ms", camera="cam-1", slice_name="", measure="mean", last=2)
    assert newest == means[1:]
    assert plant.measured(version="v9") == []
