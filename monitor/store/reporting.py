"""What the status page and the metrics read: bounded queries over roll-ups and states, never raw frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import text

from monitor.records import Histogram, Ints, Measurement, Scope, SeriesKey, Window
from monitor.signals import SIGNALS
from monitor.store.database import Connection

BOUND_S = 5
"""Seconds that one statement of a page may take."""
MOST_ROWS = 2000
"""Rows that one panel of a page is drawn from."""

_PRODUCED = text("""
    SELECT s.model, s.version, s.stage, min(old.start_at), max(new.start_at) + interval '1 hour'
    FROM series s
    CROSS JOIN LATERAL (
        SELECT start_at FROM rollup r WHERE r.series_id = s.series_id ORDER BY start_at LIMIT 1) old
    CROSS JOIN LATERAL (
        SELECT start_at FROM rollup r WHERE r.series_id = s.series_id ORDER BY start_at DESC LIMIT 1) new
    WHERE s.signal = 'status' AND s.class_name = '' AND s.slice_name = '' AND NOT s.shadow AND s.minutes = 60
    GROUP BY 1, 2, 3 ORDER BY 5 DESC, 4 DESC, 1, 2, 3
""")
_CAMERA_FRAMES = text("""
    WITH heard AS (
        SELECT series_id, camera FROM series
        WHERE model = :model AND version = :version AND stage = :stage AND signal = 'status' AND class_name = ''
            AND slice_name = '' AND NOT shadow AND minutes = 60
    ), counted AS (
        SELECT camera, sum(n) FILTER (WHERE start_at >= :day) AS in_day,
            sum(n) FILTER (WHERE start_at >= :start AND start_at < :end) AS in_window
        FROM heard JOIN rollup USING (series_id)
        WHERE start_at >= least(:day, :start) AND start_at < :at GROUP BY camera
    ), newest AS (
        SELECT camera, max(last.start_at) AS start_at FROM heard CROSS JOIN LATERAL (
            SELECT start_at FROM rollup r WHERE r.series_id = heard.series_id AND r.start_at < :at
            ORDER BY start_at DESC LIMIT 1) last
        GROUP BY camera
    )
    SELECT coalesce(c.name, newest.camera), coalesce(c.site, ''), coalesce(c.line, ''),
        coalesce(counted.in_day, 0), coalesce(counted.in_window, 0), newest.start_at + interval '1 hour'
    FROM (SELECT * FROM camera WHERE model = :model) c
    FULL JOIN newest ON newest.camera = c.name LEFT JOIN counted ON counted.camera = newest.camera
    ORDER BY 1 LIMIT 500
""")
_INTAKE = text("""
    SELECT outcome, reason, sum(count)::bigint, sum(mended)::bigint, max(last_at) FROM intake_total
    GROUP BY outcome, reason ORDER BY 3 DESC, 1, 2
""")
_BY_SOURCE = text("""
    SELECT source, stored, duplicate, rejected, blank, batches, last_at FROM (
        SELECT source, coalesce(sum(count) FILTER (WHERE outcome = 'stored'), 0)::bigint AS stored,
            coalesce(sum(count) FILTER (WHERE outcome = 'duplicate'), 0)::bigint AS duplicate,
            coalesce(sum(count - mended) FILTER (WHERE outcome = 'rejected'), 0)::bigint AS rejected,
            coalesce(sum(count) FILTER (WHERE outcome = 'blank'), 0)::bigint AS blank,
            coalesce(sum(count) FILTER (WHERE outcome = 'batch'), 0)::bigint AS batches, max(last_at) AS last_at
        FROM intake_total GROUP BY source) sums
    ORDER BY last_at DESC, source LIMIT :limit
""")
_SET_ASIDE = ("rejected", "detection")
_MOST_REASONS = 30
_LAST_WINDOW = text("""
    SELECT window_start, window_end FROM measured_window
    WHERE model = :model AND version = :version AND window_end <= :at ORDER BY window_end DESC LIMIT 1
