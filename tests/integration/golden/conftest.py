"""A drawn set of the packaging line, and a folder of contracts that names it."""

from __future__ import annotations

from pathlib import Path

import golden_line
import pytest

from monitor.settings import Settings


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 40 frames, ten of them in half the light."""
    return golden_line.draw(tmp_path_factory.mktemp("golden"), 40, dark=10)


@pytest.fixture
def line(settings: Settings, drawn: Path) -> Path:
    """The folder of contracts, with the line's own contract, set and model in it."""
    folder = settings.contracts_dir
    folder.mkdir()
    for name in ("images", "manifest.json", "truth.json"):
        (folder / name).symlink_to(drawn / name)
    (folder / "detector.onnx").symlink_to(golden_line.LINE / "detector.onnx")
    (folder / "line.toml").write_text(golden_line.contract(more=golden_line.CRITERION))
    return folder
