"""What streams say of a day, as measurements; and where their sums stood, from the measurements of the day before.

A sum is a measurement that is derived from the one before it, so a day that is repeated gives the same rows, and late
records are nothing but the same days once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from monitor.drift import lanes
from monitor.drift.lanes import Stream, Verdict
from monitor.records import Floats, Ints, Measurement, Scope, SeriesKey, Window
from monitor.stats import rolling, sequential
from monitor.stats.sequential import Sums
from monitor.watch import ALARM, DOWN, EFFECT, FAST, GROUP, RUN_DOWN, RUN_UP, UP, Path, Z, label

HOURS = 24
Row = tuple[str, str]
"""A camera and `""`, or `""` and the label of a group."""
Stood = Mapping[tuple[str, str, str, str], Mapping[str, tuple[float, int]]]
"""(value, n) by measure, of (camera, group, lane, class): what was measured on the last day that was watched."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose days are judged, against what, and under which contract."""

    model: str
    version: str
    stage: str
    baseline_id: int
    contract_hash: str


@dataclass(frozen=True, slots=True)
class Board:
    """Streams that are judged side by side: of all cameras, or of one group. `n` [rows, days] by lane and class."""

    rows: tuple[Row, ...]
    streams: Sequence[Stream]
    limit: Floats
    n: Mapping[tuple[str, str], Ints]


def boards(
    cameras: Sequence[str],
    found: Sequence[Stream],
    n: Mapping[tuple[str, str], Ints],
    paths: Mapping[str, Path],
    baseline: int,
    budget: float,
    group_budget: float,
    with_override: bool,
) -> list[Board]:
    """All that is judged of a version's stage: its cameras, and each group of at least three of them.

    `paths` says where each camera hangs; `budget` and `group_budget` are false alarms in 30 days.
    """
    if not found:
        return []
    rows = tuple((camera, "") for camera in cameras)
    made = [Board(rows, found, lanes.limits(found, budget, with_override), n)]
    for path, members in groups([paths[camera] for camera in cameras]).items():
        merged = lanes.fleet_streams([lanes.of(stream, members) for stream in found], baseline)
        if merged:
            limit = lanes.limits(merged, group_budget, with_override=False)
            together = {key: counts[members].sum(axis=0, keepdims=True) for key, counts in n.items()}
            made.append(Board((("", label(path)),), merged, limit, together))
    return made


def standing(board: Board) -> list[str]:
    """How each row stands, in a sentence: judged by which limit, or still learnt."""
    said = []
    for i, (camera, group) in enumerate(board.rows):
        days = [int(stream.m[i]) for stream in board.streams if stream.m[i] > 0]
        ready = [m for m in days if m >= sequential.SMALLEST_BASELINE]
        name = camera or f"the cameras of {group}" if camera or group else "all cameras together"
        if ready:
            span = f"{min(ready)} to {max(ready)}" if min(ready) < max(ready) else str(ready[0])
            learnt = f"{len(ready)} streams with {span} days of baseline"
            said.append(f"{name}: limit {board.limit[i]:.2f} for {learnt}")
        else:
            most = max(days, default=0)
            said.append(f"{name}: learning, {most} of {sequential.SMALLEST_BASELINE} days of baseline")
    return said


def groups(paths: Sequence[Path]) -> dict[Path, list[int]]:
    """The groups that cameras hang under, with their cameras' places; of groups of the same cameras the narrowest."""
    found: dict[tuple[int, ...], Path] = {}
    for depth in range(max(map(len, paths), default=0)):
        for prefix in sorted({path[:depth] for path in paths}):
            found[tuple(i for i, path in enumerate(paths) if path[:depth] == prefix)] = prefix
    return {path: list(members) for members, path in found.items()}


def judge(
    subject: Subject, board: Board, days: Mapping[int, date], baseline: int, stood: Stood, hours: int = HOURS
) -> Iterator[Measurement]:
    """The measurements of `days` (by their place in the streams), which follow what `stood` was measured on.

    Under 24 `hours` the day is not over: only sudden changes are looked for, in so many of its hours.
    """
    for stream in board.streams:
        sums = _sums(board, stream, stood)
        for place, day in days.items():
            verdict = lanes.decide(lanes.on(stream, place, place + 1), board.limit, 0, sums)
            own = board.n.get((stream.lane.name, stream.class_name))
            counts = np.zeros((len(board.rows), place + 1), dtype=np.int64) if own is None else own
            frames, past = counts[:, place], counts[:, :baseline].sum(axis=1)
            for i, row in enumerate(board.rows):
                if stream.m[i] > 0:
                    blank = blank_row(subject, stream.lane.name, stream.class_name, row, day, int(frames[i]))
                    blank = replace(blank, baseline_n=int(past[i]))
                    if hours < HOURS:
                        yield from _running(verdict, blank, i, hours)
                    else:
                        yield from _measured(verdict, blank, i, board.limit[i])
            sums = verdict.path.last


