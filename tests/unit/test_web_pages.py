"""What needs no database: reading the query, writing numbers and times, and what the templates may contain."""

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest

from monitor.web import pages, wording
from monitor.web.access import HEADERS
from monitor.web.view import NotThere

TEMPLATES = files("monitor.web").joinpath("templates")


@pytest.mark.parametrize(
    "said", ["2026-05-01T12:00Z", "2026-05-01T14:00+02:00", "2026-05-01T14:00 02:00", "2026-05-01T12:00"]
)
def test_a_moment_is_read_as_utc(said):
    assert pages.read_query({"at": said}).at == datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_moment_that_is_none_gets_a_sentence():
    with pytest.raises(NotThere, match="write it as 2026-05-01T12:00Z"):
        pages.read_query({"at": "yesterday"})


@pytest.mark.parametrize("said", ["0001-01-01", "0001-01-01T00:00+14:00", "9999-12-31T23:00-05:00", "9999-12-31"])
def test_a_moment_that_no_frame_can_be_of_gets_a_sentence(said):
    with pytest.raises(NotThere, match="is no "):
        pages.read_query({"at": said})


def test_nothing_asked_for():
    asked = pages.read_query({})
    assert (asked.model, asked.version, asked.stage, asked.camera, asked.at) == ("", "", None, "", None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (-8.31e-06, "0.0000"),
        (-0.000345, "-0.0003"),
        (0.12345, "0.123"),
        (12.345, "12.3"),
        (131.0, "131"),
        (999.7, "1,000"),
        (12345.6, "12,346"),
        (-0.05, "-0.0500"),
    ],
)
def test_numbers(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(100.0, "100"), (99.7, "100"), (33.3, "33"), (5.26, "5.3")])
def test_numbers_of_two_digits(value, text):
    assert wording.number(value, 2) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (60, "1 min"), (3600, "1 h"), (86_400, "24 h"), (172_800, "2 days"), (1_209_600, "14 days")],
)
def test_durations(seconds, text):
    assert wording.length(timedelta(seconds=seconds)) == text


def test_a_template_escapes_whatever_it_is_given():
    templates = pages.templates()
    text = templates.get_template("message.html").render(
        title="a<b", sentence='o\'brien "x"<script>alert(1)</script>'
    )
    assert "<script" not in text
    assert "o&#39;brien &#34;x&#34;&lt;script&gt;" in text


def test_no_template_has_a_script_a_style_of_its_own_or_anything_from_elsewhere():
    names = [entry.name for entry in TEMPLATES.iterdir()]
    assert "overview.html" in names
    for name in names:
        text = TEMPLATES.joinpath(name).read_text(encoding="utf-8")
        assert not re.search(r"<script|<style|\bstyle=|\bon[a-z]+=|javascript:|https?://|\|\s*safe", text), name


def test_the_policy_allows_our_own_style_and_nothing_else():
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
