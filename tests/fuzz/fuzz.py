"""Coverage-guided fuzzing of what reads what others wrote: `make fuzz`, or `fuzz.py TARGET -max_total_time=20`.

What the check of a line accepts, Postgres must take and give back; a file of any kind must come to an end, in lines or
with a sentence, and give no more bytes than its bound.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["monitor.ingest", "monitor.records"]):
    from accepted import contracts, stored_and_read

    from monitor.errors import FileBroken
    from monitor.ingest.inflate import FREE_BYTES, Pieces, as_stream, gunzip, unzstd
    from monitor.ingest.parquet import lines_of
    from monitor.ingest.spool import read_batches

from monitor.settings import Settings
from monitor.store import migrate
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
Target = Callable[[bytes], None]


def lines_target(stack: ExitStack) -> tuple[Target, list[bytes]]:
    """Lines of a log, as far as Postgres."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="monitor-fuzz-"))
    database = stack.enter_context(open_database(Settings(state_dir=Path(folder))))
    migrate.upgrade(database.engine)
    conn = stack.enter_context(database.engine.connect())
    rules = contracts()

    def target(data: bytes) -> None:
        transaction = conn.begin()
        try:
            stored_and_read(
                conn, [line for batch in read_batches(io.BytesIO(data), 1 << 20) for line in batch.lines], rules
            )
        finally:
            transaction.rollback()

    return target, [LINE, LINE + LINE.replace(b'"e1"', b'"e2"'), b"\n\n"]


def unpack_target(unpack: Callable[[io.BytesIO], Pieces]) -> Target:
    """Packed files."""

    def target(data: bytes) -> None:
        stream = as_stream(unpack(io.BytesIO(data)), len(data))
        with suppress(FileBroken):
            assert sum(len(line) for batch in read_batches(stream, 1 << 20) for line in batch.lines) <= FREE_BYTES

    return target


def gzip_target(_: ExitStack) -> tuple[Target, list[bytes]]:
    """gzip."""
    return unpack_target(gunzip), [gzip.compress(LINE), gzip.compress(LINE) * 2 + bytes(9)]


def zstd_target(_: ExitStack) -> tuple[Target, list[bytes]]:
    """zstd."""
    import zstandard

    return unpack_target(unzstd), [zstandard.compress(LINE), zstandard.compress(LINE) * 2]


def parquet_target(_: ExitStack) -> tuple[Target, list[bytes]]:
    """Parquet, in this process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def target(data: bytes) -> None:
        with suppress(FileBroken):
            assert all(json.loads(line) is not None for line in lines_of(io.BytesIO(data)))

    seeds = []
    for said in (RECORD, {name: value for name, value in RECORD.items() if not isinstance(value, dict | list)}):
        for compression in ("none", "snappy", "zstd"):
            out = io.BytesIO()
            pq.write_table(pa.Table.from_pylist([said] * 3), out, compression=compression)
            seeds.append(out.getvalue())
    return target, seeds


TARGETS = {"lines": lines_target, "gzip": gzip_target, "zstd": zstd_target, "parquet": parquet_target}


def main() -> None:
    """Fuzz one target with libFuzzer's own options."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name a target: {', '.join(TARGETS)}")
    with ExitStack() as stack:
        target, seeds = TARGETS[sys.argv.pop(1)](stack)
        corpus = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monitor-corpus-")))
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        # libFuzzer ends the process, so the server is stopped by whoever outlives this one.
        atheris.Setup([*sys.argv, str(corpus), "-max_len=8192", "-rss_limit_mb=2048"], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
