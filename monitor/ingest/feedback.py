"""Lines of reviews and of business events → records, and what was set aside with its reason.

A file's name says what its lines hold: `*.reviews.jsonl`, `*.events.jsonl` or `*.events.csv`, packed or not; every
other file holds frames.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import pairwise
from typing import BinaryIO, Generic, TypeVar

import msgspec

from monitor.errors import FileBroken, RecordRejected
from monitor.feedback import EventRecord, JudgedDetection, ReviewRecord
from monitor.ingest.inflate import Pieces
from monitor.ingest.lines import Lines
from monitor.ingest.parse import AHEAD, MAX_NAME_BYTES, MAX_NUMBER, OLDEST, RAW_KEPT, decoded, shown
from monitor.ingest.spool import suffix_of
from monitor.records import Reject

_REVIEWS, _EVENTS, _EVENTS_CSV = ".reviews", ".events", ".events.csv"
_BOM = b"\xef\xbb\xbf"
_NUMBERS = ("minutes", "before", "after")
_LONGEST_ROW = 1 << 16
"""Characters of one row of a CSV file."""

Said = TypeVar("Said", ReviewRecord, EventRecord)
_encode = msgspec.json.Encoder(order="deterministic").encode
_review = msgspec.json.Decoder(ReviewRecord).decode
_event = msgspec.json.Decoder(EventRecord).decode


@dataclass(slots=True)
class Heard(Generic[Said]):
    """What a batch of lines holds: lines = len(records) + duplicate + len(rejects) + blank."""

    records: list[Said]
    digests: list[bytes]
    """[n] 16 bytes that stand for what a record says."""
    line_number: list[int]
    """[n]"""
    rejects: list[Reject]
    lines: int
    sha256: bytes
    """Of all lines with a newline between."""
    duplicate: int = 0
    blank: int = 0


def is_feedback(name: str) -> bool:
    """Whether a file of this name holds reviews or business events."""
    return is_reviews(name) or _stem(name).endswith(_EVENTS) or name.endswith(_EVENTS_CSV)


def is_reviews(name: str) -> bool:
    """Whether a file of this name holds reviews."""
    return _stem(name).endswith(_REVIEWS)


def _stem(name: str) -> str:
    return name.removesuffix(suffix_of(name)) if suffix_of(name) else ""


def read_reviews(lines: Lines, now: datetime, only: Collection[int] | None = None) -> Heard[ReviewRecord]:
    """Decode and check lines of reviews; `only`: the numbers of those to look at (None: all). Never raises on account
    of a line."""
    return _read(lines, only, _review, lambda record: _check_review(record, now), lambda r: r.review_id)


def read_events(
    lines: Lines,
    models: Collection[str],
    now: datetime,
    only: Collection[int] | None = None,
) -> Heard[EventRecord]:
    """Decode and check lines of business events of `models`; otherwise as `read_reviews`."""
    return _read(lines, only, _event, lambda record: _check_event(record, models, now), lambda r: r.event_id)


def conflict(said: str) -> RecordRejected:
    """The rejection of an id that was taken in before with other content."""
    return RecordRejected(
        "conflict",
        f"{shown(said)} was taken in before with other content; the first one stands. Give every review and event an "
        "id of its own and send one again only unchanged",
    )


def lines_of_csv(stream: BinaryIO) -> Pieces:
    """A CSV file of business events as lines of JSON; the line of titles becomes a blank one, so that numbers agree.

    Columns are named as the fields of an event; an empty cell is a field that is left out.

    Raises:
        FileBroken: it is no such file from here on.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        rows = csv.reader(_bounded(text), strict=True)
        titles = [title.strip() for title in next(rows, [])]
        yield b"\n"
        for row in rows:
            yield _line(titles, row) + b"\n"
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileBroken(
            f"it is no CSV in UTF-8 from some row on ({error}); mend that row and drop it again"
        ) from error
    finally:
        text.detach()


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LONGEST_ROW + 1):
        if len(line) > _LONGEST_ROW:
            raise csv.Error(f"a row has more than {_LONGEST_ROW} characters")
        yield line


def _line(titles: Sequence[str], row: Sequence[str]) -> bytes:
    if not any(cell.strip() for cell in row):
        return b""
    # What has no title stays visible, and is refused as a field that there is not.
    named = [*titles, *(f"column {i + 1}" for i in range(len(titles), len(row)))]
    said = {title: _cell(title, cell.strip()) for title, cell in zip(named, row, strict=False) if cell.strip()}
    return json.dumps(said).encode()


def _cell(title: str, cell: str) -> str | float | int:
    if title == "schema_version" and cell.isdecimal():
        return int(cell)
    if title not in _NUMBERS:
        return cell
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) else cell


