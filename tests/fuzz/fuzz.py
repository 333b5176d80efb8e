"""Coverage-guided fuzzing of what reads what others wrote: `make fuzz`, or `fuzz.py TARGET -max_total_time=20`.

What the check of a line accepts, Postgres must take and give back; a file of any kind must come to an end, in lines
or with a sentence, and give no more bytes than its bound.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import atheris
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["monitor.ingest", "monitor.records"]):
    from accepted import NOW, contracts, taken_in

    from monitor.errors import FileBroken
    from monitor.ingest.inflate import FREE_BYTES, Pieces, as_stream, gunzip, unzstd
    from monitor.ingest.lines import read_batches
    from monitor.ingest.parquet import lines_of
    from monitor.ingest.parse import parse, rules_of

from monitor.settings import Settings
from monitor.store import embedded, migrate
from monitor.store.database import open_database

RECORD = {
    "event_id": "e1",
    "captured_at": "2026-03-02T08:00:00Z",
    "model": "line",
    "version": "v1",
    "camera": "c",
    "width": 64,
    "height": 48,
    "latency_ms": 1.5,
    "image": {
        "recipe": "r",
        "brightness": 1,
        "contrast": 1,
        "sharpness": 1,
        "red_balance": 0,
        "blue_balance": 0,
        "histogram": [1] * 32,
    },
    "slices": {"lighting": "day"},
    "camera_meta": {"gain_db": 1, "lens": "x"},
    "detections": [{"class": "carton", "confidence": 0.5, "box": [1, 2, 30, 40]}],
    "embedding": [0.5],
}
LINE = json.dumps(RECORD).encode() + b"\n"
RULES = contracts()
Target = Callable[[bytes], None]


def lines_target(url: str, folder: Path, stack: ExitStack) -> Target:
    """Lines of a log, as far as Postgres."""
    database = stack.enter_context(open_database(Settings(database_url=url)))
    migrate.upgrade(database.engine)

    def target(data: bytes) -> None:
        lines = [line for batch in read_batches(io.BytesIO(data), 1 << 20) for line in batch.lines]
        taken_in(database, lines, RULES, folder / ".a.jsonl")

    return target


def unpack_target(unpack: Callable[[io.BytesIO], Pieces]) -> Target:
    """Packed files."""

    def target(data: bytes) -> None:
        stream = as_stream(unpack(io.BytesIO(data)), len(data))
        with suppress(FileBroken):
            assert sum(len(line) for batch in read_batches(stream, 1 << 20) for line in batch.lines) <= FREE_BYTES

    return target


def read_parquet(data: bytes) -> None:
    """Parquet, in this process, as far as the check of the lines."""
    with suppress(FileBroken):
        lines = list(lines_of(io.BytesIO(data)))
        parse(lines, 1, rules_of(RULES, NOW), NOW)


def tables() -> list[bytes]:
    """Small Parquet files."""
    flat = {name: value for name, value in RECORD.items() if not isinstance(value, dict | list)}
    found = []
    for said in (RECORD, flat):
        for compression in ("none", "snappy", "zstd"):
            out = io.BytesIO()
            pq.write_table(pa.Table.from_pylist([said] * 3), out, compression=compression)
            found.append(out.getvalue())
    return found


SEEDS = {
    "lines": [LINE, LINE + LINE.replace(b'"e1"', b'"e2"'), b"\n\n"],
    "gzip": [gzip.compress(LINE), gzip.compress(LINE) * 2 + bytes(9)],
    "zstd": [zstandard.compress(LINE), zstandard.compress(LINE) * 2],
    "parquet": tables(),
}


def watch(name: str, options: list[str]) -> int:
    """Fuzz in a process of its own, which libFuzzer ends its own way, and clean up behind it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monitor-fuzz-")))
        for number, seed in enumerate(SEEDS[name]):
            (folder / f"seed-{number}").write_bytes(seed)
        url = ""
        if name == "lines":
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monitor-fuzz-")))
            url = stack.enter_context(embedded.start(state)).url
        return subprocess.call([sys.executable, __file__, name, "--in", str(folder), url, *options])


def main() -> None:
    """`fuzz.py TARGET` and libFuzzer's own options."""
    name, *options = sys.argv[1:] or [""]
    if name not in SEEDS:
        sys.exit(f"name a target: {', '.join(SEEDS)}")
    if options[:1] != ["--in"]:
        sys.exit(watch(name, options))
    _, folder, url, *options = options
    with ExitStack() as stack:
        found = f"-artifact_prefix={Path(__file__).parent}/found-"
        readers = {"gzip": unpack_target(gunzip), "zstd": unpack_target(unzstd), "parquet": read_parquet}
        target = readers[name] if name in readers else lines_target(url, Path(folder), stack)
        atheris.Setup([sys.argv[0], folder, "-max_len=8192", "-rss_limit_mb=2048", found, *options], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
