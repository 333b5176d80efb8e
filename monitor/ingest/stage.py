"""Intake: whole files → frames, roll-ups and rejects, one transaction a batch; a file is moved after the last COMMIT.

While one batch is stored the next are read, in other processes where there are some: a file is a row of batches that
are begun and stored in order, and the next file is begun before the last batch of this one is stored.
"""

from __future__ import annotations

import gc
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from monitor.errors import DependencyAway, FileBroken, FilesLeft, MonitorError, UsageError
from monitor.ingest.batch import Batch, Begun, Contracts, Summary, Taking
from monitor.ingest.lines import Lines, find_batches, hash_of, length_of, read_batches, unreadable
from monitor.ingest.names import named
from monitor.ingest.parse import MAX_LINE, plain
from monitor.ingest.sources import broken_off, is_plain, listed, nothing_of, open_lines
from monitor.ingest.spool import Spool, Waiting, open_file
from monitor.ingest.workers import Workers
from monitor.store import histograms
from monitor.store.database import Database

_log = logging.getLogger(__name__)

LARGE = 1 << 20
"""Bytes of a file from which on it surely needs a worker."""
_TO_SPARE = 2
"""Batches that are begun beyond those that workers can be at."""
FAULTS_SAID = 20
"""How many files are named when there are many that cannot be taken in or moved."""

Progress = Callable[[str, Summary], None]
PutAway = Callable[[Waiting, Summary], bool]


