"""Contracts in Postgres: every text that was in force, once, and where the cameras hang."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from monitor.cli.contracts import contract_of
from monitor.cli.contracts import in_force as contracts_of_command
from monitor.daemon.context import Context
from monitor.daemon.run import run_once
from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, Shelf, load_contract
from monitor.store.contracts import Kept, in_force, remember, take_up
from monitor.store.database import Database

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 6, 12, tzinfo=UTC)


def contract(folder: Path, cameras: str = "", model: str = "m") -> LoadedContract:
    path = folder / f"{model}.toml"
    path.write_text(f'[model]\nname = "{model}"\n[[classes]]\nname = "a"\n[cameras]\npolicy = "open"\n{cameras}')
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


def test_the_order_of_the_stages_is_that_of_the_contract_in_force(database: Database, tmp_path: Path) -> None:
    said = ['stages = ["survey", "check", "weigh"]', 'stages = ["check", "survey"]', ""]
    found = []
    for stages in said:
        loaded = contract(tmp_path)
        loaded.path.write_text(loaded.text.replace('name = "m"\n', f'name = "m"\n{stages}\n', 1))
        with database.begin() as conn:
            take_up(conn, [load_contract(loaded.path)], NOW)
        found.append(
            rows(database, "SELECT stage, place FROM reporting.model_stage WHERE model = 'm' ORDER BY place")
        )
    assert found == [[("survey", 1), ("check", 2), ("weigh", 3)], [("check", 1), ("survey", 2)], []]


def test_a_repeat_writes_no_row_anew(database: Database, tmp_path: Path) -> None:
    loaded = contract(tmp_path, camera("c1", "1"))
    loaded.path.write_text(loaded.text.replace("\n[[classes]]", '\nstages = ["survey", "check"]\n[[classes]]', 1))
    loaded = load_contract(loaded.path)
    versions = " UNION ALL ".join(f"SELECT xmin::text FROM {name}" for name in ("camera", "contract", "model_stage"))
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


def test_the_one_last_taken_up_is_in_force_even_if_it_is_an_old_one(database: Database, tmp_path: Path) -> None:
    old, new = contract(tmp_path, camera("c1", "1")), contract(tmp_path, camera("c1", "2"))
    for loaded in (old, new, old):
        with database.begin() as conn:
            remember(conn, loaded, NOW)
            assert in_force(conn) == [Kept("m", "m.toml", loaded.text)]


def test_a_renamed_file_is_known_by_its_new_name(database: Database, tmp_path: Path) -> None:
    loaded = contract(tmp_path)
    with database.begin() as conn:
        remember(conn, loaded, NOW)
        remember(conn, replace(loaded, path=tmp_path / "other.toml"), LATER)
        assert in_force(conn) == [Kept("m", "other.toml", loaded.text)]


def test_what_is_not_taken_up_again_is_given_up_and_may_come_back(database: Database, tmp_path: Path) -> None:
    m, n = contract(tmp_path), contract(tmp_path, model="n")
    for taken in ([n, m], [m], [], [n]):
        with database.begin() as conn:
            take_up(conn, taken, NOW)
            assert [kept.model for kept in in_force(conn)] == sorted(loaded.model for loaded in taken)
    assert len(rows(database, CONTRACTS)) == 2


FRAME = (
    '{"event_id": "%s", "captured_at": "2026-01-05T11:00:00Z", "model": "m", "version": "v1", "camera": "c1",'
    ' "width": 64, "height": 48}\n'
)


@pytest.mark.parametrize("torn", ["[model", '[model]\nname = "m"\n', ""])
def test_a_restart_with_a_faulty_contract_goes_on_taking_frames_in(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture, torn: str
) -> None:
    """Restarted while its file is faulty, the daemon watches on; restarted after the file is removed, it does not."""
    caplog.set_level(logging.INFO, "monitor")
    settings.contracts_dir.mkdir()
    before = contract(settings.contracts_dir)
    incoming = settings.spool_dir / "incoming"
    incoming.mkdir(parents=True)
    models = []
    for number, change in enumerate((None, lambda: before.path.write_text(torn), before.path.unlink)):
        if change is not None:
            change()
        (incoming / f"{number}.jsonl").write_text(FRAME % number)
        caplog.clear()
        context = Context(settings, database, Shelf(settings.contracts_dir))
        run_once(context, NOW)
        models.append(dict(context.shelf.contracts))
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert any(f"contract {before.hash} of m stays in force" in said for said in warned) == (number == 1)
    assert models == [{"m": before}, {"m": before}, {}]
    assert rows(database, "SELECT event_id FROM frame ORDER BY 1") == [("0",), ("1",)]
    with database.begin() as conn:
        assert in_force(conn) == []


def test_a_command_works_by_what_the_daemon_last_took_up(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.contracts_dir.mkdir()
    loaded = contract(settings.contracts_dir)
    with database.begin() as conn:
        take_up(conn, [loaded], NOW)
        loaded.path.write_text("[")
        assert contracts_of_command(conn, settings) == {"m": loaded}
        assert f"contract {loaded.hash} of m stays in force" in capsys.readouterr().err
        with pytest.raises(UsageError, match="holds no contract of m"):
            contract_of("m", settings)
        take_up(conn, [], LATER)
        with pytest.raises(UsageError, match="holds no contract that can be used"):
            contracts_of_command(conn, settings)
