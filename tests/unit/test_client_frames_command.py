"""`monitor frames stats` on small folders."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monitor.cli import frames
from monitor.client import image_stats
from monitor.errors import GateRefused, UsageError
from monitor.settings import Settings


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    frames.register(parser.add_subparsers())
    args = parser.parse_args(["frames", "stats", *map(str, words)])
    code: int = args.run(args, Settings())
    return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three flat grey images of levels 10, 20 and 60, one of them broken, one larger."""
    images = tmp_path / "images"
    images.mkdir()
    for name, level, size in (("a.png", 10, (8, 8)), ("b.png", 20, (8, 8)), ("c.png", 60, (16, 8))):
        Image.new("L", size, level).save(images / name)
    (images / "broken.jpg").write_bytes(b"no image")
    return images


def row(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(name)]
    return line.split()[1:]


def test_the_summary_says_what_was_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 of 4 images read with recipe grey601-full-1; 2 resolutions, most often 8 × 8 (2)")
    assert row(out, "brightness") == ["30.000", "10.000", "11.000", "20.000", "56.000", "60.000"]
    assert row(out, "width") == ["10.667", "8.000", "8.000", "8.000", "15.200", "16.000"]
    assert f"{folder / 'broken.jpg'} is not an image of a known format" in err


def test_json_is_an_object_an_image(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json", "--step", "2", "--to", tmp_path / "stats.jsonl") == 0
    out = capsys.readouterr().out
    assert (tmp_path / "stats.jsonl").read_text(encoding="utf-8") == out
    first = json.loads(out.splitlines()[0])
    expected = asdict(image_stats(np.full((8, 8), 10, dtype=np.uint8), step=2))
    assert first == {"path": str(folder / "a.png"), **expected, "histogram": list(expected["histogram"])}
    assert len(out.splitlines()) == 3


def test_a_list_chooses(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "split.txt").write_text("b\nc.png\n", encoding="utf-8")
    assert run(folder, "--list", tmp_path / "split.txt") == 0
    assert capsys.readouterr().out.startswith("2 of 2 images")


def test_no_image_that_can_be_read_is_a_no(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match="none of 1 images could be read"):
        run(folder / "broken.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GateRefused, match="none of 0 images"):
        run(tmp_path / "empty")


def test_what_cannot_be_used_is_a_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.txt").write_bytes(b"gr\xf6n.png\n")
    (tmp_path / "list.txt").write_text("a.png\n", encoding="utf-8")
    cases: list[tuple[list[str | Path], str]] = [
        ([], "no images named"),
        ([tmp_path / "missing"], "No such file or directory; check the path"),
        (["--list", tmp_path / "missing.txt"], "No such file or directory; check the path"),
        (["--list", tmp_path / "latin.txt"], "not UTF-8 text"),
        ([folder, folder, "--list", tmp_path / "list.txt"], "one PATH beside it"),
        ([folder, "--to", tmp_path / "no" / "such" / "file"], "cannot be written"),
    ]
    for words, said in cases:
        with pytest.raises(UsageError, match=said):
            run(*words)
    with pytest.raises(SystemExit) as stop:
        run(folder, "--step", "0")
    assert stop.value.code == 2
    assert "'0' is not a step" in capsys.readouterr().err
