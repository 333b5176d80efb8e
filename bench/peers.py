"""What intake is measured against: Postgres' own loader, and what one would write by hand.

Each loads the frames of the same log and commits; none of them checks, counts or recognises anything.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import psycopg
import psycopg2
from psycopg2.extras import execute_values

from monitor.store.binaries import find_binaries, server_account
from monitor.store.database import Database

KEYED = ("frame", "frame_key")
"""The partitioned frames and the key that makes them unique."""
ROLLED_UP = (*KEYED, "series", "rollup")
BARE = "bench_bare"
"""The columns of `frame` in one heap without an index."""
COLUMNS = (
    "captured_at, source, event_id, batch_id, model, version, stage, camera, site, line, shadow, status, image_uri,"
    " width, height, latency_ms, queue_depth, recipe, brightness, contrast, sharpness, red_balance, blue_balance,"
    " brightness_histogram, slice_name, slice_value, boxes_rejected, det_class, det_confidence, det_box"
)


def dump(database: Database, folder: Path) -> None:
    """Write each table as a file for `\\copy`, in both formats."""
    for form in ("binary", "text"):
        _psql(database, *(f"\\copy (TABLE {t}) TO '{folder / t}.{form}' (FORMAT {form})" for t in ROLLED_UP))


def copy(database: Database, folder: Path, form: str, tables: Iterable[str] = KEYED) -> float:
    """Seconds that `psql \\copy` of ready-made files takes, in one transaction."""
    return _copy(database, *(f"\\copy {table} FROM '{folder / table}.{form}' (FORMAT {form})" for table in tables))


def copy_bare(database: Database, folder: Path) -> float:
    """Seconds that `psql \\copy` of the binary file of the frames takes into a heap without an index."""
    return _copy(database, f"\\copy {BARE} FROM '{folder / 'frame'}.binary' (FORMAT BINARY)")


def naive(database: Database, log: Path, frames: int) -> float:
    """Seconds of a service that reads each line with orjson and hands the rows to psycopg's COPY."""
    before = time.perf_counter()
    with psycopg.connect(_uri(database)) as conn, conn.cursor() as cursor, log.open("rb") as lines:
        with cursor.copy(f"COPY frame ({COLUMNS}) FROM STDIN") as rows:
            for line in islice(lines, frames):
                rows.write_row(_row(orjson.loads(line)))
        conn.commit()
    return time.perf_counter() - before


def insert_values(database: Database, log: Path, frames: int) -> float:
    """Seconds of a script that reads each line with json and inserts by execute_values, a hundred rows at a time as
    that does unless told otherwise (a thousand at a time is slower)."""
    before = time.perf_counter()
    conn = psycopg2.connect(_uri(database))
    try:
        with conn, conn.cursor() as cursor, log.open("rb") as lines:
            rows = (_row(json.loads(line)) for line in islice(lines, frames))
            execute_values(cursor, f"INSERT INTO frame ({COLUMNS}) VALUES %s", rows, _FORM)
    finally:
        conn.close()
    return time.perf_counter() - before


_CASTS = {
    "captured_at": "::timestamptz",
    "det_class": "::text[]",
    "det_confidence": "::float8[]",
    "det_box": "::real[]",
}
_FORM = "(" + ", ".join("%s" + _CASTS.get(name, "") for name in COLUMNS.split(", ")) + ")"


def _row(said: dict[str, Any]) -> tuple[Any, ...]:
    image, found = said["image"], said["detections"]
    return (
        said["captured_at"],
        "naive",
        said["event_id"],
        0,
        said["model"],
        said["version"],
        "",
        said["camera"],
        "",
        "",
        False,
        "ok",
        said["image_uri"],
        said["width"],
        said["height"],
        said["latency_ms"],
        said["queue_depth"],
        image["recipe"],
        image["brightness"],
        image["contrast"],
        image["sharpness"],
        image["red_balance"],
        image["blue_balance"],
        image["histogram"],
        list(said["slices"]),
        list(said["slices"].values()),
        0,
        [each["class"] for each in found],
        [each["confidence"] for each in found],
        [side for each in found for side in each["box"]],
    )


def _copy(database: Database, *commands: str) -> float:
    before = time.perf_counter()
    _psql(database, *commands)
    return time.perf_counter() - before


def _psql(database: Database, *commands: str) -> None:
    psql = find_binaries(server_account()) / "psql"
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run([psql, "-qX", "-1", "-v", "ON_ERROR_STOP=1", "-d", _uri(database), *words], check=True)


def _uri(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
