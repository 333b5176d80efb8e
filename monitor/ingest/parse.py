"""Lines of a log → frames as columns, and what was set aside with its reason. One bad line never costs a good one.

A line is decoded and checked for its types in one go (msgspec); what a type cannot say is checked here: that Postgres
can hold it, that the time is believable, and that the model's contract knows the model, camera and stage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, compress
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from monitor.errors import RecordRejected
from monitor.ingest.columns import Rules, columns_of
from monitor.ingest.digest import digests as digests_of
from monitor.ingest.flat import Flat, Hasty, read_one
from monitor.records import FrameColumns, FrameRecord, Reject, microseconds

if TYPE_CHECKING:  # what reads lines must not load what reads contracts
    from monitor.spec.load import LoadedContract

MAX_LINE = 1 << 20
"""Bytes of the longest line that is read; what is longer is rejected without being held."""
RAW_KEPT = 1 << 16
"""Bytes of a rejected line that are kept."""
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
"""A camera's clock may run ahead by this much."""
MAX_NAME_BYTES = 256
"""Bytes of a name in UTF-8: the names of one series together must fit into one index entry of Postgres."""
MAX_NUMBER = 1e9
"""Largest size of a number without limits of its own; sums over an hour then stay far within 64 bits."""
PART = 300
"""Lines that are read at a time: so few that their records stay in the processor's cache until they are columns."""
PART_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_NEWLINE, _OPEN, _CLOSE = b"\n{}"
_CONTROLS = tuple(b"\\" + letter for letter in (b"u", b"n", b"r", b"t", b"b", b"f"))
"""How JSON spells those of ASCII."""
_FEIGNED = re.compile("[\x01-\x1f\x80-\x9f\u2028-\u202e\u2066-\u2069]")
"""What ends a line or turns it around, where a name is shown among others."""
MAX_REAL = 3.4e38
"""Largest size of an embedding's element: single precision."""

Record = TypeVar("Record")
_decode_hastily = msgspec.json.Decoder(Hasty).decode
_decode_lines = msgspec.json.Decoder(Hasty).decode_lines


@dataclass(slots=True)
class Parsed:
    """What a batch of lines holds: lines = frames + duplicate + whole-line rejects + blank."""

    columns: FrameColumns
    """The frames in order."""
    line_number: list[int]
    """[n] the line of each frame."""
    rejects: list[Reject]
    lines: int
    """How many were looked at."""
    duplicate: int
    """Lines that say again what an earlier line of the batch says."""
    blank: int


def rules_of(contracts: Mapping[str, LoadedContract], now: datetime) -> dict[str, Rules]:
    """What is asked of a frame that arrives at `now`, by the name of its model."""
    return {name: Rules.of(loaded.contract, now) for name, loaded in contracts.items()}


def parse(
    pieces: Iterable[bytes],
    first_line: int,
    rules: Mapping[str, Rules],
    now: datetime,
    only: Collection[int] | None = None,
) -> Parsed:
    """Decode and check lines, the first of which is number `first_line` (from 1) of its file.

    Each of the `pieces` is a line or more, with a newline between each and the next. A line longer than MAX_LINE may
    be given cut to MAX_LINE + 1 bytes or more. `rules` are by model. `only`: the numbers of the lines to look at
    (None: all). Never raises on account of a line.
    """
    reader = _Reader(rules, now, None if only is None else frozenset(only))
    first = first_line
    for part, count, neat in chain.from_iterable(map(_parts, pieces)):
        reader.read(first, part, count, neat)
        first += count
    columns, aside = columns_of(Flat.joined(reader.parts or [Flat.of([])]), reader.digests, rules)
    rejects = sorted(reader.rejects, key=lambda reject: reject.line_number) + [
        Reject(reader.line_number[p.frame], p.reason, p.detail, p.raw[:RAW_KEPT], whole_line=False) for p in aside
    ]
    return Parsed(columns, reader.line_number, rejects, reader.looked_at, reader.duplicate, reader.blank)


