"""`--at`: the time that a command takes as now is never one to come."""

from __future__ import annotations

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