""")
_CHOSEN = """
    WHERE model = :model AND version = :version AND stage = :stage AND slice_name = '' AND NOT shadow AND minutes = 60
        AND (class_name = '' OR signal IN ('confidence', 'status')) AND (:camera = '' OR camera = :camera)
        AND start_at >= :start AND start_at < :end
"""
_TOTALS = text(
    "SELECT signal, class_name, recipe, edges_id, sum(n), sum(frames), sum(total), sum(squares)"  # noqa: S608
    f" FROM series JOIN rollup USING (series_id) {_CHOSEN} GROUP BY signal, class_name, recipe, edges_id"
)
_BINS = text(
    "SELECT signal, class_name, recipe, edges_id, bin, sum(count) FROM series JOIN rollup USING (series_id)"  # noqa: S608
    f" CROSS JOIN unnest(bins, counts) filled (bin, count) {_CHOSEN}"
    " GROUP BY signal, class_name, recipe, edges_id, bin"
)
_BASELINE_HISTOGRAMS = text("""
    SELECT camera, signal, recipe, edges_id, bins, counts, n, frames, total, squares FROM baseline_histogram
    WHERE baseline_id = :id AND camera IN ('', :camera) AND stage = :stage AND slice_name = '' AND class_name = ''
""")
_MEASUREMENTS = text("""
    SELECT camera, signal, class_name, recipe, measure, window_start, window_end, value, state, n, baseline_n,
        baseline_id, contract_hash, noise, now_mean, baseline_mean
    FROM measurement
    WHERE model = :model AND version = :version AND stage = :stage AND window_start = :start AND window_end = :end
        AND camera = ANY(:cameras) AND measure = :measure AND NOT shadow AND slice_name = ''
    ORDER BY camera, signal, class_name, recipe
