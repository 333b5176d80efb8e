"""Intake against Postgres' own loader, and against what one would write by hand, in one run.

Ours: files of JSON lines → committed frames and merged roll-ups, exactly once, in processes of its own that start
with nothing. Its peer: `psql \\copy` of a ready-made binary file of the same rows into the same keyed, partitioned
tables. Beside it the same in text, into a bare heap, and with the roll-ups; a naive service; and a script.

What bounds it are both cores together (`seconds` of the first figure): the worker that decodes, checks, rolls up and
encodes is busy all the time; the process that stores and the server share the other core, and the former prepares a
batch itself where none is ready. The script's goal is beyond what the server can take: `all` is its own loader, given
rows that are ready made.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bench import peers
from bench.frames_log import contract, write_log
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import Database, open_database

FRAMES = 200_000
A_FILE = 100_000
RUNS = 5
NAIVE_FRAMES = 50_000
SCRIPT_FRAMES = 10_000
GOAL, NAIVE_GOAL, SCRIPT_GOAL = 0.35, 3.5, 20
MEMORY_GOAL_MB = 256
_LOOK_ROUND = 20
"""Samples of memory after which the processes are looked for again."""


def figures(frames: int = FRAMES, runs: int = RUNS) -> Iterator[dict[str, Any]]:
    """Everything in turn, `runs` times; the medians."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        contract(folder)
        for first in range(0, frames, A_FILE):
            write_log(folder / f"log-{first:09d}.jsonl", min(A_FILE, frames - first), first=first)
        with open_database(Settings(state_dir=folder / "state")) as database:
            migrate.upgrade(database.engine)
            with database.begin() as conn:
                conn.execute(text(f"CREATE TABLE {peers.BARE} (LIKE frame)"))
            taken = [_once(database, folder, frames, run) for run in range(runs)]
            with database.begin() as conn:
                conn.execute(text(f"DROP TABLE {peers.BARE}"))
            version = server_version(database)
    yield from _figures(frames, taken, version)


def _once(database: Database, folder: Path, frames: int, run: int) -> dict[str, Any]:
    """Seconds a frame of everybody, and what ours says of itself."""
    ours = _ours(database, folder, frames)
    if run == 0:
        peers.dump(database, folder)
    ours["rollup_rows"] = _count(database, "rollup")
    log = min(folder.glob("log-*.jsonl"))
    naive, script = min(frames, NAIVE_FRAMES), min(frames, SCRIPT_FRAMES)
    loads: dict[str, tuple[int, Callable[[], float]]] = {
        "binary": (frames, lambda: peers.copy(database, folder, "binary")),
        "text": (frames, lambda: peers.copy(database, folder, "text")),
        "all": (frames, lambda: peers.copy(database, folder, "binary", peers.ROLLED_UP)),
        "bare": (frames, lambda: peers.copy_bare(database, folder)),
        "naive": (naive, lambda: peers.naive(database, log, naive)),
        "script": (script, lambda: peers.insert_values(database, log, script)),
    }
    took = {"ours": ours["wall"] / frames}
    for name, (rows, load) in loads.items():
        empty(database)
        _empty_bare(database)
        took[name] = load() / rows
    empty(database)
    print(f"run {run + 1}: " + _said(took, ours), file=sys.stderr, flush=True)
    return {"took": took, "ours": ours}


def _said(took: dict[str, float], ours: dict[str, Any]) -> str:
    rates = ", ".join(f"{name} {1 / each:,.0f}/s" for name, each in took.items())
    return f"{rates}; of binary \\copy {took['binary'] / took['ours']:.3f}; {json.dumps(ours)}"


