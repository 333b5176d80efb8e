"""Everything from one database into another: from the embedded Postgres to a server of one's own.

Table by table through COPY, in one snapshot of the source and one transaction of the target, so that the target has
all of it or nothing. COPY's binary form is the same on every version the product runs on; a dump is not: one that a
newer PostgreSQL wrote, an older one need not read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from monitor.errors import DependencyAway, UsageError
from monitor.store import frames, migrate, retention
from monitor.store.database import Connection, Database

_TELL_EVERY = 64 << 20
"""Bytes of a table between two words about it."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A table that stands in the target now."""

    table: str
    rows: int
    size: int
    """Bytes that went over."""


Tell = Callable[[str, int, bool], None]
"""Told a table, the bytes of it so far, and whether that is all."""

_TABLES = text("""
    SELECT c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = ''),
        array_agg(a.attname::text) FILTER (WHERE a.attidentity <> '')
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE s.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname <> 'alembic_version'
    GROUP BY c.oid ORDER BY 1
""")
_LEANS_ON = text("""
    SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND conrelid <> confrelid AND conparentid = 0
""")
_OTHERS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'monitor%' AND client_port IS NOT NULL
        AND pid <> ALL(:ours)
""")


def export(source: Database, target: Database, tell: Tell) -> list[Copied]:
    """Copy every row of `source` into `target`, whose tables are made where there are none; the source is only read.

    Afterwards each table's rows are counted and hashed on both sides, before anything is committed.

    Raises:
        UsageError: the schemas differ, the target holds rows, another process works on the source, or a day of frames
            is half taken away. Nothing was copied.
        DependencyAway: one of the servers went away, or the copy is not what was copied; the target is as empty as it
            was.
    """
    migrate.require_current(source.engine)
    if migrate.check(target.engine).state is migrate.State.EMPTY:
        migrate.upgrade(target.engine)
    migrate.require_current(target.engine)
    with source.begin() as of, target.begin() as to:
        of.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        _refuse_unless_alone(of)
        tables = {name: (columns, identities) for name, columns, identities in to.execute(_TABLES)}
        order = _in_order(to, set(tables))
        _refuse_unless_empty(to, order)
        frames.make_days(to, retention.days_with_frames(of))
        done = [_copy(of, to, table, tables[table][0], tell) for table in order]
        for table, (_, identities) in tables.items():
            for column in identities or []:
                _go_on_counting(of, to, table, column)
    with target.begin() as to:
        to.execute(text("ANALYZE"))
    return done


def _refuse_unless_alone(of: Connection) -> None:
    ours = [of.connection.driver_connection.info.backend_pid]  # type: ignore[union-attr]
    if of.execute(_OTHERS, {"ours": ours}).scalar_one():
        raise UsageError(
            "another `monitor` process works on the embedded Postgres; stop the daemon first, or what it takes in"
            " meanwhile would be missing on the server"
        )
    if half := retention.detached_days(of):
        raise UsageError(f"{len(half)} days of frames are half taken away; run `monitor retention run` first")


def _refuse_unless_empty(to: Connection, tables: list[str]) -> None:
    for table in tables:
        if to.execute(text(f"SELECT 1 FROM {table} LIMIT 1")).scalar() is not None:  # noqa: S608
            raise UsageError(
                f"the target's table {table} holds rows already, and nothing was copied; name an empty database"
            )


def _in_order(to: Connection, tables: set[str]) -> list[str]:
    """Every table after those that its foreign keys speak of."""
    sorter: TopologicalSorter[str] = TopologicalSorter({table: set() for table in sorted(tables)})
    for table, other in to.execute(_LEANS_ON):
        sorter.add(table, other)
    return [table for table in sorter.static_order() if table in tables]


def _copy(of: Connection, to: Connection, table: str, columns: list[str], tell: Tell) -> Copied:
    names = ", ".join(f'"{name}"' for name in columns)
    out = f"COPY (SELECT {names} FROM {table}) TO STDOUT (FORMAT BINARY)"  # noqa: S608 - names of the schema
    size = said = 0
    try:
        reading, writing = _cursor(of), _cursor(to)
        with (
            reading.copy(out.encode()) as rows,
            writing.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)".encode()) as into,
        ):
            for piece in rows:
                into.write(piece)
                size += len(piece)
                if size - said >= _TELL_EVERY:
                    tell(table, size, False)
                    said = size
    except psycopg.Error as error:
        raise DBAPIError.instance(out, None, error, psycopg.Error) from error
    there, here = (_content(each, table, names) for each in (of, to))
    if there != here:
        raise DependencyAway(
            f"table {table} has {here[0]:,} rows on the server and {there[0]:,} here, or others; nothing was kept"
            " there. Try again, and look at the disks of both"
        )
    tell(table, size, True)
    return Copied(table, here[0], size)


def _content(conn: Connection, table: str, names: str) -> tuple[int, int]:
    """Rows of a table, and the sum of their hashes."""
    question = f"SELECT count(*), coalesce(sum(hashtextextended(CAST(ROW({names}) AS text), 0)), 0) FROM {table}"  # noqa: S608
    rows, sum_of_hashes = conn.execute(text(question)).one()
    return int(rows), int(sum_of_hashes)


def _go_on_counting(of: Connection, to: Connection, table: str, column: str) -> None:
    """Let the target number new rows from where the source would."""
    sequence = text("SELECT pg_get_serial_sequence(:table, :column)")
    names = [each.execute(sequence, {"table": table, "column": column}).scalar_one() for each in (of, to)]
    last, called = of.execute(text(f"SELECT last_value, is_called FROM {names[0]}")).one()  # noqa: S608
    to.execute(text("SELECT setval(:name, :last, :called)"), {"name": names[1], "last": last, "called": called})


def _cursor(conn: Connection) -> psycopg.Cursor[tuple[object, ...]]:
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.cursor()
