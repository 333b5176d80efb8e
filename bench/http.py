"""Frames over HTTP beside the same frames from files: bodies of 10,000 lines, made beforehand, posted by a process of
its own over two connections that are kept, to a real server; until they and their merged roll-ups are committed."""

from __future__ import annotations

import gzip
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from bench import intake
from bench.frames_log import START, contract, write_log
from monitor.daemon.serve import listen
from monitor.ingest import stage
from monitor.ingest.workers import Workers
from monitor.settings import Settings
from monitor.spec.load import LoadedContract
from monitor.store import migrate, tokens
from monitor.store.database import Database, open_database
from monitor.web.app import create_app
from monitor.web.metrics import Metrics
from monitor.web.server import serving
from monitor.web.view import Site

FRAMES = 50_000
"""Those of an hour at a busy plant."""
LINES = 10_000
CONNECTIONS = 2
RUNS = 5
GOAL = 0.7
PACKED = {"raw": "", "gzip": "gzip"}


def figures() -> Iterator[dict[str, Any]]:
    """Files, raw bodies and packed ones in turn; the median of five each."""
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        folder = Path(name)
        loaded = contract(folder)
        frames = _prepare(folder)
        took: dict[str, list[float]] = {"files": [], **{kind: [] for kind in PACKED}}
        with open_database(Settings(state_dir=folder / "state")) as database, Workers() as workers:
            migrate.upgrade(database.engine)
            for run in range(RUNS):
                took["files"].append(_load_file(database, folder, run, loaded, workers))
                for kind, encoding in PACKED.items():
                    intake.empty(database)
                    took[kind].append(_post(database, folder, encoding, loaded, workers))
                intake.empty(database)
            version = intake.server_version(database)
    medians = {kind: statistics.median(times) for kind, times in took.items()}
    for kind in PACKED:
        ratio = medians["files"] / medians[kind]
        yield {
            "name": f"http.{kind}_vs_files",
            "value": round(frames / medians[kind]),
            "unit": "frames/s from bodies to committed rows and merged roll-ups",
            "against": f"the same frames from a file, {version}: {frames / medians['files']:.0f} frames/s",
            "ratio": round(ratio, 3),
            "goal": GOAL,
            "holds": ratio >= GOAL,
        }


def _prepare(folder: Path) -> int:
    """Write the log, and its lines as bodies; returns the number of frames."""
    log = folder / "frames.jsonl"
    write_log(log, FRAMES, a_day=24 * FRAMES)
    lines = log.read_bytes().splitlines(keepends=True)
    for kind in PACKED.values():
        (folder / f"bodies-{kind}").mkdir()
    for number, first in enumerate(range(0, len(lines), LINES)):
        body = b"".join(lines[first : first + LINES])
        (folder / "bodies-" / f"{number:03}").write_bytes(body)
        (folder / "bodies-gzip" / f"{number:03}").write_bytes(gzip.compress(body, 6))
    return len(lines)


def _load_file(database: Database, folder: Path, run: int, loaded: LoadedContract, workers: Workers) -> float:
    spool = folder / f"spool-{run}"
    (spool / "incoming").mkdir(parents=True)
    (spool / "incoming" / "frames.jsonl").hardlink_to(folder / "frames.jsonl")
    before = time.perf_counter()
    stored = stage.run(database, spool, {"bench": loaded}, START + timedelta(days=1), workers=workers)
    took = time.perf_counter() - before
    assert stored == FRAMES, f"{stored} of {FRAMES} frames were stored"
    return took


def _post(database: Database, folder: Path, encoding: str, loaded: LoadedContract, workers: Workers) -> float:
    now = START + timedelta(days=1)
    with database.begin() as conn:
        name = datetime.now(UTC).isoformat()
        token = tokens.issue(conn, name, "bench", ["ingest"], now, now + timedelta(days=1))
    site = Site(database, lambda: {"bench": loaded}, {}, lambda: now, "", workers=workers)
    listener = listen("127.0.0.1", 0)
    address = "http://{}:{}/v1/frames".format(*listener.getsockname())
    command = [sys.executable, "-m", "bench.http", address, token, encoding, str(folder / f"bodies-{encoding}")]
    with serving(create_app(site, Metrics()), listener):
        poster = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert poster.stdin is not None
        assert poster.stdout is not None
        assert poster.stdout.readline() == "ready\n"
        before = time.perf_counter()
        said, _ = poster.communicate("go\n")
        stage.run(database, folder / "spool-none", {"bench": loaded}, now)  # merges the roll-ups
        took = time.perf_counter() - before
    assert int(said) == FRAMES, f"{said} of {FRAMES} frames were stored"
    return took


def post_all(address: str, token: str, encoding: str, folder: Path) -> int:
    """Post every body of a folder once the word is given; returns how many frames were stored."""
    bodies = [path.read_bytes() for path in sorted(folder.iterdir())]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    headers |= {"Content-Encoding": encoding} if encoding else {}
    with httpx.Client(headers=headers, timeout=120) as client, ThreadPoolExecutor(CONNECTIONS) as pool:
        print("ready", flush=True)
        sys.stdin.readline()
        return sum(pool.map(lambda body: _stored(client, address, body), bodies))


def _stored(client: httpx.Client, address: str, body: bytes) -> int:
    """Post one body until it is taken in, as every sender should."""
    while (answer := client.post(address, content=body)).status_code in (429, 503):
        print(answer.json()["detail"], file=sys.stderr)
        time.sleep(int(answer.headers["Retry-After"]))
    return int(answer.json()["stored"])


if __name__ == "__main__":
    print(post_all(*sys.argv[1:4], Path(sys.argv[4])))
