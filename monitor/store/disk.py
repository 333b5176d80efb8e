"""Room on the disk of the embedded Postgres: when intake has to stop, and a ballast to come back by.

PostgreSQL that cannot write its log ahead (WAL) ends with a PANIC and does not start again while the disk is full.
So loads are refused while there still is room for whatever else goes on, and a file of no use lies there that is
given up when all else fails: with its room the server recovers, and whoever is in charge can take data away.
"""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import NoRoom

_log = logging.getLogger(__name__)

MIB = 1 << 20
GROWTH = 3
"""Bytes of disk that a byte of a batch takes, with keys, roll-ups and the log ahead of all that. Measured: 1.5 to 3;
a quiet plant with many signals takes more, which the reserve has to bear."""


@dataclass(frozen=True, slots=True)
class Room:
    """The disk that `folder` lies on: `reserve` bytes of it are not for loads, `ballast` bytes are held by a file."""

    folder: Path
    reserve: int
    ballast: int

    @property
    def file(self) -> Path:
        """The ballast."""
        return self.folder / "ballast"

    @property
    def free(self) -> int:
        """Bytes that an ordinary account may still write."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    @property
    def is_low(self) -> bool:
        """Whether loads are refused, be they ever so small."""
        return self.free < self.reserve

    @property
    def held(self) -> int:
        """Bytes of the ballast that lies there; 0: none does."""
        return self.ballast if self.file.exists() else 0

    def require(self, size: int) -> None:
        """Pass if a batch of `size` bytes can be loaded without touching the reserve; see to the ballast meanwhile.

        Raises:
            NoRoom: it cannot.
        """
        needed = self.reserve + GROWTH * size
        if self.free < needed:
            raise NoRoom(
                f"the disk of the embedded Postgres ({self.folder}) has less than {-(-needed // MIB)} MiB free, of"
                f" which {-(-self.reserve // MIB)} MiB are kept for the server itself, so nothing is taken in; make"
                " room there (`monitor retention run` takes old data away) and what waits is taken in by itself"
            )
        self.keep_ballast()

    def keep_ballast(self) -> None:
        """Lay the ballast where it is missing and there is room for it beside the reserve."""
        if not self.ballast or self.file.exists() or self.free < self.reserve + self.ballast:
            return
        new = self.file.with_suffix(".new")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.truncate(0)
                for start in range(0, self.ballast, MIB):
                    # Random, so that no file system saves the room by compressing it.
                    file.write(os.urandom(min(MIB, self.ballast - start)))
                file.flush()
                os.fsync(file.fileno())
                new.replace(self.file)
            except BlockingIOError:
                return  # another process is laying it
            except OSError as error:
                new.unlink(missing_ok=True)
                _log.warning("the ballast %s could not be laid: %s", self.file, error.strerror)

    def give_up_ballast(self) -> bool:
        """Take the ballast away for the sake of its room; False: there is none."""
        try:
            self.file.unlink()
        except FileNotFoundError:
            return False
        _log.warning(
            "the disk of the embedded Postgres (%s) is full: the ballast of %d MiB was given up so that the server"
            " can start; make room there",
            self.folder,
            self.ballast // MIB,
        )
        return True


def room_of(folder: Path, reserve: int | None = None, ballast: int | None = None) -> Room:
    """The room on the disk of `folder`; sizes in bytes, by default in proportion to the disk within bounds.

    Reserve: an eighth, 16 to 1,536 MiB. Ballast: a tenth, 12 to 64 MiB, which is three segments of WAL and more.
    """
    total = total_bytes(folder)
    return Room(
        folder,
        reserve=min(max(total // 8, 16 * MIB), 1536 * MIB) if reserve is None else reserve,
        ballast=min(max(total // 10, 12 * MIB), 64 * MIB) if ballast is None else ballast,
    )


def total_bytes(folder: Path) -> int:
    """The size of the disk that `folder` lies on."""
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def wal_options(total: int) -> dict[str, str]:
    """PostgreSQL's options for the log ahead on a disk of `total` bytes: two thirds of the reserve, at most a GiB.

    PostgreSQL takes the size as a wish: checkpoints that do not keep up let the log grow by a half and more, and a
    scan of fresh rows alone writes their pages to it. On a small disk, where a checkpoint comes every second, pages
    are compressed (pglz, which every build has).
    """
    most = min(max(total // 12 // MIB, 12), 1024)
    small = {"wal_compression": "pglz"} if total < 4096 * MIB else {}
    return {"max_wal_size": f"{most}MB", "min_wal_size": f"{min(most, 80)}MB", **small}


def wal_segment_mib(total: int) -> int:
    """The size of one file of that log, for a new data directory: PostgreSQL's 16 MiB, less on a small disk."""
    return 16 if total >= 1024 * MIB else 4
