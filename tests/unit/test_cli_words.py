"""How many rows a command is asked for: what the database could not be asked is refused before it is."""

from __future__ import annotations

import pytest

from monitor.cli.main import main


@pytest.mark.parametrize("many", ["-1", "0", "1000001", "9" * 20, "ten", "1.5", ""])
@pytest.mark.parametrize(
    "words",
    [
        ["alerts", "history", "--last"],
        ["golden", "list", "--model", "m", "--last"],
        ["drift", "show", "--model", "m", "--last"],
        ["reviews", "list", "--most"],
    ],
    ids=" ".join,
)
def test_what_is_no_count_is_refused(words: list[str], many: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words[:-1], f"{words[-1]}={many}"])
    assert stop.value.code == 2
    assert "give a whole number from 1 to 1,000,000" in capsys.readouterr().err