""")
_TREND = text("""
    SELECT camera, signal, window_end, max(now_mean), max(value), max(baseline_mean) FROM measurement
    WHERE model = :model AND version = :version AND stage = :stage AND window_start >= :start AND window_end <= :end
        AND camera = ANY(:cameras) AND signal = ANY(:signals) AND measure = 'psi' AND NOT shadow AND slice_name = ''
        AND class_name = ''
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")
_ALERTS = text("""
    SELECT a.alert_key, a.model, a.version, a.stage, a.camera, a.slice_name, a.slice_value, a.rule, a.signal,
        a.class_name, a.measure, a.severity, a.state, a.since, a.window_end, a.value, a.threshold, a.n, a.reason,
        coalesce(e.evidence ->> 'sentence', ''), e.window_end
    FROM alert a
    LEFT JOIN LATERAL (
        SELECT evidence, window_end FROM alert_event WHERE alert_key = a.alert_key AND episode = a.episode
        ORDER BY event_id DESC LIMIT 1) e ON true
    WHERE a.state = ANY(:states) AND (a.model, a.rule) IN (
        SELECT * FROM unnest(CAST(:models AS text[]), CAST(:rules AS text[])))
    ORDER BY a.state IN ('firing', 'flapping') DESC, array_position(ARRAY['critical', 'warning', 'info'], a.severity),
        a.since NULLS LAST, a.alert_key LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Produced:
    """A model's version at one stage that has sent live frames, and when (to the hour)."""

    model: str
    version: str
    stage: str
    first_at: datetime
    last_at: datetime
    """End of the newest hour that holds a frame."""


@dataclass(frozen=True, slots=True)
class CameraFrames:
    """Live frames of one camera: in the 24 hours before a moment, in a window, and the end of its newest hour."""

    camera: str
    site: str
    line: str
    day: int
    window: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """Lines, or single detections, set aside for one reason: `ever`, of which `mended` are so no more."""

    reason: str
    whole_line: bool
    ever: int
    mended: int

    @property
    def left(self) -> int:
        """How many are still set aside."""
        return self.ever - self.mended


@dataclass(frozen=True, slots=True)
class Intake:
    """What came in since the start, every line counted once. `reasons`: the 30 commonest ever."""

    batches: int
    stored: int
    duplicate: int
    rejected: int
    """Still rejected."""
    rejected_ever: int
    blank: int
    last_received_at: datetime | None
    reasons: tuple[SetAside, ...]

    @property
    def lines(self) -> int:
        """All lines."""
        return self.stored + self.duplicate + self.rejected + self.blank


@dataclass(frozen=True, slots=True)
class SourceIntake:
    """What came in from one source since the start, every line counted once."""

    source: str
    stored: int
    duplicate: int
    rejected: int
    """Still rejected."""
    blank: int
    batches: int
    last_at: datetime

    @property
    def lines(self) -> int:
        """All lines."""
        return self.stored + self.duplicate + self.rejected + self.blank


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One window of one camera: the signal's mean and its PSI against the baseline, None where there is none."""

    camera: str
    signal: str
    end: datetime
    mean: float | None
    psi: float | None
    baseline_mean: float | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert's state as of `window_end`, with the sentence that was told of it last, at the end of `told_end`."""

    key: str
    scope: Scope
    rule: str
    signal: str
    class_name: str
    measure: str
    severity: str
    state: str
    since: datetime | None
    window_end: datetime
    value: float | None
    threshold: float
    n: int
    reason: str
    sentence: str
    told_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a panel's statement says: names of the columns, and MOST_ROWS rows at most."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def bound(conn: Connection) -> None:
    """Make the transaction read-only and give each of its statements BOUND_S at most. Call it first."""
    conn.execute(text("SET TRANSACTION READ ONLY"))
    conn.execute(text(f"SET LOCAL statement_timeout = '{BOUND_S:d}s'"))


def answer(conn: Connection, statement: str) -> Answer:
    """What one of the panels' own statements says; its macros and variables are filled in already.

    The transaction is read-only (`bound`), and no value comes from a reader that is not the name of something stored.
    """
    found = conn.exec_driver_sql(statement, execution_options={"no_parameters": True})
    return Answer(tuple(found.keys()), tuple(tuple(row) for row in found.fetchmany(MOST_ROWS)))


def server(conn: Connection) -> tuple[str, datetime]:
    """The server's version, and what its clock says."""
    row = conn.execute(text("SELECT current_setting('server_version'), clock_timestamp()")).one()
    return str(row[0]), row[1]


def produced(conn: Connection) -> list[Produced]:
    """Every model, version and stage with live frames, the one with the newest frames first."""
    return [Produced(*row) for row in conn.execute(_PRODUCED)]


def camera_frames(conn: Connection, of: Produced, at: datetime, window: Window) -> list[CameraFrames]:
    """Live frames by camera, those declared or ever heard of, by name; silent ones too; 500 at most."""
    values = {**_of(of), "at": at, "day": at - timedelta(days=1), "start": window.start, "end": window.end}
    rows = conn.execute(_CAMERA_FRAMES, values)
    return [CameraFrames(row[0], row[1], row[2], int(row[3]), int(row[4]), row[5]) for row in rows]


def intake(conn: Connection) -> Intake:
    """What came in since the start, from the ledger's sums."""
    rows = conn.execute(_INTAKE).all()
    sums = {outcome: (int(count), last_at) for outcome, reason, count, _, last_at in rows if not reason}
    reasons = [
        SetAside(row[1], row[0] == "rejected", int(row[2]), int(row[3])) for row in rows if row[0] in _SET_ASIDE
    ]
    lines = [one for one in reasons if one.whole_line]
    batches, last_received_at = sums.get("batch", (0, None))
    return Intake(
        batches=batches,
        stored=sums.get("stored", (0, None))[0],
        duplicate=sums.get("duplicate", (0, None))[0],
        rejected=sum(one.left for one in lines),
        rejected_ever=sum(one.ever for one in lines),
        blank=sums.get("blank", (0, None))[0],
        last_received_at=last_received_at,
        reasons=tuple(reasons[:_MOST_REASONS]),
    )


def intake_by_source(conn: Connection, limit: int) -> list[SourceIntake]:
    """What came in since the start from each source; those that sent last come first, up to `limit`."""
    return [SourceIntake(*row) for row in conn.execute(_BY_SOURCE, {"limit": limit})]


def last_window(conn: Connection, of: Produced, at: datetime) -> Window | None:
    """The newest window of the version that has been measured and had ended at `at`."""
    row = conn.execute(_LAST_WINDOW, {**_of(of), "at": at}).first()
    return None if row is None else Window(*row)


def histograms(conn: Connection, of: Produced, camera: str, window: Window) -> dict[SeriesKey, Histogram]:
    """Live histograms of `camera` (`""`: all of them together) over a window of whole hours, whole slice.

    Classes are told apart for `confidence` and `status` only.
    """
    values = {**_of(of), "camera": camera, "start": window.start, "end": window.end}
    scope = Scope(of.model, of.version, of.stage, camera)
    found: dict[SeriesKey, Histogram] = {}
    for signal, class_name, recipe, edges_id, *sums in conn.execute(_TOTALS, values):
        if (counts := _empty(signal, edges_id)) is not None:
            key = SeriesKey(scope, signal, class_name, recipe)
            found[key] = Histogram(edges_id, counts, *map(int, sums))
    for signal, class_name, recipe, edges_id, place, count in conn.execute(_BINS, values):
        one = found.get(SeriesKey(scope, signal, class_name, recipe))
        if one is not None and one.edges_id == edges_id:
            one.counts[place] = int(count)
    return found


def baseline_histograms(
    conn: Connection, baseline_id: int, stage: str, camera: str
) -> dict[tuple[str, str, str], Histogram]:
    """What the baseline holds for a camera and for all of them (`""`), whole slice, all classes as one.

    Keyed by (camera, signal, recipe), camera being the one given or `""`.
    """
    rows = conn.execute(_BASELINE_HISTOGRAMS, {"id": baseline_id, "stage": stage, "camera": camera})
    found: dict[tuple[str, str, str], Histogram] = {}
    for of_camera, signal, recipe, edges_id, bins, counts, *sums in rows:
        if (dense := _empty(signal, edges_id)) is not None:
            dense[bins] = counts
            found[of_camera, signal, recipe] = Histogram(edges_id, dense, *sums)
    return found


def measurements(
    conn: Connection, of: Produced, cameras: Sequence[str], window: Window, measure: str
) -> list[Measurement]:
    """The measurements of one window for some cameras (`""`: all together), whole slice, by camera, signal, class."""
    values = {**_of(of), "cameras": list(cameras), "measure": measure, "start": window.start, "end": window.end}
    return [
        Measurement(
            SeriesKey(Scope(of.model, of.version, of.stage, row[0]), row[1], row[2], row[3]),
            row[4],
            Window(row[5], row[6]),
            *row[7:],
        )
        for row in conn.execute(_MEASUREMENTS, values)
    ]


def trend(
    conn: Connection, of: Produced, cameras: Sequence[str], signals: Sequence[str], period: Window
) -> list[TrendPoint]:
    """Mean and PSI of every window within the period, by camera, signal and time; all recipes as one."""
    values = {**_of(of), "cameras": list(cameras), "signals": list(signals), "start": period.start, "end": period.end}
    return [TrendPoint(*row) for row in conn.execute(_TREND, values)]


def alerts(
    conn: Connection, states: Sequence[str], rules: Collection[tuple[str, str]], *, limit: int | None = None
) -> list[AlertRow]:
    """Alerts of `rules`, each (model, rule), in one of `states`: firing first, then the gravest, then the oldest.

    All of them, unless `limit` says how many: whoever counts them must not count a part.
    What a rule left behind that is in force no longer is judged by nobody, so nobody is to be told of it.
    """
    models, names = [model for model, _ in rules], [rule for _, rule in rules]
    values = {"states": list(states), "models": models, "rules": names, "limit": limit}
    rows = conn.execute(_ALERTS, values)
    return [AlertRow(row[0], Scope(*row[1:7]), *row[7:]) for row in rows]


def _of(of: Produced) -> dict[str, str]:
    return {"model": of.model, "version": of.version, "stage": of.stage}


def _empty(signal: str, edges_id: str) -> Ints | None:
    """Zeros [bins + 2] for a signal on its present edges; None for signals and edges of another release."""
    known = SIGNALS.get(signal)
    if known is None or known.edges.id != edges_id:
        return None
    return np.zeros(known.edges.count + 2, dtype=np.int64)
