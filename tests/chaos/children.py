"""The near end of a nursery: start children, wait for them, kill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PATIENCE_S = 120


@dataclass(slots=True)
class Nursery:
    """A running nursery. `folder` takes the children's logs."""

    process: subprocess.Popen[str]
    folder: Path
    _started: int = 0

    def start(self, deed: str, wound: dict[str, Any] | None = None, **args: Any) -> Child:
        """Fork a child for a deed."""
        self._started += 1
        log = self.folder / f"{self._started}.log"
        pid = self.ask({"deed": deed, "args": args, "wound": wound, "log": str(log)})["pid"]
        return Child(self, pid, log)

    def run(self, deed: str, wound: dict[str, Any] | None = None, **args: Any) -> Child:
        """Start a child and wait for its end."""
        child = self.start(deed, wound, **args)
        child.wait()
        return child

    def ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the nursery has ended"
        return json.loads(answer)


@dataclass(slots=True)
class Child:
    """A child; `code` is its exit code once it was waited for (negative: the signal that ended it)."""

    nursery: Nursery
    pid: int
    log: Path
    code: int | None = None

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Its exit code.

        Raises:
            AssertionError: it has not ended in time.
        """
        if not self.ended(seconds):
            self.kill()
            raise AssertionError(f"a child was still at work after {seconds:g} s:\n{self.said}")
        assert self.code is not None
        return self.code

    def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        if self.code is None:
            self.code = self.nursery.ask({"wait": self.pid, "seconds": seconds})["code"]
        return self.code is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> bool:
        """Kill it with all that it started; False: it had come to its end before."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.code = self.nursery.ask({"wait": self.pid, "seconds": PATIENCE_S})["code"]
        return self.code == -signal.SIGKILL

    @property
    def said(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@contextmanager
def nursery(folder: Path, code: Path = ROOT, modules: tuple[str, ...] = ()) -> Iterator[Nursery]:
    """A nursery of the product below `code`, for the length of a block."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    env = kept | {"PYTHONPATH": f"{code}{os.pathsep}{TESTS}", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with (folder / "nursery.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.nursery", *modules],
            env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    try:
        yield Nursery(process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(PATIENCE_S)
