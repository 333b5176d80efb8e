"""The page in a real browser: at both widths everything fits, and nothing had to come from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=4000",
)
# A window cannot be made as narrow as a telephone, a frame can. It measures what the page needs.
FRAME = """<!doctype html><body style="margin:0"><iframe src="/" style="width:{width}px;height:4000px;border:0"
onload="const d = this.contentDocument, e = d.documentElement, wide = [...d.querySelectorAll('.wide')];
document.title = [e.scrollWidth, getComputedStyle(d.body).fontSize, d.querySelectorAll('svg').length,
wide.every(t => t.scrollWidth <= t.clientWidth)].join(' ')"></iframe>"""


@pytest.fixture(scope="module")
def browser_path(missing) -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return found or missing("chromium", "no Chromium on PATH; install it to see the page as a browser draws it")


@pytest.fixture
def address(read) -> Iterator[str]:
    """The page behind a server that leaves out the header that forbids framing."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/frame-"):
                body, kind = FRAME.format(width=int(self.path[7:])).encode(), "text/html; charset=utf-8"
            else:
                answer = read(self.path)
                body, kind = answer.content, answer.headers["content-type"]
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits(browser_path, address, tmp_path: Path, width: int):
    seen = subprocess.run(
        [browser_path, *FLAGS, f"--user-data-dir={tmp_path}", "--window-size=1400,900", "--dump-dom",
         f"{address}/frame-{width}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    measured = re.search(r"<title>(\d+) (\S+) (\d+) (\w+)</title>", seen.stdout)
    assert measured, seen.stdout[:300] + seen.stderr[-2000:]
    needs, letters, pictures, tables_fit = measured.groups()
    assert int(needs) == width, "the page scrolls sideways"
    assert tables_fit == "true", "a table scrolls sideways"
    assert letters == "15px", "our style was applied"
    assert int(pictures) >= 12 + 2 * 4
