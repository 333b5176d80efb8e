"""One run of our intake in a process of its own: `python -m bench.intake_run STATE SPOOL` prints what it took."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitor.ingest import stage
from monitor.ingest.batch import Taking
from monitor.ingest.workers import Workers
from monitor.settings import Settings
from monitor.spec.load import load_contract
from monitor.store import binary, histograms
from monitor.store.database import open_database

NOW = datetime(2026, 3, 31, tzinfo=UTC)


def main() -> None:
    state, spool = map(Path, sys.argv[1:])
    spent: Counter[str] = Counter()
    _clock(spent, binary, "copy_rows", lambda conn, table, *_: f"COPY {table}")
    _clock(spent, Future, "result", lambda *_: "wait for the worker")
    _clock(spent, Taking, "store", lambda *_: "store, all of it")
    _clock(spent, Taking, "begin", lambda *_: "begin")
    _clock(spent, histograms, "merge", lambda *_: "merge")
    contracts = {"bench": load_contract(state.parent / "bench.toml")}
    with open_database(Settings(state_dir=state)) as database, Workers() as workers:
        wall, cpu = time.perf_counter(), time.process_time()
        stored = stage.run(database, spool, contracts, NOW, workers=workers)
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        children = Path("/proc/self/task").glob("*/children")
        peaks = [_peak(pid) for path in children for pid in path.read_text().split()]
    worker = resource.getrusage(resource.RUSAGE_CHILDREN)
    took["worker_cpu"] = worker.ru_utime + worker.ru_stime
    took |= {"peak_mb": _peak("self"), "worker_peak_mb": max(peaks, default=0)}
    print(json.dumps({"stored": stored, **took, "spent": spent}))


def _peak(pid: str) -> float:
    """The most MB a process ever held since it became what it is (the peak of getrusage knows its forebear's)."""
    said = Path(f"/proc/{pid}/status").read_text()
    return int(said.split("VmHWM:")[1].split()[0]) / 1024


def _clock(spent: Counter[str], module: Any, name: str, label: Callable[..., str]) -> None:
    """Have the time that a function takes counted, under what `label` makes of its arguments."""
    function = getattr(module, name)

    def timed(*args: Any, **named: Any) -> Any:
        before = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            spent[label(*args)] += time.perf_counter() - before

    setattr(module, name, timed)


if __name__ == "__main__":
    main()
