"""COPY of binary rows into a table."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from sqlalchemy.exc import DBAPIError

from monitor.store.database import Connection, require_room
from monitor.store.encoding import HEADER, TRAILER, Ragged, encode

_PIECE = 1 << 20
"""Bytes handed to the server at a time."""


def copy_in(conn: Connection, table: str, columns: dict[str, Ragged]) -> None:
    """COPY rows into `table`; `columns` are made by `monitor.store.encoding`. Neither name may come from outside.

    Raises:
        DBAPIError: as any other statement of the connection does, with the driver's error as `orig`.
        NoRoom: the disk has no room for them.
    """
    copy_rows(conn, table, list(columns), encode(list(columns.values())))


def copy_rows(conn: Connection, table: str, columns: Sequence[str], *parts: Ragged) -> None:
    """COPY rows that are encoded already, with these columns, as `copy_in`."""
    require_room(conn, sum(len(part.flat) for part in parts))
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(HEADER)
            for part in parts:
                data = part.flat.data
                for at in range(0, len(data), _PIECE):
                    copy.write(data[at : at + _PIECE])
            copy.write(TRAILER)
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error) from error
