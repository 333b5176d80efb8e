"""The ledger: one row a batch, so that a batch delivered twice is recognised, and what was set aside of it.

`intake_total` holds the sums, so that nobody has to read the whole ledger to know them. They count every line once: a
line that was rejected and is taken in later is `mended` there, while the ledger has a row for both attempts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError

from monitor.errors import OtherContent, UsageError
from monitor.records import Reject
from monitor.store import binary, encoding
from monitor.store.database import Connection, Database

OTHER_NAME = "other_name"
"""The outcome in `intake_total` of stored frames that bore a name too many; its reason: model, newline, condition."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch's lines: lines = stored + duplicate + rejected + blank, which the table enforces."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    blank: int = 0
    detections_rejected: int = 0


@dataclass(frozen=True, slots=True)
class Earlier:
    """What became of a batch so far: how often something came of it, its good lines, and those still rejected."""

    attempts: int
    good: int
    rejected: dict[int, str]
    """Line number → the reason that was given last."""
    sha256: bytes
    """Of its content."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch when it was taken in, to be told to whoever sent it."""

    sha256: bytes
    counts: Counts
    rejects: tuple[tuple[int, bool, str, str], ...]
    """The first of those set aside: (line number, whether the whole line, reason, sentence)."""


_OPEN = text("""
    INSERT INTO batch (source, name, file_name, sha256, lines, stored, duplicate, rejected, blank,
                       detections_rejected, received_at)
    VALUES (:source, :name, :file_name, :sha256, 0, 0, 0, 0, 0, 0, :now)
    ON CONFLICT (source, name) DO NOTHING RETURNING batch_id
""")
_ADD_TOTALS = text("""
    INSERT INTO intake_total (source, outcome, reason, count, mended, last_at)
    SELECT :source, outcome, reason, count, mended, :now FROM unnest(
        CAST(:outcome AS text[]), CAST(:reason AS text[]), CAST(:count AS bigint[]), CAST(:mended AS bigint[])
    ) AS change (outcome, reason, count, mended)
    ORDER BY outcome, reason
    ON CONFLICT (source, outcome, reason) DO UPDATE SET count = intake_total.count + excluded.count,
        mended = intake_total.mended + excluded.mended, last_at = greatest(intake_total.last_at, excluded.last_at)
""")
_STILL_OR_REPLAYED = text("""
    SELECT line_number, reason, state = 'replayed' FROM reject
    WHERE batch_id = ANY(:ids) AND whole_line
        AND CASE state WHEN 'replayed' THEN replay_batch_id <> ALL(:ids) ELSE batch_id = :last END
""")
_PASS_ON = text("""
    UPDATE reject SET state = 'replayed', settled_at = :now, replay_batch_id = :batch_id
    WHERE whole_line AND state <> 'replayed' AND batch_id = (
        SELECT max(batch_id) FROM batch
        WHERE source = :source AND (name = :name OR name LIKE :again) AND batch_id <> :batch_id)
    RETURNING reason
""")


@contextmanager
def entry(database: Database, what: str) -> Iterator[Connection]:
    """The one transaction of a batch; `what` names it in a sentence.

    Raises:
        UsageError: the database refuses a value of this batch; nothing of it was kept, and others may pass.
        DependencyAway, TryAgain: as `Database.begin`.
    """
    try:
        with database.begin() as conn:
            yield conn
    except (DataError, IntegrityError) as error:
        said = " ".join(str(error.orig).split())[:500]
        raise UsageError(
            f"{what} cannot be taken in, the database refuses them ({said}); mend them and drop the file again"
        ) from error


def open_batch(conn: Connection, source: str, name: str, file_name: str, sha256: bytes, now: datetime) -> int | None:
    """Enter a batch; `sha256` is the hash of its content, `now` when it arrived (aware).

    Returns:
        The number of the batch, or None when this very batch was taken in before.

    Raises:
        OtherContent: the name was used before for another content.
    """
    values = {"source": source, "name": name, "file_name": _storable(file_name), "sha256": sha256, "now": now}
    batch_id: int | None = conn.execute(_OPEN, values).scalar_one_or_none()
    if batch_id is None:
        known = text("SELECT sha256 FROM batch WHERE source = :source AND name = :name")
        if conn.execute(known, values).scalar_one() != sha256:
            raise other_content(source, name)
    return batch_id


def other_content(source: str, name: str) -> OtherContent:
    """The refusal of a batch that bears the name of an earlier one and is another."""
    return OtherContent(
        f"batch {name!r} of source {source!r} was taken in before with other content; give it another name"
    )


def receipt(conn: Connection, source: str, name: str, most: int) -> Receipt | None:
    """What became of a batch when it first came, with up to `most` of what was set aside; None: it never came."""
    names = list(Counts.__dataclass_fields__)
    row = conn.execute(
        text(f"SELECT batch_id, sha256, {', '.join(names)} FROM batch WHERE source = :source AND name = :name"),  # noqa: S608
        {"source": source, "name": name},
    ).first()
    if row is None:
        return None
    batch_id, sha256, *counts = row
    rejects = conn.execute(
        text(
            "SELECT line_number, whole_line, reason, detail FROM reject WHERE batch_id = :id"
            " ORDER BY line_number, part LIMIT :most"
        ),
        {"id": batch_id, "most": most},
    )
    return Receipt(bytes(sha256), Counts(*counts), tuple((n, whole, why, said) for n, whole, why, said in rejects))


