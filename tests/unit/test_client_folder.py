"""Image files: formats, order, lists, and every way in which a file can be no image."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monitor.client import image_stats
from monitor.client.folder import (
    MAX_PIXELS,
    ImageFault,
    ImageResult,
    image_paths,
    listed_images,
    read_folder,
)


def picture(height: int = 24, width: int = 32, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def only(path: Path) -> ImageResult | ImageFault:
    (result,) = read_folder([path])
    return result


def fault(path: Path) -> str:
    result = only(path)
    assert isinstance(result, ImageFault)
    assert result.path == path
    return result.reason


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_formats_without_loss_give_the_pixels_own_statistics(tmp_path: Path, name: str) -> None:
    image = picture()
    image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    assert only(tmp_path / name) == ImageResult(tmp_path / name, image_stats(np.asarray(image)))


def test_jpeg_is_near(tmp_path: Path) -> None:
    smooth = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (64, 1)))
    smooth.save(tmp_path / "a.jpg", quality=95)
    result = only(tmp_path / "a.jpg")
    assert isinstance(result, ImageResult)
    assert result.stats.brightness == pytest.approx(127.5, abs=1)
    assert result.stats.red_balance == 0.0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_other_modes_of_eight_bits_are_read(tmp_path: Path, mode: str) -> None:
    image = picture().convert(mode)
    image.save(tmp_path / "a.png")
    pixels = np.asarray(image.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    assert only(tmp_path / "a.png") == ImageResult(tmp_path / "a.png", image_stats(pixels))


def test_a_turned_photograph_has_the_same_statistics(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture().save(tmp_path / "turned.png", exif=exif)
    picture().save(tmp_path / "plain.png")
    turned, plain = read_folder([tmp_path / "turned.png", tmp_path / "plain.png"])
    assert isinstance(turned, ImageResult)
    assert isinstance(plain, ImageResult)
    assert turned.stats == plain.stats


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(tmp_path / "a.png")
    assert "not 8-bit grey or colour" in fault(tmp_path / "a.png")


def test_a_truncated_image_is_a_sentence(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        picture(200, 200).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert "cannot be read" in fault(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"this is text\n", b"GIF89a\x01\x00\x01\x00\x80\x00\x00"])
def test_what_is_no_image_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert "not an image of a known format (JPEG, PNG, BMP, TIFF, WEBP)" in fault(tmp_path / "a.jpg")


@pytest.mark.parametrize("side", [10_100, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert fault(tmp_path / "a.png").startswith(f"has more than {MAX_PIXELS:,} pixels")


def test_a_missing_file_a_folder_and_a_pipe_are_sentences(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "does not exist" in fault(tmp_path / "missing.jpg")
    assert "not a regular file" in fault(tmp_path)
    assert "not a regular file" in fault(tmp_path / "pipe.jpg")


def test_the_rest_goes_on_in_the_order_given(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:02d}.png" for number in range(20)]
    for number, path in enumerate(paths):
        picture(seed=number).save(path)
    paths[7].write_bytes(b"broken")
    results = list(read_folder(iter(paths), workers=3))
    assert [result.path for result in results] == paths
    assert [isinstance(result, ImageFault) for result in results] == [number == 7 for number in range(20)]
    for number, result in enumerate(results):
        if isinstance(result, ImageResult):
            assert result.stats == image_stats(np.asarray(picture(seed=number)))


def test_reading_can_stop_early(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    results = read_folder([tmp_path / "a.png"] * 100, workers=2)
    assert isinstance(next(results), ImageResult)
    results.close()  # type: ignore[attr-defined]


def test_a_step_is_another_recipe(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    (result,) = read_folder([tmp_path / "a.png"], step=2)
    assert isinstance(result, ImageResult)
    assert result.stats == image_stats(np.asarray(picture()), step=2)
    with pytest.raises(ValueError, match="step is 0"):
        next(read_folder([], step=0))


def test_a_folder_is_walked_in_order_without_what_is_hidden_or_no_image(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "a.webp", "notes.txt", ".hidden.png", ".cache/x.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert image_paths(tmp_path) == [tmp_path / name for name in ("a.webp", "b/1.png", "b/2.JPG")]
    assert image_paths(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(FileNotFoundError):
        image_paths(tmp_path / "missing")


def test_a_list_names_images_with_or_without_suffix_and_folder(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "north").mkdir(parents=True)
    for name in ("1.jpg", "north/2.v1.png"):
        (images / name).touch()
    listing = tmp_path / "train.txt"
    listing.write_text("# the training set\nnorth/2.v1\n\n 1.jpg \ngone\n", encoding="utf-8")
    assert listed_images(listing, images) == [images / "north/2.v1.png", images / "1.jpg", images / "gone"]
    listing.write_text(f"images/1.jpg\n{images}/1.jpg\n", encoding="utf-8")
    assert listed_images(listing) == [images / "1.jpg"] * 2
