"""One scoring in a process of its own, under limits of time and memory. What it does wrong is an outcome here.

That process evaluates too: whatever a model, a runtime or a decoder does, the daemon reads an outcome. The limit is
one of resident memory, for one on addresses would stop CUDA.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from monitor.golden import job
from monitor.golden.job import Job, Outcome
from monitor.settings import for_children

_LOOK_S = 0.1
"""How often memory, time and the wish to stop are looked at."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAID = 2000
"""Characters of a dead process' last words that are kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a scoring may use. Resident memory: a limit on addresses would stop CUDA, which reserves far more."""

    seconds: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its code (negative: the signal), or why it was ended; and its last words."""

    code: int
    why: str
    words: str


@dataclass(frozen=True, slots=True)
class Result:
    """An outcome and the artifacts that the process left, by name; an error may leave none."""

    outcome: Outcome
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    """From start to end, the loading of the model included."""


class Interrupted(Exception):
    """It was stopped because whoever asked for it is stopping: neither done nor an error."""


def score(
    work: Job,
    limits: Limits,
    before: Mapping[str, bytes] | None = None,
    *,
    stopping: threading.Event | None = None,
    tell: Callable[[str], None] = lambda line: None,
    started: Callable[[int], None] = lambda pid: None,
) -> Result:
    """Score in a child process. `before` are earlier detections (COCO results) by name; `tell` hears of progress.

    Never raises for what the child does: that is an outcome with status `error`.

    Raises:
        Interrupted: `stopping` was set before it came to its end.
    """
    with tempfile.TemporaryDirectory(prefix="monitor-golden-") as name:
        folder = Path(name)
        files = {key: f"before-{i}.json" for i, key in enumerate(sorted(before or {}))}
        for key, file in files.items():
            (folder / file).write_bytes((before or {})[key])
        work = msgspec.structs.replace(work, before=files)
        (folder / job.JOB).write_bytes(msgspec.json.encode(work))
        command = [sys.executable, "-m", "monitor.golden.child", name]
        began = time.monotonic()
        ended = watched(command, limits, stopping=stopping, tell=tell, started=started)
        return replace(_result(folder, ended), seconds=time.monotonic() - began)


def _result(folder: Path, ended: Ended) -> Result:
    if ended.why:
        return Result(Outcome("error", ended.why))
    if ended.code:
        how = f"was ended by signal {-ended.code}" if ended.code < 0 else f"ended with code {ended.code}"
        return Result(Outcome("error", f"the process that scores {how}: {ended.words or 'it said nothing'}"))
    try:
        outcome = msgspec.json.decode((folder / job.OUTCOME).read_bytes(), type=Outcome)
        there = [name for name in job.ARTIFACTS if (folder / name).exists()]
        return Result(outcome, {name: (folder / name).read_bytes() for name in there})
    except (OSError, msgspec.DecodeError) as error:
        return Result(Outcome("error", f"the process that scores left no outcome that can be read ({error})"))


def watched(
    command: Sequence[str],
    limits: Limits,
    *,
    stopping: threading.Event | None = None,
    tell: Callable[[str], None] = lambda line: None,
    started: Callable[[int], None] = lambda pid: None,
) -> Ended:
    """Run a command until it ends or passes a limit, with its whole group of processes.

    Raises:
        Interrupted: `stopping` was set.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=for_children(),  # what reads a model file has no use for passwords
        ) as process,
    ):
        try:
            started(process.pid)
            why = _watch(process, limits, stopping or threading.Event(), tell)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - _SAID))
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        return Ended(code, why, lines[-1] if lines else "")


def _watch(
    process: subprocess.Popen[bytes], limits: Limits, stopping: threading.Event, tell: Callable[[str], None]
) -> str:
    """Until the process has ended by itself: ""; or why it must be ended."""
    end = time.monotonic() + limits.seconds
    said = b""
    out = process.stdout
    while process.poll() is None:
        if stopping.is_set():
            raise Interrupted
        if time.monotonic() > end:
            return f"it took longer than the {limits.seconds:g} s of time_limit under [golden]"
        if _resident_mib(process.pid) > limits.memory_mib:
            return f"it used more than the {limits.memory_mib} MiB of memory_limit_mib under [golden]"
        if out is None:
            time.sleep(_LOOK_S)
            continue
        if select.select([out], [], [], _LOOK_S)[0]:
            part = os.read(out.fileno(), 65536)
            if not part:
                out = None
            *lines, said = (said + part).split(b"\n")
            for line in lines:
                tell(line.decode("utf-8", "replace"))
    return ""


def _resident_mib(pid: int) -> float:
    """Resident memory of a process; 0 where it cannot be told."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE / 2**20
    except (OSError, IndexError, ValueError):
        return 0.0
