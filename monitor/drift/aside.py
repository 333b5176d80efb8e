"""What is stored of the lanes with ways of their own, the longest queue and the reviews, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from monitor.drift import past
from monitor.drift.explain import SHOWN_DAYS
from monitor.errors import UsageError
from monitor.records import Baseline, Measurement
from monitor.store import measurements
from monitor.store.database import Connection
from monitor.watch import ALARM, APART, EFFECT, FAST, UP

DECIDES = {"queue_peak": FAST, "override": UP}
"""Which measure of each lane is held against its limit."""
_WAYS = {
    "queue_peak": "The day's longest queue, over a quarter of an hour; above the limit it alarms.",
    "override": "The sum of evidence that people override more than they did; above the limit it alarms.",
}


def stored(
    conn: Connection,
    baseline: Baseline,
    camera: str,
    lane: str,
    day: date | None = None,
    stage: str | None = None,
    order: Sequence[str] = (),
) -> str:
    """The last days of such a lane up to `day` (None: to the newest): value, limit, rates or depths, alarm, as text.

    Of one stage; None: of the first of `order`.

    Raises:
        UsageError: nothing was measured of it since the baseline, up to the day.
    """
    end = None if day is None else datetime.combine(day, time(), UTC) + timedelta(days=1)
    found = measurements.read(
        conn,
        baseline.model,
        version=baseline.version,
        camera=camera,
        signal=lane,
        slice_name="",
        start=baseline.period_end,
        end=end,
    )
    where = past.first_of((m.key.scope.stage for m in found), order) if stage is None else stage
    found = [m for m in found if m.key.scope.stage == where]
    days: dict[date, dict[str, Measurement]] = {}
    for m in found:
        days.setdefault(m.window.start.astimezone(UTC).date(), {})[m.measure] = m
    shown = {at: said for at, said in sorted(days.items()) if DECIDES[lane] in said}
    if not shown:
        raise UsageError(
            f"nothing of {lane} was measured on camera {camera!r} since baseline {baseline.id}; `monitor drift run` "
            "measures the days that are due, and needs reviews or queue depths of this camera"
        )
    lines = [f"{lane} on {camera}, {list(shown)[-1]}: {_outcome(lane, list(shown.values())[-1])}"]
    lines += [f"  ({APART[lane].help}; {APART[lane].signal})", "", _WAYS[lane]]
    lines += ["It has no season and no floor of a run: what is shown is what the watch stored.", ""]
    lines.append(f"  {'day':<10}  {'value':>9}  {'limit':>9}  {'now':>9}  {'usual':>9}  {'n':>8}")
    lines += [_line(lane, at, said) for at, said in list(shown.items())[-SHOWN_DAYS:]]
    return "\n".join(lines)


def _alarmed(lane: str, said: dict[str, Measurement]) -> bool:
    told = said[DECIDES[lane]]
    return ALARM in said or (lane == "queue_peak" and (told.value or 0.0) > (told.noise or 0.0))


def _outcome(lane: str, said: dict[str, Measurement]) -> str:
    return "alarm" if _alarmed(lane, said) else "no alarm"


def _line(lane: str, at: date, said: dict[str, Measurement]) -> str:
    told, shown = said[DECIDES[lane]], said.get(EFFECT)
    numbers = [told.value, told.noise, shown and shown.now_mean, shown and shown.baseline_mean]
    columns = "  ".join(f"{'-' if v is None else format(v, '.4g'):>9}" for v in numbers)
    return f"  {at}  {columns}  {told.n:>8,}{'  alarm' if _alarmed(lane, said) else ''}"