def close_batch(
    conn: Connection,
    batch_id: int,
    counts: Counts,
    rejects: Sequence[Reject] = (),
    before: Iterable[str] = (),
    others: Mapping[tuple[str, str], int] | None = None,
) -> None:
    """Write down what became of the batch, and add it to the sums: the last thing in a batch's transaction.

    `rejects` are those of `save_rejects`; `before` are the reasons for which the lines had been rejected earlier,
    where only such lines were looked at again; `others` counts stored frames that bore one new name too many, by
    model and condition. The sums of a source are locked until the transaction ends.
    """
    update = text(
        "UPDATE batch SET lines = :lines, stored = :stored, duplicate = :duplicate, rejected = :rejected,"
        " blank = :blank, detections_rejected = :detections_rejected WHERE batch_id = :batch_id"
        " RETURNING source, received_at"
    )
    values = {name: getattr(counts, name) for name in Counts.__dataclass_fields__}
    source, received_at = conn.execute(update, {"batch_id": batch_id, **values}).one()
    grown = Counter({("batch", ""): 1, ("stored", ""): counts.stored, ("duplicate", ""): counts.duplicate})
    grown["blank", ""] = counts.blank
    grown.update(("detection", reject.reason) for reject in rejects if not reject.whole_line)
    # No name of a contract has a newline in it.
    grown.update({(OTHER_NAME, f"{model}\n{condition}"): n for (model, condition), n in (others or {}).items()})
    lines = [reject.reason for reject in rejects if reject.whole_line]
    conn.execute(_ADD_TOTALS, {"source": source, "now": received_at, **_changes(grown, lines, before)})


def count_again(conn: Connection, source: str, before: Iterable[str], reasons: Iterable[str], now: datetime) -> None:
    """Correct the sums where lines are still rejected, but for other reasons than they were before."""
    conn.execute(_ADD_TOTALS, {"source": source, "now": now, **_changes(Counter(), reasons, before)})


def _changes(
    grown: Counter[tuple[str, str]], reasons: Iterable[str], before: Iterable[str]
) -> dict[str, list[str] | list[int]]:
    """Columns of what changes in the sums. A line rejected again for the same reason changes nothing."""
    lines, earlier = Counter(reasons), Counter(before)
    grown.update({("rejected", reason): n for reason, n in (lines - earlier).items()})
    mended = Counter({("rejected", reason): n for reason, n in (earlier - lines).items()})
    keys = sorted(key for key in {*grown, *mended} if grown[key] or mended[key])
    return {
        "outcome": [outcome for outcome, _ in keys],
        "reason": [reason for _, reason in keys],
        "count": [grown[key] for key in keys],
        "mended": [mended[key] for key in keys],
    }


def find_earlier(conn: Connection, source: str, name: str) -> Earlier | None:
    """What became of a batch so far; None where it was never taken in.

    The attempts after the first are named `name`, a plus sign and their number from 2. Each looks only at the lines
    that were still rejected, so the rejects of the last one are those that still are, but for those that were
    replayed by themselves and so are good.
    """
    attempts = conn.execute(
        text(
            "SELECT batch_id, stored + duplicate, rejected, sha256 FROM batch"
            " WHERE source = :source AND (name = :name OR name LIKE :again) ORDER BY batch_id"
        ),
        {"source": source, "name": name, "again": f"{name}+%"},
    ).all()
    if not attempts:
        return None
    ids = [batch_id for batch_id, *_ in attempts]
    rejected = any(count for _, _, count, _ in attempts)
    found = conn.execute(_STILL_OR_REPLAYED, {"ids": ids, "last": ids[-1]}).all() if rejected else []
    good = sum(good for _, good, _, _ in attempts) + sum(replayed for _, _, replayed in found)
    still = {int(line): str(reason) for line, reason, replayed in found if not replayed}
    return Earlier(len(ids), good, still, bytes(attempts[0].sha256))


def pass_on(conn: Connection, source: str, name: str, batch_id: int, now: datetime) -> list[str]:
    """Settle what is still rejected of a batch, as `find_earlier` has it, for `batch_id` looks at those lines again.

    Returns the reasons for which they were rejected, one a line; nobody else can replay the lines any more.
    """
    values = {"source": source, "name": name, "again": f"{name}+%", "batch_id": batch_id, "now": now}
    return list(conn.execute(_PASS_ON, values).scalars())


def save_rejects(conn: Connection, batch_id: int, rejects: Sequence[Reject]) -> None:
    """Keep what was set aside of a batch, with its reasons; what belongs to one line is numbered in order."""
    if not rejects:
        return
    seen: Counter[int] = Counter()
    part = []
    for reject in rejects:
        part.append(seen[reject.line_number])
        seen[reject.line_number] += 1
    binary.copy_in(
        conn,
        "reject",
        {
            "batch_id": encoding.fixed(np.full(len(rejects), batch_id), encoding.INT8),
            "line_number": encoding.fixed(np.array([r.line_number for r in rejects]), encoding.INT4),
            "part": encoding.fixed(np.array(part), encoding.INT2),
            "whole_line": encoding.flags(np.array([r.whole_line for r in rejects], dtype=bool)),
            "reason": encoding.texts([r.reason for r in rejects]),
            "detail": encoding.texts([_storable(r.detail) for r in rejects]),
            "raw": encoding.raw([r.raw for r in rejects]),
        },
    )


def _storable(said: str) -> str:
    """A text with what Postgres cannot hold spelt out: NUL, and halves of a surrogate pair."""
    return said.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
