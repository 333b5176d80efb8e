"""Reviews and business events of one batch → rows, with the ledger's counts: the same promises as for frames."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from monitor.feedback import EventRecord, ReviewRecord
from monitor.ingest.feedback import Heard, conflict, is_reviews, read_events, read_reviews
from monitor.ingest.lines import Lines
from monitor.ingest.parse import RAW_KEPT
from monitor.records import Reject
from monitor.store import business, ledger, reviews
from monitor.store.database import Connection
from monitor.store.ledger import Counts

Listened = Heard[ReviewRecord] | Heard[EventRecord]


def listen(
    file_name: str, lines: Lines, models: Collection[str], now: datetime, only: Collection[int] | None = None
) -> Listened:
    """Decode and check the lines of a file of reviews or events; otherwise as `parse`."""
    if is_reviews(file_name):
        return read_reviews(lines, now, only)
    return read_events(lines, models, now, only)


def keep(conn: Connection, batch_id: int, source: str, lines: Lines, heard: Listened) -> tuple[Counts, list[Reject]]:
    """Store what is new and save what is not taken in: a repeat is a duplicate, the same id with other content a
    conflict."""
    records = heard.records
    names = [record.review_id if isinstance(record, ReviewRecord) else record.event_id for record in records]
    table = reviews if records and isinstance(records[0], ReviewRecord) else business
    kept = table.insert(conn, batch_id, source, records, heard.digests)
    rejects = list(heard.rejects)
    said = lines.lines if kept.conflict else []
    for name, number in zip(names, heard.line_number, strict=True):
        if name in kept.conflict:
            fault = conflict(name)
            rejects.append(Reject(number, fault.reason, fault.detail, said[number - lines.first][:RAW_KEPT]))
    rejects.sort(key=lambda reject: reject.line_number)
    ledger.save_rejects(conn, batch_id, rejects)
    counts = Counts(
        lines=heard.lines,
        stored=len(kept.new),
        duplicate=heard.duplicate + len(records) - len(kept.new) - len(kept.conflict),
        rejected=len(rejects),
        blank=heard.blank,
    )
    return counts, rejects
