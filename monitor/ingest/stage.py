"""Intake: whole files → frames, roll-ups and rejects, one transaction a batch; a file is moved after the last COMMIT.

Killed at any point and run again, it ends in the same tables: a batch is in the ledger with all that belongs to it,
or it is nowhere.
"""

from __future__ import annotations

import gc
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from monitor.errors import DependencyAway, FilesLeft, MonitorError, TryAgain, UsageError
from monitor.ingest.parse import MAX_LINE, RAW_KEPT, Parsed, conflict, parse, plain
from monitor.ingest.rollup import roll_up
from monitor.ingest.spool import Lines, Spool, Waiting, hash_of, open_file, read_batches
from monitor.records import Reject
from monitor.spec.load import LoadedContract
from monitor.store import frames, histograms, ledger
from monitor.store.database import Connection, Database
from monitor.store.ledger import Counts, Earlier

_log = logging.getLogger(__name__)

Contracts = Mapping[str, LoadedContract]
FAULTS_SAID = 20
"""How many files are named when there are many that cannot be taken in or moved."""


@dataclass(slots=True)
class Summary:
    """What became of the lines of files: lines = stored + duplicate + rejected + blank + repeated."""

    files: int = 0
    quarantined: int = 0
    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    blank: int = 0
    repeated: int = 0
    """Lines that were taken in before, or rejected before and still are in a batch of which nothing new came."""
    detections_rejected: int = 0
    good_before: int = 0
    """Of the repeated lines, how many had been stored or were duplicates."""
    why_rejected: Counter[str] = field(default_factory=Counter)
    why_set_aside: Counter[str] = field(default_factory=Counter)
    """Why detections were."""
    why_still: Counter[str] = field(default_factory=Counter)
    """Of the repeated lines, why some still are rejected."""

    @property
    def reasons(self) -> Counter[str]:
        """Why lines and detections were set aside."""
        return self.why_rejected + self.why_set_aside + self.why_still

    def add(self, other: Summary) -> None:
        """Count another summary in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Progress = Callable[[str, Summary], None]


class _NothingNew(Exception):
    """Takes back the transaction of a batch that was taken in before and still gives nothing new."""


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
        UsageError: files wait and no contract is in force.
        FilesLeft: some files cannot be read, moved or stored as they are; the others were taken in.
    """
    spool = Spool(spool_dir)

    def put_away(file: Waiting, summary: Summary) -> bool:
        if summary.stored + summary.duplicate + summary.good_before:
            return spool.done(file, now) is not None
        summary.quarantined = int(spool.quarantine(file, _why_nothing(summary)) is not None)
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
    turn = _Turn(database, contracts, now, workers or Workers(0), progress, put_away)
    with _collector_off():
        for file in files:
            if not contracts:
                raise UsageError(f"{file.name} waits and no contract is in force; put one TOML a model into its folder")
            turn.read(file)
        turn.finish()
    with database.begin() as conn:
        histograms.merge(conn, now)
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
        UsageError: the name was used for other lines, or the database refuses them; nothing was kept.
        DependencyAway, TryAgain: the database cannot be used now, or others were in the way; nothing was kept.
    """
    turn = _Turn(database, contracts, now, workers or Workers(0))
    return turn.store(turn.begin(Batch(source, name, file_name, lines)))


def take_again(
    conn: Connection,
    source: str,
    name: str,
    file_name: str,
    lines: Lines,
    contracts: Contracts,
    now: datetime,
    before: Iterable[str],
) -> tuple[int, Summary]:
    """Lines that had been set aside, as a batch of its own in the caller's transaction: its number, what came of it.

    `before` are the reasons for which the lines had been rejected. The partitions must be there. Lines that are
    refused once more are rejects of the new batch.

    Raises:
        UsageError: a batch of this name was taken in before.
    """
    content = hashlib.sha256(b"\n".join(lines.lines)).digest()
    batch_id = ledger.open_batch(conn, source, name, file_name, content, now)
    if batch_id is None:
        raise UsageError(f"batch {name!r} of source {source!r} was taken in before")
    parsed = parse(lines.lines, lines.first, contracts, now)
    return batch_id, _store(conn, batch_id, source, lines, parsed, set(), before)[0]


def _seen(count: int, earlier: Earlier | None) -> Summary:
    """What is to say of a batch that was taken in before."""
    if earlier is None:
        return Summary(lines=count, repeated=count)
    still = Counter(earlier.rejected.values())
    return Summary(lines=count, repeated=count, good_before=earlier.good, why_still=still)


def _store(
    conn: Connection,
    batch_id: int,
    source: str,
    lines: Lines,
    parsed: Parsed,
    known: set[int],
    before: Iterable[str],
) -> tuple[Summary, set[int]]:
    """All rows of one batch; returns what became of the lines, and the ids of the series it counted in."""
    placed = frames.insert_frames(conn, batch_id, source, parsed.columns)
    new = np.flatnonzero(placed.new)
    series: set[int] = set()
    if len(new):
        stored = parsed.columns if len(new) == len(parsed.columns) else parsed.columns.take(new)
        series = histograms.append(conn, batch_id, roll_up(stored), known)
    rejects = _all_rejects(parsed, placed, lines)
    ledger.save_rejects(conn, batch_id, rejects)
    counts = Counts(
        lines=parsed.lines,
        stored=len(new),
        duplicate=parsed.duplicate + int(placed.duplicate.sum()),
        rejected=sum(reject.whole_line for reject in rejects),
        blank=parsed.blank,
        detections_rejected=sum(not reject.whole_line for reject in rejects),
    )
    ledger.close_batch(conn, batch_id, counts, rejects, before)
    return Summary(
        lines=counts.lines,
        stored=counts.stored,
        duplicate=counts.duplicate,
        rejected=counts.rejected,
        blank=counts.blank,
        detections_rejected=counts.detections_rejected,
        why_rejected=Counter(reject.reason for reject in rejects if reject.whole_line),
        why_set_aside=Counter(reject.reason for reject in rejects if not reject.whole_line),
    ), series


def _all_rejects(parsed: Parsed, placed: frames.Placed, lines: Lines) -> list[Reject]:
    """What the lines and the database gave reason to set aside, by line; parts only of frames that are stored now."""
    stored = {parsed.line_number[i] for i in np.flatnonzero(placed.new).tolist()}
    rejects = [reject for reject in parsed.rejects if reject.whole_line or reject.line_number in stored]

    def whole(row: int, reason: str, detail: str) -> Reject:
        number = parsed.line_number[row]
        return Reject(number, reason, detail, lines.lines[number - lines.first][:RAW_KEPT])

    for row in np.flatnonzero(placed.conflict).tolist():
        fault = conflict(parsed.columns.event_id[row])
        rejects.append(whole(row, fault.reason, fault.detail))
    for row in placed.dropped:
        rejects.append(
            whole(row, "too_late", "the frames of its day were taken away; this one may be counted already")
        )
    for row, said in placed.refused.items():
        rejects.append(whole(row, "refused", f"the database refuses the record: {said}; mend it and send it again"))
    return sorted(rejects, key=lambda reject: reject.line_number)


def _why_nothing(summary: Summary) -> str:
    if not summary.lines:
        return (
            "The file is empty. Producers write a temporary name and rename when the file is whole; drop it again so."
        )
    reasons = _listed(summary.reasons)
    if not reasons:
        return (
            "The file holds blank lines only. One line holds one frame as JSON; drop the file again with its lines."
        )
    return (
        f"None of the {summary.lines} lines could be taken in: {reasons}. Table `reject` keeps them with a sentence "
        "each; mend the contract or the producer, then move this file back to incoming."
    )


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())


def _sentence(name: str, s: Summary) -> str:
    """One line about a file that adds up to its lines."""
    parts = [f"{s.stored} stored", f"{s.duplicate} duplicate", f"{s.rejected} rejected"]
    if s.rejected:
        parts[-1] += f" ({_listed(s.why_rejected)})"
    parts += [f"{s.blank} blank"] if s.blank else []
    parts += [f"{s.repeated} taken in before"] if s.repeated else []
    said = f"{plain(name)}: {s.lines} line{'' if s.lines == 1 else 's'} = {' + '.join(parts)}"
    if s.detections_rejected:
        plural = "" if s.detections_rejected == 1 else "s"
        said += f"; {s.detections_rejected} detection{plural} set aside ({_listed(s.why_set_aside)})"
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
