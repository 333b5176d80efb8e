"""How many rows a command is asked for, and what every command says of itself."""

from __future__ import annotations

import argparse

import pytest

from monitor.cli.main import main, parser


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


def verbs() -> dict[str, argparse.ArgumentParser]:
    found = {}
    for noun, one in nested(parser()).items():
        found |= {f"{noun} {verb}": of for verb, of in nested(one).items()} or {noun: one}
    return found


def nested(one: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: of for action in actions for name, of in action.choices.items()}


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_says_what_it_does_and_shows_how(verb: str) -> None:
    one = verbs()[verb]
    assert one.description
    _, _, shown = one.format_help().partition("\nexample")
    assert f"monitor {verb}" in shown
    others = {other for other in verbs() if other.split()[0] == verb.split()[0] and not verb.startswith(other)}
    assert not any(f"  monitor {other} " in shown for other in others), "only its own"
    assert "{" not in one.format_usage().replace("{golden,challenge,training}", ""), "long choices stand once"


def test_a_long_description_is_folded_and_an_example_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = verbs()["spec check"].format_help().splitlines()
    assert max(map(len, said)) < 80
    accept = verbs()["baseline accept"].format_help()
    assert '--by "A. Roe" \\\n      --reason "new lamps since March"\n' in accept
