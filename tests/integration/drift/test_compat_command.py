"""`monitor drift compat`: other tools' numbers of two files and of stored frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.main import main
from monitor.settings import Settings
from monitor.stats.compat import PEER_MEASURES

MONDAY = ["--model", "line", "--version", "v1", "--from", "2026-03-09", "--to", "2026-03-10"]
WEEK = ["--baseline-from", "2026-03-02", "--baseline-to", "2026-03-09"]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, float], str]]:
    """Runs `drift compat`: exit code, value by measure, all that was printed."""

    def run(*words: str) -> tuple[int, dict[str, float], str]:
        code = main(["drift", "compat", *words])
        out = capsys.readouterr()
        lines = [line.split() for line in out.out.splitlines()[1:]]
        return code, {line[0]: float(line[1]) for line in lines}, out.out + out.err

    return run


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_of_two_files(said: Callable[..., Any], tmp_path: Path) -> None:
    now = write(tmp_path / "now.csv", "grey,class", "3,dent", "5,dent", ",label")
    before = write(tmp_path / "before.csv", "class,grey", "dent,1", "label,3")
    code, numbers, text = said(now, before, "--column", "grey")
    assert (code, numbers.keys()) == (0, PEER_MEASURES.keys())
    assert numbers["nannyml-wasserstein"] == 2
    assert text.splitlines()[0] == "window: 3 values; baseline: 2 values"
    _, texts, _ = said(now, before, "--column", "class", "--measure", "nannyml-js")
    # 2/3 and 1/3 against halves, in bits: H(7/12) - (H(2/3) + 1) / 2 = 0.0207, and its root.
    assert texts["nannyml-js"] == pytest.approx(0.1439, abs=1e-4)


def test_what_cannot_be_read_is_said(said: Callable[..., Any], tmp_path: Path) -> None:
    now = write(tmp_path / "now.csv", "grey,class", "3,dent")
    assert said(now, now)[0] == 2
    assert "2 columns; name one of them with --column: grey, class" in said(now, now)[2]
    assert "has no column 'x'" in said(now, now, "--column", "x")[2]
    assert "is for numbers alone" in said(now, now, "--column", "class", "--measure", "evidently-ks")[2]
    assert said(now)[0] == 2
    assert "cannot be read as CSV" in said(now, str(tmp_path / "absent.csv"), "--column", "grey")[2]


def test_of_stored_frames(
    said: Callable[..., Any], plant: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", str(settings.database_url))
    plant.send(range(7))
    plant.send(range(7, 8), brightness=140, pouches=0.6)
    code, numbers, text = said(*MONDAY, *WEEK, "--signal", "brightness")
    assert (code, text.splitlines()[0]) == (0, "window: 120 values; baseline: 840 values")
    assert numbers["evidently-wasserstein"] == pytest.approx(2, abs=0.3)  # 20 grey levels, sd 10
    assert numbers["nannyml-wasserstein"] == pytest.approx(20, abs=2)
    mix = said(*MONDAY, *WEEK, "--signal", "class_share", "--camera", "cam-1")[1]
    assert mix.keys() == {name for name, measure in PEER_MEASURES.items() if measure.texts}
    assert mix["evidently-js"] > 0.2  # a fifth of pouches became three fifths
    assert "has no baseline from logs" in said(*MONDAY, "--signal", "brightness")[2]
    late = ["--model", "line", "--version", "v1", "--from", "2026-04-09", "--to", "2026-04-10", *WEEK]
    assert "no stored frame of line v1" in said(*late, "--signal", "brightness")[2]
