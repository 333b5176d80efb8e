"""Contracts in Postgres: every text that was in force, once, and where the cameras hang."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from monitor.spec.load import LoadedContract, load_contract
from monitor.store.contracts import remember
from monitor.store.database import Database

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 6, 12, tzinfo=UTC)


def contract(folder: Path, cameras: str) -> LoadedContract:
    path = folder / "m.toml"
    path.write_text(f'[model]\nname = "m"\n[[classes]]\nname = "a"\n[cameras]\npolicy = "open"\n{cameras}')
    return load_contract(path)


def camera(name: str, line: str) -> str:
    return f"[[cameras.list]]\nname = '{name}'\nsite = 'north'\nline = '{line}'\ngroup = 'g'\n"


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.begin() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


CAMERAS = 'SELECT model, name, site, line, "group" FROM camera ORDER BY name'
CONTRACTS = "SELECT contract_hash, model, text, taken_up_at FROM contract ORDER BY taken_up_at"


def test_a_contract_is_kept_once(database: Database, tmp_path: Path) -> None:
    loaded = contract(tmp_path, camera('o’brien "x"', "1"))
    with database.begin() as conn:
        assert remember(conn, loaded, NOW) is True
    with database.begin() as conn:
        assert remember(conn, loaded, LATER) is False
    assert rows(database, CONTRACTS) == [(loaded.hash, "m", loaded.text, NOW)]
    assert rows(database, CAMERAS) == [("m", 'o’brien "x"', "north", "1", "g")]


def test_a_changed_contract_is_one_more_and_moves_its_cameras(database: Database, tmp_path: Path) -> None:
    old = contract(tmp_path, camera("c1", "1") + camera("c2", "1"))
    new = contract(tmp_path, camera("c3", "2") + camera("c2", "2"))
    with database.begin() as conn:
        remember(conn, old, NOW)
    with database.begin() as conn:
        assert remember(conn, new, LATER) is True
    assert [row[0] for row in rows(database, CONTRACTS)] == [old.hash, new.hash]
    assert [(row[1], row[3]) for row in rows(database, CAMERAS)] == [("c1", "1"), ("c2", "2"), ("c3", "2")]


def test_a_repeat_writes_no_row_anew(database: Database, tmp_path: Path) -> None:
    loaded = contract(tmp_path, camera("c1", "1"))
    versions = "SELECT xmin::text FROM camera UNION ALL SELECT xmin::text FROM contract"
    with database.begin() as conn:
        remember(conn, loaded, NOW)
    before = rows(database, versions)
    with database.begin() as conn:
        remember(conn, loaded, LATER)
    assert rows(database, versions) == before


def test_an_open_contract_without_cameras(database: Database, tmp_path: Path) -> None:
    with database.begin() as conn:
        assert remember(conn, contract(tmp_path, ""), NOW) is True
    assert rows(database, CAMERAS) == []
