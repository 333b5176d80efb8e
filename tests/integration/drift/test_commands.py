"""`monitor baseline` and `monitor drift`, from the command line to what is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monitor.cli.main import main
from monitor.settings import Settings

Answer = tuple[int, str, str]
WEEK = ["--version", "v1", "--from", "2026-03-02", "--to", "2026-03-09"]


@pytest.fixture
def command(
    plant: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs one command; its exit code, standard output and standard error."""
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "line.toml").write_text(plant.loaded.text, encoding="utf-8")
    monkeypatch.setenv("MONITOR_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("MONITOR_CONTRACTS_DIR", str(settings.contracts_dir))

    def run(*words: str) -> Answer:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_freeze_list_report_run_and_show(plant: Any, command: Callable[..., Answer]) -> None:
    plant.send(range(7))
    plant.send(range(7, 8), brightness=140)
    code, out, _ = command("baseline", "freeze", "--model", "line", *WEEK, "--note", "first week")
    assert code == 0
    assert "840 frames" in out
    assert "first week" in out
    assert "! brightness-drift: psi of brightness against 420 frames of cam-" in out
    assert command("baseline", "freeze", "--model", "line", *WEEK)[1].startswith("frozen before, unchanged")
    code, listed, _ = command("baseline", "list")
    assert (code, listed.count("\n"), listed.strip() in out) == (0, 1, True)
    assert "cam-1 420, cam-2 420" in command("baseline", "report")[1]
    assert command("drift", "run", "--at", "2026-03-10T02:00+00:00")[:2] == (
        0,
        "line: 8 windows measured\nline: 1 day watched\n",
    )
    assert command("drift", "run", "--at", "2026-03-10T02:00+00:00")[:2] == (0, "line: 0 windows measured\n")
    shown = ["drift", "show", "--model", "line", "--camera", "cam-1", "--signal", "brightness", "--last", "2"]
    code, out, _ = command(*shown)
    rows = [line.split() for line in out.splitlines() if line.startswith("  brightness")]
    assert code == 0
    assert [(row[-1], row[3], row[4]) for row in rows] == [("steady", "60", "420"), ("chance", "60", "420")]
    assert float(rows[0][1]) < float(rows[0][2])
    assert float(rows[1][1]) > 2 * float(rows[1][2])


def test_a_baseline_of_a_list_of_images(plant: Any, command: Callable[..., Answer], tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    for number in range(32):
        pixels = draw.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    names = [f"{number:02}" for number in range(31)] + ["broken"]
    (tmp_path / "train.txt").write_text("\n".join(names), encoding="utf-8")
    freeze = ["baseline", "freeze", "--contract", str(plant.folder.parent / "line.toml"), "--images", str(tmp_path)]
    code, out, err = command(*freeze, "--list", str(tmp_path / "train.txt"))
    assert code == 0
    assert "from images, for every version, 31 frames" in out
    assert "broken.png" in err
    assert "32 frames" in command(*freeze)[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["baseline", "freeze", "--model", "line", *WEEK], 1, "too few"),
        (["baseline", "freeze", "--model", "line"], 2, "from logs or from images"),
        (["baseline", "freeze", "--model", "line", "--version", "v1"], 2, "from logs or from images"),
        (["baseline", "freeze", "--model", "line", *WEEK, "--images", "."], 2, "from logs or from images"),
        (["baseline", "freeze", "--model", "line", "--images", "/no/such/folder"], 2, "cannot be read"),
        (["baseline", "freeze", "--model", "other", *WEEK], 2, "no contract of other"),
        (["baseline", "report", "12"], 2, "no such baseline"),
        (["drift", "show", "--model", "line"], 1, "nothing was measured"),
        (["drift", "show", "--model", "line", "--slice", "lighting"], 2, "lighting=evening"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_a_code(
    command: Callable[..., Answer], words: list[str], code: int, said: str
) -> None:
    answer = command(*words)
    assert answer[0] == code
    assert said in answer[2]
    assert "Traceback" not in answer[2]


def test_a_moment_that_is_none(command: Callable[..., Answer], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command("drift", "run", "--at", "yesterday")
    assert stop.value.code == 2
    assert "2026-03-01" in capsys.readouterr().err
