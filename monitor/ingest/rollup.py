"""Frames as columns → what they add to the roll-ups: integer histograms by series and hour, merged by addition.

A frame counts in the series of its camera as a whole and once more for each declared slice that it names. Nothing
hot runs frame by frame: a lane lists once which row each value of a kind falls into, and every signal of that kind is
then one count over (row, bin).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from operator import add
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from monitor.records import ALL, FrameColumns, Ints, Scope
from monitor.signals import SIGNALS, Signal
from monitor.upkeep import RollupColumns

MINUTES = (60, 15)
"""Lengths of a roll-up's span; the shorter one is kept for service signals of whole cameras only: how the service
does has little to do with what lies before the camera."""
_MINUTE_US = 60_000_000
_SLICE_PART = 5
"""Which of a scope's texts names the slice."""
_DENSE_CELLS = 1 << 22
"""Up to so many cells, counting into all of them is faster than sorting out the few that are not empty."""
_THIN = 8
"""Cells a value from which on most are empty, and sorting is faster even where they are few."""

Thing = TypeVar("Thing", bound=Hashable)


@dataclass(slots=True)
class _Members:
    """k memberships of a unit (frame or detection) in a group; `scopes` says what each group stands for.

    Of frames `unit` and `frame` are the same array. `of` numbers the membership of its frame that each belongs to.
    """

    unit: Ints
    frame: Ints
    group: Ints
    of: Ints
    scopes: list[str]


@dataclass(slots=True)
class _Spans:
    """The t spans that frames fall into: where each starts, and the place of each frame's among them."""

    minutes: int
    starts: Ints
    start: Ints


@dataclass(slots=True)
class _Values:
    """What a signal reads off each unit, where it says anything: its fine bin, and as a whole number of its scale."""

    silent: npt.NDArray[np.bool_] | None
    """None: every unit says something."""
    bin: Ints
    whole: Ints


@dataclass(slots=True)
class _Lane:
    """The r rows that the k memberships fall into, and the series of each row.

    A series is one of the `scopes` and one of the `labels` (class or recipe): its code is scope x labels + label.
    """

    name: str
    minutes: int
    scopes: list[str]
    """The texts of the scopes, as they begin the name of a series."""
    unit: Ints
    row: Ints
    start_us: Ints
    frames: Ints
    """[r] distinct frames."""
    squares: Ints
    """[r] sum over those of (units of the frame)²."""
    labels: list[str]
    series: Ints
    """The codes of the series that occur, ascending."""
    series_row: Ints


@dataclass(slots=True)
class _Tally:
    """One signal counted over one lane: its r rows that hold something; `series_row` still speaks of the lane's."""

    signal: Signal
    lane: _Lane
    row: Ints
    n: Ints
    frames: Ints
    total: Ints
    squares: Ints
    cells: Ints
    bins: Ints
    counts: Ints


def roll_up(columns: FrameColumns) -> RollupColumns:
    """What these frames add to the roll-ups.

    `n` counts values, `frames` the frames that gave one, `total` sums round(value x scale), halves to even, `squares`
    sums (values of the frame)². `status` has no bins and the outcome in the place of the class; `pixel_brightness`
    adds the frame's own histogram: its `n` counts frames and its `total` sums count x middle of the bin.
    """
    frames = _members(columns)
    whole = _whole(frames)
    detections = _of_detections(frames, columns)
    labels = {"status": columns.status, "class": columns.det_class, "image": columns.recipe}
    labelled = {name: _interned(label) for name, label in labels.items()}
    spans = {minutes: _spans(columns, minutes) for minutes in MINUTES}
    lanes: dict[tuple[str, int], _Lane] = {}
    tallies: list[_Tally] = []
    for signal in SIGNALS.values():
        values = _values(signal, columns)
        for minutes in MINUTES if signal.service else MINUTES[:1]:
            for name in _lanes_of(signal):
                if (name, minutes) not in lanes:
                    members = frames if minutes == MINUTES[0] else whole
                    members = detections if name in ("detection", "class") else members
                    lanes[name, minutes] = _lane(members, name, labelled.get(name), spans[minutes])
                tallies.append(_tally(signal, values, columns, lanes[name, minutes]))
    return _gathered(tallies)


def _lanes_of(signal: Signal) -> tuple[str, ...]:
    if signal.name == "status":
        return ("frame", "status")
    if signal.per == "detection":
        return ("detection", "class") if signal.by_class else ("detection",)
    return ("image",) if signal.image else ("frame",)


def _interned(things: Iterable[Thing]) -> tuple[list[Thing], Ints]:
    """The distinct things in the order of their first appearance, and the place of each among them."""
    said = things if isinstance(things, list) else list(things)
    if said and said.count(said[0]) == len(said):
        return said[:1], np.zeros(len(said), dtype=np.int64)
    distinct = list(dict.fromkeys(said))
    index = {thing: place for place, thing in enumerate(distinct)}
    return distinct, np.fromiter(map(index.__getitem__, said), dtype=np.int64, count=len(said))


