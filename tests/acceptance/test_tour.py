"""What the README says of one's own model, command by command, in order: nothing is missing, nothing fails."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor.cli import main

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Your own model")[1].split("\n## ")[0]
ASK_FOR_MORE = ("monitor golden run", "monitor golden list", "monitor golden gate --run")
"""What the tour says of a model that the reader brings; the packaging line does it in its own test."""
VERDICTS = ("monitor doctor", "monitor golden compare", "monitor golden gate", "monitor golden leakage")
"""Commands whose exit code is the answer."""


def steps() -> list[str]:
    """What is to be run, in order: `monitor` commands, and the two pieces of Python."""
    found = []
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", TOUR, flags=re.S):
        if kind == "python":
            found += [block] if "FrameLogger" in block else []
            continue
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.strip() for line in lines if line.startswith(("monitor ", "python examples/tour.py"))]
    return [one for one in found if not one.startswith(ASK_FOR_MORE) and not re.match(r"monitor daemon +#", one)]


def dated(command: str) -> str:
    """The command with `$(date -u -d 'N days ago' +%F)` as the shell would have it."""

    def day(found: re.Match[str]) -> str:
        return f"{datetime.now(UTC) - timedelta(days=int(found[1])):%Y-%m-%d}"

    return re.sub(r"\"\$\(date -u -d '(\d+) days ago' \+%F\)\"", day, command)


def failure(step: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Go through one step; what it said if it failed, else nothing."""
    if step.startswith("python examples/"):
        runpy.run_path(str(ROOT / shlex.split(step, comments=True)[1]), run_name="__main__")
        return ""
    if not step.startswith("monitor "):
        exec(compile(step, "README.md", "exec"), {})
        return ""
    words = shlex.split(dated(step), comments=True)[1:]
    target = words[words.index(">") + 1] if ">" in words else None
    capsys.readouterr()
    code = main.main(words[: words.index(">")] if target else words)
    told = capsys.readouterr()
    if target:
        Path(target).write_text(told.out, encoding="utf-8")
    if step.startswith(VERDICTS):
        return "" if told.out and "usage:" not in told.err else told.err
    return "" if code == 0 else f"exit code {code}\n{told.out}\n{told.err}"


def test_the_tour_goes_through(
    empty_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tour.py"])
    for name in ("MONITOR_STATE_DIR", "MONITOR_CONTRACTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MONITOR_DATABASE_URL", empty_engine.url.render_as_string(hide_password=False))
    todo = steps()
    assert len(todo) > 40
    Path("contracts").mkdir()
    failures = {step: said for step in todo if (said := failure(step, capsys))}
    sent = [json.loads(line)["event_id"] for line in Path("frames.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(set(sent)) == len(sent) > 1  # the request of the tour is answered without a reject
    assert not failures, "\n\n".join(f"{step}: {said}" for step, said in failures.items())
