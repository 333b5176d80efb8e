"""Moving house: an export to another server, and a dump of a running monitor that is restored and audited."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
import small_plant
from conftest import new_database, opened
from small_plant import NOW, START, drop_file
from sqlalchemy import Engine, text

from monitor.cli.main import main
from monitor.drift import baseline
from monitor.drift import stage as drift
from monitor.ingest import audit, stage
from monitor.ingest.audit import Task
from monitor.records import Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract
from monitor.store import migrate
from monitor.store.binaries import MAJOR, find_binaries, server_account
from monitor.store.database import Database, open_database

PERIOD = Window(START, START + timedelta(days=3))
CONTENT = """SELECT (SELECT count(*) FROM {0}), (SELECT coalesce(sum(hashtext({0}::text)), 0) FROM {0})"""
TABLES = ("batch", "reject", "frame", "frame_key", "series", "rollup", "baseline_histogram", "measurement")


def content(database: Database) -> dict[str, tuple[int, int]]:
    with database.begin() as conn:
        return {table: tuple(conn.execute(text(CONTENT.format(table))).one()) for table in TABLES}


def intact(database: Database) -> int:
    """Every line is accounted for and every roll-up is what a recount gives; how many frames there are."""
    with database.begin() as conn:
        lines, outcomes, stored = conn.execute(
            text("SELECT sum(lines), sum(stored + duplicate + rejected + blank), sum(stored) FROM batch")
        ).one()
        frames, keys = conn.execute(
            text("SELECT (SELECT count(*) FROM frame), (SELECT count(*) FROM frame_key)")
        ).one()
    assert lines == outcomes
    assert stored == frames == keys
    found = audit.run(database, Task(PERIOD), NOW)
    assert (found.differing, found.without_frames) == (0, [])
    assert found.compared > 0
    return int(frames)


@pytest.fixture
def plant(tmp_path: Path) -> LoadedContract:
    return small_plant.contract(tmp_path)


@pytest.fixture
def source(tmp_path: Path, plant: LoadedContract) -> Settings:
    """An embedded Postgres, stopped, with two days of frames, rejects, a baseline and measurements."""
    settings = Settings(state_dir=tmp_path / "state", contracts_dir=tmp_path / "contracts")
    drop_file(settings.spool_dir, 0, 700, 48)
    with (settings.spool_dir / "incoming/0000.jsonl").open("a") as file:
        file.write('\nno json\n{"event_id": "half\n\n')
    with open_database(settings) as database:
        migrate.upgrade(database.engine)
        assert stage.run(database, settings.spool_dir, {"plant": plant}, NOW) == 700
        baseline.from_logs(database, plant, "v1", Window(START, START + timedelta(days=1)), NOW)
        assert drift.run(database, plant, NOW) > 0
        assert all(rows for rows, _ in content(database).values())
    return settings


def called(source: Settings, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setenv("MONITOR_STATE_DIR", str(source.state_dir))
    monkeypatch.delenv("MONITOR_DATABASE_URL", raising=False)
    return main(["db", "export-to-server", *words])


def test_everything_goes_to_an_empty_server_and_goes_on_there(
    source: Settings,
    plant: LoadedContract,
    empty_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = empty_engine.url.render_as_string(hide_password=False)
    with open_database(source) as database:
        before = content(database)
    assert called(source, monkeypatch, url) == 0
    said = capsys.readouterr().out
    assert "counted and hashed on both sides" in said
    assert "now set MONITOR_DATABASE_URL=postgresql://" in said
    if empty_engine.url.password:
        assert str(empty_engine.url.password) not in said
    with open_database(source) as database:
        assert content(database) == before, "the source is as it was"
    with open_database(Settings(database_url=url)) as server:
        assert content(server) == before
        assert intact(server) == 700
        drop_file(source.spool_dir, 1, 50, 24)
        assert stage.run(server, source.spool_dir, {"plant": plant}, NOW) == 50, "batches are numbered on"
        assert intact(server) == 750

    assert called(source, monkeypatch, url) == 2, "it holds rows now"
    assert "name an empty database" in capsys.readouterr().err


def test_nothing_is_exported_beside_a_process_at_work(
    source: Settings, empty_engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = empty_engine.url.render_as_string(hide_password=False)
    with open_database(source):
        assert called(source, monkeypatch, url) == 2
    assert "stop the daemon first" in capsys.readouterr().err
    assert called(source, monkeypatch, url) == 0, "what was refused left nothing behind"


def test_a_copy_that_breaks_off_leaves_the_server_empty(
    source: Settings, empty_engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server refuses a row of the last tables: what went before is not kept either."""
    url = empty_engine.url.render_as_string(hide_password=False)
    migrate.upgrade(empty_engine)
    with empty_engine.begin() as conn:
        conn.execute(text("ALTER TABLE rollup ADD CONSTRAINT odd CHECK (n < 0)"))
    with pytest.raises(Exception, match="odd"):
        called(source, monkeypatch, url)
    with open_database(Settings(database_url=url)) as server:
        assert {rows for rows, _ in content(server).values()} == {0}


@pytest.fixture
def tools(engine: Engine, missing: Callable[[str, str], NoReturn]) -> Path:
    """The folder of `pg_dump` and `pg_restore` of the server's version."""
    with engine.connect() as conn:
        major = int(conn.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    if major == MAJOR:
        return find_binaries(server_account())
    found = Path(f"/usr/lib/postgresql/{major}/bin")
    if not (found / "pg_dump").exists():
        missing("server", f"pg_dump {major} is not installed")
    return found


@pytest.fixture
def load(database: Database, plant: LoadedContract, tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Intake that goes on and on in a thread; call it to wait for one more file, and learn how many there were."""
    ending, one_more = threading.Event(), threading.Condition()
    files = 0

    def work() -> None:
        nonlocal files
        while not ending.is_set():
            drop_file(tmp_path / "spool", files, 60, 40)
            assert stage.run(database, tmp_path / "spool", {"plant": plant}, NOW) == 60
            with one_more:
                files += 1
                one_more.notify_all()

    def wait() -> int:
        with one_more:
            assert one_more.wait_for(lambda since=files: files > since, 60)
            return files

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        yield wait
        ending.set()
        worker.result(60)


def test_a_dump_of_a_running_monitor_is_whole(
    database: Database, admin: Engine, load: Callable[[], int], tools: Path, tmp_path: Path
) -> None:
    plain = database.engine.url.set(drivername="postgresql")
    load()
    subprocess.run(
        [tools / "pg_dump", "-Fc", "-f", tmp_path / "dump", "-d", plain.render_as_string(hide_password=False)],
        check=True,
    )
    load()
    with new_database(admin, f"{plain.database}_restored", "template1") as url:
        target = url.set(drivername="postgresql").render_as_string(hide_password=False)
        subprocess.run([tools / "pg_restore", "--no-owner", "-d", target, tmp_path / "dump"], check=True)
        with open_database(opened(url)) as restored:
            migrate.require_current(restored.engine)
            frames = intact(restored)
    assert frames >= 60
    assert frames % 60 == 0, "whole batches"
