"""The ledger keeps its books: names, and lines that must add up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import IntegrityError

from monitor.errors import UsageError
from monitor.store import ledger
from monitor.store.database import Database
from monitor.store.ledger import Counts

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


def test_attempts_are_those_of_the_very_batch(database: Database) -> None:
    with database.begin() as conn:
        for name, blank in (("b", 1), ("b+2", 2), ("bb", 4), ("b2", 8)):
            batch_id = ledger.open_batch(conn, "s", name, "f", b"one", NOW)
            assert batch_id is not None
            ledger.close_batch(conn, batch_id, Counts(lines=blank, blank=blank))
        assert [one.blank for one in ledger.find_attempts(conn, "s", "b")] == [1, 2]
