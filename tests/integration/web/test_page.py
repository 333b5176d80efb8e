"""The pages as a browser gets them, over a real database that the daemon's own jobs have filled."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from monitor.drift import baseline
from monitor.imaging.stats import image_stats
from monitor.web import view
from monitor.web.access import HEADERS
from monitor.web.app import why_not_ready
from monitor.web.pages import Pages


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


def test_the_page_tells_the_story(drifted, read):
    answer = read("/")
    page = Page(answer.text)
    assert answer.status_code == 200
    assert "presses v1.0" in page.text
    assert "As of 2026-03-09 00:00 UTC , where the data end" in page.text
    assert "1 firing" in page.text
    assert "Brightness of cam-1 (presses v1.0) fell from" in page.text
    assert "840 lines = 840 stored + 0 duplicate + 0 rejected + 0 blank" in page.text
    assert "spool 840 840 0 0 14 2026-03-09 02:00" in page.text
    assert "Nothing recorded yet: no reviews came in." in page.text
    assert "baseline 1 (480 frames from logs, 2026-03-02 00:00 to 2026-03-06 00:00)" in page.text
    assert "no camera" not in page.text


def test_numbers_equal_a_count_of_the_raw_frames(drifted, read):
    page = Page(read("/", model="presses", camera="cam-1").text).text
    with drifted.context.database.begin() as conn:
        raw: Any = conn.execute(
            text(
                "SELECT count(*), count(*) FILTER (WHERE status <> 'ok'), avg(latency_ms),"
                " sum(cardinality(det_class)) FROM frame WHERE camera = 'cam-1'"
                " AND captured_at >= '2026-03-08' AND captured_at < '2026-03-09'"
            )
        ).one()
        sure: Any = conn.execute(
            text(
                "SELECT avg(c), count(*) FILTER (WHERE c < 0.5), count(*) FROM frame, unnest(det_confidence) c"
                " WHERE camera = 'cam-1' AND captured_at >= '2026-03-08' AND captured_at < '2026-03-09'"
            )
        ).one()
    frames, failed, latency, detections = raw
    assert f"{frames / 24:.1f} frames an hour n {frames} in 24 h" in page
    assert f"{failed / frames:.2%} {failed} of n {frames}" in page
    assert f"{latency:.1f} ms n {frames}" in page
    assert detections == sure[2]
    assert f"Mean confidence {sure[0]:.3f} n {sure[2]} detections" in page
    assert f"Below 0.5 {sure[1] / sure[2]:.1%} {sure[1]} of n {sure[2]}" in page


def test_the_drift_table_says_how_each_signal_stands(drifted, read):
    page = Page(read("/", camera="cam-1").text).text
    rows = page[page.index("Drift against the baseline") : page.index("Trends")]
    assert re.search(r"Brightness [\d.]+ [\d.]+ [\d.]+ 60 [\d.]+ [\d.]+ drifted", rows)
    assert re.search(r"Sharpness [\d.]+ [\d.]+ – 60 [\d.]+ [\d.]+ steady", rows)


def test_all_cameras_together_name_the_camera_that_stands_out(read):
    page = Page(read("/").text).text
    rows = page[page.index("Drift against the baseline") : page.index("Trends")]
    assert re.search(r"State Brightness cam-1 [\d.]+ [\d.]+ [\d.]+ –", rows), "and it comes first"
    assert not re.search(r"Sharpness cam", rows)


def test_each_picture_has_a_title_and_a_description(drifted, read):
    tags = Page(read("/").text).tags
    pictures = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    ids = {attributes.get("id") for tag, attributes in tags if tag in ("title", "desc")}
    assert len(pictures) >= 12 + 2 * 4
    for attributes in pictures:
        assert set((attributes["aria-labelledby"] or "").split()) <= ids


def test_an_awkward_camera_is_shown_as_text_and_can_be_chosen(drifted, read):
    awkward = drifted.cameras[1]
    source = read("/", camera=awkward).text
    page = Page(source)
    assert "<script" not in source
    assert awkward in page.text
    assert all(tag != "script" for tag, _ in page.tags)
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    followed = [read(link) for link in links if "brien" in link]
    assert followed
    assert all(answer.status_code == 200 for answer in followed)


def test_another_moment_shows_what_was_known_then(read):
    page = Page(read("/", camera="cam-1", at="2026-03-06T00:00Z").text).text
    assert "As of 2026-03-06 00:00 UTC , as asked for" in page
    assert "Window: 2026-03-05 00:00 to 2026-03-06 00:00" in page
    assert "drifted" not in page


def test_fresh_data_are_watched_live(read_at, story_start):
    page = Page(read_at(story_start + timedelta(days=7, hours=3))("/").text).text
    assert "As of 2026-03-09 03:00 UTC , live" in page
    assert "overdue" in page, "no job has run since two o'clock"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"camera": "cam-9"}, "no camera is called 'cam-9' here"),
        ({"model": "<b>"}, "no live frame of '<b>' has come in"),
        ({"version": "v9"}, "no live frame of 'v9' has come in"),
        ({"at": "soon"}, "write it as 2026-05-01T12:00Z"),
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
    page = Page(browse("/").text).text
    assert "60 lines = 59 stored + 0 duplicate + 1 rejected + 0 blank" in page
    assert "unknown_model 1" in page
    assert "(one detection) 1" in page


@pytest.mark.parametrize("address", ["/", "/static/page.css", "/metrics", "/healthz", "/readyz", "/nothing"])
def test_every_answer_forbids_scripts_and_framing(plant, browse, address):
    headers = browse(address).headers
    for name, value in HEADERS.items():
        assert headers[name] == value


def test_nothing_is_loaded_from_elsewhere(drifted, read):
    for tag, attributes in Page(read("/").text).tags:
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
    code, said = pages.status({})
    assert code == 503
    assert "too many pages are being read at once" in said
    assert "too many pages are being read at once" in why_not_ready(site)[0]
    site.turns.release()
    assert [pages.status({})[0] for _ in range(2)] == [200, 200], "a page gives its turn back"


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
        shown = view.status(conn, drifted.site, view.Asked())
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
        shown = view.status(conn, plant.site, view.Asked())
    (resolution,) = [picture for picture in shown.pictures if picture.signal == "resolution"]
    assert (resolution.now_n, resolution.baseline_n) == (60, 40)
