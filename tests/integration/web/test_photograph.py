"""The pages in a real browser, at both widths and in both schemes of colour, and by the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import chromium
import pytest

from monitor.daemon.serve import listen
from monitor.web.app import create_app
from monitor.web.server import serving

PAGES = ("/", "/alerts", "/health", "/predictions", "/overrides", "/business", "/drift", "/golden", "/self")
FITS = """[document.documentElement.scrollWidth, getComputedStyle(document.body).fontSize,
[...document.querySelectorAll('.wide')].filter(t => t.scrollWidth > t.clientWidth + 1).length,
document.querySelectorAll('svg').length, getComputedStyle(document.body).backgroundColor]"""


@pytest.fixture(scope="module")
def tab(missing, tmp_path_factory) -> Iterator[chromium.Browser]:
    """A tab of a real browser."""
    found = chromium.path() or missing(
        "chromium", "no Chromium on PATH; install it to see the pages as it draws them"
    )
    with chromium.browser(found, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def address(drifted) -> Iterator[str]:
    """The drifted plant behind a real server, door and all."""
    listener = listen("127.0.0.1", 0)
    with serving(create_app(drifted.site, drifted.context.metrics), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_fits_asks_no_other_host_and_complains_of_nothing(tab, address, width, dark):
    for path in PAGES:
        seen = tab.visit(address + path, width, dark)
        wide, letters, overflowing, pictures, paper = tab.run(FITS)
        assert seen.complaints == [], path
        assert seen.requests, "the browser tells what it asks for"
        assert all(one.startswith((f"{address}/", "data:")) for one in seen.requests), seen.requests
        assert wide == width, f"{path} scrolls sideways"
        assert overflowing == 0, f"a table of {path} scrolls sideways"
        assert letters == "15px", "our style was applied"
        assert pictures or path in ("/alerts", "/overrides", "/business", "/golden", "/self")
        assert (int(paper.removeprefix("rgb(").split(",")[0]) < 64) == dark, f"{path} is {paper}"


def test_a_telephone_shows_what_is_wrong_on_two_screens_and_folds_the_rest(tab, address):
    tab.visit(address, 390)
    ends = "Math.max(...[...document.querySelectorAll('.answer, .alert')].map(e => e.getBoundingClientRect().bottom))"
    assert tab.run("document.querySelectorAll('.alert').length") >= 1
    assert tab.run(ends) < 2 * 844
    chart = "document.querySelector('svg.chart').checkVisibility()"
    assert tab.run(chart) is False
    tab.run("document.querySelectorAll('.fold').forEach(one => one.querySelector('summary').click())")
    assert tab.run(chart) is True


def test_where_there_is_room_nothing_is_folded(tab, address):
    tab.visit(address, 1280)
    assert tab.run("document.querySelectorAll('.fold').length") >= 4
    assert tab.run("[...document.querySelectorAll('.fold > summary')].some(one => one.checkVisibility())") is False
    assert tab.run("document.querySelector('svg.chart').checkVisibility()") is True


@pytest.mark.parametrize("place", [1, 2])
def test_a_camera_with_a_harmful_name_does_no_harm(tab, address, drifted, place):
    for path in PAGES:
        seen = tab.visit(f"{address}{path}?{urlencode({'camera': drifted.cameras[place]})}", 390)
        assert seen.complaints == [], path
        assert tab.run("document.querySelectorAll('script').length") == 0
        assert (
            tab.run("document.querySelector('nav[aria-label=Camera] a[aria-current]').innerText")
            == (drifted.cameras[place])
        )


def test_the_browser_would_have_told(tab, address):
    """The policy stops a script, and the browser says so: silence above means that there was none."""
    seen = tab.visit(address)
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(1)'}))")
    tab.run("fetch('http://example.invalid/').catch(() => 0)")
    tab.run("1")
    assert len(seen.complaints) >= 2
    assert all("Content Security Policy" in one for one in seen.complaints)


def test_the_keyboard_alone_leads_everywhere(tab, address):
    tab.visit(address)
    tab.press("Tab")
    assert tab.run("document.activeElement.innerText") == "Skip to the content"
    reached = set()
    tab.press("Tab")
    while (
        said := tab.run("document.activeElement !== document.body && document.activeElement.innerText")
    ) is not False:
        reached.add(said)
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "none", "the focus can be seen"
        tab.press("Tab")
    assert {"Overview", "Drift and incidents", "all cameras", "cam-1", "?"} <= reached