def _parts(piece: bytes) -> Iterator[tuple[bytes, int, bool]]:
    """A few lines at a time, how many they are and whether they are neat; long ones each by itself, for what hangs on
    a record takes many times its text.

    Neat lines meet as an object's end and an object's beginning, which cannot happen within a value: if they are JSON
    at all, and as many objects as lines, then each line is one object.
    """
    said = np.frombuffer(piece, dtype=np.uint8)
    breaks = np.flatnonzero(said == _NEWLINE)
    untidy = (said[breaks - 1] != _CLOSE) | (said[np.minimum(breaks + 1, len(said) - 1)] != _OPEN) | (breaks == 0)
    ends, start = [*breaks.tolist(), len(piece)], 0
    for at in range(0, len(ends), PART):
        own = ends[at : at + PART]
        if own[-1] - start <= PART_BYTES:
            yield piece[start : own[-1]], len(own), not untidy[at : at + len(own) - 1].any()
        else:
            begins = [start, *(end + 1 for end in own[:-1])]
            yield from ((piece[begin:end], 1, True) for begin, end in zip(begins, own, strict=True))
        start = own[-1] + 1


@dataclass(slots=True)
class _Reader:
    """Reads a batch part by part, and knows what it has read."""

    rules: Mapping[str, Rules]
    now: datetime
    only: frozenset[int] | None
    parts: list[Flat] = field(default_factory=list)
    line_number: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    """[n] of each frame's content."""
    rejects: list[Reject] = field(default_factory=list)
    seen: dict[str, bytes] = field(default_factory=dict)
    """The digest of each frame's content by its id."""
    looked_at: int = 0
    duplicate: int = 0
    blank: int = 0

    def read(self, first: int, text: bytes, count: int, neat: bool) -> None:
        """Read `count` lines, neat or not, the first of which is number `first`."""
        numbers: Sequence[int] = range(first, first + count)
        if self.only is not None:
            lines = zip(numbers, text.split(b"\n"), strict=True)
            chosen = [(number, line) for number, line in lines if number in self.only]
            numbers, text = [number for number, _ in chosen], b"\n".join(line for _, line in chosen)
            neat = False
        self.looked_at += len(numbers)
        if numbers and not self._read_together(numbers, text, neat):
            self._read_singly(numbers, text.split(b"\n"))

    def _read_together(self, numbers: Sequence[int], text: bytes, neat: bool) -> bool:
        """Read lines with which nothing is wrong; False: each has to be looked at by itself."""
        if not text.isascii() or len(text) > MAX_LINE:
            return False
        if b"\\" in text and any(control in text for control in _CONTROLS):
            return False
        try:
            records = _decode_lines(text) if neat else list(map(_decode_hastily, text.split(b"\n")))
            said = Flat.of(records)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return False
        ids = set(said.event_id)
        if (
            len(ids) < len(numbers)
            or len(said) > len(numbers)
            or not self.seen.keys().isdisjoint(ids)
            or not all_good(said, self.rules, self.now)
        ):
            return False
        self._keep(said, numbers, digests_of(said))
        return True

    def _read_singly(self, numbers: Sequence[int], lines: Sequence[bytes]) -> None:
        records: list[FrameRecord] = []
        kept: list[int] = []
        for number, line in zip(numbers, lines, strict=True):
            if not line or line.isspace():
                self.blank += 1
                continue
            try:
                record = _read(line.removeprefix(_BOM) if number == 1 else line)
                _check(record, self.rules, self.now)
            except RecordRejected as fault:
                self._refuse(number, fault, line)
                continue
            records.append(record)
            kept.append(number)
        text_of = dict(zip(numbers, lines, strict=True))
        said = Flat.of(records)
        digests = digests_of(said)
        new = [self._is_new(*each, text_of) for each in zip(kept, said.event_id, digests, strict=True)]
        if not all(new):
            kept, digests = list(compress(kept, new)), list(compress(digests, new))
            said = Flat.of(list(compress(records, new)))
        self._keep(said, kept, digests)

    def _is_new(self, number: int, event_id: str, digest: bytes, text_of: Mapping[int, bytes]) -> bool:
        """Whether no earlier line of the batch bears this id."""
        earlier = self.seen.setdefault(event_id, digest)
        if earlier is digest:
            return True
        if earlier == digest:
            self.duplicate += 1
        else:
            self._refuse(number, conflict(event_id), text_of[number])
        return False

    def _refuse(self, number: int, fault: RecordRejected, line: bytes) -> None:
        self.rejects.append(Reject(number, fault.reason, fault.detail, line[:RAW_KEPT]))

    def _keep(self, said: Flat, numbers: Iterable[int], digests: Sequence[bytes]) -> None:
        self.parts.append(said)
        self.line_number += numbers
        self.digests += digests
        self.seen |= zip(said.event_id, digests, strict=True)