def _read(
    lines: Lines,
    only: Collection[int] | None,
    decode: Callable[[bytes], Said],
    check: Callable[[Said], None],
    name: Callable[[Said], str],
) -> Heard[Said]:
    count = len(lines) if only is None else len(only)
    found: Heard[Said] = Heard([], [], [], [], count, lines.sha256())
    seen: dict[str, bytes] = {}
    for number, line in enumerate(lines.lines, lines.first):
        if only is not None and number not in only:
            continue
        if not line or line.isspace():
            found.blank += 1
            continue
        try:
            record = decoded(line.removeprefix(_BOM) if number == 1 else line, decode)
            check(record)
            digest = blake2b(_encode(record), digest_size=16).digest()
            if (earlier := seen.setdefault(name(record), digest)) != digest:
                raise conflict(name(record))
        except RecordRejected as fault:
            found.rejects.append(Reject(number, fault.reason, fault.detail, line[:RAW_KEPT]))
            continue
        if earlier is not digest:
            found.duplicate += 1
            continue
        found.records.append(record)
        found.digests.append(digest)
        found.line_number.append(number)
    return found


def _check_review(record: ReviewRecord, now: datetime) -> None:
    _check_texts([record.review_id, record.event_id, record.source, record.reviewer, record.reason])
    said = [("assigned_at", record.assigned_at), ("started_at", record.started_at)]
    times = [(name, at) for name, at in said if at is not None] + [("finished_at", record.finished_at)]
    for name, at in times:
        _check_time(name, at, now)
    for (before, first), (after, second) in pairwise(times):
        if first > second:
            raise RecordRejected(
                "invalid", f"{before} lies after {after}; a review is assigned, then started, then finished"
            )
    record.finished_at = record.finished_at.astimezone(UTC)
    record.assigned_at = record.assigned_at and record.assigned_at.astimezone(UTC)
    record.started_at = record.started_at and record.started_at.astimezone(UTC)
    for judged in record.detections:
        _check_judged(judged)
    places = [judged.index for judged in record.detections if judged.index is not None]
    if len(set(places)) < len(places):
        raise RecordRejected("invalid", "two verdicts name the same index; give each detection one verdict")
    for missed in record.missed:
        _check_texts([missed.class_name])
        _check_box(missed.box)


def _check_judged(judged: JudgedDetection) -> None:
    by_box = judged.class_name is not None and judged.box is not None
    if (judged.index is None) != by_box or (judged.index is not None and (judged.class_name or judged.box)):
        raise RecordRejected(
            "invalid", "a verdict names its detection by `index`, or by `class` and `box` together; write one of them"
        )
    if (judged.right_class is None) == (judged.verdict == "wrong_class"):
        raise RecordRejected(
            "invalid", "`right_class` goes with the verdict wrong_class and no other; write it there and only there"
        )
    _check_texts([text for text in (judged.class_name, judged.right_class) if text])
    _check_box(judged.box)


def _check_box(box: tuple[float, float, float, float] | None) -> None:
    if box is not None and not (all(abs(side) <= MAX_NUMBER for side in box) and box[0] < box[2] and box[1] < box[3]):
        raise RecordRejected("bad_box", "a box is x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2; mend it")


def _check_event(record: EventRecord, models: Collection[str], now: datetime) -> None:
    texts = [record.event_id, record.model, record.version, record.camera, record.class_name, record.frame]
    _check_texts([*texts, record.source])
    if "\0" in record.note:
        raise RecordRejected("bad_text", "`note` holds a NUL character; leave it out")
    if record.model not in models:
        raise RecordRejected(
            "unknown_model",
            f"no contract is in force for model {shown(record.model)}; put its TOML into the contracts folder, or "
            "mend the name",
        )
    _check_time("at", record.at, now)
    record.at = record.at.astimezone(UTC)
    needs = {
        "false_alarm": ("minutes",),
        "throughput": ("before", "after"),
        "deployment": ("version",),
    }.get(record.kind, ())
    if silent := [name for name in needs if not getattr(record, name) and getattr(record, name) != 0]:
        raise RecordRejected("invalid", f"an event of kind {record.kind} says {' and '.join(silent)}; write it")
    if record.kind == "throughput" and not record.before:
        raise RecordRejected("invalid", "a gain over a throughput of 0 is no number; write `before` above 0")


def _check_time(name: str, at: datetime, now: datetime) -> None:
    if not OLDEST <= at <= now + AHEAD:
        raise RecordRejected(
            "future" if at > now else "too_late",
            f"{name} {at.isoformat()} lies before 2000 or more than a day ahead; set the clock of whoever wrote it",
        )


def _check_texts(said: Sequence[str]) -> None:
    """Texts that Postgres cannot hold (NUL), and names too long for a key of it."""
    for text in said:
        if "\0" in text:
            raise RecordRejected("bad_text", f"the text {shown(text)} holds a NUL character; leave it out")
        if not text.isascii() and len(text.encode()) > MAX_NAME_BYTES:
            raise RecordRejected(
                "name_too_long", f"the name {shown(text)} is longer than {MAX_NAME_BYTES} bytes in UTF-8; shorten it"
            )