def _numbered(codes: Ints, size: int) -> tuple[Ints, Ints]:
    """The distinct codes, which are below `size`, ascending, and the place of each among them."""
    if size > _DENSE_CELLS:
        distinct, place = np.unique(codes, return_inverse=True)
        return distinct, place
    there = np.zeros(size, dtype=bool)
    there[codes] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]


def _runs(starts: Ints, lengths: Ints) -> Ints:
    """The ranges start, start + 1, ... of the given lengths, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def _members(columns: FrameColumns) -> _Members:
    """Every frame in its camera as a whole and in each of its slices."""
    c = columns
    cameras, camera = _interned(zip(c.model, c.version, c.stage, c.camera, c.shadow.tolist(), strict=True))
    # Frames share the few dictionaries there are; one that comes twice costs a look, and no wrong row.
    numbers, which = _interned(map(id, c.slices))
    by_number = dict(zip(map(id, c.slices), c.slices, strict=True))
    said = [tuple(by_number[number].items()) for number in numbers]
    pairs, pair = _interned(pair for slices in said for pair in ((ALL, ALL), *slices))
    lengths = np.array([1 + len(slices) for slices in said], dtype=np.int64)
    each = lengths[which]
    frame = np.repeat(np.arange(len(c)), each)
    pair = pair[_runs((np.cumsum(lengths) - lengths)[which], each)]
    groups, group = _numbered(camera[frame] * len(pairs) + pair, len(cameras) * len(pairs))
    scopes = []
    for code in groups.tolist():
        model, version, stage, name, shadow = cameras[code // len(pairs)]
        slice_name, slice_value = pairs[code % len(pairs)]
        scopes.append("\0".join(Scope(model, version, stage, name, slice_name, slice_value, shadow).parts))
    return _Members(frame, frame, group, np.arange(len(frame)), scopes)


def _whole(frames: _Members) -> _Members:
    """The memberships in cameras as a whole."""
    slices = [scope.split("\0")[_SLICE_PART] for scope in frames.scopes]
    chosen = np.array([name == ALL for name in slices], dtype=bool)[frames.group]
    unit = frames.unit[chosen]
    return _Members(unit, unit, frames.group[chosen], np.arange(len(unit)), frames.scopes)


def _of_detections(frames: _Members, columns: FrameColumns) -> _Members:
    """The memberships of the detections: those of their frames."""
    counts = np.bincount(columns.det_frame, minlength=len(columns))
    each = counts[frames.frame]
    unit = _runs((np.cumsum(counts) - counts)[frames.frame], each)
    of = np.repeat(frames.of, each)
    return _Members(unit, frames.frame[of], frames.group[of], of, frames.scopes)


def _spans(columns: FrameColumns, minutes: int) -> _Spans:
    """The spans of time that frames fall into."""
    span = minutes * _MINUTE_US
    number = columns.captured_us // span
    first, last = (int(number.min()), int(number.max())) if len(number) else (0, 0)
    starts, start = _numbered(number - first, last - first + 1)
    return _Spans(minutes, (starts + first) * span, start)


def _lane(members: _Members, name: str, labelled: tuple[list[str], Ints] | None, spans: _Spans) -> _Lane:
    """Number the rows of a lane: (group, class, recipe) makes the series, with the start it makes the row."""
    starts, start = spans.starts, spans.start
    label = np.zeros(len(members.unit), dtype=np.int64)
    distinct = [ALL]
    if labelled is not None:
        distinct, code = labelled
        label = code[members.unit]
    of_series = members.group * len(distinct) + label
    size = len(members.scopes) * len(distinct) * len(starts)
    codes, row = _numbered(of_series * len(starts) + start[members.frame], size)
    series, series_row = _numbered(codes // max(len(starts), 1), len(members.scopes) * len(distinct))
    frames = squares = np.bincount(row, minlength=len(codes))
    if members.unit is not members.frame:
        # The units of one frame in one row are those of one of its memberships with one label.
        which = members.of * len(distinct) + label
        pairs, pair = _numbered(which, (int(members.of.max(initial=-1)) + 1) * len(distinct))
        units, pair_row = np.bincount(pair, minlength=len(pairs)), np.zeros(len(pairs), dtype=np.int64)
        pair_row[pair] = row
        frames, squares = np.bincount(pair_row, minlength=len(codes)), np.zeros(len(codes), dtype=np.int64)
        np.add.at(squares, pair_row, units * units)
    return _Lane(
        name=name,
        minutes=spans.minutes,
        scopes=members.scopes,
        unit=members.unit,
        row=row,
        start_us=starts[codes % max(len(starts), 1)],
        frames=frames,
        squares=squares,
        labels=distinct,
        series=series,
        series_row=series_row,
    )


def _values(signal: Signal, columns: FrameColumns) -> _Values | None:
    """The values of a signal that is read value by value; None where no unit says anything."""
    if signal.name == "status" or signal.per == "pixel":
        return None
    values = signal.reader(columns)
    silent = np.isnan(values)
    if silent.all():
        return None
    known = np.where(silent, 0.0, values)
    return _Values(
        silent=silent if silent.any() else None,
        bin=signal.edges.bin_of(known),
        whole=np.rint(known * signal.scale).astype(np.int64),
    )


def _tally(signal: Signal, values: _Values | None, columns: FrameColumns, lane: _Lane) -> _Tally:
    rows, width = len(lane.start_us), signal.edges.count + 2
    total = np.zeros(rows, dtype=np.int64)
    cells = counts = np.zeros(0, dtype=np.int64)
    if signal.name == "status":
        n = lane.frames
    elif signal.per == "pixel":
        n, total, cells, counts = _of_pixels(signal, columns, lane)
    elif values is None:
        return _Tally(signal, lane, *(np.zeros(0, dtype=np.int64),) * 8)
    else:
        row, unit = lane.row, lane.unit
        if values.silent is not None:
            chosen = ~values.silent[unit]
            row, unit = row[chosen], unit[chosen]
        n = np.bincount(row, minlength=rows)
        np.add.at(total, row, values.whole[unit])
        cells, counts = _count(row * width + values.bin[unit], rows * width)
    # A frame gives a frame's signal one value at most; detections always have all of theirs.
    frames, squares = (lane.frames, lane.squares) if signal.per == "detection" else (n, n)
    held = np.flatnonzero(n)
    return _Tally(
        signal=signal,
        lane=lane,
        row=held,
        n=n[held],
        frames=frames[held],
        total=total[held],
        squares=squares[held],
        cells=np.bincount(cells // width, minlength=rows)[held],
        bins=cells % width,
        counts=counts,
    )


def _of_pixels(signal: Signal, columns: FrameColumns, lane: _Lane) -> tuple[Ints, Ints, Ints, Ints]:
    """n [r] and total [r] of the frames' own histograms, and the cells that are not empty with their counts."""
    rows, width = len(lane.start_us), signal.edges.count + 2
    has = (columns.brightness_histogram.sum(axis=1) > 0)[lane.unit]
    row, unit = lane.row[has], lane.unit[has]
    dense = np.zeros((rows, width), dtype=np.int64)
    # Bin by bin, for a frame gives a value to each; floats hold such sums exactly.
    for place, counts in enumerate(np.ascontiguousarray(columns.brightness_histogram.T, dtype=np.float64), 1):
        dense[:, place] = np.bincount(row, counts[unit], minlength=rows)
    middle = np.rint(signal.edges.middles()[1:-1] * signal.scale).astype(np.int64)
    cells = np.flatnonzero(dense)
    return np.bincount(row, minlength=rows), dense[:, 1:-1] @ middle, cells, dense.ravel()[cells]


