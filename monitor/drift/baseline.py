"""Freeze a baseline: from the roll-ups of a period, or from images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.drift import freeze, watch
from monitor.drift.readiness import SMALLEST
from monitor.errors import GateRefused, UsageError
from monitor.imaging.stats import ImageStats
from monitor.records import ALL, EPOCH, Baseline, BaselineHistogram, SeriesKey, Window
from monitor.spec.load import LoadedContract
from monitor.stats.sequential import SMALLEST_BASELINE
from monitor.store import acceptances, baselines, histograms
from monitor.store.acceptances import Acceptance
from monitor.store.database import Connection, Database

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
LEARN_DAYS = 28
"""Days that a baseline which begins now is learnt from, unless a person says otherwise."""
MOST_LEARN_DAYS = 366


@dataclass(frozen=True, slots=True)
class Frozen:
    """A baseline with its rows. `fresh` is False where the very same had been frozen before: that one is named."""

    baseline: Baseline
    rows: Mapping[SeriesKey, BaselineHistogram]
    fresh: bool


def from_logs(
    database: Database,
    loaded: LoadedContract,
    version: str,
    period: Window,
    now: datetime,
    note: str = "",
    *,
    accepted_by: str = "",
    awaited: int = 0,
) -> Frozen:
    """Freeze the live frames of a version that were captured in `period`, which consists of whole hours in the past.

    `accepted_by`: who accepts it in the old one's place, `note` being the reason; `awaited`: the acceptance whose
    days these are. Either is written down with it.

    Raises:
        UsageError: a period that cannot be.
        GateRefused: fewer than 30 frames.
    """
    model = loaded.contract.model.name
    if period.start >= period.end or any((at - EPOCH) % _HOUR for at in (period.start, period.end)):
        raise UsageError(
            f"the period {period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M} is not one of whole hours; "
            "give a start and a later end, both on the hour"
        )
    if period.end > now:
        raise UsageError(
            f"the period ends at {period.end:%Y-%m-%d %H:%M} UTC, which has not passed yet; "
            "a baseline is frozen from what is complete, so name an earlier end"
        )
    with database.begin() as conn:
        found = histograms.read(conn, model, period.start, period.end, version=version, shadow=False)
        rows = freeze.freeze(found, loaded.contract.drift.groups)
        frames = freeze.frames_of(rows)
        if frames < SMALLEST:
            raise GateRefused(_too_few(conn, model, version, period, frames))
        active = baselines.active(conn, model, version)
        frozen = _keep(conn, loaded, version, "logs", period, frames, rows, now, note)
        watch.known(conn, loaded, frozen.baseline)
        if accepted_by:
            old = active.id if active else None
            record = Acceptance(model, version, now, accepted_by, note, old, frozen.baseline.id)
            acceptances.record(conn, record)
        if awaited:
            acceptances.settle(conn, awaited, frozen.baseline.id)
        return frozen


def accept(
    database: Database,
    loaded: LoadedContract,
    version: str,
    period: Window | None,
    now: datetime,
    by: str,
    reason: str,
    days: int = LEARN_DAYS,
) -> Frozen | None:
    """A person accepts that things are as they shall be: a new baseline takes the old one's place, with a record.

    `period`: that of the new baseline. None: from the next midnight on; then the baseline is frozen once `days` days
    are over, nothing is judged until then, and the answer is None.

    Raises:
        UsageError: no reason, a period that cannot be, or fewer than 14 or more than 366 days to learn from.
        GateRefused: fewer than 30 frames.
    """
    if not reason.strip() or not by.strip():
        raise UsageError("an acceptance needs a name and a reason; give --by and --reason, they stay on record")
    if days < SMALLEST_BASELINE:
        raise UsageError(f"{days} days are too few to learn from; the lanes judge from {SMALLEST_BASELINE} days on")
    if days > MOST_LEARN_DAYS:
        raise UsageError(f"nothing is judged for {days} days then, which is too long; give {MOST_LEARN_DAYS} at most")
    frozen = None if period is None else from_logs(database, loaded, version, period, now, reason, accepted_by=by)
    if frozen is None:
        with database.begin() as conn:
            active = baselines.active(conn, loaded.model, version)
            old = active.id if active else None
            start = EPOCH + ((now - EPOCH) // _DAY + 1) * _DAY
            record = Acceptance(loaded.model, version, now, by, reason, old, None, start, days)
            acceptances.record(conn, record)
    return frozen


def finish_learning(database: Database, loaded: LoadedContract, now: datetime) -> list[Frozen]:
    """Freeze the baselines whose accepted days are over and settled, of versions that had one before or had none.

    Raises:
        GateRefused: days of some version gave fewer than 30 frames; the baselines of the others are frozen.
    """
    with database.begin() as conn:
        waiting = [one for one in acceptances.listing(conn, loaded.model) if one.baseline_id is None]
    done, refused = [], []
    for one in waiting:
        if one.learn_from is None or one.learn_days is None:
            continue
        period = Window(one.learn_from, one.learn_from + one.learn_days * _DAY)
        if period.end + loaded.contract.drift.settle <= now:
            try:
                done.append(from_logs(database, loaded, one.version, period, now, one.reason, awaited=one.id))
            except GateRefused as error:
                refused.append(
                    f"{error}; `monitor baseline accept` again takes the place of these"
                    " days, `monitor baseline withdraw` takes them back"
                )
    if refused:
        raise GateRefused("\n".join(refused))
    return done


def from_images(
    database: Database, loaded: LoadedContract, images: Sequence[ImageStats], now: datetime, note: str = ""
) -> Frozen:
    """Freeze the statistics of a set of images: it serves every camera and version that has no baseline of its own.

    Raises:
        GateRefused: fewer than 30 images.
    """
    if len(images) < SMALLEST:
        raise GateRefused(
            f"{len(images)} readable images are too few for a baseline; give at least {SMALLEST}, "
            "better some hundreds that show all operating conditions"
        )
    found = freeze.image_histograms(loaded.contract.model.name, images)
    rows = freeze.freeze(found, loaded.contract.drift.groups)
    with database.begin() as conn:
        return _keep(conn, loaded, ALL, "images", None, len(images), rows, now, note)


def _keep(
    conn: Connection,
    loaded: LoadedContract,
    version: str,
    source: str,
    period: Window | None,
    frames: int,
    rows: Mapping[SeriesKey, BaselineHistogram],
    now: datetime,
    note: str,
) -> Frozen:
    asked = Baseline(
        id=0,
        model=loaded.contract.model.name,
        version=version,
        source=source,
        period_start=period.start if period else None,
        period_end=period.end if period else None,
        frames=frames,
        sha256=freeze.content_hash(rows),
        contract_hash=loaded.hash,
        created_at=now,
        note=note,
    )
    active = baselines.active(conn, asked.model, version)
    if active is not None and _same(active, asked):
        return Frozen(active, rows, fresh=False)
    return Frozen(baselines.save(conn, asked, rows), rows, fresh=True)


def _same(one: Baseline, other: Baseline) -> bool:
    def told(b: Baseline) -> tuple[object, ...]:
        return b.version, b.source, b.period_start, b.period_end, b.sha256

    return told(one) == told(other)


def _too_few(conn: Connection, model: str, version: str, period: Window, frames: int) -> str:
    by_version = histograms.window_frames(conn, model, timedelta(days=1))
    held = [
        f"{name}: {sum(days.values())} frames from {min(days):%Y-%m-%d} to {max(days):%Y-%m-%d}"
        for name, days in by_version.items()
    ]
    return (
        f"{frames} frames of {model} {version} from {period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M} UTC"
        f" are too few for a baseline, it takes at least {SMALLEST}; widen the period or take more logs in first "
        f"(there are {'; '.join(held) if held else 'none of this model yet'})"
    )
