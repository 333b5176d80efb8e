"""Lines that were set aside go through intake once more, as after a contract was mended.

What is taken in becomes a batch of its own in the ledger, and the rejects are marked as replayed in the same
transaction. What is refused again stays where it is, open, with the reason of this time. A detection that was set
aside has no second chance: its frame is stored, and the same frame with other detections would be a conflict.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from monitor.errors import UsageError
from monitor.ingest.batch import Batch, Contracts, Summary, Taking
from monitor.ingest.feedback import is_feedback, is_reviews
from monitor.ingest.keep import listen
from monitor.ingest.lines import BATCH_BYTES, BATCH_LINES, Lines
from monitor.ingest.parse import RAW_KEPT, parse, rules_of
from monitor.records import Reject
from monitor.store import frames, histograms, ledger, rejects
from monitor.store.database import Connection, Database
from monitor.store.rejects import Rejected, RejectKey, Which

_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Replay:
    """What became of the chosen rejects: chosen = stored + duplicate + blank + refused + cut + parts + gone."""

    chosen: int = 0
    stored: int = 0
    duplicate: int = 0
    blank: int = 0
    refused: int = 0
    cut: int = 0
    """Lines longer than what is kept of them."""
    parts: int = 0
    """Detections that were set aside of frames that are stored."""
    gone: int = 0
    """Settled by somebody else meanwhile."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why lines were refused again."""

    def add(self, taken: Summary, tried: int) -> None:
        """Count a batch that was taken in, of `tried` lines."""
        self.stored += taken.stored
        self.duplicate += taken.duplicate
        self.blank += taken.blank
        self.gone += tried - taken.lines


class _RefusedAgain(Exception):
    """Takes the transaction back, to be tried without these."""

    def __init__(self, refused: dict[RejectKey, Reject]) -> None:
        super().__init__(f"{len(refused)} lines")
        self.refused = refused


def replay(database: Database, contracts: Contracts, which: Which, now: datetime) -> Replay:
    """Take the open rejects of `which` in, if they can be now. `contracts` are by model name, `now` is aware.

    Each batch of up to 10,000 lines is one transaction; killed and run again, nothing is lost or doubled.

    Raises:
        UsageError: no contract is in force.
        DependencyAway, TryAgain: the database cannot be used now, or others were in the way; batches that were taken
            in stay in.
    """
    if not contracts:
        raise UsageError(
            "no contract is in force, so every line would be refused; put one TOML a model into its folder"
        )
    total = Replay()
    with database.begin() as conn:
        # What this replay itself sets aside is for another time.
        chosen = replace(which, state=rejects.OPEN, last_batch=rejects.last_batch(conn))
    for page in _pages(database, chosen, total):
        refused = _take_in(database, contracts, page, now, total)
        total.refused += len(refused)
        total.reasons.update(one.reason for one in refused.values())
        with database.begin() as conn:
            changed = rejects.restate(conn, refused)
            before, reasons = [was for was, _ in changed], [said for _, said in changed]
            ledger.count_again(conn, page[0].source, before, reasons, now)
    histograms.merge_if_free(database, now)
    return total


def _pages(database: Database, which: Which, total: Replay) -> Iterator[list[Rejected]]:
    """What can be replayed, a source at a time and as much as fits into a batch; the rest is counted in `total`."""
    after: RejectKey | None = None
    while True:
        with database.begin() as conn:
            found = rejects.listing(conn, which, BATCH_LINES, newest=False, after=after)
        if not found:
            return
        after = found[-1].key
        total.chosen += len(found)
        total.parts += sum(not one.whole_line for one in found)
        total.cut += sum(one.whole_line and one.size >= RAW_KEPT for one in found)
        whole = [one for one in found if one.whole_line and one.size < RAW_KEPT]
        for kind in sorted({_kind(one) for one in whole}):
            yield from _sized([one for one in whole if _kind(one) == kind])


def _kind(one: Rejected) -> tuple[str, bool, bool]:
    """What lines have in common that can be one batch: their source, and what their files hold."""
    return one.source, is_feedback(one.file_name), is_reviews(one.file_name)


def _sized(found: Sequence[Rejected]) -> Iterator[list[Rejected]]:
    """Consecutive rejects of up to BATCH_BYTES together."""
    page: list[Rejected] = []
    size = 0
    for one in found:
        if page and size + one.size > BATCH_BYTES:
            yield page
            page, size = [], 0
        page.append(one)
        size += one.size
    if page:
        yield page


def _take_in(
    database: Database, contracts: Contracts, page: Sequence[Rejected], now: datetime, total: Replay
) -> dict[RejectKey, Reject]:
    """Take in what can be of one page; returns what was refused again, and why."""
    keys = [one.key for one in page]
    with database.begin() as conn:
        texts = _lines(rejects.read(conn, keys))
    if is_feedback(page[0].file_name):
        heard = listen(page[0].file_name, Lines.of(list(texts.values())), contracts, now)
        days, found = [], heard.rejects
    else:
        parsed = parse(list(texts.values()), 1, rules_of(contracts, now), now)
        days, found = frames.days_of(parsed.columns.captured_us), parsed.rejects
    numbered = dict(enumerate(texts, 1))
    refused = {numbered[one.line_number]: one for one in found if one.whole_line}
    with database.begin() as conn:
        frames.make_days(conn, days)
    taking = Taking(database, contracts, now)
    while left := [key for key in keys if key not in refused]:
        try:
            with database.begin() as conn:
                taken = _attempt(conn, taking, left)
        except _RefusedAgain as again:  # the database knows what the lines alone do not give away: a conflict
            refused |= again.refused
            continue
        total.add(taken, len(left))
        break
    return refused


def _attempt(conn: Connection, taking: Taking, keys: Sequence[RejectKey]) -> Summary:
    held = rejects.read(conn, keys, hold=True)
    if not held:
        return Summary()
    texts = _lines(held)
    files = sorted({one.file_name for one in held})
    name = "replay:" + hashlib.sha256(" ".join(map(str, texts)).encode()).hexdigest()
    # The name says what the lines hold, so nothing may stand behind that of a file of reviews or events.
    said = files[0] if len(files) == 1 or is_feedback(files[0]) else f"{files[0]} and {len(files) - 1} more"
    lines, before = Lines.of(list(texts.values())), [one.reason for one in held]
    batch_id, summary = taking.take_again(conn, Batch(held[0].source, name, said, lines), before)
    if summary.rejected:
        numbered = dict(enumerate(texts, 1))
        raise _RefusedAgain({numbered[r.line_number]: r for r in rejects.refused_lines(conn, batch_id)})
    rejects.settle_replayed(conn, list(texts), batch_id, taking.now)
    return summary


def _lines(found: Sequence[Rejected]) -> dict[RejectKey, bytes]:
    """The lines; the first of a file without its byte order mark, as when it was read."""
    return {one.key: one.raw.removeprefix(_BOM) if one.key.line_number == 1 else one.raw for one in found}