def _count(cell: Ints, size: int) -> tuple[Ints, Ints]:
    """The cells that are not empty, ascending, and how many values each holds."""
    if size > min(_DENSE_CELLS, _THIN * len(cell)):
        return np.unique(cell, return_counts=True)
    dense = np.bincount(cell, minlength=size)
    filled = np.flatnonzero(dense)
    return filled, dense[filled]


def _gathered(tallies: list[_Tally]) -> RollupColumns:
    """All tallies under one numbering of the series."""
    names: list[str] = []
    places: list[Ints] = []
    for tally in tallies:
        lane = tally.lane
        used, place = _numbered(lane.series_row[tally.row], len(lane.series))
        places.append(place + len(names))
        scope, label = np.divmod(lane.series[used], len(lane.labels))
        heads = map(lane.scopes.__getitem__, scope.tolist())
        tails = map(_tails(tally.signal, lane).__getitem__, label.tolist())
        names += map(add, heads, tails)
    return RollupColumns(
        names=names,
        series_row=np.concatenate(places),
        start_us=np.concatenate([tally.lane.start_us[tally.row] for tally in tallies]),
        n=np.concatenate([tally.n for tally in tallies]),
        frames=np.concatenate([tally.frames for tally in tallies]),
        total=np.concatenate([tally.total for tally in tallies]),
        squares=np.concatenate([tally.squares for tally in tallies]),
        cells=np.concatenate([tally.cells for tally in tallies]),
        bins=np.concatenate([tally.bins for tally in tallies]),
        counts=np.concatenate([tally.counts for tally in tallies]),
    )


def _tails(signal: Signal, lane: _Lane) -> list[str]:
    """How the names of a signal's series end after their scope, by label."""
    read = [(ALL, label) if lane.name == "image" else (label, "") for label in lane.labels]
    return [
        f"\0{signal.name}\0{class_name}\0{recipe}\0{signal.edges.id}\0{lane.minutes}" for class_name, recipe in read
    ]
