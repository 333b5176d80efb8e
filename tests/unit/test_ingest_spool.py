"""The spool against a file system that says no: long names, folders in the way, what may not be read."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import DependencyAway, UsageError
from monitor.ingest import spool as spool_module
from monitor.ingest.spool import Spool, Waiting, find_files, open_file

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOBODY = 65_534


def drop(spool: Spool, name: str | bytes, content: str = "{}\n") -> Waiting:
    """Put one file into the empty spool, and find it there."""
    (spool.incoming / os.fsdecode(name)).write_text(content, encoding="utf-8")
    [file] = spool.waiting()
    return file


def moved(path: Path | None) -> Path:
    assert path is not None
    return path


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything: as root, the block runs as nobody."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize("length", [253, 254, 255])
@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_longest_name_can_come_again_and_again(tmp_path: Path, length: int, letter: str) -> None:
    spool = Spool(tmp_path)
    size = length - len(".jsonl")
    name = letter * (size // len(letter.encode())) + "x" * (size % len(letter.encode())) + ".jsonl"
    assert len(name.encode()) == length
    for place in (lambda file: spool.done(file, NOW), lambda file: spool.quarantine(file, "No line is good.")):
        paths = [moved(place(drop(spool, name, str(number)))) for number in range(12)]
        assert [path.read_text(encoding="utf-8") for path in paths] == [str(number) for number in range(12)]
        assert all(path.name.startswith(letter * 50) and path.suffix == ".jsonl" for path in paths)
    assert all(path.with_name(path.name + ".reason").read_text(encoding="utf-8") for path in paths)


def test_a_short_name_stays_as_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert moved(spool.quarantine(drop(spool, "a.jsonl"), "Why.")).name == "a.jsonl"
    assert moved(spool.quarantine(drop(spool, "a.jsonl"), "Why.")).name == "a-2.jsonl"


def test_a_name_that_is_no_text_is_spelt_out_as_far_as_it_fits(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    place = moved(spool.done(drop(spool, b"\xff" * 200 + b".jsonl"), NOW))
    assert place.name.startswith("\\xff\\xff")
    assert len(place.name) <= 255
    assert place.suffix == ".jsonl"


def test_a_file_in_place_of_the_day_is_said_and_the_file_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "done" / "2026-03-02").write_text("", encoding="utf-8")
    file = drop(spool, "a.jsonl")
    with pytest.raises(DependencyAway, match=r"a\.jsonl.*2026-03-02"):
        spool.done(file, NOW)
    assert file.path.exists()


@pytest.mark.parametrize("folder", ["done", "quarantine"])
def test_a_folder_that_may_not_be_written_is_said(open_folder: Path, folder: str) -> None:
    spool = Spool(open_folder)
    file = drop(spool, "a.jsonl")
    (open_folder / folder).chmod(0o555)
    with ordinary_user(), pytest.raises(DependencyAway, match=r"a\.jsonl.*Permission denied"):
        spool.done(file, NOW) if folder == "done" else spool.quarantine(file, "Why.")
    assert file.path.exists()


def test_a_reason_that_cannot_be_written_is_said_instead(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "quarantine" / "a.jsonl.reason").mkdir()
    with pytest.raises(DependencyAway, match=r"No line is good"):
        spool.quarantine(drop(spool, "a.jsonl"), "No line is good.")


def test_a_file_is_never_in_quarantine_without_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, move, seen = Spool(tmp_path), os.replace, []

    def watched(source: Path, place: Path) -> None:
        seen.append(Path(f"{place}.reason").read_text(encoding="utf-8"))
        move(source, place)

    monkeypatch.setattr(os, "replace", watched)
    assert moved(spool.quarantine(drop(spool, "a.jsonl"), "No line is good.")).name == "a.jsonl"
    assert seen == ["No line is good.\n"]


@pytest.mark.parametrize("error", [FileNotFoundError, OSError])
def test_a_move_that_was_done_and_is_reported_as_failed_costs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    spool, move = Spool(tmp_path), os.replace

    def unsure(source: Path, place: Path) -> None:
        move(source, place)
        raise error(5, "over a network the first answer was lost")

    monkeypatch.setattr(os, "replace", unsure)
    with suppress(DependencyAway):
        spool.done(drop(spool, "a.jsonl", "one\n"), NOW)
    assert (tmp_path / "done" / "2026-03-02" / "a.jsonl").read_text(encoding="utf-8") == "one\n"


def test_a_file_that_is_gone_is_not_moved_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file = drop(spool, "a.jsonl")
    file.path.unlink()
    assert spool.done(file, NOW) is None
    assert spool.quarantine(file, "Why.") is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_was_replaced_since_it_was_found_waits_for_its_turn(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file = drop(spool, "a.jsonl", "one\n")
    (tmp_path / "new").write_text("another\n", encoding="utf-8")
    (tmp_path / "new").replace(file.path)
    assert spool.done(file, NOW) is None
    assert file.path.read_text(encoding="utf-8") == "another\n"
    [again] = spool.waiting()
    assert moved(spool.done(again, NOW)).read_text(encoding="utf-8") == "another\n"


def test_a_file_of_the_same_size_and_time_is_another_all_the_same(tmp_path: Path) -> None:
    """As what is unpacked or copied with its times may be: whole seconds, and every hour the same size."""
    spool = Spool(tmp_path)
    file = drop(spool, "a.jsonl", "one\n")
    (tmp_path / "new").write_text("two\n", encoding="utf-8")
    found = file.path.stat()
    while (tmp_path / "new").stat().st_ctime_ns == found.st_ctime_ns:  # until the file system's clock has moved on
        os.utime(tmp_path / "new", ns=(0, found.st_mtime_ns))
    os.utime(tmp_path / "new", ns=(0, found.st_mtime_ns))
    (tmp_path / "new").replace(file.path)
    assert spool.done(file, NOW) is None
    assert file.path.read_text(encoding="utf-8") == "two\n"


def test_a_file_that_is_replaced_at_the_last_moment_stays_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    file = drop(spool, "a.jsonl", "one\n")
    reserve = spool_module._reserve

    def while_its_place_is_made(*said: Any) -> Path:
        (tmp_path / "new").write_text("another\n", encoding="utf-8")
        (tmp_path / "new").replace(file.path)
        return reserve(*said)

    monkeypatch.setattr(spool_module, "_reserve", while_its_place_is_made)
    assert spool.quarantine(file, "Why.") is None
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.jsonl"]
    assert file.path.read_text(encoding="utf-8") == "another\n"


def test_a_folder_that_may_not_be_read_is_reported_and_the_others_are_found(open_folder: Path) -> None:
    for name in ("a", "b", "c"):
        (open_folder / name).mkdir()
        (open_folder / name / "x.jsonl").write_text("{}\n", encoding="utf-8")
    (open_folder / "b").chmod(0)
    with ordinary_user():
        found = find_files(open_folder)
        assert [file.name for file in found] == ["a/x.jsonl", "b", "c/x.jsonl"]
        with pytest.raises(UsageError, match=r"/b cannot be read: Permission denied"):
            open_file(found[1].path)
    (open_folder / "b").chmod(stat.S_IRWXU)
