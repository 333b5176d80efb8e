"""A migration killed anywhere, while others write: the old schema or the new, never something between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as counting
from typing import Any

import pytest
from chaos.children import Nursery
from chaos.conftest import Account
from chaos.deeds import STORED
from chaos.oracle import connect
from chaos.waiting import eventually
from sqlalchemy import URL, Engine, event, text

from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.database import open_database

PARTS = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default, is_generated"
    " FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT viewname, definition FROM pg_views WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    "SELECT n.nspname, relname, relkind, relacl::text, reloptions::text, obj_description(c.oid, 'pg_class')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'",
)
"""What a schema is made of, beside the revision that it says it is."""
_numbers = counting(1)
Templates = dict[str | None, str]
"""A database at each revision (None: an empty one)."""


def schema_of(url: str) -> tuple[str | None, list[Any]]:
    """The revision that the database says it is at, and all that its schema is made of."""
    with connect(url) as db:
        there = db.execute("SELECT to_regclass('alembic_version') AS name").fetchone()
        found = db.execute("SELECT version_num FROM alembic_version").fetchone() if there and there["name"] else None
        # An empty version table is what a killed first migration may leave: no revision, nothing else.
        return (found or {}).get("version_num"), [
            sorted(repr(row) for row in db.execute(part) if "alembic_version" not in repr(row)) for part in PARTS
        ]


@contextmanager
def made(admin: Engine, drop: Callable[[str], None], template: str) -> Iterator[str]:
    """A database copied from `template`, for the length of a block; gives its name."""
    name = f"{admin.url.database or 'chaos'}_migrating_{next(_numbers)}"
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield name
    finally:
        drop(name)


def url_of(admin: Engine, name: str) -> str:
    url: URL = admin.url.set(database=name)
    return url.render_as_string(hide_password=False)


def upgraded(url: str, revision: str) -> int:
    """Bring a database to a revision; returns how many statements that took."""
    seen = 0

    def one_more(*_: Any) -> None:
        nonlocal seen
        seen += 1

    with open_database(Settings(database_url=url)) as database:
        event.listen(database.engine, "before_cursor_execute", one_more)
        migrate.upgrade(database.engine, revision)
    return seen


@pytest.fixture
def templates(admin: Engine, drop: Callable[[str], None]) -> Iterator[Templates]:
    """A database at each revision, all of them at rest."""
    with made(admin, drop, "template1") as empty:
        with open_database(Settings(database_url=url_of(admin, empty))) as database:
            steps = migrate.check(database.engine).missing
        found: Templates = {None: empty}
        for before, step in zip([None, *steps], steps, strict=False):
            name = f"{empty}_{step}"
            with admin.connect() as conn:
                conn.execute(text(f"CREATE DATABASE {name} TEMPLATE {found[before]}"))
            found[step] = name
            upgraded(url_of(admin, name), step)
        yield found
        for name in list(found.values())[1:]:
            drop(name)


def test_killed_at_random_points_under_load(
    warm: Nursery, admin: Engine, drop: Callable[[str], None], templates: Templates, rng: random.Random,
    count: Callable[[int, int], int], account: Callable[[str], Account],
) -> None:  # fmt: skip
    kills, opened = count(3, 50), account("migrations killed under load")
    known = {revision: schema_of(url_of(admin, name))[1] for revision, name in templates.items()}
    *starts, newest = templates
    done = 0
    with made(admin, drop, templates[None]) as trial:
        longest = upgraded(url_of(admin, trial), "head")
    for _ in range(4 * kills):
        start = rng.choice(starts)
        with made(admin, drop, templates[start]) as name:
            died = killed_once(warm, url_of(admin, name), start is not None, rng.randint(1, longest), known)
            done += died
            assert schema_of(url_of(admin, name)) == (newest, known[newest])
        if done == kills:
            break
    opened.closed(done)
    assert done == kills


def killed_once(warm: Nursery, url: str, loaded: bool, nth: int, known: dict[str | None, list[Any]]) -> bool:
    """Kill an upgrade at its nth statement while another process writes, then let one through; whether it died."""
    press = warm.start("press", url=url) if loaded else None
    if press is not None:
        eventually(lambda: STORED in press.said, 30, "the load has begun")
    wound = {"where": "psycopg:Cursor.execute", "nth": nth, "side": "after", "act": "kill"}
    child = warm.run("upgrade", wound, url=url)
    assert child.code in (0, -9), child.said
    with connect(url) as db:
        busy = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database"
        busy += " WHERE datname = current_database())"
        eventually(lambda: not db.execute(busy).fetchall(), 30, "the server has noticed the death")
    revision, parts = schema_of(url)
    assert parts == known[revision]
    upgraded(url, "head")
    if press is not None:
        assert press.kill(), press.said
        with connect(url) as db:
            rows = db.execute("SELECT count(*) AS n FROM batch WHERE source = 'press'").fetchone()
        assert rows is not None
        assert rows["n"] >= press.said.count(STORED) > 0
    return child.code == -9
