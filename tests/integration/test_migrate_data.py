"""A database with data is brought from each schema to the next: nothing is lost, and the release before goes on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

from monitor.store import migrate
from monitor.store.migrate import State

BATCH = (
    "INSERT INTO batch (source, name, file_name, sha256, lines, stored, duplicate, rejected, blank,"
    " detections_rejected, received_at) VALUES ('s', '{}', 'f', 'x', 2, 1, 0, 1, 0, 0, '2026-03-01Z')"
)
REJECT = (
    "INSERT INTO reject (batch_id, line_number, part, whole_line, reason, detail, raw)"
    " SELECT max(batch_id), 2, 0, true, 'not_json', 'mend it', '{{' FROM batch"
)


def everything(engine: Engine, tables: list[str]) -> dict[str, list[Any]]:
    with engine.connect() as conn:
        return {
            table: list(conn.execute(text(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1")).scalars())
            for table in tables
        }


def test_housekeeping_is_added_to_a_database_with_data(empty_engine: Engine) -> None:
    assert migrate.upgrade(empty_engine, "0002").state is State.BEHIND
    with empty_engine.begin() as conn:
        conn.execute(text(BATCH.format("one")))
        conn.execute(text(REJECT.replace("{{", "{")))
        conn.execute(text("INSERT INTO frame_key VALUES ('s', 'e', '2026-03-01Z', 'd')"))
    tables = ["batch", "reject", "frame_key"]
    before = everything(empty_engine, tables)
    assert migrate.upgrade(empty_engine, "0003").found == "0003"
    after = everything(empty_engine, tables)
    new = {"state": "open", "settled_at": None, "note": "", "replay_batch_id": None}
    assert after == before | {"reject": [row | new for row in before["reject"]]}
    with empty_engine.begin() as conn:  # the release before, still running
        conn.execute(text(BATCH.format("two")))
        conn.execute(text(REJECT.replace("{{", "{")))
    with empty_engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM reject WHERE state = 'open'")).scalar_one() == 2


def test_a_batch_delivered_again_leaves_its_rejects_to_the_last_attempt(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine, "0002")
    with empty_engine.begin() as conn:
        for name in ("d:1-2", "d:1-2+2", "d:1-2+3", "e:1-2"):
            conn.execute(text(BATCH.format(name)))
            conn.execute(text(REJECT.replace("{{", "{")))
    migrate.upgrade(empty_engine)
    with empty_engine.connect() as conn:
        found = conn.execute(
            text(
                "SELECT b.name, r.state, again.name, r.settled_at = again.received_at FROM reject r"
                " JOIN batch b USING (batch_id) LEFT JOIN batch again ON again.batch_id = r.replay_batch_id"
                " ORDER BY 1"
            )
        )
        assert [tuple(row) for row in found] == [
            ("d:1-2", "replayed", "d:1-2+2", True),
            ("d:1-2+2", "replayed", "d:1-2+3", True),
            ("d:1-2+3", "open", None, None),
            ("e:1-2", "open", None, None),
        ]
