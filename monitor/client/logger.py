"""Whole files or nothing: records go to a hidden file, which is synced and renamed when it is full or old enough.

    .NAME.jsonl.tmp   being written, under an advisory lock; the intake does not look at it
    NAME.jsonl        whole: synced to the disk, then renamed, then the folder synced

Every record is one write to the operating system, so a killed process loses nothing that `log` returned from: its
hidden file is unlocked, and any logger on the same folder publishes it when it starts or begins its next file. A
power cut loses at most what was not yet published. POSIX only.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monitor.client.record import encode, frame_record

_log = logging.getLogger("monitor.client")
_serial = itertools.count(1)
_open_loggers: weakref.WeakSet[FrameLogger] = weakref.WeakSet()
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SUFFIX = ".jsonl"
_HIDDEN = ".tmp"


@dataclass(slots=True)
class _Draft:
    """A hidden file that is being written: complete lines up to `size`."""

    path: Path
    descriptor: int
    size: int = 0
    records: int = 0

    @property
    def final(self) -> Path:
        return self.path.with_name(self.path.name[1 : -len(_HIDDEN)])

    def append(self, line: bytes) -> None:
        """Add one line; after a failure (a full disk) no part of it stays behind."""
        written = 0
        try:
            while written < len(line):
                written += os.write(self.descriptor, line[written:])
        except OSError:
            os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(line)
        self.records += 1

    def publish(self) -> Path:
        """Sync, rename, sync the folder; the file is locked until it is closed."""
        os.fsync(self.descriptor)
        os.rename(self.path, self.final)
        _sync_folder(self.path.parent)
        return self.final


class FrameLogger:
    """Writes frame records into `folder` as whole files, or into its subfolder `source`, where one is given.

    For a daemon the folder is `incoming/` of its spool.

    A file is published when it holds `max_records`, when it is `max_age_s` seconds old (by a timer, so that a camera
    which falls silent is heard too; None: never by age) and on `close`, which also runs at the interpreter's normal
    end. Safe to share between threads; a forked child starts a file of its own. `now` only names the files.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        source: str | None = None,
        max_records: int = 1000,
        max_age_s: float | None = 60.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open the spool; what a killed logger has left in it is published.

        Raises:
            ValueError: `source` is not a plain name, `max_records` below 1 or `max_age_s` not above 0.
            OSError: the folder cannot be made or read.
        """
        if source is not None and not _SOURCE.fullmatch(source):
            raise ValueError(f"source is {source!r}; give up to 64 of A-Z a-z 0-9 _ - . with a letter or digit first")
        if max_records < 1:
            raise ValueError(f"max_records is {max_records}; give at least 1")
        if max_age_s is not None and not max_age_s > 0:
            raise ValueError(f"max_age_s is {max_age_s}; give seconds above 0, or None")
        self.folder = Path(folder).absolute() / (source or "")
        self._max_records, self._max_age_s, self._now = max_records, max_age_s, now
        self._lock = threading.Lock()
        self._draft: _Draft | None = None
        self._timer: threading.Timer | None = None
        self._closed = False
        self.folder.mkdir(parents=True, exist_ok=True)
        recover(self.folder)
        _open_loggers.add(self)

    def log(self, record: Mapping[str, object] | None = None, /, **fields: Any) -> None:
        """Write one record: one made by `frame_record`, or the fields to make it from.

        Raises:
            ValueError: this record cannot be logged (the sentence says why) or the logger is closed; nothing of it
                was written, and the records before and after it are not touched.
            OSError: the disk refused to write this record, or to publish the file that it filled; what was written
                stays in its hidden file and is published with a later one.
        """
        line = encode(frame_record(**fields) if record is None else record)
        with self._lock:
            if self._closed:
                raise ValueError("this FrameLogger is closed; make a new one")
            if self._draft is None:
                recover(self.folder)
                self._draft = _new_draft(self.folder, self._now())
                self._start_timer(self._draft)
            self._draft.append(line)
            if self._draft.records >= self._max_records:
                self._publish()

    def flush(self) -> None:
        """Publish now what was logged so far, if anything."""
        with self._lock:
            self._publish()

    def close(self) -> None:
        """Publish and take no more records; closing twice does no harm."""
        with self._lock:
            self._closed = True
            self._publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish(self) -> None:
        draft, self._draft = self._draft, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if draft is not None:
            try:
                draft.publish()
            finally:
                os.close(draft.descriptor)

    def _start_timer(self, draft: _Draft) -> None:
        if self._max_age_s is None:
            return
        self._timer = threading.Timer(self._max_age_s, self._publish_aged, args=(draft,))
        self._timer.daemon = True
        self._timer.start()

    def _publish_aged(self, draft: _Draft) -> None:
        with self._lock:
            if self._draft is not draft:
                return
            try:
                self._publish()
            except OSError:
                _log.exception("%s could not be published and stays hidden; the next file tries again", draft.path)

    def _leave_to_parent(self) -> None:
        """In a forked child: the open file is the parent's, and another thread may have held the lock."""
        if self._draft is not None:
            os.close(self._draft.descriptor)
        self._lock, self._draft, self._timer = threading.Lock(), None, None


def recover(folder: Path) -> list[Path]:
    """Publish the complete lines of hidden files in `folder` that no process holds any more.

    A last line without its end, which a power cut can leave, is dropped with a warning; a file that cannot be
    published stays, with a warning. Returns the published files.
    """
    published = []
    for path in sorted(folder.glob(f".*{_SUFFIX}{_HIDDEN}")):
        try:
            if found := _recover_one(path):
                published.append(found)
        except FileNotFoundError:  # its writer, or another logger, was faster
            continue
        except OSError as error:
            _log.warning("%s was left behind and cannot be published: %s", path, error)
    return published


def _recover_one(path: Path) -> Path | None:
    draft = _Draft(path, os.open(path, os.O_RDWR | os.O_NOFOLLOW))
    try:
        if not _locked(draft, wait=False):
            return None
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            _log.warning("%s ends within a line; its last %d bytes are dropped", path, len(content) - end)
        if end == 0:
            path.unlink()
            return None
        os.ftruncate(draft.descriptor, end)
        return draft.publish()
    finally:
        os.close(draft.descriptor)


def _new_draft(folder: Path, now: datetime) -> _Draft:
    """A fresh hidden file, locked; its name sorts by time and is unique over threads, processes and machines."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        name = f"{stamp}-{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}"
        path = folder / f".{name}{_SUFFIX}{_HIDDEN}"
        draft = _Draft(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666))
        if _locked(draft, wait=True):
            return draft
        os.close(draft.descriptor)


def _locked(draft: _Draft, wait: bool) -> bool:
    """Lock the open file; False if another process holds it, or has renamed or removed it in the meantime."""
    try:
        fcntl.flock(draft.descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.stat(draft.path), os.fstat(draft.descriptor))
    except (BlockingIOError, FileNotFoundError):
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _close_all() -> None:
    for logger in list(_open_loggers):
        try:
            logger.close()
        except OSError:
            _log.exception("the last file in %s stays hidden; the next logger there publishes it", logger.folder)


def _leave_all_to_parent() -> None:
    for logger in list(_open_loggers):
        logger._leave_to_parent()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_leave_all_to_parent)
