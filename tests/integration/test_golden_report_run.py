"""The report of a run that is kept: its own set, images and contract, and the run before it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import golden_line
import pytest

from monitor.cli.main import main
from monitor.golden import stage
from monitor.settings import Settings
from monitor.spec.load import load_contract
from monitor.store.database import Database

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'monitor-vision[cpu]'")

NIGHT = datetime(2026, 11, 3, 2, 5, tzinfo=UTC)
CRITERION = '[[acceptance]]\nname = "found"\nmeasure = "recall"\nclass = "carton"\nat_least = 0.5\n'


@pytest.fixture
def contract(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The line's contract in the folder of contracts, with a set of 24 frames and the model beside it."""
    folder = golden_line.draw(settings.contracts_dir, 24, dark=8)
    (folder / "detector.onnx").symlink_to(golden_line.LINE / "detector.onnx")
    (folder / "line.toml").write_text(golden_line.contract(more=CRITERION))
    monkeypatch.setenv("MONITOR_DATABASE_URL", settings.database_url or "")
    monkeypatch.setenv("MONITOR_CONTRACTS_DIR", str(settings.contracts_dir))
    return folder / "line.toml"


def test_a_kept_run_is_told_of_with_the_one_before(
    database: Database, contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_contract(contract)
    what = stage.asked(loaded, "golden")
    assert what is not None
    first, result = stage.score_now(database, loaded, what, NIGHT)
    words = ["golden", "report", "--run", str(first.id), "--bootstrap", "20", "--confidence", "0.975"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    evaluation = json.loads(result.artifacts["evaluation.json"])
    assert told["evaluation"]["stats"] == evaluation["stats"]
    assert told["evaluation"]["operating_points"] == evaluation["operating_points"]
    assert [cell["cell"] for cell in told["ruling"]["criteria"]] == ["recall of carton"]
    assert told["changes"] is None
    second, _ = stage.score_now(database, loaded, what, NIGHT + timedelta(days=1))
    page = tmp_path / "page.html"
    assert (
        main(["golden", "report", "--run", str(second.id), "--bootstrap", "20", "--html", str(page), "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["changes"]["lost"], told["changes"]["won"], told["changes"]["fell"]) == (0, 0, [])
    text = page.read_text()
    assert f"packaging-line v1, run {second.id} of 2026-11-04" in text
    # The images are those that the contract names.
    assert text.count("data:image/jpeg;base64") == len(told["worst_frames"]) > 0

    assert main(["golden", "report", "--run", "999"]) == 2
    assert "there is no run 999" in capsys.readouterr().err
    assert main(["golden", "report", "truth.json", "--run", str(first.id)]) == 2
    (contract.parent / "manifest.json").write_text((contract.parent / "manifest.json").read_text() + "\n")
    assert main(words) == 2
    assert "is not the set that run" in capsys.readouterr().err
