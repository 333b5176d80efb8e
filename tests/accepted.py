"""The property that whatever the check of a line lets pass, Postgres takes and gives back; for tests and fuzzing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from monitor.ingest.crowd import thinned
from monitor.ingest.parse import parse
from monitor.ingest.rollup import roll_up
from monitor.records import FrameColumns
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import frames, histograms, ledger
from monitor.store.database import Connection

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = """
class_policy = "open"
[model]
name = "line"
[cameras]
policy = "open"
[[classes]]
name = "carton"
[[conditions]]
name = "lighting"
[retention]
raw_days = 3
"""


def contracts() -> Mapping[str, LoadedContract]:
    """A contract that leaves open what can be left open."""
    return {"line": LoadedContract(parse_contract(CONTRACT), CONTRACT, "0" * 16, Path("line.toml"))}


def stored_and_read(conn: Connection, lines: Sequence[bytes], rules: Mapping[str, LoadedContract]) -> int:
    """Store what is accepted of the lines and read it back; returns how many frames that were.

    The caller rolls back. Raises AssertionError where Postgres refuses a frame or gives back another.
    """
    parsed = parse(lines, 1, rules, NOW)
    rejected = sum(reject.whole_line for reject in parsed.rejects)
    assert len(lines) == len(parsed.columns) + parsed.duplicate + rejected + parsed.blank
    batch_id = ledger.open_batch(conn, "s", "b", "f", b"h", NOW)
    assert batch_id is not None
    ledger.save_rejects(conn, batch_id, parsed.rejects)
    if not len(parsed.columns):
        return 0
    columns = thinned(parsed.columns)
    frames.make_days(conn, frames.days_of(columns))
    placed = frames.insert_frames(conn, batch_id, "s", columns)
    assert not placed.refused
    assert placed.new.all()
    histograms.append(conn, batch_id, roll_up(parsed.columns))
    read = list(frames.read_frames(conn, datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)))
    assert len(read) == 1
    same(columns, read[0])
    return len(columns)


def same(sent: FrameColumns, read: FrameColumns) -> None:
    """Compare frames by their ids, column by column; embeddings are kept in single precision."""
    place = {event_id: row for row, event_id in enumerate(read.event_id)}
    order = [place[event_id] for event_id in sent.event_id]
    assert sorted(order) == list(range(len(read)))
    ends = np.cumsum(np.bincount(read.det_frame, minlength=len(read))).tolist()
    of_detections = [i for row in order for i in range(ends[row - 1] if row else 0, ends[row])]
    for name in sent.__dataclass_fields__:
        if name in ("digest", "det_frame"):
            continue
        given = getattr(sent, name)
        got = [getattr(read, name)[row] for row in (of_detections if name.startswith("det_") else order)]
        if name == "embedding":
            given, got = singles(given), singles(got)
        if isinstance(given, np.ndarray):
            np.testing.assert_array_equal(given, np.array(got, dtype=given.dtype).reshape(given.shape), err_msg=name)
        else:
            assert given == got, name
    counts = [np.bincount(columns.det_frame, minlength=len(read)) for columns in (sent, read)]
    assert (counts[0] == counts[1][order]).all()


def singles(embeddings: Sequence[Sequence[float] | None]) -> list[object]:
    """Embeddings in single precision."""
    return [None if one is None else np.float32(one).tolist() for one in embeddings]
