"""`monitor alerts` as a person at the keyboard meets it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta

import pytest

from monitor.cli import alerts as noun
from monitor.errors import UsageError
from monitor.records import Baseline, Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.store import baselines, measurements
from monitor.store.database import Database
from monitor.store.measurements import MeasuredWindow

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONTRACT = """
[model]
name = "packaging-line"
[[classes]]
name = "carton"
[cameras]
policy = "open"
[[alerts]]
name = "brightness-drift"
signal = "brightness"
measure = "psi"
above = 0.2
runbook = "runbooks/light.md"
"""
KEY = "packaging-line/brightness-drift/v1/cam-1/-/-"


def run(settings: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    noun.register(parser.add_subparsers())
    args = parser.parse_args(["alerts", *words])
    code: int = args.run(args, settings)
    return code


@pytest.fixture
def drifted(database: Database, settings: Settings) -> Settings:
    """cam-1 breaches on days 1 and 2 of three, cam-2 on the last one; cam-3 has too few frames."""
    settings.contracts_dir.mkdir()
    (settings.contracts_dir / "packaging-line.toml").write_text(CONTRACT, encoding="utf-8")
    frozen = Baseline(
        0, "packaging-line", "v1", "logs", START - 28 * DAY, START, 5040, "ab", "c0ffee", START, "first four weeks"
    )
    with database.begin() as conn:
        number = baselines.save(conn, frozen, {}).id
        for day, values in enumerate(((0.1, 0.1, 0.9), (0.61, 0.1, 0.9), (0.72, 0.8, 0.9))):
            window = Window(START + day * DAY, START + (day + 1) * DAY)
            measurements.claim_window(conn, "packaging-line", "v1", MeasuredWindow(window, 180, number, "c0ffee"))
            found = []
            for camera, value in enumerate(values, 1):
                key = SeriesKey(Scope("packaging-line", "v1", camera=f"cam-{camera}"), "brightness", recipe="full")
                n = 12 if camera == 3 else 60
                facts = (window, value, "ok", n, 1680, number, "c0ffee", 0.3, 118.4, 131.2)
                found.append(Measurement(key, "psi", *facts))
            measurements.save(conn, found)
    return settings


def test_an_empty_house_says_what_to_do(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, "list") == 0
    assert "no rule has judged anything yet; `monitor alerts run`" in capsys.readouterr().out


def test_run_judges_and_delivers(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(drifted, "run", "--at", "2026-03-04T02:00") == 0
    assert capsys.readouterr().out == "packaging-line: 9 alerts judged\n1 message sent\n"
    assert run(drifted, "run", "--at", "2026-03-04T02:00") == 0
    assert capsys.readouterr().out == "packaging-line: 0 alerts judged\n0 messages sent\n"


def test_run_without_a_contract_says_so(database: Database, settings: Settings) -> None:
    with pytest.raises(UsageError, match="holds no contract"):
        run(settings, "run")


def test_list_shows_what_is_open_and_counts_the_rest(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    capsys.readouterr()
    assert run(drifted, "list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "STATE    SEVERITY  SINCE (UTC)       VALUE     LIMIT  FRAMES  ALERT",
        "firing   warning   2026-03-02 00:00  PSI 0.72  0.5    60      packaging-line/brightness-drift/v1/cam-1/-/-",
        "pending  warning   2026-03-03 00:00  PSI 0.8   0.5    60      packaging-line/brightness-drift/v1/cam-2/-/-",
        "",
        "3 series watched: 1 firing, 1 pending, 1 undecided; judged up to 2026-03-04 00:00 UTC",
    ]
    run(drifted, "list", "--all")
    assert "undecided" in capsys.readouterr().out.splitlines()[3]
    run(drifted, "list", "--model", "another")
    assert "no rule has judged anything yet" in capsys.readouterr().out


def test_list_as_json(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    capsys.readouterr()
    run(drifted, "list", "--json")
    first, second = json.loads(capsys.readouterr().out)
    assert (first["key"], first["state"], first["since"]) == (KEY, "firing", "2026-03-02T00:00:00+00:00")
    assert second["series"]["scope"]["camera"] == "cam-2"


def test_show_says_everything(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    capsys.readouterr()
    assert run(drifted, "show", KEY) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{KEY}: firing, warning"
    assert said[2].startswith("Brightness of cam-1 (packaging-line v1) fell from 131.2 to 118.4 (-9.8 %): PSI 0.72")
    facts = {line[2:11].strip(): line[12:] for line in said[4:13]}
    assert facts["since"] == "2026-03-02 00:00 UTC"
    assert facts["limit"] == "0.5 = 0.2 (rule brightness-drift, contract c0ffee) + 0.3 (chance at 60 frames)"
    assert facts["now"] == "mean 118.4 (grey level 0-255), n 60"
    assert facts["baseline"].startswith("mean 131.2 (grey level 0-255), n 1,680 (baseline ")
    assert facts["baseline"].endswith(" from logs, 2026-02-01 to 2026-03-01)")
    assert facts["runbook"] == "runbooks/light.md"
    windows = [line.split()[2] for line in said if line.endswith(("  steady", "  beyond chance"))]
    assert windows == ["0.100", "0.610", "0.720"]
    assert said[-2] == "history"
    assert said[-1].startswith("  2026-03-04 02:00  firing    Brightness of cam-1")


def test_show_as_json_holds_the_evidence(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    capsys.readouterr()
    run(drifted, "show", KEY, "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "firing"
    assert said["events"][0]["evidence"]["baseline"]["n"] == 1680


def test_show_asks_for_more_of_a_key_or_says_there_is_none(drifted: Settings) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    with pytest.raises(UsageError, match="3 alerts begin with 'packaging-line/'") as refused:
        run(drifted, "show", "packaging-line/")
    assert f"\n  {KEY} (firing)" in str(refused.value)
    with pytest.raises(UsageError, match="no alert's key begins with 'nothing'"):
        run(drifted, "show", "nothing")


def test_an_alert_that_never_fired_can_be_shown(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    capsys.readouterr()
    run(drifted, "show", KEY.replace("cam-1", "cam-3"))
    said = capsys.readouterr().out
    assert "12 frames are fewer than the 50 that the rule asks for" in said
    assert "history" not in said
