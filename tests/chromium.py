"""A Chromium without a window, spoken to over a pipe: what a page asks for, complains of, and looks like."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def path() -> str | None:
    """Where Chromium is; None: not on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@dataclass
class Seen:
    """What came of visiting an address."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, exceptions, and dialogs that a script opened."""


class Browser:
    """One tab. Speaks the DevTools protocol: a JSON a message, each ended by a zero byte."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders, self._answers = orders, answers
        self._rest = b""
        self._last = 0
        self._seen = Seen()
        self._session = ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def visit(
        self, address: str, width: int = 1280, dark: bool = False, headers: dict[str, str] | None = None
    ) -> Seen:
        """Load a page at a width and in a scheme of colours, to its end."""
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._seen = seen = Seen()
        self._ask("Page.navigate", url=address)
        while self._read().get("method") != "Page.loadEventFired":
            pass
        self.run("1")  # what the load left behind is told before the answer
        return seen

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def press(self, key: str) -> None:
        """A key, down and up."""
        for kind in ("rawKeyDown", "keyUp"):
            self._ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9}.get(key, 13)
            )

    def photograph(self, file: Path) -> None:
        """The whole page as PNG."""
        size = self._ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        order: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while (answer := self._read()).get("id") != order["id"]:
            pass
        assert "error" not in answer, (method, answer)
        found: dict[str, Any] = answer["result"]
        return found

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 20)
            assert more, "Chromium has gone"
            self._rest += more
        one, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(one)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self._seen.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self._seen.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self._seen.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self._seen.complaints.append(str(told["args"]))
        elif method == "Page.javascriptDialogOpening":
            self._seen.complaints.append(f"a dialog: {told['message']}")


@contextmanager
def browser(executable: str, profile: Path) -> Iterator[Browser]:
    """A Chromium with an empty profile, for the length of a block."""
    hears, orders = os.pipe()
    answers, speaks = os.pipe()
    # Chromium reads orders from descriptor 3 and answers on 4; `sh` could not name descriptors over nine.
    command = ["bash", "-c", f'exec "$0" "$@" 3<&{hears} 4>&{speaks}', executable, *FLAGS]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}"], pass_fds=(hears, speaks), stderr=subprocess.DEVNULL
    )
    os.close(hears)
    os.close(speaks)
    try:
        yield Browser(orders, answers)
    finally:
        os.close(orders)
        os.close(answers)
        process.terminate()
        process.wait(20)