def conflict(event_id: str) -> RecordRejected:
    """The rejection of an id that was taken in before with other content or at another time."""
    return RecordRejected(
        "conflict",
        f"event_id {shown(event_id)} was taken in before with other content or another captured_at; the first one "
        "stands. Give every frame an id of its own and send a frame again only unchanged",
    )


def shown(said: str) -> str:
    """A text out of a record, quoted, cut and without anything a terminal or a database could trip over."""
    return ascii(said if len(said) <= 60 else said[:57] + "...")


def plain(said: str) -> str:
    """A text that quotes what came from outside, with all that is not printable spelt out."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in said)


def _read(line: bytes) -> FrameRecord:
    record = decoded(line, read_one)
    # JSON keeps control characters and, for most writers, all but ASCII behind a backslash and u.
    if b"\\" in line or not line.isascii():
        _check_texts(record)
    return record


def decoded(line: bytes, decode: Callable[[bytes], Record]) -> Record:
    """A line as the record that it holds.

    Raises:
        RecordRejected: it is too long, no JSON, or not such a record.
    """
    if len(line) > MAX_LINE:
        raise RecordRejected(
            "line_too_long",
            f"the line is longer than {MAX_LINE} bytes; one line holds one record, and a newline ends it",
        )
    try:
        return decode(line)
    except UnicodeDecodeError as error:
        raise RecordRejected("not_utf8", f"the line is not UTF-8 ({error.reason}); write logs in UTF-8") from None
    except msgspec.ValidationError as error:
        raise _misfit(plain(str(error)[:500])) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _not_json(line, plain(str(error)[:200])) from None


def _misfit(said: str) -> RecordRejected:
    if "$.schema_version" in said:
        return RecordRejected("unknown_schema", f"{said}; this release reads records of schema_version 1")
    if said.startswith("Number out of range"):
        return RecordRejected("out_of_range", f"{said}; write a finite number or leave the field out")
    return RecordRejected("invalid", f"{said}; `monitor spec record-schema` prints what a record may hold")


def _not_json(line: bytes, said: str) -> RecordRejected:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return RecordRejected("not_utf8", f"the line is not UTF-8 ({error.reason}); write logs in UTF-8")
    if "surrogate" in said:
        return RecordRejected("bad_text", f"{said}; half a surrogate pair is no character: mend the text's encoding")
    if b"NaN" in line or b"Infinity" in line:
        return RecordRejected(
            "not_finite", "a number is NaN or infinite, which JSON does not have; write null or leave the field out"
        )
    return RecordRejected(
        "not_json",
        f"{said}; one line holds one whole JSON object (was the file renamed before it was complete?)",
    )


def _check_texts(record: FrameRecord) -> None:
    """Texts that Postgres cannot hold (NUL), names too long for a key of it, and such as feign another line."""
    names = [record.model, record.version, record.camera, record.stage]
    names += [detection.class_name for detection in record.detections]
    names += [text for pair in record.slices.items() for text in pair]
    for name in names:
        if not name.isascii() and len(name.encode()) > MAX_NAME_BYTES:
            raise RecordRejected(
                "name_too_long", f"the name {shown(name)} is longer than {MAX_NAME_BYTES} bytes in UTF-8; shorten it"
            )
    for name in (*names, record.event_id, record.site, record.line):
        if _FEIGNED.search(name):
            raise RecordRejected("bad_text", f"the name {shown(name)} holds a control character; leave it out")
    said = [value for value in record.camera_meta.values() if isinstance(value, str)]
    image = [] if record.image is None else [record.image.recipe]
    texts = [*names, *record.camera_meta, *said, *image, record.event_id, record.site, record.line, record.image_uri]
    for text in texts:
        if "\0" in text:
            raise RecordRejected("bad_text", f"the text {shown(text)} holds a NUL character; leave it out")


def _check(record: FrameRecord, rules: Mapping[str, Rules], now: datetime) -> None:
    rule = rules.get(record.model)
    if rule is None:
        raise RecordRejected(
            "unknown_model",
            f"no contract is in force for model {shown(record.model)}; put its TOML into the contracts folder, or "
            "mend the name",
        )
    if rule.cameras is not None and record.camera not in rule.cameras:
        raise RecordRejected(
            "unknown_camera",
            f"camera {shown(record.camera)} is not declared; add it to [[cameras.list]] of the contract of "
            f"{shown(record.model)}, or set its policy to open",
        )
    if record.stage not in rule.stages:
        raise RecordRejected(
            "unknown_stage",
            f"stage {shown(record.stage)} is not declared; add it to `stages` in [model] of the contract of "
            f"{shown(record.model)}, or mend the record",
        )
    _check_time(record, rule, now)
    _check_numbers(record)


def all_good(said: Flat, rules: Mapping[str, Rules], now: datetime) -> bool:
    """Whether `_check` surely finds nothing in any of these records; False: each has to be asked."""
    places = set(zip(said.model, said.camera, said.stage, strict=True))
    for model, camera, stage in places:
        rule = rules.get(model)
        if rule is None or stage not in rule.stages or not (rule.cameras is None or camera in rule.cameras):
            return False
    oldest = max(OLDEST, *(rules[model].oldest for model in set(said.model)))
    if said.captured_us.min() < microseconds(oldest) or said.captured_us.max() > microseconds(now + AHEAD):
        return False
    if any(said.camera_meta) or any(said.embedding) or (said.latency_ms > MAX_NUMBER).any():
        return False
    return bool((np.abs(said.image) <= MAX_NUMBER).all() and said.histogram.any(axis=1).all())


def _check_time(record: FrameRecord, rule: Rules, now: datetime) -> None:
    at = record.captured_at
    if at > now + AHEAD:
        raise RecordRejected(
            "future",
            f"captured_at {at.isoformat()} is more than a day ahead; set the clock of the camera or its host",
        )
    if at < rule.oldest or at < OLDEST:
        raise RecordRejected(
            "too_late",
            f"captured_at {at.isoformat()} lies before {max(rule.oldest, OLDEST).isoformat()}, from when frames are "
            "kept; set the clock, or raise raw_days in [retention]",
        )


def _check_numbers(record: FrameRecord) -> None:
    _check_size("latency_ms", record.latency_ms)
    if (image := record.image) is not None:
        if not any(image.histogram):
            raise RecordRejected(
                "empty_histogram",
                "the brightness histogram counts no pixel; take it from monitor.client.image_stats, or leave `image` "
                "out",
            )
        _check_size("sharpness", image.sharpness)
        _check_size("red_balance", image.red_balance)
        _check_size("blue_balance", image.blue_balance)
    for name, value in record.camera_meta.items():
        if not isinstance(value, str):
            _check_size(name, value)
    if record.embedding and max(map(abs, record.embedding)) > MAX_REAL:
        raise RecordRejected(
            "out_of_range", "an element of the embedding does not fit into single precision; scale it or leave it out"
        )


def _check_size(name: str, value: float | None) -> None:
    if value is not None and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise RecordRejected(
            "out_of_range",
            f"{shown(name)} is {value:g}, beyond {MAX_NUMBER:g}; write it in its unit or leave it out",
        )
