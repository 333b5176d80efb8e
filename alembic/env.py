"""Alembic's entry: `monitor db upgrade` hands in a connection; the `alembic` command of a checkout opens its own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from monitor.settings import load_settings
from monitor.store.database import open_database
from monitor.store.migrate import migrating


def run(connection: Connection) -> None:
    """Run what was asked for, one transaction each migration."""
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    with open_database(load_settings()) as database, migrating(database.engine) as own:
        run(own)
