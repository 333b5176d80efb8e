"""`monitor drift explain` of a camera that slowly dims: it says what the alarm and its incident said."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hourly import write

from monitor.cli.main import main
from monitor.drift import baseline
from monitor.drift.past import baseline_of
from monitor.drift.why import Asked, explained
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract, load_contract
from monitor.stats import sequential
from monitor.store import measurements
from monitor.store.database import Database
from monitor.watch import ALARM, EFFECT, FAST, UP
from monitor.web.pages import Pages
from monitor.web.view import Site

START = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BASELINE, DIMS, DAYS = 28, 37, 51
"""It dims from 2026-11-07 on; the last day, 2026-11-20, is empty of cam-2."""
CONTRACT = """
[model]
name = "line"
[[classes]]
name = "carton"
[cameras]
policy = "open"
[drift.floors]
brightness_mean = 0.025
"""
ASKED = ("drift", "explain", "--model", "line", "--lane", "brightness_mean", "--camera")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def loaded(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> LoadedContract:
    """Three cameras; cam-2 loses 0.5 % of its grey level a day."""
    draw = np.random.default_rng(5)
    edges = SIGNALS["brightness"].edges
    counts = {}
    for i in range(1, 4):
        since = np.maximum(0, np.arange(DAYS) - DIMS + 1) * (i == 2)
        level = 120 * (1 - 0.005 * since) + draw.normal(0, 0.6, DAYS)
        hours = np.repeat(level, 24) + draw.normal(0, 3, DAYS * 24)
        values = hours[:, None] + draw.normal(0, 8, (DAYS * 24, 30))
        rows = np.zeros((DAYS * 24, edges.count + 2), dtype=np.int64)
        np.add.at(rows, (np.arange(DAYS * 24)[:, None], edges.bin_of(values)), 1)
        status = np.zeros((DAYS * 24, 3), dtype=np.int64)
        status[:, 1] = 30
        if i == 2:
            rows[-24:] = status[-24:] = 0
        counts[f"cam-{i}", "brightness", ""] = rows
        counts[f"cam-{i}", "status", ""] = status
    settings.contracts_dir.mkdir()
    path = settings.contracts_dir / "line.toml"
    path.write_text(CONTRACT, encoding="utf-8")
    contract = load_contract(path)
    with database.begin() as conn:
        write(conn, "line", "v1", START, counts)
    baseline.from_logs(database, contract, "v1", Window(START, START + BASELINE * DAY), START + (BASELINE + 1) * DAY)
    monkeypatch.setenv("MONITOR_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("MONITOR_CONTRACTS_DIR", str(settings.contracts_dir))
    return contract


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, " ".join(said.out.split()), said.err

    return run


def alarms(database: Database, loaded: LoadedContract) -> list[date]:
    with database.begin() as conn:
        known = baseline_of(conn, "line", "v1")
        said = explained(conn, loaded, known, Asked(None, "cam-2", "brightness_mean", day=date(2026, 11, 20)))
    return [day for day, alarm in zip(said.path.days, said.path.alarm, strict=True) if alarm]


def test_without_a_day_the_last_alarm_or_the_last_day_with_data_is_told(
    database: Database, loaded: LoadedContract, command: Command
) -> None:
    code, out, _ = command(*ASKED, "cam-2")
    last = alarms(database, loaded)[-1]
    assert code == 0
    assert f"on cam-2, {last}: alarm" in out
    assert "the last day on which it alarmed since the baseline" in out
    quiet = command(*ASKED, "cam-1")[1]
    assert "on cam-1, 2026-11-20: no alarm" in quiet
    assert "it has not alarmed since the baseline; this is the last day with data" in quiet


def test_days_after_an_alarm_tell_the_onset_of_the_first_one(
    database: Database, loaded: LoadedContract, command: Command
) -> None:
    first = alarms(database, loaded)[0]
    told = command(*ASKED, "cam-2", "--day", str(first))[1]
    onset = re.search(r"most likely began on (2026-11-\d\d), as a ramp", told)
    assert onset is not None
    assert abs(date.fromisoformat(onset[1]) - date(2026, 11, 7)) <= 2 * DAY
    for day in range(1, (date(2026, 11, 20) - first).days):
        out = command(*ASKED, "cam-2", "--day", str(first + day * DAY))[1]
        assert onset[0] in out
        assert f"the episode that opened with the alarm of {first}, whose onset this is" in out


def test_the_floor_is_held_against_the_run_as_the_alarm_holds_it(
    database: Database, loaded: LoadedContract, command: Command
) -> None:
    with database.begin() as conn:
        known = baseline_of(conn, "line", "v1")
        days = [date(2026, 11, 7) + i * DAY for i in range(13)]
        told = [explained(conn, loaded, known, Asked(None, "cam-2", "brightness_mean", day=day)) for day in days]
    held = [said for said in told if said.path.held[-1]]
    alarmed = [said for said in told if said.alarm]
    assert held
    assert alarmed
    for said in held + alarmed:
        # The run by hand: the days since the sum was last 0, or since the last alarm.
        down, alarm = said.path.down, said.path.alarm
        start = max(i + 1 for i in range(-1, down.size - 1) if i < 0 or down[i] == 0 or alarm[i])
        mean = said.path.effect[start:].mean()
        assert said.run == (pytest.approx(mean), down.size - start)
        assert (-mean >= 0.025) == bool(said.alarm)
    out = command(*ASKED, "cam-2", "--day", str(alarmed[-1].day))[1]
    assert "reaches the floor of 2.5 %" in out
    assert "does not reach" not in out
    assert f"{alarmed[-1].path.down[-1]:.2f} alarm" in out
    assert f"{held[-1].path.down[-1]:.2f} held by the floor" in out
    assert "does not reach the floor" in command(*ASKED, "cam-2", "--day", str(held[-1].day))[1]
    assert "the sum starts anew" in command(*ASKED, "cam-2", "--day", "2026-11-19")[1]


def test_a_run_that_continues_has_the_mean_of_all_of_its_days() -> None:
    # Sums up: 1, 2, 3 over the limit 2.5 on the third day; effects 0.01, 0.02, 0.06 average 0.03.
    path = sequential.cusum([2.0, 2.0, 2.0, 2.0], 2.5, effect=[0.01, 0.02, 0.06, 0.5], floor=0.03)
    assert path.alarm.tolist() == [0, 0, 1, 0]
    assert path.mean[:, 0].tolist() == pytest.approx([0.01, 0.015, 0.03, 0.5])
    assert path.run[:, 0].tolist() == [1, 2, 3, 1]


def test_lanes_without_a_season_are_told_as_they_are_stored(
    database: Database, loaded: LoadedContract, command: Command
) -> None:
    asked = ("drift", "explain", "--model", "line", "--camera", "cam-2", "--lane")
    code, _, err = command(*asked, "queue_peak")
    assert code == 2
    assert "nothing of queue_peak was measured on camera 'cam-2'" in err

    def row(lane: str, day: int, measure: str, value: float, limit: float) -> Measurement:
        at = START + day * DAY
        key = SeriesKey(Scope("line", "v1", camera="cam-2"), lane)
        return Measurement(
            key, measure, Window(at, at + DAY), value, "ok", 720, 15_120, 1, loaded.hash, limit, 31.0, 4.0
        )

    rows = [row("queue_peak", 30, FAST, 9.0, 12.5), row("queue_peak", 31, FAST, 31.0, 12.5)]
    rows += [row("queue_peak", 31, EFFECT, 27.0, 1.0)]
    rows += [row("override", 31, UP, 8.5, 7.25), row("override", 31, ALARM, 1.0, 7.25)]
    with database.begin() as conn:
        measurements.save(conn, rows)
    code, out, _ = command(*asked, "queue_peak")
    assert (code, "queue_peak on cam-2, 2026-11-01: alarm" in out) == (0, True)
    assert "2026-10-31 9 12.5 - - 720 2026-11-01 31 12.5 31 4 720 alarm" in out
    assert "2026-10-31: no alarm" in command(*asked, "queue_peak", "--day", "2026-10-31")[1]
    assert "2026-11-01 8.5 7.25 - - 720 alarm" in command(*asked, "override")[1]
    pages = Pages(Site(database, lambda: {"line": loaded}, {}, lambda: START, "spool"))
    stream = {"model": "line", "version": "v1", "camera": "cam-2"}
    for lane, said in (
        ("queue_peak", "2026-11-01         31       12.5"),
        ("override", "2026-11-01        8.5       7.25"),
    ):
        code, page = pages.why({**stream, "lane": lane})
        assert code == 200
        assert said in page
        assert page.count('class="curve') >= 2, "the number, and its limit"
    code, page = pages.why({**stream, "lane": "brightness_mean"})
    assert (code, page.count('role="img"')) == (200, 2), "a picture for a desk and one for a telephone"
    code, _, err = command("backtest", "--model", "line", "--lane", "override")
    assert code == 2
    assert "backtest does not cover override" in err
