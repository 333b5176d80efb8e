"""The pages as a browser gets them, over a real database that the daemon's own jobs have filled."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import pytest
from sqlalchemy import text

from monitor.drift import baseline
from monitor.imaging.stats import image_stats
from monitor.web import view
from monitor.web.access import HEADERS
from monitor.web.app import why_not_ready
from monitor.web.drifted import drifted as drift_page
from monitor.web.pages import BOARDS, MENU, Pages


class Page(HTMLParser):
    """What a page says: its text and tags, and whether every tag is closed."""

    EMPTY = frozenset({"meta", "link", "br", "path", "rect", "circle"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        assert self.open == [], "a tag was left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_an_empty_database_tells_the_first_steps(plant, browse):
    answer = browse("/")
    page = Page(answer.text)
    assert answer.status_code == 200
    assert "No frames yet" in page.text
    assert "monitor baseline freeze" in page.text
    assert "state/spool/incoming" in page.text
    plant.jobs(0)
    assert "1 in force" in Page(browse("/").text).text


def test_the_overview_answers_four_questions_first(drifted, read):
    answer = read("/")
    page = Page(answer.text)
    assert answer.status_code == 200
    assert "presses v1.0" in page.text
    assert "As of 2026-03-09 00:00 UTC , where the data end" in page.text
    short = page.text[page.text.index("Is the model healthy?") : page.text.index("The last 24 hours")]
    assert re.search(r"Is the model healthy\? Not quite 1 firing alert\. Nothing has come in since 2026-03-09", short)
    assert "Which camera is worst? cam-1 1 firing alert: brightness." in short
    assert "Since when? 2026-03-06 00:00 (3 days ago) The oldest alert that fires: brightness-drift." in short
    assert "What to do first? Look at that camera's newest frames" in short
    assert "1 firing" in page.text
    assert re.search(r"Now \(window to 2026-03-09 00:00\) ?: PSI [\d.]+ is above [\d.]+ \(.*?\); n 60", page.text)
    assert re.search(r"When it fired \(window to 2026-03-08 00:00\) ?: Brightness of cam-1 .* fell from", page.text)


def test_the_monitor_tells_what_came_in(drifted, read):
    page = Page(read("/self").text)
    assert "1,260 lines = 1,260 stored + 0 duplicate + 0 rejected + 0 blank" in page.text
    assert "spool 1,260 1,260 0 0 21 2026-03-09 02:00" in page.text
    assert "no camera" not in page.text


def test_a_pillar_without_data_says_so(read):
    assert "No frame of this time range has been reviewed yet." in Page(read("/overrides").text).text
    for path in BOARDS:
        page = Page(read(path).text)
        assert MENU[path] in page.text
        for one in BOARDS[path].observables:
            if one.source == "postgres":
                assert one.title in page.text
                assert one.question in page.text, "what it means stands with it"


def test_what_is_too_little_for_a_quantile_is_told_as_that(drifted, read):
    health = read("/health").text
    assert health.count("No camera has 300 frames with a latency in this time range.") == 1
    assert "tells its latency" not in health


def test_numbers_equal_a_count_of_the_raw_frames(drifted, read):
    # All that was ever there: a period's edges are the board's own matter and tested with it.
    query = {"camera": "cam-1", "days": "98"}
    health, predictions = (Page(read(path, **query).text).text for path in ("/health", "/predictions"))
    with drifted.context.database.begin() as conn:
        frames = conn.execute(text("SELECT count(*) FROM frame WHERE camera = 'cam-1'")).scalar_one()
        sure: Any = conn.execute(
            text("SELECT avg(c), count(*) FROM frame, unnest(det_confidence) c WHERE camera = 'cam-1'")
        ).one()
    assert f"Frames {frames} ?" in health
    assert f"Mean confidence {100 * sure[0]:.1f} %" in predictions
    assert f"n {sure[1]}" in predictions


def test_the_drift_table_says_how_each_signal_stands(drifted, read):
    page = Page(read("/drift", camera="cam-1").text).text
    rows = page[page.index("Drift against the baseline") : page.index("Trends")]
    assert re.search(r"Brightness [\d.]+ [\d.]+ [\d.]+ 60 [\d.]+ [\d.]+ drifted", rows)
    assert re.search(r"Sharpness [\d.]+ [\d.]+ – 60 [\d.]+ [\d.]+ steady", rows)


def test_all_cameras_together_name_the_camera_that_stands_out(read):
    page = Page(read("/drift").text).text
    assert "baseline 1 (720 frames from logs, 2026-03-02 00:00 to 2026-03-06 00:00)" in page
    rows = page[page.index("Drift against the baseline") : page.index("Trends")]
    assert re.search(r"State Brightness cam-1 [\d.]+ [\d.]+ [\d.]+ –", rows), "and it comes first"
    assert not re.search(r"Sharpness cam", rows)


def test_each_picture_has_a_title_and_a_description(drifted, read):
    tags = Page(read("/drift").text).tags
    pictures = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    ids = {attributes.get("id") for tag, attributes in tags if tag in ("title", "desc")}
    assert len(pictures) >= 12 + 3 * 4
    for attributes in pictures:
        assert set((attributes["aria-labelledby"] or "").split()) <= ids


@pytest.mark.parametrize("place", [1, 2])
def test_an_awkward_camera_is_shown_as_text_and_can_be_chosen(drifted, read, place):
    awkward = drifted.cameras[place]
    for path in MENU:
        source = read(path, camera=awkward).text
        page = Page(source)
        assert "<script" not in source
        assert awkward in page.text
        assert all(tag != "script" for tag, _ in page.tags)
        links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
        followed = [read(link) for link in links if f"camera={quote_plus(awkward)}" in link]
        assert len(followed) >= len(MENU), "the menu stays with the camera"
        assert all(answer.status_code == 200 for answer in followed[:9])


def test_another_moment_shows_what_was_known_then(read):
    query = {"camera": "cam-1", "at": "2026-03-06T00:00Z"}
    page, itself = (Page(read(path, **query).text).text for path in ("/drift", "/self"))
    assert "As of 2026-03-06 00:00 UTC , as asked for" in page
    assert "Window: 2026-03-05 00:00 to 2026-03-06 00:00" in itself
    assert "beyond chance" not in page


def test_fresh_data_are_watched_live(read_at, story_start):
    page = Page(read_at(story_start + timedelta(days=7, hours=3))("/self").text).text
    assert "As of 2026-03-09 03:00 UTC , live" in page
    assert "overdue" in page, "no job has run since two o'clock"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"camera": "cam-9"}, "no camera is called 'cam-9' here"),
        ({"model": "<b>"}, "no live frame of '<b>' has come in"),
        ({"version": "v9"}, "no live frame of 'v9' has come in"),
        ({"at": "soon"}, "write it as 2026-05-01T12:00Z"),
        ({"days": "3"}, "choose one of 1, 7, 30, 98"),
    ],
)
def test_what_is_not_there_gets_a_sentence(read, query, sentence):
    answer = read("/", **query)
    assert answer.status_code == 404
    assert sentence in Page(answer.text).text


def test_rejects_are_told_with_their_reasons(plant, browse, day_of_records):
    lines = day_of_records(0, "cam-1")
    lines[3]["model"] = "unheard-of"
    lines[4]["detections"] = [{"class": "dent", "confidence": 0.9, "box": [10, 10, 5000, 60]}]
    plant.drop("mixed", lines)
    plant.jobs(1)
    page = Page(browse("/self").text).text
    assert "60 lines = 59 stored + 0 duplicate + 1 rejected + 0 blank" in page
    assert "unknown_model 1" in page
    assert "1 (detections of stored frames)" in page


@pytest.mark.parametrize("address", ["/", "/static/page.css", "/metrics", "/healthz", "/readyz", "/nothing"])
def test_every_answer_forbids_scripts_and_framing(plant, browse, address):
    headers = browse(address).headers
    for name, value in HEADERS.items():
        assert headers[name] == value


@pytest.mark.parametrize("path", MENU)
def test_nothing_is_loaded_from_elsewhere(read, path):
    for tag, attributes in Page(read(path).text).tags:
        for name in ("src", "href", "action", "data", "srcset"):
            address = attributes.get(name) or ""
            assert address.startswith(("/", "#", "data:")) or not address, (tag, address)
        assert not any(name.startswith("on") or name == "style" for name in attributes)


def test_ready_only_with_database_schema_and_contract(plant, browse):
    answer = browse("/readyz")
    assert answer.status_code == 503
    assert "no contract is in force" in answer.json()["reasons"][0]
    plant.jobs(0)
    said = browse("/readyz").json()
    assert (said["ready"], said["reasons"]) == (True, [])
    with plant.context.database.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "newer release" in browse("/readyz").json()["reasons"][0]


def test_a_crowd_of_readers_waits_in_front_of_the_database(plant, monkeypatch):
    monkeypatch.setattr(view, "PATIENCE_S", 0.05)
    site = plant.site
    pages = Pages(site)
    for _ in range(view.READERS):
        site.turns.acquire()
    code, said = pages.overview({})
    assert code == 503
    assert "too many pages are being read at once" in said
    assert "too many pages are being read at once" in why_not_ready(site)[0]
    site.turns.release()
    assert [pages.overview({})[0] for _ in range(2)] == [200, 200], "a page gives its turn back"


def test_what_needs_no_database_never_waits(plant, browse, monkeypatch):
    monkeypatch.setattr(view, "READERS", 0)
    for address in ("/healthz", "/metrics", "/static/page.css"):
        assert browse(address).status_code == 200


def test_a_page_that_takes_too_long_is_a_sentence(plant, browse, monkeypatch):
    monkeypatch.setattr("monitor.store.reporting.BOUND_S", 1)
    with plant.context.database.begin() as conn:
        conn.execute(text("LOCK TABLE job_run"))
        answer = browse("/")
    assert answer.status_code == 503
    assert "ask for less at a time" in answer.text


def test_pages_with_the_database_away(plant, browse, admin):
    plant.jobs(0)
    engine = plant.context.database.engine
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} ALLOW_CONNECTIONS false"))
    engine.dispose()
    for address in ("/", "/readyz"):
        answer = browse(address)
        assert answer.status_code == 503
        assert "see that the server runs" in answer.text
    assert browse("/healthz").status_code == 200
    assert browse("/metrics").status_code == 200


def test_the_trends_begin_with_the_first_window(drifted, story_start):
    with drifted.site.begin() as conn:
        shown = drift_page(conn, view.place(conn, drifted.site, view.Asked()))
    assert shown.trend.start == story_start, "six hours before the first frame"
    assert {len(re.findall("[ML]", line.path)) for trend in shown.trends for line in trend.lines} == {7}


def test_images_stand_beside_every_stage(plant, day_of_records, story_start):
    contract = plant.context.settings.contracts_dir / "presses.toml"
    staged = contract.read_text().replace('name = "presses"', 'name = "presses"\nstages = ["screening"]', 1)
    contract.write_text(staged)
    plant.drop("day", [line | {"stage": "screening"} for line in day_of_records(0, "cam-1")])
    assert plant.jobs(1)["intake"] == 60
    images = [image_stats(np.full((8, 8), 100 + level, dtype=np.uint8)) for level in range(40)]
    baseline.from_images(plant.context.database, plant.context.shelf.contracts["presses"], images, story_start)
    with plant.site.begin() as conn:
        shown = drift_page(conn, view.place(conn, plant.site, view.Asked()))
    (resolution,) = [picture for picture in shown.pictures if picture.signal == "resolution"]
    assert (resolution.now_n, resolution.baseline_n) == (60, 40)
