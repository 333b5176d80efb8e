"""Intake: whole files → frames, roll-ups and rejects, one transaction a batch; a file is moved after the last COMMIT.

Killed at any point and run again, it ends in the same tables: a batch is in the ledger with all that belongs to it,
or it is nowhere.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from monitor.errors import DependencyAway, FileBroken, FilesLeft, MonitorError, NoRoom, TryAgain, UsageError
from monitor.ingest.crowd import thinned
from monitor.ingest.names import bound_names, named
from monitor.ingest.parse import MAX_LINE, RAW_KEPT, Parsed, conflict, parse, plain
from monitor.ingest.rollup import roll_up
from monitor.ingest.sources import open_lines
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
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Stored frames whose camera or slice counts under `__other__`, by model and condition (`""`: camera)."""
    broken: list[str] = field(default_factory=list)
    """Of each file that could not be read to its end, why."""

    @property
    def reasons(self) -> Counter[str]:
        """Why lines and detections were set aside."""
        return self.why_rejected + self.why_set_aside + self.why_still

    def add(self, other: Summary) -> None:
        """Count another summary in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Progress = Callable[[str, Summary], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A batch that was entered into the ledger; `before` are the reasons for which its lines had been rejected."""

    conn: Connection
    batch_id: int
    source: str
    lines: Lines
    parsed: Parsed
    before: Iterable[str]


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
        NoRoom: the disk of the database is full, or nearly so; likewise.
        UsageError: files wait and no contract is in force.
        FilesLeft: some files cannot be read, moved or stored as they are; the others were taken in.
    """
    spool = Spool(spool_dir)

    def put_away(file: Waiting, summary: Summary) -> bool:
        if not summary.broken and summary.stored + summary.duplicate + summary.good_before:
            return spool.done(file, now) is not None
        why = _why_broken(summary) if summary.broken else _why_nothing(summary)
        summary.quarantined = int(spool.quarantine(file, why) is not None)
        return bool(summary.quarantined)

    return load(database, spool.waiting(), contracts, now, progress, put_away)


def load(
    database: Database,
    files: Iterable[Waiting],
    contracts: Contracts,
    now: datetime,
    progress: Progress | None = None,
    put_away: Callable[[Waiting, Summary], bool] | None = None,
) -> Summary:
    """Take in files from wherever they lie; otherwise as `drain`.

    `put_away` is called when all of a file is in, and returns whether it was still there to be moved.
    """
    total = Summary()
    faults: list[MonitorError] = []
    known: set[int] = set()
    for file in files:
        if not contracts:
            raise UsageError(f"{file.name} waits and no contract is in force; put one TOML a model into its folder")
        try:
            summary = _load_file(database, file, contracts, now, progress, known)
        except FileNotFoundError:
            continue  # another worker was faster
        except UsageError as error:
            faults.append(error)
            continue
        moved = False
        if put_away is None and summary.broken:
            faults.append(UsageError(f"{file.path}: {_why_broken(summary)}"))
        try:
            moved = put_away is None or put_away(file, summary)
        except DependencyAway as error:
            faults.append(error)
        # A file that cannot be moved comes again at every turn, and is not news then.
        if moved or summary.repeated < summary.lines:
            loud = logging.WARNING if summary.others or summary.broken else logging.INFO
            _log.log(loud, "%s", _sentence(file.name, summary))
        total.add(summary)
    with suppress(NoRoom), database.begin() as conn:  # it can wait; sums are right before and after
        histograms.merge(conn, now)
    if faults:
        more = len(faults) - FAULTS_SAID
        said = [*map(str, faults[:FAULTS_SAID]), *([f"and {more} more"] if more > 0 else [])]
        raise FilesLeft("\n".join(said), total.stored, faults[0].exit_code)
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
        try:
            digest = hash_of(stream)
        except OSError as error:
            raise UsageError(
                f"{file.path} cannot be read: {error.strerror}; mend its disk or drop it again"
            ) from error
        try:
            with open_lines(stream, file.path.name) as text:
                for lines in read_batches(text, MAX_LINE):
                    # The lines are part of the name, so that batches of another size are never mistaken for these.
                    name = f"{digest}:{lines.first}-{lines.last}"
                    summary = _take(database, file, name, lines, contracts, now, known)
                    total.add(summary)
                    if progress is not None:
                        progress(file.name, summary)
        except FileBroken as broken:
            total.broken = [str(broken)]
    return total


def take_lines(
    database: Database, source: str, name: str, file_name: str, lines: Lines, contracts: Contracts, now: datetime
) -> Summary:
    """Lines that came in no file, as one batch called `name`, committed when this returns; from any thread.

    Raises:
        OtherContent: a batch of this name was taken in before and held something else.
        UsageError, DependencyAway, TryAgain: as `ledger.entry`; the same batch may be given again.
    """
    with _collector_off():
        return _take(database, Waiting(Path(), source, file_name), name, lines, contracts, now, set())


def _take(
    database: Database,
    file: Waiting,
    name: str,
    lines: Lines,
    contracts: Contracts,
    now: datetime,
    known: set[int],
) -> Summary:
    """One batch. Of one that was taken in before only the lines that were rejected are looked at again: the contract,
    or the clock, may have been mended since. What then is new goes into the ledger as a batch of its own."""
    content = lines.sha256()
    with database.begin() as conn:
        earlier = ledger.find_earlier(conn, file.source, name)
    if earlier and earlier.sha256 != content:
        raise ledger.other_content(file.source, name)
    count = len(lines.lines)
    if earlier and not earlier.rejected:
        return _seen(count, earlier)
    database.require_room(sum(map(len, lines.lines)))
    parsed = parse(lines.lines, lines.first, contracts, now, earlier.rejected if earlier else None)
    with database.begin() as conn:
        frames.make_days(conn, frames.days_of(parsed.columns))
    attempt = f"{name}+{earlier.attempts + 1}" if earlier else name
    try:
        with ledger.entry(database, f"lines {lines.first}-{lines.last} of {plain(file.name)}") as conn:
            batch_id = ledger.open_batch(conn, file.source, attempt, file.name, content, now)
            if batch_id is None:  # another worker took it in just now
                return _seen(count, ledger.find_earlier(conn, file.source, name))
            before = ledger.pass_on(conn, file.source, name, batch_id, now) if earlier else []
            if earlier and len(before) != len(earlier.rejected):
                raise TryAgain(f"lines of {plain(file.name)} were replayed just now, so nothing was kept; try again")
            entry = _Entry(conn, batch_id, file.source, lines, parsed, before)
            summary, series = _store(entry, contracts, now, known)
            if earlier and not summary.stored:
                raise _NothingNew
    except _NothingNew:
        repeated = _seen(count, earlier)
        repeated.good_before += summary.duplicate
        repeated.why_still = summary.why_rejected
        return repeated
    known |= series
    summary.lines, summary.repeated = count, count - parsed.lines
    return summary


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
    batch_id = ledger.open_batch(conn, source, name, file_name, lines.sha256(), now)
    if batch_id is None:
        raise UsageError(f"batch {name!r} of source {source!r} was taken in before")
    parsed = parse(lines.lines, lines.first, contracts, now)
    return batch_id, _store(_Entry(conn, batch_id, source, lines, parsed, before), contracts, now, set())[0]


def _seen(count: int, earlier: Earlier | None) -> Summary:
    """What is to say of a batch that was taken in before."""
    if earlier is None:
        return Summary(lines=count, repeated=count)
    still = Counter(earlier.rejected.values())
    return Summary(lines=count, repeated=count, good_before=earlier.good, why_still=still)


def _store(entry: _Entry, contracts: Contracts, now: datetime, known: set[int]) -> tuple[Summary, set[int]]:
    """All rows of one batch; returns what became of the lines, and the ids of the series it counted in."""
    conn, batch_id, parsed = entry.conn, entry.batch_id, entry.parsed
    within = bound_names(conn, entry.source, parsed.columns, contracts, now)
    placed = frames.insert_frames(conn, batch_id, entry.source, thinned(within.columns))
    new = np.flatnonzero(placed.new)
    series: set[int] = set()
    if len(new):
        stored = within.columns if len(new) == len(parsed.columns) else within.columns.take(new)
        series = histograms.append(conn, batch_id, roll_up(stored), known)
    rejects = _all_rejects(parsed, placed, entry.lines)
    others = Counter({name: int(placed.new[rows].sum()) for name, rows in within.others.items()})
    ledger.save_rejects(conn, batch_id, rejects)
    counts = Counts(
        lines=parsed.lines,
        stored=len(new),
        duplicate=parsed.duplicate + int(placed.duplicate.sum()),
        rejected=sum(reject.whole_line for reject in rejects),
        blank=parsed.blank,
        detections_rejected=sum(not reject.whole_line for reject in rejects),
    )
    ledger.close_batch(conn, batch_id, counts, rejects, entry.before, others)
    return Summary(
        lines=counts.lines,
        stored=counts.stored,
        duplicate=counts.duplicate,
        rejected=counts.rejected,
        blank=counts.blank,
        detections_rejected=counts.detections_rejected,
        why_rejected=Counter(reject.reason for reject in rejects if reject.whole_line),
        why_set_aside=Counter(reject.reason for reject in rejects if not reject.whole_line),
        others=+others,
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


def _why_broken(summary: Summary) -> str:
    """Why a file was not read to its end, and how far it was."""
    if not summary.lines:
        return f"Nothing of the file was taken in: {summary.broken[0]}."
    good = summary.stored + summary.duplicate + summary.good_before
    return (
        f"Of the file only the first {summary.lines} lines were looked at ({good} are stored): {summary.broken[0]}. "
        "What is stored stays so, and given once more counts once."
    )


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
