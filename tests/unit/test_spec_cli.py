"""`monitor spec`: what is printed, and the exit codes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from monitor.cli.main import main
from monitor.records import FrameRecord

GOOD = '[model]\nname = "m"\n[[classes]]\nname = "a"\n[cameras]\npolicy = "open"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.toml").write_text(GOOD)
    return tmp_path


def test_check_of_a_good_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "check", str(folder / "good.toml")]) == 0
    out, err = capsys.readouterr()
    assert ": ok, model m, 1 class, any camera, 0 alert rules and 12 ready ones, contract " in out
    assert err == ""


def test_check_says_from_which_value_on_each_rule_fires(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """χ²(9) and χ²(2) exceed 27.877 and 13.816 once in a thousand times (tables); JS has an eighth of PSI's law."""
    rules = (
        '[[alerts]]\nname = "light"\nsignal = "brightness"\nmeasure = "psi"\nabove = 0.2\n'
        '[[alerts]]\nname = "mix"\nsignal = "class_share"\nmeasure = "js"\nabove = 0.02\nmin_n = 20\n'
    )
    second = '[[classes]]\nname = "b"\n'
    (folder / "good.toml").write_text(GOOD + second + "[drift]\nmin_n = 40\n" + rules)
    assert main(["spec", "check", str(folder / "good.toml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        f"  light: fires above 0.2 + {27.877 / 50:.2g} for chance at 50 frames, psi of brightness",
        f"  mix: fires above 0.02 + {13.816 / 8 / 40:.2g} for chance at 40 frames, js of class_share",
    ]


def test_check_names_every_fault_of_every_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text(GOOD.replace("open", "opn") + "[drift]\nmin_n = 0\nfoo = 1")
    (folder / "worse.toml").write_bytes(b"\xff")
    (folder / "twin.toml").write_text(GOOD)
    (folder / "empty").mkdir()
    assert main(["spec", "check", str(folder), str(folder / "none.toml"), str(folder / "empty")]) == 2
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    for part in (
        "bad.toml: 3 faults",
        'did you mean "open"?',
        "drift.min_n",
        "drift.foo",
        "worse.toml: 1 fault",
        "is not UTF-8",
        "twin.toml: m already has a contract in",
        "none.toml: there is no such file",
        "empty holds no contract",
    ):
        assert part in err


def test_show_prints_toml_with_the_defaults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "show", str(folder / "good.toml")]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert shown["drift"]["window"] == "1d"
    assert shown["classes"][0]["threshold"] == 0.5


def test_show_of_a_faulty_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.toml").write_text("")
    assert main(["spec", "show", str(folder / "good.toml")]) == 2
    assert "the file is empty" in capsys.readouterr().err


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "monitor contract"


def test_record_schema_names_what_a_record_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "record-schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == "monitor frame record, version 1"
    frame = schema["$defs"]["FrameRecord"]
    assert set(frame["properties"]) == {field.encode_name for field in msgspec.structs.fields(FrameRecord)}
    assert {"event_id", "captured_at", "model", "version", "camera", "width", "height"} == set(frame["required"])
    assert frame["additionalProperties"] is False
    assert "class" in schema["$defs"]["DetectionRecord"]["properties"]


@pytest.mark.parametrize("verb", ["check", "show", "schema", "record-schema"])
def test_help_gives_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["spec", verb, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  monitor spec {verb}" in capsys.readouterr().out
