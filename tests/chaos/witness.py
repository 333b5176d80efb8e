"""Who wrote what under whose lead: told by triggers in the database, which know the lease and nothing of the product.

A daemon's sessions carry the number of its process in a setting of their own. When a transaction that wrote to a
watched table commits, the trigger compares it with whoever holds the lease at that moment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sqlalchemy import make_url, text

from monitor.store.database import Database

STATEMENTS = (
    "CREATE TABLE work (number integer)",
    "CREATE TABLE witness (pid text, holder text, epoch bigint, relation text)",
    """
    CREATE FUNCTION testify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO witness SELECT current_setting('witness.pid'), holder, epoch, TG_TABLE_NAME FROM leader;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON work DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION testify()
    """,
    """
    CREATE CONSTRAINT TRIGGER witness AFTER INSERT OR UPDATE ON job_run DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.job NOT IN ('contracts', 'intake', 'metrics')) EXECUTE FUNCTION testify()
    """,
)


@dataclass(frozen=True, slots=True)
class Sworn:
    """What was written while somebody led: by the leader, and by others; in how many epochs."""

    by_leader: int
    stale: int
    epochs: int


def swear_in(database: Database) -> None:
    """Put the triggers in place."""
    with database.begin() as conn:
        for statement in STATEMENTS:
            conn.execute(text(statement))


def signed(url: str) -> str:
    """The database's address with which this process signs all that it writes."""
    return (
        make_url(url)
        .update_query_dict({"options": f"-c witness.pid={os.getpid()}"})
        .render_as_string(hide_password=False)
    )


def sworn(database: Database) -> Sworn:
    """What the triggers saw."""
    statement = text(
        "SELECT count(*) FILTER (WHERE own), count(*) FILTER (WHERE NOT own), count(DISTINCT epoch)"
        " FROM (SELECT epoch, holder LIKE '%:' || pid AS own FROM witness) w"
    )
    with database.begin() as conn:
        return Sworn(*conn.execute(statement).one())


def wrote_in(database: Database, epoch: int) -> bool:
    """Whether the leader's writing without pause has begun in an epoch."""
    statement = text("SELECT EXISTS (SELECT FROM witness WHERE epoch = :epoch AND relation = 'work')")
    with database.begin() as conn:
        return bool(conn.execute(statement, {"epoch": epoch}).scalar_one())
