"""All 364 microscope JPEGs of the BCCD data set (github.com/Shenggan/BCCD_Dataset), against Pillow's own numbers."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageStat
from scipy import ndimage

from monitor.client.folder import ImageResult, image_paths, listed_images, read_folder

DATA = os.environ.get("MONITOR_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="MONITOR_TEST_DATA does not name a folder with real images")


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(DATA or "") / "bccd"


@pytest.fixture(scope="module")
def results(folder: Path) -> list[ImageResult]:
    found = list(read_folder(image_paths(folder / "JPEGImages")))
    assert len(found) == 364
    return [result for result in found if isinstance(result, ImageResult)]


def test_every_image_is_read_and_every_number_is_one(results: list[ImageResult]) -> None:
    assert len(results) == 364
    for result in results:
        stats = result.stats
        assert (stats.width, stats.height) == (640, 480)
        assert sum(stats.histogram) == 640 * 480
        assert 100 < stats.brightness < 250
        assert 0 < stats.contrast < 128
        assert -2 < stats.sharpness < 12
        assert abs(stats.red_balance) < 1
        assert abs(stats.blue_balance) < 1


def test_pillow_and_scipy_see_the_same(results: list[ImageResult]) -> None:
    """Pillow's grey has finer weights and rounds alike: half a level apart at most, on every fourth image."""
    for result in results[::4]:
        with Image.open(result.path) as image:
            grey, colour = image.convert("L"), ImageStat.Stat(image.convert("RGB"))
        stats, seen = result.stats, ImageStat.Stat(grey)
        red, green, blue = colour.mean
        assert stats.brightness == pytest.approx(seen.mean[0], abs=0.5)
        assert stats.contrast == pytest.approx(seen.stddev[0], abs=0.1)
        assert stats.red_balance == pytest.approx(math.log(red / green), abs=1e-6)
        assert stats.blue_balance == pytest.approx(math.log(blue / green), abs=1e-6)
        laplacian = ndimage.laplace(np.asarray(grey, dtype=np.float64))[1:-1, 1:-1]
        assert stats.sharpness == pytest.approx(math.log(laplacian.var()), abs=0.1)


def test_the_training_split_is_found_by_its_names(folder: Path) -> None:
    paths = listed_images(folder / "splits" / "train.txt", folder / "JPEGImages")
    assert len(paths) == 205
    assert all(path.is_file() for path in paths)
