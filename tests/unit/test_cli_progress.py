"""How far long work has come: one line that is written over on a terminal, few plain ones elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from monitor.cli import progress as module
from monitor.cli.progress import Progress


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds; the last one is now."""
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[-1])
    return seconds


def test_on_a_terminal_one_line_is_written_over_and_ended(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    progress = Progress("hours")
    for done, at in enumerate((0.1, 0.3, 0.4, 0.6, 0.61), start=1):
        clock.append(at)
        if done == 3:
            progress.aside("09:00: 2 differ")
        progress.step(done, 5, f", up to {done}:00")
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "2 of 5 hours, 6.7 a second, up to 2:00",
        "09:00: 2 differ\n",
        "4 of 5 hours, 6.7 a second, up to 4:00",
        "5 of 5 hours, 8.2 a second, up to 5:00\n",
    ]


def test_elsewhere_there_is_a_plain_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    progress = Progress("images")
    for done in range(1, 1201):
        clock.append(done / 100)
        progress.step(done, 1200)
    progress.aside("monitor: b.png is no image")
    assert capsys.readouterr().err.splitlines() == [
        "500 of 1,200 images, 100 a second",
        "1,000 of 1,200 images, 100 a second",
        "monitor: b.png is no image",
    ]