def _ours(database: Database, folder: Path, frames: int) -> dict[str, Any]:
    incoming = folder / "spool" / "incoming"
    incoming.mkdir(parents=True)
    for log in folder.glob("log-*.jsonl"):
        (incoming / log.name).hardlink_to(log)
    before = _server_cpu(folder)
    command = [sys.executable, "-m", "bench.intake_run", str(folder / "state"), str(folder / "spool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        memory = _Memory(child.pid)
        said, _ = child.communicate()
        memory.stop()
    assert child.returncode == 0, "our intake failed"
    shutil.rmtree(folder / "spool")
    ours = json.loads(said)
    assert ours["stored"] == frames == _count(database, "frame"), f"{ours['stored']} of {frames} frames were stored"
    return {**ours, "server_cpu": _server_cpu(folder) - before, **memory.peak}


class _Memory:
    """Samples a process and its children, Postgres aside; `peak` says the most they held together, in MB.

    What is cheap is read often: the shares of pages (PSS) take the kernel milliseconds in which the process waits.
    """

    def __init__(self, pid: int) -> None:
        self.peak = {"rss_mb": 0.0, "pss_mb": 0.0, "processes": 0}
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        family: list[int] = []
        for turn in count():
            if turn % _LOOK_ROUND == 0:
                family = [pid for pid in _family(self._pid) if not _is_postgres(pid)]
                self._keep("processes", len(family))
                self._keep("pss_mb", sum(map(_shared, family)) / 1024)
            self._keep("rss_mb", sum(map(_resident, family)) * resource.getpagesize() / 2**20)
            if self._stopped.wait(0.05):
                return

    def _keep(self, name: str, value: float) -> None:
        self.peak[name] = max(self.peak[name], round(value, 1))


def _family(pid: int) -> list[int]:
    parents = _processes()
    family = [pid]
    for each in family:
        family += [child for child, (parent, _, _) in parents.items() if parent == each]
    return family


def _processes() -> dict[int, tuple[int, str, float]]:
    """Every process: its parent, name and CPU seconds."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = path.read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        words = rest.split()
        found[int(path.parent.name)] = int(words[1]), name, sum(map(int, words[11:15])) / 100
    return found


def _is_postgres(pid: int) -> bool:
    try:
        return "postgres" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return True


def _resident(pid: int) -> int:
    """Pages of a process that are in memory; none of one that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0


def _shared(pid: int) -> int:
    """PSS in KiB; none of a process that is gone."""
    try:
        said = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in said if line.startswith("Pss:"))


def _server_cpu(folder: Path) -> float:
    """CPU seconds of the server and all its children that have ended or live."""
    pid = int(next((folder / "state").rglob("postmaster.pid")).read_text().split()[0])
    processes = _processes()
    return sum(processes[each][2] for each in _family(pid) if each in processes)


def _count(database: Database, table: str) -> int:
    with database.begin() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def empty(database: Database) -> None:
    """Leave no row of any load."""
    tables = (*peers.ROLLED_UP, "batch", "reject", "rollup_claim", "intake_total")
    with database.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(tables)}"))


def _empty_bare(database: Database) -> None:
    with database.begin() as conn:
        conn.execute(text(f"TRUNCATE {peers.BARE}"))


def server_version(database: Database) -> str:
    """What the figures are against."""
    with database.begin() as conn:
        return "PostgreSQL " + str(conn.execute(text("SHOW server_version")).scalar_one()).split()[0]


def _figures(frames: int, runs: list[dict[str, Any]], version: str) -> Iterator[dict[str, Any]]:
    took = {name: statistics.median(run["took"][name] for run in runs) for name in runs[0]["took"]}
    ours = {name: _median([run["ours"][name] for run in runs]) for name in runs[0]["ours"]}
    rate = {name: round(1 / each) for name, each in took.items()}
    ratios = {name: round(each / took["ours"], 3) for name, each in took.items() if name != "ours"}
    yield {
        "name": "ingest.files_vs_copy_binary",
        "value": rate["ours"],
        "unit": f"frames/s from files to committed rows and {ours['rollup_rows']:.0f} merged roll-up rows",
        "frames": frames,
        "against": f"psql \\copy, binary, same rows, same keyed tables, {version}: {rate['binary']} frames/s",
        "ratio": ratios["binary"],
        "beside": {f"psql \\copy {name}": ratios[name] for name in ("text", "all", "bare")},
        "rates": rate,
        "seconds": {name: ours[name] for name in ("wall", "cpu", "worker_cpu", "server_cpu", "spent")},
        "goal": GOAL,
        "holds": ratios["binary"] >= GOAL,
    }
    for name, peer, goal in (
        ("ingest.files_vs_naive", "orjson + psycopg COPY, nothing checked, counted or recognised", NAIVE_GOAL),
        ("ingest.files_vs_insert_values", "json + psycopg2 execute_values", SCRIPT_GOAL),
    ):
        key = "naive" if "naive" in name else "script"
        yield {
            "name": name,
            "value": rate["ours"],
            "unit": "frames/s",
            "against": f"{peer}: {rate[key]} frames/s",
            "ratio": ratios[key],
            "goal": goal,
            "holds": ratios[key] >= goal,
        }
    yield {
        "name": "ingest.memory",
        "value": max(run["ours"]["rss_mb"] for run in runs),
        "unit": f"MB, RSS of all {ours['processes']:.0f} intake processes together at the peak, {frames} frames",
        "against": f"limit of {MEMORY_GOAL_MB} MB (PSS {max(run['ours']['pss_mb'] for run in runs)} MB)",
        "ratio": round(max(run["ours"]["rss_mb"] for run in runs) / MEMORY_GOAL_MB, 3),
        "goal": 1,
        "holds": max(run["ours"]["rss_mb"] for run in runs) <= MEMORY_GOAL_MB,
    }


def _median(values: list[Any]) -> Any:
    if not isinstance(values[0], dict):
        return round(statistics.median(values), 3)
    by_name: dict[str, list[float]] = defaultdict(list)
    for each in values:
        for name, value in each.items():
            by_name[name].append(value)
    return {name: round(statistics.median(found), 3) for name, found in by_name.items()}
