"""`monitor backtest` and `monitor drift explain` over roll-ups in Postgres: they say what was, and write nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hourly import write
from sqlalchemy import text

from monitor.cli.backtest import read_incidents
from monitor.cli.main import main
from monitor.drift import baseline, watch
from monitor.errors import UsageError
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import measurements
from monitor.store.database import Database
from monitor.watch import ALARM, UP, Z
from monitor.web.pages import Pages
from monitor.web.view import Site

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
BASELINE, DAYS, CHANGED = 21, 42, 30
CONTRACT = """
[model]
name = "line"
[[classes]]
name = "carton"
[cameras]
policy = "open"
[[alerts]]
name = "grey"
signal = "brightness"
measure = "psi"
above = 0.3
min_n = 50
for_windows = 2
"""
Answer = tuple[int, str, str]


def counted(draw: np.random.Generator, signal: str, middle: np.ndarray, spread: float) -> Any:
    """Counts [hours, bins] of 30 values an hour around a level a day."""
    edges = SIGNALS[signal].edges
    rows = np.zeros((DAYS * 24, edges.count + 2), dtype=np.int64)
    values = np.repeat(middle, 24)[:, None] + draw.normal(0, spread, (DAYS * 24, 30))
    np.add.at(rows, (np.arange(DAYS * 24)[:, None], edges.bin_of(values)), 1)
    return rows


@pytest.fixture
def loaded(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> LoadedContract:
    """Three cameras over six weeks, three of them the baseline; cam-2 grows brighter from day 30 on."""
    draw = np.random.default_rng(2)
    counts = {}
    for i in range(1, 4):
        grey = 120 + draw.normal(0, 0.7, DAYS) + (6.0 if i == 2 else 0.0) * (np.arange(DAYS) >= CHANGED)
        counts[f"cam-{i}", "brightness", ""] = counted(draw, "brightness", grey, 8)
        sharp = 6 + draw.normal(0, 0.03, DAYS)
        counts[f"cam-{i}", "sharpness", ""] = counted(draw, "sharpness", sharp, 0.3)
        status = np.zeros((DAYS * 24, 3), dtype=np.int64)
        status[:, 1] = 30
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
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    def run(*words: str) -> Answer:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def rows_of(database: Database) -> dict[str, int]:
    """How many rows every table has."""
    with database.begin() as conn:
        names = conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        return {name: conn.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one() for name in names}


def test_lanes_over_history(
    database: Database, loaded: LoadedContract, command: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "known.csv").write_text("camera,start,end,cause\ncam-2,2026-02-04,,lens\n", encoding="utf-8")
    before = rows_of(database)
    words = ["backtest", "--model", "line", "--incidents", str(tmp_path / "known.csv")]
    code, out, err = command(*words, "--against", "0.01", "--html", str(tmp_path / "both.html"))
    assert (code, err) == (0, "")
    lines = {line[:34].strip(): line[34:].split() for line in out.splitlines()}
    assert lines["labelled incidents found"] == ["1", "of", "1", "1", "of", "1"]
    assert float(lines["median delay, days"][0]) <= float(lines["median delay, days"][1]) <= 8
    assert "cam-2: optics" in out
    assert rows_of(database) == before
    html = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "<svg" in html
    assert "budget 0.01" in html
    # A floor that the change does not reach silences it.
    code, out, _ = command(*words, "--lane", "brightness_mean", "--set", "floor=0.2")
    lines = {line[:34].strip(): line[34:].split() for line in out.splitlines()}
    assert (lines["pages"], lines["labelled incidents found"][3:]) == (["1", "0"], ["0", "of", "1"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "nan"], "a finite number above 0"),
        (["--against", "inf"], "a finite number above 0"),
        (["--set", "floor=nan"], "a number of 0 or more"),
        (["--set", "floor=true"], "a number of 0 or more"),
        (["--last", "-1"], "--last is -1"),
        (["--html", "absent/page.html"], "absent/page.html cannot be written"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    words: list[str], said: str, loaded: LoadedContract, command: Callable[..., Answer]
) -> None:
    code, _, err = command("backtest", "--model", "line", *words)
    assert code == 2
    assert said in err


def test_labelled_incidents_are_read_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "known.csv"
    file.write_bytes(b"\xef\xbb\xbfcamera,start,end,cause\r\ncam-2,2026-02-04,,lens\r\n")
    assert [one.camera for one in read_incidents(file)] == ["cam-2"]
    file.write_text("cam,start,end,cause\ncam-2,2026-02-04,,lens\n")
    with pytest.raises(UsageError, match="no column camera"):
        read_incidents(file)


def test_days_to_come_make_no_false_alarm_rarer(loaded: LoadedContract, command: Callable[..., Answer]) -> None:
    code, out, _ = command("backtest", "--model", "line")
    assert code == 0
    assert command("backtest", "--model", "line", "--to", "2036-01-01") == (0, out, "")


def test_a_rule_over_history(database: Database, loaded: LoadedContract, command: Callable[..., Answer]) -> None:
    assert command("backtest", "--model", "line", "--rule", "grey")[0] == 2
    values = [0.5 if day >= CHANGED else 0.05 for day in range(BASELINE, DAYS)]
    rows = [
        Measurement(
            SeriesKey(Scope("line", "v1", camera="cam-2"), "brightness", recipe="r1"),
            "psi",
            Window(START + day * DAY, START + (day + 1) * DAY),
            value,
            "ok",
            720,
            15_120,
            1,
            loaded.hash,
            0.01,
            120.0,
            120.0,
        )
        for day, value in enumerate(values, start=BASELINE)
    ]
    with database.begin() as conn:
        measurements.save(conn, rows)
    code, out, _ = command("backtest", "--model", "line", "--rule", "grey", "--set", "above=0.6")
    lines = {line[:34].strip(): line[34:].split() for line in out.splitlines()}
    assert (code, lines["pages"]) == (0, ["1", "0"])
    assert "2026-02-06 00:00  cam-2: grey" in out
    assert "no rule 'else'" in command("backtest", "--model", "line", "--rule", "else")[2]
    assert (
        "--set does not make a rule"
        in command("backtest", "--model", "line", "--rule", "grey", "--set", "above=-1")[2]
    )
    new = ["--rule", "new", "--set", "signal=brightness", "--set", "measure=psi", "--set", "above=0.3"]
    assert "0.3" in command("backtest", "--model", "line", *new)[1]


def test_why_a_camera_alarmed_agrees_with_what_the_daemon_measured(
    database: Database, loaded: LoadedContract, command: Callable[..., Answer], tmp_path: Path
) -> None:
    asked = ["drift", "explain", "--model", "line", "--camera", "cam-2", "--lane", "brightness_mean"]
    before = rows_of(database)
    code, out, _ = command(*asked, "--day", "2026-02-10", "--svg", str(tmp_path / "why.svg"))
    assert code == 0
    assert rows_of(database) == before
    assert ElementTree.parse(tmp_path / "why.svg").getroot().tag.endswith("svg")
    watch.run(database, loaded, START + (DAYS + 1) * DAY)
    told = [line.split() for line in out.splitlines() if line.startswith("  2026-")]
    with database.begin() as conn:
        for day, _, unit, z, up, _, *alarm in told:
            at = datetime.fromisoformat(day).replace(tzinfo=UTC)
            said = {
                m.measure: m.value
                for m in measurements.read(
                    conn, "line", camera="cam-2", signal="brightness_mean", slice_name="", start=at, end=at + DAY
                )
            }
            assert unit == "%"
            assert said[Z] == pytest.approx(float(z), abs=0.0051)
            assert said[UP] == pytest.approx(float(up), abs=0.0051)
            assert (ALARM in said) == (alarm == ["alarm"])
    assert any(line[-1] == "alarm" for line in told)
    again = command(*asked, "--day", "2026-02-10")[1]
    assert again == out


def test_what_cannot_be_explained_is_said(loaded: LoadedContract, command: Callable[..., Answer]) -> None:
    asked = ["drift", "explain", "--model", "line", "--lane", "brightness_mean", "--camera"]
    assert "knows no camera 'cam-9'; it knows cam-1, cam-2, cam-3" in command(*asked, "cam-9")[2]
    assert "is not among the days after the baseline" in command(*asked, "cam-1", "--day", "2026-01-10")[2]
    assert "no baseline 7 from logs" in command(*asked, "cam-1", "--baseline", "7")[2]
    mix = ["drift", "explain", "--model", "line", "--lane", "class_share", "--camera", "cam-1", "--class", "pouch"]
    code, _, err = command(*mix)
    assert code == 2
    assert "class_share" in err
    code, _, err = command(*asked, "cam-1", "--svg", "absent/why.svg")
    assert code == 2
    assert "absent/why.svg cannot be written" in err


def test_the_page_shows_the_same(database: Database, loaded: LoadedContract, command: Callable[..., Answer]) -> None:
    pages = Pages(Site(database, lambda: {"line": loaded}, {}, lambda: START + 60 * DAY, "spool"))
    asked = {"model": "line", "version": "v1", "stage": "", "camera": "cam-2", "lane": "brightness_mean"}
    code, html = pages.why({**asked, "day": "2026-02-10"})
    assert code == 200
    words = command(
        "drift", "explain", "--model", "line", "--camera", "cam-2", "--lane", "brightness_mean", "--day", "2026-02-10"
    )[1]
    read = unescape(re.sub("<[^>]*>", " ", html)).split()
    assert " ".join(words.split()) in " ".join(read)
    assert "<svg" in html
    assert " style=" not in html
    for part, reason in (("camera", "knows no camera"), ("lane", "there is no lane"), ("model", "no contract of")):
        code, html = pages.why({**asked, part: "<b>"})
        assert code == 404
        assert reason in html
        assert "<b>" not in html
    assert pages.why({**asked, "day": "soon"})[0] == 404
