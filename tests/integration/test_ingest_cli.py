"""`monitor ingest`: what it prints, and what it does with files where they lie."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.cli import ingest
from monitor.errors import UsageError
from monitor.settings import Settings

CONTRACT = '[model]\nname = "line"\n[cameras]\npolicy = "open"\n[[classes]]\nname = "carton"\n'


def run(settings: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    ingest.register(parser.add_subparsers())
    args = parser.parse_args(["ingest", *words])
    code: int = args.run(args, settings)
    return code


@pytest.fixture
def log(settings: Settings, tmp_path: Path) -> Path:
    """A contract in force, and a log of one good line and a bad one."""
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "line.toml").write_text(CONTRACT, encoding="utf-8")
    record = {"event_id": "1", "captured_at": datetime.now(UTC).isoformat(), "model": "line", "version": "1"}
    path = tmp_path / "logs" / "a.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(record | {"camera": "c", "width": 9, "height": 9}) + "\n{\n", encoding="utf-8")
    return path


def test_logs_are_loaded_where_they_lie(settings: Settings, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(settings, "logs", str(log.parent)) == 0
    said = capsys.readouterr()
    assert "1 file, 2 lines: 1 stored, 0 duplicate, 1 rejected, 0 blank, 0 taken in before" in said.out
    assert "not_json: 1" in said.out
    assert "a.jsonl: 2 lines, 1 stored" in said.err
    assert log.exists()
    assert run(settings, "logs", str(log)) == 0
    assert "0 stored, 0 duplicate, 0 rejected, 0 blank, 2 taken in before" in capsys.readouterr().out


def test_a_file_loaded_by_hand_and_dropped_later_is_stored_once(
    settings: Settings, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings, "logs", str(log))
    incoming = settings.spool_dir / "incoming"
    incoming.mkdir(parents=True)
    log.rename(incoming / "b.jsonl")
    capsys.readouterr()
    assert run(settings, "run") == 0
    assert "2 taken in before" in capsys.readouterr().out
    assert list((settings.spool_dir / "done").rglob("b.jsonl"))


def test_the_spool_is_taken_in_as_of_another_time(
    settings: Settings, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    incoming = settings.spool_dir / "incoming"
    incoming.mkdir(parents=True)
    log.rename(incoming / "b.jsonl")
    assert run(settings, "run", "--at", "2026-03-01T06:00") == 0
    assert "future: 1" in capsys.readouterr().out, "its frames are of today"
    assert not list((settings.spool_dir / "done").iterdir())
    with pytest.raises(UsageError, match="is still to come"):
        run(settings, "run", "--at", "2999-01-01")


def test_a_path_that_is_not_there_is_a_sentence(settings: Settings, log: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.jsonl does not exist"):
        run(settings, "logs", str(log.parent / "gone.jsonl"))
