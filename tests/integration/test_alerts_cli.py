"""`monitor alerts` as a person at the keyboard meets it."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.cli import alerts as noun
from monitor.errors import UsageError
from monitor.records import Baseline, Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.store import alerts, baselines, incidents, measurements
from monitor.store.database import Database, open_database
from monitor.store.incidents import Watch
from monitor.store.measurements import MeasuredWindow
from monitor.watch import Incident

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


def test_links_lead_where_the_daemons_do(drifted: Settings, database: Database) -> None:
    assert run(replace(drifted, grafana_url="https://grafana.plant.example"), "run", "--at", "2026-03-05") == 0
    with database.begin() as conn:
        (event,) = alerts.events(conn, KEY)
    assert event.evidence["panel"].startswith("https://grafana.plant.example/d/monitor-drift/")


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
        "STATE    SEVERITY  SINCE (UTC)       FIRED AT  NOW       LIMIT  FRAMES  WINDOW TO         ALERT",
        "firing   warning   2026-03-02 00:00  PSI 0.72  PSI 0.72  0.5    60      2026-03-04 00:00"
        "  packaging-line/brightness-drift/v1/cam-1/-/-",
        "pending  warning   2026-03-03 00:00  -         PSI 0.8   0.5    60      2026-03-04 00:00"
        "  packaging-line/brightness-drift/v1/cam-2/-/-",
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
    fired = "When it fired, window to 2026-03-04 00:00 UTC: Brightness of cam-1 (packaging-line v1) fell from 131.2"
    assert said[2].startswith(f"{fired} to 118.4 (-9.8 %): PSI 0.72")
    assert said[4] == (
        "Now, window to 2026-03-04 00:00 UTC: PSI 0.72 is above 0.5 (0.2 + 0.3 for chance at 60 frames); n 60"
    )
    facts = {line[2:11].strip(): line[12:] for line in said[6 : said.index("", 6)]}
    assert facts["since"] == "2026-03-02 00:00 UTC"
    assert facts["limit"] == "0.5 = 0.2 (rule brightness-drift, contract c0ffee) + 0.3 (chance at 60 frames)"
    assert facts["now"] == "mean 118.4 (grey level 0-255), n 60"
    assert facts["baseline"].startswith("mean 131.2 (grey level 0-255), n 1,680 (baseline ")
    assert facts["baseline"].endswith(" from logs, 2026-02-01 to 2026-03-01)")
    assert facts["runbook"] == "runbooks/light.md"
    windows = [line.split()[2] for line in said if line.endswith(("  steady", "  beyond chance"))]
    assert windows == ["0.100", "0.610", "0.720"]
    assert said[-2] == "history"
    assert said[-1].startswith("  2026-03-04 02:00  firing        Brightness of cam-1")


def test_weeks_later_both_are_shown_what_it_was_when_it_fired_and_what_it_is(
    drifted: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    series = SeriesKey(Scope("packaging-line", "v1", camera="cam-1"), "brightness", recipe="full")
    with database.begin() as conn:
        number = baselines.listing(conn, "packaging-line")[0].id
        for day in range(3, 24):
            window = Window(START + day * DAY, START + (day + 1) * DAY)
            measurements.claim_window(conn, "packaging-line", "v1", MeasuredWindow(window, 60, number, "c0ffee"))
            facts = (window, 0.7 + 0.1 * day, "ok", 61, 1680, number, "c0ffee", 0.3, 90.0, 131.2, 2.5, 3.5)
            measurements.save(conn, [Measurement(series, "psi", *facts)])
    run(drifted, "run", "--at", "2026-03-25T02:00")
    capsys.readouterr()
    run(drifted, "show", KEY)
    said = capsys.readouterr().out
    assert "When it fired, window to 2026-03-04 00:00 UTC: Brightness of cam-1" in said
    assert "PSI 0.72 is above 0.5 (0.2 + 0.3 for chance at 60 frames); n 60 against 1,680" in said
    assert "Now, window to 2026-03-25 00:00 UTC: PSI 3 is above 0.5 (0.2 + 0.3 for chance at 61 frames); n 61" in said
    run(drifted, "list")
    assert capsys.readouterr().out.splitlines()[1].split()[4:8] == ["PSI", "0.72", "PSI", "3"]
    run(drifted, "show", KEY, "--json")
    plain = json.loads(capsys.readouterr().out)
    assert (plain["fired"]["value"], plain["fired"]["n"]) == (0.72, 60)
    assert plain["now"] == {
        "as_of": "2026-03-25T00:00:00+00:00",
        "said": "PSI 3 is above 0.5 (0.2 + 0.3 for chance at 61 frames)",
        "value": 3.0,
        "low": 2.5,
        "high": 3.5,
        "n": 61,
        "limit": 0.5,
    }
    assert len(plain["events"]) == 1, "it was told once"


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


def test_what_people_do_about_an_alert(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    run(drifted, "ack", KEY[:40], "--by", "A.  Roe", "--note", "lamp\nordered")
    run(drifted, "silence", "camera=cam-1", "--for", "8h", "--by", "A. Roe", "--reason", "lens swap")
    said = capsys.readouterr().out
    assert f"{KEY}: acknowledged by A. Roe" in said
    assert "silence 1 until " in said
    assert "of what is open now 1 fit it" in said
    run(drifted, "list")
    lines = capsys.readouterr().out.splitlines()
    assert "HANDLED" in lines[0]
    assert "acknowledged by A. Roe, silenced until" in lines[1]
    assert " -  " in lines[2]
    run(drifted, "list", "--json")
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["acknowledged"]["by"], first["acknowledged"]["note"], first["silenced"]["id"]) == (
        "A. Roe",
        "lamp ordered",
        1,
    )
    run(drifted, "show", KEY)
    shown = capsys.readouterr().out
    assert "handled   acknowledged by A. Roe, silenced until" in shown
    assert "acknowledged  A. Roe (command line): lamp ordered" in shown
    run(drifted, "silences")
    assert "camera=cam-1  A. Roe: lens swap" in capsys.readouterr().out
    run(drifted, "unsilence", "1", "--by", "A. Roe")
    run(drifted, "silences", "--json")
    run(drifted, "resolve", KEY, "--by", "A. Roe", "--note", "lamp replaced")
    said = capsys.readouterr().out
    assert "silence 1 (camera=cam-1) is over" in said
    assert f"{KEY} is resolved; the note is on record" in said
    run(drifted, "history", KEY)
    told = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert sorted(told) == ["acknowledged", "firing", "resolved", "resolved", "silenced", "unsilenced"]
    run(drifted, "history", "--last", "2", "--json")
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("ack", KEY, "--by", "a\x1b[31mred"),
        ("ack", KEY, "--by", " \n "),
        ("silence", "camera=cam-1", "--for", "8 hours", "--by", "A", "--reason", "x"),
        ("silence", "camera=cam-1", "--by", "A", "--reason", "x"),
        ("resolve", KEY, "--by", "A"),
    ],
)
def test_what_is_no_word_of_a_person_is_refused(drifted: Settings, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(drifted, *words)
    assert ended.value.code == 2


def test_a_silence_of_more_than_a_week_and_a_key_of_many_are_refused(drifted: Settings) -> None:
    run(drifted, "run", "--at", "2026-03-04T02:00")
    with pytest.raises(UsageError, match="within 7 days"):
        run(drifted, "silence", "camera=cam-1", "--for", "8d", "--by", "A", "--reason", "x")
    with pytest.raises(UsageError, match="2 keys begin with"):
        run(drifted, "ack", "packaging-line/", "--by", "A")
    with pytest.raises(UsageError, match="there is no alert or incident"):
        run(drifted, "ack", "nowhere", "--by", "A")


def test_a_test_message_goes_through_each_channel(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(drifted, "test") == 0
    nobody, log = capsys.readouterr().out.splitlines()
    assert nobody.startswith("paging path: log; nobody is paged, set MONITOR_ALERTMANAGER_URL")
    assert log == "log  taken: written"
    # Nothing listens on port 1 of this machine, which is no public address either.
    away = replace(drifted, webhook_url="http://127.0.0.1:1/hook")
    assert run(away, "test") == 1
    assert "webhook  NOT TAKEN: the webhook is at an address that is not public" in capsys.readouterr().out
    assert run(replace(away, private_receivers="127.0.0.1"), "test") == 1
    assert "NOT TAKEN: the webhook cannot be reached (ConnectError)" in capsys.readouterr().out


def test_show_works_on_an_incident_too(drifted: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    one = Incident(
        ("cam-7",), "optics", START.date(), START.date(), ("brightness",), frozenset({("cam-7",)}), START.date()
    )
    with open_database(drifted) as database, database.begin() as conn:
        number = baselines.listing(conn, "packaging-line")[0].id
        incidents.open_new(conn, Watch("packaging-line", "v1", ""), number, one)
    run(drifted, "list")
    assert "1 incident is open; `monitor incidents list` prints them" in capsys.readouterr().out
    assert run(drifted, "show", "packaging-line/incident/v1/cam-7") == 0
    assert capsys.readouterr().out.startswith("packaging-line/incident/v1/cam-7/optics: open")
    # It was never told (there is no event of it), but it can be taken on.
    assert run(drifted, "ack", "packaging-line/incident", "--by", "A. Roe") == 0
    run(drifted, "show", "packaging-line/incident", "--json")
    shown = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert shown["acknowledged"]["by"] == "A. Roe"
