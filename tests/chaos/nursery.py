"""A warm process that has imported the product and holds no connection: it forks a child for each deed.

Run as `python -m chaos.nursery [MODULE ...]`; the modules are imported beforehand. It reads one JSON object a line:
{"deed", "args", "wound", "log"} starts a child in a session of its own and answers {"pid"}; {"wait", "seconds"}
answers {"code"}: the exit code (negative: the signal), null where the child is still alive after so many seconds.
When its input ends, whatever is left of the children is killed; they do not outlive it however it ends.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any

from chaos import deeds, wounds

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def main(modules: list[str]) -> None:
    """Serve until the input ends."""
    for name in modules:
        import_module(name)
    deeds.warm_up()
    gc.freeze()  # a collection in a child would copy every page that the two share
    alive: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = {"code": wait(asked["wait"], asked["seconds"])}
            if answer["code"] is not None:
                alive.discard(asked["wait"])
        else:
            alive.add(pid := start(asked))
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    for pid in alive:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def start(asked: dict[str, Any]) -> int:
    """Fork the child; returns its number."""
    pid = os.fork()
    if pid:
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # whoever comes first: the group is there when it is to be killed
        return pid
    code = 70
    try:
        with suppress(PermissionError):
            os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if asked["wound"]:
            wounds.inflict(**asked["wound"])
        code = getattr(deeds, asked["deed"])(**asked["args"])
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - a child must never go on as its parent
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def wait(pid: int, seconds: float | None) -> int | None:
    """Wait for the child to end; its exit code, or None if it has not ended by then."""
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if ended else None


if __name__ == "__main__":
    main(sys.argv[1:])
