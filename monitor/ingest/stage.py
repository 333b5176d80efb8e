"""Intake: whole files → frames, roll-ups and rejects, one transaction a batch; a file is moved after the last COMMIT.

Killed at any point and run again, it ends in the same tables: a batch is in the ledger with all that belongs to it,
or it is nowhere.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from monitor.errors import UsageError
from monitor.ingest.parse import MAX_LINE, RAW_KEPT, Parsed, conflict, parse
from monitor.ingest.rollup import roll_up
from monitor.ingest.spool import Lines, Spool, Waiting, hash_of, open_file, read_batches
from monitor.records import Reject
from monitor.spec.load import LoadedContract
from monitor.store import frames, histograms, ledger
from monitor.store.database import Connection, Database
from monitor.store.ledger import Counts

Contracts = Mapping[str, LoadedContract]


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
    """Lines of batches that were taken in before and of which nothing new came."""
    detections_rejected: int = 0
    good_before: int = 0
    """Of the repeated lines, how many had been stored or were duplicates."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why lines and detections were set aside."""

    def add(self, other: Summary) -> None:
        """Count another summary in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Progress = Callable[[str, Summary], None]


class _NothingNew(Exception):
    """Takes back the transaction of a batch that was taken in before and still gives nothing new."""


def run(
    database: Database, spool_dir: Path, contracts: Contracts, now: datetime, progress: Progress | None = None
) -> int:
    """Take in what waits in the spool; returns the number of frames stored. See `drain`."""
    return drain(database, spool_dir, contracts, now, progress).stored


def drain(
    database: Database, spool_dir: Path, contracts: Contracts, now: datetime, progress: Progress | None = None
) -> Summary:
    """Take in every file that waits in the spool, by name, and move it to `done/` or `quarantine/`.

    `contracts` are by model name, `now` is an aware time. `progress` is told after each batch the file's name and
    what became of the batch.

    Raises:
        DependencyAway: the database or the spool cannot be used now; what was not taken in stays in `incoming/`.
        UsageError: files wait and no contract is in force, or some cannot be read; the others were taken in.
    """
    spool = Spool(spool_dir)

    def put_away(file: Waiting, summary: Summary) -> None:
        if summary.stored + summary.duplicate + summary.good_before:
            spool.done(file, now)
        else:
            summary.quarantined = 1
            spool.quarantine(file, _why_nothing(summary))

    return load(database, spool.waiting(), contracts, now, progress, put_away)


def load(
    database: Database,
    files: Iterable[Waiting],
    contracts: Contracts,
    now: datetime,
    progress: Progress | None = None,
    put_away: Callable[[Waiting, Summary], None] | None = None,
) -> Summary:
    """Take in files from wherever they lie; `put_away` is called when all of a file is in. Otherwise as `drain`."""
    total = Summary()
    faults: list[str] = []
    known: set[int] = set()
    for file in files:
        if not contracts:
            raise UsageError(f"{file.name} waits and no contract is in force; put one TOML a model into its folder")
        try:
            summary = _load_file(database, file, contracts, now, progress, known)
        except FileNotFoundError:
            continue  # another worker was faster
        except UsageError as error:
            faults.append(str(error))
            continue
        if put_away is not None:
            put_away(file, summary)
        total.add(summary)
    with database.begin() as conn:
        histograms.merge(conn)
    if faults:
        raise UsageError("\n".join(faults))
    return total


def _load_file(
    database: Database,
    file: Waiting,
    contracts: Contracts,
    now: datetime,
    progress: Progress | None,
    known: set[int],
) -> Summary:
    total = Summary(files=1)
    with open_file(file.path) as stream, _collector_off():
        digest = hash_of(stream)
        for lines in read_batches(stream, MAX_LINE):
            # The lines are part of the name, so that batches of another size are never mistaken for these.
            name = f"{digest}:{lines.first}-{lines.last}"
            summary = _take(database, file, name, lines, contracts, now, known)
            total.add(summary)
            if progress is not None:
                progress(file.name, summary)
    return total


def _take(
    database: Database,
    file: Waiting,
    name: str,
    lines: Lines,
    contracts: Contracts,
    now: datetime,
    known: set[int],
) -> Summary:
    """One batch. One that was taken in before is looked at again only if lines of it had been rejected: the contract,
    or the clock, may have been mended since. What then is new goes into the ledger as a batch of its own."""
    with database.begin() as conn:
        attempts = ledger.find_attempts(conn, file.source, name)
    count = len(lines.lines)
    repeated = Summary(lines=count, repeated=count, good_before=sum(one.stored + one.duplicate for one in attempts))
    if attempts and not attempts[-1].rejected:
        return repeated
    parsed = parse(lines.lines, lines.first, contracts, now)
    with database.begin() as conn:
        frames.make_days(conn, frames.days_of(parsed.columns))
    content = hashlib.sha256(b"\n".join(lines.lines)).digest()
    attempt = f"{name}+{len(attempts) + 1}" if attempts else name
    try:
        with database.begin() as conn:
            batch_id = ledger.open_batch(conn, file.source, attempt, file.name, content, now)
            if batch_id is None:  # another worker took it in just now
                return repeated
            summary, series = _store(conn, batch_id, file.source, lines, parsed, known)
            if attempts and not summary.stored:
                repeated.reasons = summary.reasons
                raise _NothingNew
    except _NothingNew:
        return repeated
    known |= series
    return summary


def take_again(
    conn: Connection,
    source: str,
    name: str,
    file_name: str,
    lines: Lines,
    contracts: Contracts,
    now: datetime,
) -> tuple[int, Summary]:
    """Lines that had been set aside, as a batch of its own in the caller's transaction: its number, what came of it.

    The partitions must be there. Lines that are refused once more are rejects of the new batch.

    Raises:
        UsageError: a batch of this name was taken in before.
    """
    content = hashlib.sha256(b"\n".join(lines.lines)).digest()
    batch_id = ledger.open_batch(conn, source, name, file_name, content, now)
    if batch_id is None:
        raise UsageError(f"batch {name!r} of source {source!r} was taken in before")
    parsed = parse(lines.lines, lines.first, contracts, now)
    return batch_id, _store(conn, batch_id, source, lines, parsed, set())[0]


def _store(
    conn: Connection, batch_id: int, source: str, lines: Lines, parsed: Parsed, known: set[int]
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
    ledger.close_batch(conn, batch_id, counts)
    reasons = Counter(reject.reason for reject in rejects)
    return Summary(
        lines=counts.lines,
        stored=counts.stored,
        duplicate=counts.duplicate,
        rejected=counts.rejected,
        blank=counts.blank,
        detections_rejected=counts.detections_rejected,
        reasons=reasons,
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
    reasons = ", ".join(f"{reason} {count}" for reason, count in summary.reasons.most_common())
    if not reasons:
        return (
            "The file holds blank lines only. One line holds one frame as JSON; drop the file again with its lines."
        )
    return (
        f"None of the {summary.lines} lines could be taken in: {reasons}. Table `reject` keeps them with a sentence "
        "each; mend the contract or the producer, then move this file back to incoming."
    )


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
