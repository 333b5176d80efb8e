"""`--at`: the time that a command takes as now is never one to come."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from monitor.cli import main
from monitor.cli.moments import clock, time_taken
from monitor.errors import UsageError


def test_a_time_gone_by_is_taken_as_it_is() -> None:
    before = clock() - timedelta(days=100)
    assert time_taken(before) == before


def test_without_one_the_clock_is_read() -> None:
    earliest = clock()
    assert earliest <= time_taken(None) <= clock()


def test_a_time_to_come_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--at \S+ is still to come: it is \S+; name a time gone by"):
        time_taken(clock() + timedelta(minutes=2))


@pytest.mark.parametrize("words", [["daemon", "--once"], ["ingest", "run"]])
def test_commands_refuse_it_before_they_touch_anything(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MONITOR_STATE_DIR", str(tmp_path))
    assert main.main([*words, "--at", "2999-01-01"]) == 2
    assert "2999-01-01T00:00Z is still to come" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", ["0001-01-01", "0001-01-01T00:00+14:00", "9999-12-31T23:00-05:00", "1969-12-31"])
def test_a_time_that_no_frame_can_be_of_is_refused(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["daemon", "--once", "--at", said])
    assert ended.value.code == 2
    assert "--at" in capsys.readouterr().err


def test_a_name_that_is_not_utf8_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["drift", "show", "--model", os.fsdecode(b"press\xff")]) == 2
    assert "is not UTF-8" in capsys.readouterr().err