def _sums(board: Board, stream: Stream, stood: Stood) -> Sums:
    """Where the sums stood after the day before; 0 where nothing was measured."""
    sums = sequential.fresh((len(board.rows),))
    for i, (camera, group) in enumerate(board.rows):
        told = stood.get((camera, group, stream.lane.name, stream.class_name), {})
        alarm = told.get(ALARM, (0.0, 0))[0]
        for k, (sign, total, run) in enumerate(((1, UP, RUN_UP), (-1, DOWN, RUN_DOWN))):
            target = sums.up if sign > 0 else sums.down
            target[i] = 0.0 if alarm == sign else told.get(total, (0.0, 0))[0]
            sums.moved[i, k], sums.days[i, k] = told.get(run, (0.0, 0))
    return sums


def blank_row(subject: Subject, lane: str, class_name: str, row: Row, day: date, frames: int) -> Measurement:
    """A measurement without a number yet, of a lane on one row and day."""
    start = datetime.combine(day, time(), UTC)
    camera, group = row
    scope = Scope(subject.model, subject.version, subject.stage, camera, GROUP if not camera else "", group)
    return Measurement(
        key=SeriesKey(scope, lane, class_name),
        measure=Z,
        window=Window(start, start + timedelta(days=1)),
        value=None,
        state="insufficient" if frames else "no_data",
        n=frames,
        baseline_n=0,
        baseline_id=subject.baseline_id,
        contract_hash=subject.contract_hash,
    )


def _measured(verdict: Verdict, blank: Measurement, row: int, limit: float) -> Iterator[Measurement]:
    """One row of a board on the one day of a verdict."""
    stream, path = verdict.stream, verdict.path
    known = np.isfinite(stream.z[row, 0])
    if known:
        usual = None if stream.level is None else float(stream.level[row, 0])
        now = None if usual is None else usual + _moved(stream, row, usual)
        found = replace(blank, state="ok", baseline_mean=_plain(stream, usual), now_mean=_plain(stream, now))
        yield replace(found, value=float(stream.z[row, 0]))
        yield replace(found, measure=EFFECT, value=float(stream.effect[row, 0]), noise=stream.lane.floor)
    else:
        yield blank
    if stream.m[row] < sequential.SMALLEST_BASELINE:
        return
    told = replace(blank, state="ok")
    yield replace(told, measure=UP, value=float(path.up[row, 0]), noise=float(limit))
    yield replace(told, measure=RUN_UP, value=float(path.last.moved[row, 0]), n=int(path.last.days[row, 0]))
    if stream.lane.probe != "shape":
        yield replace(told, measure=DOWN, value=float(path.down[row, 0]), noise=float(limit))
        yield replace(told, measure=RUN_DOWN, value=float(path.last.moved[row, 1]), n=int(path.last.days[row, 1]))
    if verdict.alarm[row, 0]:
        yield replace(told, measure=ALARM, value=float(verdict.alarm[row, 0]), noise=float(limit))
    yield from _running(verdict, blank, row, HOURS)


def _running(verdict: Verdict, blank: Measurement, row: int, hours: int) -> Iterator[Measurement]:
    """The largest score of four hours that ended in the first `hours` of the day."""
    stream = verdict.stream
    if stream.fast is not None and stream.m[row] >= sequential.SMALLEST_BASELINE:
        scores = np.nan_to_num(stream.fast[row, 0, :hours])
        extreme = float(scores[np.abs(scores).argmax()])
        yield replace(blank, state="ok", measure=FAST, value=extreme, noise=rolling.LIMIT)


def _plain(stream: Stream, level: float | None) -> float | None:
    """A level in the signal's own unit: that of a mean of logarithms is a geometric mean."""
    if level is None or stream.lane.probe not in ("log_mean", "log1p_mean"):
        return level
    return float(np.exp(level) if stream.lane.probe == "log_mean" else np.expm1(level))


def _moved(stream: Stream, row: int, usual: float) -> float:
    """The effect in the units of the level."""
    effect = float(stream.effect[row, 0])
    return effect * abs(usual) if stream.lane.unit == "relative" else effect
