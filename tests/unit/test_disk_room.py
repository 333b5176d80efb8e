"""Room on a disk: how much is kept, in proportion to its size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitor.errors import NoRoom
from monitor.store.disk import MIB, Room, room_of, wal_options

GIB = 1024 * MIB


def megabytes(options: dict[str, str], name: str) -> int:
    return int(options[name].removesuffix("MB"))


@pytest.mark.parametrize("total", [100 * MIB, 120 * MIB, 500 * MIB, GIB, 8 * GIB, 100 * GIB, 4096 * GIB])
def test_the_log_ahead_fits_into_the_reserve(total: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = os.statvfs_result((4096, 4096, total // 4096, total // 4096, total // 4096, 1, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    room, options = room_of(tmp_path), wal_options(total)
    assert room.reserve >= 1.3 * megabytes(options, "max_wal_size") * MIB
    assert room.reserve > room.ballast > 0
    assert room.reserve + room.ballast <= total * 0.3
    assert megabytes(options, "min_wal_size") <= megabytes(options, "max_wal_size")


def test_what_was_asked_for_is_kept(tmp_path: Path) -> None:
    assert room_of(tmp_path, 5, 0) == Room(tmp_path, 5, 0)


def test_a_batch_is_refused_when_it_would_touch_the_reserve(tmp_path: Path) -> None:
    free = room_of(tmp_path).free
    assert free > 3 * GIB, "this test needs a disk with some room"
    Room(tmp_path, free - 2 * GIB, 0).require(16 * MIB)
    with pytest.raises(NoRoom, match="make room there"):
        Room(tmp_path, free - 2 * GIB, 0).require(GIB)


def test_the_ballast_is_of_real_blocks_and_laid_once(tmp_path: Path) -> None:
    room = Room(tmp_path, 0, 2 * MIB + 5)
    room.keep_ballast()
    first = room.file.stat()
    assert first.st_size == 2 * MIB + 5
    assert first.st_blocks * 512 >= first.st_size
    room.keep_ballast()
    assert room.file.stat().st_ino == first.st_ino
    assert room.give_up_ballast()
    assert not room.give_up_ballast()
    assert list(tmp_path.iterdir()) == []


def test_a_ballast_that_was_left_half_laid_is_laid_anew(tmp_path: Path) -> None:
    (tmp_path / "ballast.new").write_bytes(b"x" * (3 * MIB))
    room = Room(tmp_path, 0, MIB)
    room.keep_ballast()
    assert room.file.stat().st_size == MIB
    assert [entry.name for entry in tmp_path.iterdir()] == ["ballast"]


def test_no_ballast_is_laid_into_the_reserve(tmp_path: Path) -> None:
    room = Room(tmp_path, room_of(tmp_path).free - MIB, 64 * MIB)
    room.keep_ballast()
    assert room.held == 0