def run(
    database: Database,
    spool_dir: Path,
    contracts: Contracts,
    now: datetime,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> int:
    """Take in what waits in the spool; returns the number of frames stored. See `drain`."""
    return drain(database, spool_dir, contracts, now, progress, workers).stored


def drain(
    database: Database,
    spool_dir: Path,
    contracts: Contracts,
    now: datetime,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> Summary:
    """Take in every file that waits in the spool, by name, and move it to `done/` or `quarantine/`.

    `contracts` are by model name, `now` is an aware time. `progress` is told after each batch the file's name and
    what became of the batch. With `workers` lines are read in other processes while others are stored.

    Raises:
        DependencyAway: the database or the spool cannot be used now; what was not taken in stays in `incoming/`.
        NoRoom: the disk of the database is full, or nearly so; likewise.
        UsageError: files wait and no contract is in force.
        FilesLeft: some files cannot be read, moved or stored as they are; the others were taken in.
    """
    spool = Spool(spool_dir)

    def put_away(file: Waiting, summary: Summary) -> bool:
        if not summary.broken and summary.good:
            return spool.done(file, now) is not None
        why = (
            broken_off(summary.broken[0], summary.lines, summary.good)
            if summary.broken
            else nothing_of(summary.lines, summary.reasons)
        )
        summary.quarantined = int(spool.quarantine(file, why) is not None)
        return bool(summary.quarantined)

    return load(database, spool.waiting(), contracts, now, progress, put_away, workers)


def load(
    database: Database,
    files: Iterable[Waiting],
    contracts: Contracts,
    now: datetime,
    progress: Progress | None = None,
    put_away: PutAway | None = None,
    workers: Workers | None = None,
) -> Summary:
    """Take in files from wherever they lie; otherwise as `drain`.

    `put_away` is called when all of a file is in, and returns whether it was still there to be moved.
    """
    taking = Taking(database, contracts, now, workers)
    turn = _Turn(taking, workers.count if workers else 0, progress, put_away)
    with _collector_off():
        for file in files:
            if not contracts:
                raise UsageError(
                    f"{file.name} waits and no contract is in force; put one TOML a model into its folder"
                )
            if workers and file.stamp and file.stamp[1] >= LARGE:
                workers.warm_up()
            turn.read(file)
        turn.finish()
    histograms.merge_if_free(database, now)
    if turn.faults:
        more = len(turn.faults) - FAULTS_SAID
        said = [*map(str, turn.faults[:FAULTS_SAID]), *([f"and {more} more"] if more > 0 else [])]
        raise FilesLeft("\n".join(said), turn.total.stored, turn.faults[0].exit_code)
    return turn.total


def take_lines(
    database: Database,
    source: str,
    name: str,
    file_name: str,
    lines: Lines,
    contracts: Contracts,
    now: datetime,
    workers: Workers | None = None,
) -> Summary:
    """Take in lines that came by themselves, as one batch in one transaction; any thread may call it.

    `name` tells the batch from the others of its source: sent again, only lines that were rejected are looked at
    again. `file_name` is what people will find it by. The roll-ups are right at once and merged by the next `drain`.

    Raises:
        OtherContent: the name was used for other lines; nothing was kept.
        UsageError: the database refuses the lines; nothing was kept.
        DependencyAway, TryAgain: the database cannot be used now, or others were in the way; nothing was kept.
    """
    with _collector_off():
        taking = Taking(database, contracts, now, workers)
        return taking.store(taking.begin(Batch(source, name, file_name, lines)))


@dataclass(slots=True)
class _File:
    """A file on its way: what has become of it so far, and how many of its batches are begun and not stored."""

    waiting: Waiting
    summary: Summary = field(default_factory=lambda: Summary(files=1))
    begun: int = 0
    read: bool = False
    """Whether all its batches are begun."""
    given_up: bool = False


class _Turn:
    """One turn over many files: batches begun in order, a few of them ahead of the one that is stored."""

    def __init__(self, taking: Taking, ahead: int, progress: Progress | None, put_away: PutAway | None) -> None:
        self.total = Summary()
        self.faults: list[MonitorError] = []
        self._taking = taking
        self._ahead = ahead
        self._progress = progress
        self._put_away = put_away
        self._queue: deque[tuple[_File, Begun]] = deque()

    def read(self, waiting: Waiting) -> None:
        """Begin all batches of a file, and store what is due meanwhile."""
        file = _File(waiting)
        try:
            for batch in _batches(file):
                file.begun += 1
                self._queue.append((file, self._taking.begin(batch)))
                while self._is_due():
                    self._store()
                if file.given_up:
                    return
        except FileNotFoundError:
            return  # another worker was faster
        except UsageError as error:
            self._give_up(file, error)
            return
        file.read = True
        self._close(file)

    def finish(self) -> None:
        """Store what is begun."""
        while self._queue:
            self._store()

    def _is_due(self) -> bool:
        """Whether to store the first batch now: enough are begun, or it is prepared and its text held for nothing."""
        if not self._queue:
            return False
        _, first = self._queue[0]
        return (first.batch.lines.held and first.ready) or len(self._queue) > self._ahead + self._to_spare()

    def _to_spare(self) -> int:
        """How many more batches may be begun so that there is one to lend a hand with: of those that hold no text."""
        held = not self._ahead or any(begun.batch.lines.held for _, begun in self._queue)
        return 0 if held else _TO_SPARE

    def _store(self) -> None:
        file, begun = self._queue.popleft()
        file.begun -= 1
        if file.given_up:
            return
        try:
            self._taking.help_with(begun)
            summary = self._taking.store(begun)
        except UsageError as error:
            self._give_up(file, error)
            return
        file.summary.add(summary)
        if self._progress is not None:
            self._progress(file.waiting.name, summary)
        self._close(file)

    def _give_up(self, file: _File, error: UsageError) -> None:
        file.given_up = True
        self.faults.append(error)

    def _close(self, file: _File) -> None:
        """Put a file away when all of it is in."""
        if file.begun or not file.read:
            return
        summary, moved = file.summary, False
        if self._put_away is None and summary.broken:
            why = broken_off(summary.broken[0], summary.lines, summary.good)
            self.faults.append(UsageError(f"{file.waiting.path}: {why}"))
        try:
            moved = self._put_away is None or self._put_away(file.waiting, summary)
        except DependencyAway as error:
            self.faults.append(error)
        # A file that cannot be moved comes again at every turn, and is not news then.
        if moved or summary.repeated < summary.lines:
            loud = logging.WARNING if summary.others or summary.broken else logging.INFO
            _log.log(loud, "%s", _sentence(file.waiting.name, summary))
        self.total.add(summary)


def _batches(file: _File) -> Iterator[Batch]:
    waiting = file.waiting
    with open_file(waiting.path) as stream:
        plain = find_batches(stream) if is_plain(waiting.path.name) else None
        if plain is not None:
            together = hashlib.sha256(b"".join(lines.sha256() for lines in plain)).hexdigest()
            yield from (_batch(waiting, together, lines) for lines in plain)
            return
        try:
            length = length_of(stream)
            digest = hash_of(stream, length)
        except OSError as error:
            raise unreadable(waiting.path, error) from error
        try:
            with open_lines(stream, waiting.path.name, length) as text:
                yield from (_batch(waiting, digest, lines) for lines in read_batches(text, MAX_LINE))
        except FileBroken as broken:
            file.summary.broken = [str(broken)]


def _batch(waiting: Waiting, digest: str, lines: Lines) -> Batch:
    # The lines are part of the name, so that batches of another size are never mistaken for these.
    return Batch(waiting.source, f"{digest}:{lines.first}-{lines.last}", waiting.name, lines)


def _sentence(name: str, s: Summary) -> str:
    """One line about a file that adds up to its lines."""
    parts = [f"{s.stored} stored", f"{s.duplicate} duplicate", f"{s.rejected} rejected"]
    if s.rejected:
        parts[-1] += f" ({listed(s.why_rejected)})"
    parts += [f"{s.blank} blank"] if s.blank else []
    parts += [f"{s.repeated} taken in before"] if s.repeated else []
    said = f"{plain(name)}: {s.lines} line{'' if s.lines == 1 else 's'} = {' + '.join(parts)}"
    if s.detections_rejected:
        plural = "" if s.detections_rejected == 1 else "s"
        said += f"; {s.detections_rejected} detection{plural} set aside ({listed(s.why_set_aside)})"
    for (model, condition), count in sorted(s.others.items()):
        said += f"; {count} counted under __other__ for too many new {named(model, condition)}"
    said += "; broken off" * len(s.broken)
    return said + "; in quarantine" * s.quarantined


@contextmanager
def _collector_off() -> Iterator[None]:
    """Without Python's cycle collector, which would walk over every record of the batch again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
