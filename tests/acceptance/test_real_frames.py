"""Real microscope frames through the commands a person would type: quiet when untouched, loud when dark or blurred.

The baseline is frozen from the training images; production is 60 of the other images a day for 30 days. Twenty
seeds are twenty cameras of one plant, and one camera more grows darker, another is blurred.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from monitor.cli.main import main
from monitor.client import FrameLogger, frame_record, image_stats
from monitor.imaging.stats import ImageStats
from monitor.store import alerts

DATA = os.environ.get("MONITOR_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="MONITOR_TEST_DATA does not name a folder with real images")

DAYS, A_DAY, SEEDS = 30, 60, 20
IMAGE_SIGNALS = (
    "brightness",
    "pixel_brightness",
    "contrast",
    "sharpness",
    "red_balance",
    "blue_balance",
    "resolution",
)
CONTRACT = """
[model]
name = "cells"
[cameras]
policy = "open"
[[classes]]
name = "RBC"
""" + "".join(
    f"""
[[alerts]]
name = "{signal}-drift"
signal = "{signal}"
measure = "psi"
above = 0.2
min_n = 50
"""
    for signal in IMAGE_SIGNALS
)

Frame = NDArray[np.uint8]


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(DATA or "") / "bccd"


def split(folder: Path, name: str) -> list[Path]:
    names = (folder / "splits" / f"{name}.txt").read_text(encoding="utf-8").split()
    return [folder / "JPEGImages" / f"{Path(each).stem}.jpg" for each in names]


@pytest.fixture(scope="module")
def others(folder: Path) -> list[Image.Image]:
    """The 159 images that are not for training."""
    return [Image.open(path).convert("RGB") for path in [*split(folder, "val"), *split(folder, "test")]]


@pytest.fixture(scope="module")
def untouched(others: list[Image.Image]) -> list[ImageStats]:
    return [image_stats(np.asarray(image)) for image in others]


def drawn(seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Which 60 of the 159 are seen on each day."""
    rng = np.random.default_rng(seed)
    for day in range(DAYS):
        yield day, rng.permutation(159)[:A_DAY]


def log_camera(
    log: FrameLogger, camera: str, seed: int, first: datetime, stats: Callable[[int, int], ImageStats]
) -> None:
    for day, chosen in drawn(seed):
        for place, index in enumerate(chosen):
            found = stats(day, int(index))
            log.log(
                frame_record(
                    event_id=f"{camera}-{day}-{place}",
                    captured_at=first + timedelta(days=day, minutes=10 * place),
                    model="cells",
                    version="v1",
                    camera=camera,
                    width=found.width,
                    height=found.height,
                    image=found,
                )
            )


def run(*words: str) -> None:
    assert main(words) == 0, words


@pytest.fixture
def plant(tmp_path: Path, database: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[Path, datetime]:
    """A contract, a baseline from the training images, and the first day of production."""
    url = database.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("MONITOR_DATABASE_URL", url)
    monkeypatch.setenv("MONITOR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MONITOR_CONTRACTS_DIR", str(tmp_path / "contracts"))
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "cells.toml").write_text(CONTRACT, encoding="utf-8")
    listed = tmp_path / "train.txt"
    listed.write_text("\n".join(str(path) for path in split(folder, "train")), encoding="utf-8")
    run("spec", "check", str(tmp_path / "contracts" / "cells.toml"))
    run("baseline", "freeze", "--model", "cells", "--list", str(listed))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return tmp_path, today - timedelta(days=DAYS)


def fired(database: Any, logs: Path) -> dict[str, set[str]]:
    """Take the logs in, measure, judge; the rules that ever fired by camera."""
    run("ingest", "logs", str(logs))
    run("drift", "run")
    run("alerts", "run")
    found: dict[str, set[str]] = {}
    with database.begin() as conn:
        for alert in alerts.read(conn, "cells"):
            if any(event.to_state == "firing" for event in alerts.events(conn, alert.key)):
                found.setdefault(alert.series.scope.camera, set()).add(alert.rule)
    return found


def test_untouched_frames_raise_no_alert(
    plant: tuple[Path, datetime], untouched: list[ImageStats], database: Any
) -> None:
    """Over twenty seeds at most one has any alert."""
    folder, first = plant
    with FrameLogger(folder / "logs") as log:
        for seed in range(SEEDS):
            log_camera(log, f"seed-{seed:02d}", seed, first, lambda day, index: untouched[index])
    found = fired(database, folder / "logs")
    assert len(found) <= 1, found


def test_darker_frames_and_blurred_frames_do(
    plant: tuple[Path, datetime], others: list[Image.Image], database: Any
) -> None:
    """1 % less light each day moves brightness; a lens out of focus moves sharpness. On real pixels."""
    folder, first = plant
    blurred = [image_stats(np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)))) for image in others]

    def darker(day: int, index: int) -> ImageStats:
        pixels = np.asarray(others[index], dtype=np.float64) * 0.99 ** (day + 1)
        return image_stats(np.rint(pixels).astype(np.uint8))

    with FrameLogger(folder / "logs") as log:
        log_camera(log, "darker", 101, first, darker)
        log_camera(log, "blurred", 102, first, lambda day, index: blurred[index])
    found = fired(database, folder / "logs")
    assert "brightness-drift" in found["darker"]
    assert "sharpness-drift" in found["blurred"]


def test_every_real_image_has_statistics(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    run("frames", "stats", "--json", str(folder / "JPEGImages"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert sum("brightness" in json.dumps(line) for line in lines) == 364
