"""One batch of lines → frames, roll-ups and rejects, in one transaction with its row in the ledger.

Killed at any point and given again, it ends in the same tables: a batch is in the ledger with all that belongs to it,
or it is nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from monitor.errors import TryAgain, UsageError
from monitor.ingest.feedback import Heard, is_feedback
from monitor.ingest.keep import Listened, keep, listen
from monitor.ingest.lines import Lines
from monitor.ingest.names import NEW_A_DAY, OpenName
from monitor.ingest.parse import RAW_KEPT, conflict, plain, rules_of
from monitor.ingest.prepare import Prepared, assumed
from monitor.ingest.workers import Workers
from monitor.records import Reject
from monitor.spec.load import LoadedContract
from monitor.store import frames, histograms, ledger, names
from monitor.store.database import Connection, Database
from monitor.store.ledger import Counts, Earlier

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
    def good(self) -> int:
        """Lines that are stored, now or before."""
        return self.stored + self.duplicate + self.good_before

    @property
    def reasons(self) -> Counter[str]:
        """Why lines and detections were set aside."""
        return self.why_rejected + self.why_set_aside + self.why_still

    def add(self, other: Summary) -> None:
        """Count another summary in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that belong together: `name` tells them from the others of their source for good."""

    source: str
    name: str
    file_name: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch that is being prepared; of one that was taken in before only what is still rejected, if anything is."""

    batch: Batch
    earlier: Earlier | None
    prepared: Future[Prepared] | None
    heard: Listened | None = None
    """What lines of reviews and events say, which are few and read at once."""

    @property
    def ready(self) -> bool:
        """Whether nothing is left to do but to store it."""
        return self.prepared is None or self.prepared.done()


class _NothingNew(Exception):
    """Takes back the transaction of a batch that was taken in before and still gives nothing new."""


