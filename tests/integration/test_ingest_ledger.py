"""The ledger keeps its books: names, and lines that must add up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from monitor.errors import UsageError
from monitor.records import Reject
from monitor.store import ledger, reporting
from monitor.store.database import Database
from monitor.store.ledger import Counts, Earlier

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_a_batch_name_with_other_content_is_refused(database: Database) -> None:
    with database.begin() as conn:
        assert ledger.open_batch(conn, "s", "b", "f", b"one", NOW) is not None
    with database.begin() as conn:
        assert ledger.open_batch(conn, "s", "b", "f", b"one", NOW) is None
        assert ledger.open_batch(conn, "t", "b", "f", b"two", NOW) is not None
    with pytest.raises(UsageError, match="other content"), database.begin() as conn:
        ledger.open_batch(conn, "s", "b", "f", b"two", NOW)


def test_counts_that_do_not_add_up_are_refused(database: Database) -> None:
    with database.begin() as conn:
        batch_id = ledger.open_batch(conn, "s", "b", "f", b"one", NOW)
        assert batch_id is not None
    with pytest.raises(IntegrityError, match="conservation"), database.begin() as conn:
        ledger.close_batch(conn, batch_id, Counts(lines=3, stored=1, rejected=1))


def rejects(*reasons: str) -> list[Reject]:
    """Whole lines rejected, one a reason, from line 1 on; a reason after a dot is of a single detection."""
    return [
        Reject(number, reason.removeprefix("."), "", b"", whole_line=not reason.startswith("."))
        for number, reason in enumerate(reasons, 1)
    ]


def enter(
    database: Database, name: str, good: int, *reasons: str, before: tuple[str, ...] = (), source: str = "s"
) -> None:
    """A batch of `good` stored lines and what was set aside."""
    found = rejects(*reasons)
    whole = sum(reject.whole_line for reject in found)
    with database.begin() as conn:
        batch_id = ledger.open_batch(conn, source, name, "f", b"one", NOW)
        assert batch_id is not None
        ledger.save_rejects(conn, batch_id, found)
        ledger.close_batch(conn, batch_id, Counts(good + whole, good, 0, whole, 0, len(found) - whole), found, before)


def test_what_postgres_cannot_hold_is_spelt_out(database: Database) -> None:
    with database.begin() as conn:
        batch_id = ledger.open_batch(conn, "s", "b", "f\udcff", b"one", NOW)
        assert batch_id is not None
        ledger.save_rejects(conn, batch_id, [Reject(1, "invalid", "a\0b \ud800 ü", b"\0\xff")])
    with database.begin() as conn:
        assert conn.execute(text("SELECT detail, raw FROM reject")).one() == ("a\\x00b \\ud800 ü", b"\0\xff")
        assert conn.execute(text("SELECT file_name FROM batch")).scalar_one() == "f\\udcff"


def totals(database: Database) -> dict[tuple[str, str], tuple[int, int]]:
    with database.begin() as conn:
        rows = conn.execute(text("SELECT outcome, reason, count, mended FROM intake_total WHERE source = 's'"))
        return {(outcome, reason): (count, mended) for outcome, reason, count, mended in rows}


def test_what_is_known_of_a_batch_is_of_that_very_batch(database: Database) -> None:
    enter(database, "b", 1, "x", "y", "x")
    enter(database, "bb", 4, "z")
    enter(database, "b2", 8, "z")
    enter(database, "b", 16, "z", source="t")
    with database.begin() as conn:
        assert ledger.find_earlier(conn, "s", "a") is None
        assert ledger.find_earlier(conn, "s", "b") == Earlier(1, 1, {1: "x", 2: "y", 3: "x"}, b"one")
    enter(database, "b+2", 2, "y")
    with database.begin() as conn:
        assert ledger.find_earlier(conn, "s", "b") == Earlier(2, 3, {1: "y"}, b"one")
    enter(database, "b+3", 1)
    with database.begin() as conn:
        assert ledger.find_earlier(conn, "s", "b") == Earlier(3, 4, {}, b"one")


def test_the_sums_count_every_line_once(database: Database) -> None:
    enter(database, "b", 5, "x", "x", "y", ".box")
    once = {
        ("batch", ""): (1, 0),
        ("stored", ""): (5, 0),
        ("rejected", "x"): (2, 0),
        ("rejected", "y"): (1, 0),
        ("detection", "box"): (1, 0),
    }
    assert totals(database) == once
    # Of the three rejected lines one is stored now, one is rejected as before and one for another reason.
    enter(database, "b+2", 1, "x", "z", before=("x", "x", "y"))
    assert totals(database) == once | {
        ("batch", ""): (2, 0),
        ("stored", ""): (6, 0),
        ("rejected", "x"): (2, 1),
        ("rejected", "y"): (1, 1),
        ("rejected", "z"): (1, 0),
    }
    with database.begin() as conn:
        seen = reporting.intake(conn)
    assert (seen.batches, seen.lines, seen.stored, seen.rejected, seen.rejected_ever) == (2, 8, 6, 2, 4)
    assert [(one.reason, one.whole_line, one.left) for one in seen.reasons] == [
        ("x", True, 1),
        ("box", False, 1),
        ("y", True, 0),
        ("z", True, 1),
    ]
    assert seen.last_received_at == NOW


def test_a_batch_that_is_taken_back_leaves_the_sums_alone(database: Database) -> None:
    with database.begin() as conn:
        taken_back = conn.begin_nested()
        batch_id = ledger.open_batch(conn, "s", "b", "f", b"one", NOW)
        assert batch_id is not None
        ledger.close_batch(conn, batch_id, Counts(lines=1, stored=1))
        taken_back.rollback()
    assert totals(database) == {}


def test_two_that_add_to_the_same_sums_take_turns(database: Database) -> None:
    def enter_many(worker: int) -> None:
        for number in range(10):
            # The reasons in opposite orders: whoever locked them as they come would wait in a circle.
            enter(database, f"{worker}-{number}", 1, *("xyz" if worker else "zyx"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(enter_many, (0, 1)))
    assert totals(database) == {
        ("batch", ""): (20, 0),
        ("stored", ""): (20, 0),
        **{("rejected", reason): (20, 0) for reason in "xyz"},
    }
