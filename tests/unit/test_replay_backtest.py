"""Backtests: pages of a rule worked by hand, pages of lanes on simulated plants, and what labels make of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from monitor.drift import history, lanes
from monitor.records import Measurement, Scope, SeriesKey, Window
from monitor.replay.backtest import Labelled, Page, Watched, of_lanes, of_rule, score
from monitor.replay.compare import Setting, document, table, timeline, told
from monitor.signals import SIGNALS
from monitor.spec.rules import AlertRule

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = AlertRule(name="grey", signal="brightness", measure="psi", above=0.3, min_n=50, for_windows=2, clear_windows=1)


def measured(camera: str, values: Sequence[float | None], signal: str = "brightness") -> list[Measurement]:
    """A PSI a day; None is a day without data."""
    key = SeriesKey(Scope("line", "v1", camera=camera), signal, recipe="r1")
    return [
        Measurement(
            key=key,
            measure="psi",
            window=Window(START + i * DAY, START + (i + 1) * DAY),
            value=value,
            state="no_data" if value is None else "ok",
            n=0 if value is None else 400,
            baseline_n=4000,
            baseline_id=1,
            contract_hash="c",
            noise=0.1,
        )
        for i, value in enumerate(values)
    ]


def page(day: int, *cameras: str, until: int | None = None) -> Page:
    at = START + (day + 1) * DAY
    ended = None if until is None else START + until * DAY
    return Page(at, "grey", "-".join(cameras) or "all", cameras, None, "moved", Window(at - DAY, at), ended)


def test_a_rule_pages_with_its_second_breach_in_a_row_and_ends_when_it_clears() -> None:
    # Above 0.3 + 0.1 for chance breaches; below 0.15 + 0.1 clears.
    history_of = measured("cam-1", [0.1, 0.5, 0.2, 0.5, 0.6, 0.5, 0.3, 0.2, 0.1]) + measured("cam-2", [0.1] * 9)
    (only,) = of_rule(RULE, reversed(history_of), "c")
    assert (only.cameras, only.where, only.subject) == (("cam-1",), "cam-1", "grey")
    assert (only.at, only.since, only.until) == (START + 5 * DAY, START + 3 * DAY, START + 8 * DAY)
    assert only.window == Window(START + 4 * DAY, START + 5 * DAY)
    assert "PSI 0.6 is above 0.4" in only.reason
    patient = RULE.model_copy(update={"for_windows": 3})
    assert [p.at for p in of_rule(patient, history_of, "c")] == [START + 6 * DAY]
    assert of_rule(RULE.model_copy(update={"above": 0.7}), history_of, "c") == []


def test_a_rule_passes_over_what_it_does_not_watch_and_judges_silence_as_silence() -> None:
    history_of = measured("cam-1", [0.5, None, 0.5]) + measured("cam-2", [0.9] * 3, signal="contrast")
    gone = [m for m in history_of if m.value is not None] + measured("cam-3", [0.1] * 3)
    assert [p.at for p in of_rule(RULE, history_of, "c")] == [START + 3 * DAY]
    assert [p.at for p in of_rule(RULE, gone, "c")] == [START + 3 * DAY]


def test_labels_tell_delays_misses_and_false_pages() -> None:
    pages = [page(2, "cam-1"), page(9, "cam-1"), page(5, "cam-2"), page(12)]
    known = [
        Labelled("cam-1", START + 8 * DAY, None, "lamp"),
        Labelled("cam-2", START + 20 * DAY, None, "lens"),
        Labelled("", START + 12 * DAY, START + 13 * DAY, "move"),
    ]
    said = score(pages, known, 3, Window(START, START + 30 * DAY))
    assert said.camera_months == pytest.approx(3)
    assert [f.delay for f in said.findings] == [2 * DAY, None, 1 * DAY]
    assert [p.at for p in said.false] == [START + 3 * DAY, START + 6 * DAY]
    assert (said.found, said.paged, said.median_delay) == (2, 2, 1.5 * DAY)
    later = score(pages, known, 3, Window(START + 6 * DAY, START + 30 * DAY))
    assert len(later.pages) == 2


DAYS, BASELINE, CAMERAS = 60, 28, 6


def plant(change: Any = None, seed: int = 5) -> Watched:
    """Brightness of six cameras on two lines, 40 frames an hour; `change` [cameras, days] moves the grey level."""
    draw = np.random.default_rng(seed)
    level = 120 + draw.normal(0, 0.6, (CAMERAS, DAYS)) + (0 if change is None else change)
    values = level[..., None, None] + draw.normal(0, 8, (CAMERAS, DAYS, 24, 40))
    edges = SIGNALS["brightness"].edges
    counts = np.zeros((CAMERAS, DAYS, 24, edges.count + 2), dtype=np.int64)
    np.add.at(counts, (*np.indices(values.shape)[:3], edges.bin_of(values)), 1)
    calendar = history.calendar(START.date(), DAYS, BASELINE)
    names = tuple(f"cam-{i}" for i in range(CAMERAS))
    paths = {name: ("north", f"line-{i // 3}", name) for i, name in enumerate(names)}
    streams = lanes.streams({"brightness": lanes.Series(counts, edges.middles())}, calendar)
    return Watched(names, streams, paths, START.date() + BASELINE * DAY, BASELINE)


def moved(cameras: slice, size: float) -> Any:
    change = np.zeros((CAMERAS, DAYS))
    change[cameras, 40:] = size
    return change


CHANGED = START + 40 * DAY


def test_lanes_stay_silent_over_a_plant_that_does_not_change() -> None:
    assert sum(len(of_lanes(plant(seed=seed), 0.08, 0.08)) for seed in range(4)) <= 1


def test_lanes_page_a_camera_that_changed_once_with_its_onset() -> None:
    (only,) = of_lanes(plant(moved(slice(1, 2), -5.0)), 0.08, 0.08)
    assert (only.subject, only.where, only.cameras) == ("optics", "north / line-0 / cam-1", ("cam-1",))
    assert timedelta() < only.at - CHANGED <= 4 * DAY
    assert only.since is not None
    assert abs(only.since - CHANGED) <= 2 * DAY
    assert only.until is None


def test_lanes_page_a_line_that_changed_as_one() -> None:
    pages = of_lanes(plant(moved(slice(0, 3), -5.0)), 0.08, 0.08)
    (line,) = [p for p in pages if p.where == "north / line-0"]
    assert line.until is None
    assert line.at - CHANGED <= 4 * DAY
    # A camera that was sooner than the line was told of by itself, and is then taken in.
    sooner = [p for p in pages if p is not line]
    assert len(sooner) <= 1
    assert all(p.until == line.at and p.at < line.at for p in sooner)


def test_a_smaller_budget_pages_later_and_never_more() -> None:
    watched = plant(moved(slice(4, 5), -2.4))
    wide, narrow = (of_lanes(watched, budget, 0.08) for budget in (0.5, 0.01))
    assert len(wide) >= len(narrow) >= 1
    assert min(p.at for p in wide) <= min(p.at for p in narrow)


def test_nothing_watched_is_nothing_told() -> None:
    assert of_lanes(Watched((), (), {}, date(2026, 3, 2), 28), 0.08, 0.08) == []


def two_settings() -> tuple[list[Setting], list[Labelled], Window]:
    period = Window(START, START + 30 * DAY)
    known = [Labelled("cam-1", START + 8 * DAY, START + 20 * DAY, "<lamp>")]
    pages = [[page(9, "cam-1", until=15), page(5, "cam-2")], [page(11, "cam-1")]]
    names = ("above=0.2", "above=0.4")
    return [Setting(n, score(p, known, 2, period)) for n, p in zip(names, pages, strict=True)], known, period


def test_the_table_sets_settings_side_by_side() -> None:
    settings, _, _ = two_settings()
    rows = {line[:34].strip(): line[34:].split() for line in table(settings).splitlines() if line.strip()}
    assert rows["pages"] == ["2", "1"]
    assert rows["pages a camera-month"] == ["1.000", "0.500"]
    assert rows["labelled incidents found"] == ["1", "of", "1", "1", "of", "1"]
    assert rows["median delay, days"] == ["2.0", "4.0"]
    assert rows["pages of no labelled incident"] == ["1", "0"]
    assert rows["2026-03-10 cam-1 <lamp>"] == ["2.0", "d", "4.0", "d"]


def test_the_page_stands_alone_and_escapes_what_people_wrote() -> None:
    settings, known, period = two_settings()
    first = settings[0].score.pages[0]
    html = document("<line>", settings, known, period, {first: [("e-1", "https://x/1.png"), ("e<2", "file:///e2")]})
    assert "<lamp>" not in html
    assert "<line>" not in html
    assert '<a href="https://x/1.png"><code>e-1</code></a>' in html
    assert 'href="file' not in html
    assert "<code>e&lt;2</code> file:///e2" in html
    assert all(word not in html for word in ("<script", "src=", "@import", "url("))
    picture = timeline(settings, known, period)
    assert picture.count("<circle") == 3
    assert picture.count("fill-opacity") == 1
    assert "e-1" in told(first, ["e-1"])