class Taking:
    """Takes batches in under the contracts that are in force at a time; any thread may, each its own batch.

    `workers` prepare large batches in other processes, so that one can be begun while others are stored.
    """

    def __init__(
        self, database: Database, contracts: Contracts, now: datetime, workers: Workers | None = None
    ) -> None:
        self._database = database
        self._rules = rules_of(contracts, now)
        self.now = now
        self._workers = workers or Workers(0)
        self._known: set[int] = set()
        """Series that are committed."""

    def begin(self, batch: Batch) -> Begun:
        """Have a batch prepared. Of one that was taken in before only the lines that were rejected are looked at
        again: the contract, or the clock, may have been mended since.

        Raises:
            OtherContent: a batch of this name was taken in before and held something else.
        """
        with self._database.begin() as conn:
            earlier = ledger.find_earlier(conn, batch.source, batch.name)
        if earlier and earlier.sha256 != batch.lines.sha256():
            raise ledger.other_content(batch.source, batch.name)
        if earlier and not earlier.rejected:
            return Begun(batch, earlier, None)
        self._database.require_room(batch.lines.size)
        only = earlier.rejected if earlier else None
        if is_feedback(batch.file_name):
            return Begun(batch, earlier, None, self._listen(batch, only))
        return Begun(
            batch,
            earlier,
            self._workers.begin(batch.source, batch.lines, self._rules, self.now, only),
        )

    def help_with(self, begun: Begun) -> None:
        """Prepare other batches, or this one, as long as it is not prepared and there are such that nobody is at."""
        if begun.prepared is not None:
            self._workers.lend_a_hand(begun.prepared)

    def store(self, begun: Begun) -> Summary:
        """Commit a batch that was begun. What is new of one that was taken in before goes into the ledger as a batch
        of its own.

        Raises:
            UsageError, DependencyAway, TryAgain: as `ledger.entry`; nothing of it was kept.
        """
        batch, earlier, lines = begun.batch, begun.earlier, begun.batch.lines
        count = len(lines)
        prepared = begun.heard if begun.prepared is None else begun.prepared.result()
        if prepared is None:
            return _seen(count, earlier)
        if isinstance(prepared, Prepared):
            with self._database.begin() as conn:
                frames.make_days(conn, frames.days_of(prepared.frames.captured_us))
        try:
            with ledger.entry(
                self._database, f"lines {lines.first}-{lines.last} of {plain(batch.file_name)}"
            ) as conn:
                entered = self._enter(conn, begun, prepared)
                if entered is None:  # another worker took it in just now
                    return _seen(count, ledger.find_earlier(conn, batch.source, batch.name))
                summary, series = entered
                if earlier and not summary.stored:
                    raise _NothingNew
        except _NothingNew:
            repeated = _seen(count, earlier)
            repeated.good_before += summary.duplicate
            repeated.why_still = summary.why_rejected
            return repeated
        self._known |= series
        summary.lines, summary.repeated = count, count - prepared.lines
        return summary

    def _enter(
        self, conn: Connection, begun: Begun, prepared: Prepared | Listened
    ) -> tuple[Summary, set[int]] | None:
        """A batch into the ledger, with all that belongs to it; None: it is there already."""
        batch, earlier = begun.batch, begun.earlier
        attempt = f"{batch.name}+{earlier.attempts + 1}" if earlier else batch.name
        batch_id = ledger.open_batch(conn, batch.source, attempt, batch.file_name, batch.lines.sha256(), self.now)
        if batch_id is None:
            return None
        before = ledger.pass_on(conn, batch.source, batch.name, batch_id, self.now) if earlier else []
        if earlier and len(before) != len(earlier.rejected):
            raise TryAgain(
                f"lines of {plain(batch.file_name)} were replayed just now, so nothing was kept; try again"
            )
        return self._store(conn, batch_id, batch, prepared, before)

    def take_again(self, conn: Connection, batch: Batch, before: Iterable[str]) -> tuple[int, Summary]:
        """Lines that had been set aside, as a batch of its own in the caller's transaction: its number, what came
        of it.

        `before` are the reasons for which the lines had been rejected. The partitions must be there. Lines that are
        refused once more are rejects of the new batch.

        Raises:
            UsageError: a batch of this name was taken in before.
        """
        prepared = self._listen(batch) if is_feedback(batch.file_name) else self._prepare(batch)
        batch_id = ledger.open_batch(conn, batch.source, batch.name, batch.file_name, batch.lines.sha256(), self.now)
        if batch_id is None:
            raise UsageError(f"batch {batch.name!r} of source {batch.source!r} was taken in before")
        return batch_id, self._store(conn, batch_id, batch, prepared, before)[0]

    def _listen(self, batch: Batch, only: Collection[int] | None = None) -> Listened:
        return listen(batch.file_name, batch.lines, self._rules, self.now, only)

    def _prepare(
        self, batch: Batch, only: Collection[int] | None = None, beyond: Collection[OpenName] | None = None
    ) -> Prepared:
        """Prepare a batch now, by a worker if it is large."""
        return self._workers.begin(batch.source, batch.lines, self._rules, self.now, only, beyond).result()

    def _store(
        self, conn: Connection, batch_id: int, batch: Batch, prepared: Prepared | Listened, before: Iterable[str]
    ) -> tuple[Summary, set[int]]:
        """All rows of one batch; returns what became of the lines, and the ids of the series it counted in."""
        if isinstance(prepared, Heard):
            counts, rejects = keep(conn, batch_id, batch.source, batch.lines, prepared)
            ledger.close_batch(conn, batch_id, counts, rejects, before)
            return _summary(counts, rejects, Counter()), set()
        beyond: set[OpenName] = set()
        if said := prepared.open_names:
            beyond = {*said} - names.admit(conn, batch.source, said, NEW_A_DAY, self.now.date())
        if beyond != assumed(said):
            looked_at = prepared.line_number.tolist()
            rejects, counted = prepared.rejects, (prepared.lines, prepared.duplicate, prepared.blank)
            # Of a crowd of names both are large, and the same batch need not lie in memory twice.
            del prepared.frames, prepared.rollups
            prepared = self._prepare(batch, looked_at, beyond)
            prepared.rejects = rejects
            prepared.lines, prepared.duplicate, prepared.blank = counted
        placed = frames.insert_frames(conn, batch_id, batch.source, prepared.frames)
        new = np.flatnonzero(placed.new)
        series: set[int] = set()
        if len(new):
            counting = prepared
            if len(new) < len(prepared.frames):
                counting = self._prepare(batch, prepared.line_number[new].tolist(), beyond)
            series = histograms.append(conn, batch_id, counting.rollups, self._known, self.now)
        rejects = _all_rejects(prepared, placed, batch.lines)
        others = Counter({name: int(placed.new[rows].sum()) for name, rows in prepared.others.items()})
        ledger.save_rejects(conn, batch_id, rejects)
        counts = Counts(
            lines=prepared.lines,
            stored=len(new),
            duplicate=prepared.duplicate + int(placed.duplicate.sum()),
            rejected=sum(reject.whole_line for reject in rejects),
            blank=prepared.blank,
            detections_rejected=sum(not reject.whole_line for reject in rejects),
        )
        ledger.close_batch(conn, batch_id, counts, rejects, before, others)
        return _summary(counts, rejects, others), series


def _summary(counts: Counts, rejects: Iterable[Reject], others: Counter[tuple[str, str]]) -> Summary:
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
    )


def _seen(count: int, earlier: Earlier | None) -> Summary:
    """What is to say of a batch that was taken in before."""
    if earlier is None:
        return Summary(lines=count, repeated=count)
    still = Counter(earlier.rejected.values())
    return Summary(lines=count, repeated=count, good_before=earlier.good, why_still=still)


def _all_rejects(prepared: Prepared, placed: frames.Placed, lines: Lines) -> list[Reject]:
    """What the lines and the database gave reason to set aside, by line; parts only of frames that are stored now."""
    rejects = prepared.rejects
    if any(not reject.whole_line for reject in rejects):
        stored = set(prepared.line_number[placed.new].tolist())
        rejects = [reject for reject in rejects if reject.whole_line or reject.line_number in stored]

    conflicts = np.flatnonzero(placed.conflict).tolist()
    said = lines.lines if conflicts or placed.dropped or placed.refused else []

    def whole(row: int, reason: str, detail: str) -> Reject:
        number = int(prepared.line_number[row])
        return Reject(number, reason, detail, said[number - lines.first][:RAW_KEPT])

    event_ids = prepared.frames.event_ids.split("\0") if conflicts else []
    for row in conflicts:
        fault = conflict(event_ids[row])
        rejects.append(whole(row, fault.reason, fault.detail))
    for row in placed.dropped:
        rejects.append(
            whole(row, "too_late", "the frames of its day were taken away; this one may be counted already")
        )
    for row, why in placed.refused.items():
        rejects.append(whole(row, "refused", f"the database refuses the record: {why}; mend it and send it again"))
    return sorted(rejects, key=lambda reject: reject.line_number)
