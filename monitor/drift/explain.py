"""Why a lane alarmed on a camera, or did not: everything that the decision rests on, in numbers and in words.

Nothing is decided here: the verdict is `lanes.decide`'s, the onset `lanes.onset_of`'s. Shown are the day against its
season and the band of an ordinary day, both sums against their limit, when the change began and which part of the
histogram (or which class) took part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from textwrap import wrap

import numpy as np
import numpy.typing as npt

from monitor.drift import lanes
from monitor.records import Floats, Ints
from monitor.signals import Edges
from monitor.stats import null, rolling, seasonal, sequential
from monitor.watch import Lane

SHOWN_DAYS = 14
"""Days of a path that are told in words."""
WIDTH = 80
MOST_MOVED = 5
"""Groups or classes that are named."""


@dataclass(frozen=True, slots=True)
class Part:
    """A group of bins or a class: its share in the season of the same hours, and since the onset."""

    name: str
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Path:
    """A stream day by day, each [days]: NaN where a day has no verdict. `up` and `down` are before a reset."""

    days: tuple[date, ...]
    effect: Floats
    z: Floats
    up: Floats
    down: Floats
    alarm: Ints
    held: npt.NDArray[np.bool_]
    """Days with a sum over the limit that did not alarm, the change being under the floor."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One camera's stream on one day, and how it came there.

    `effect`, `band`, `moved` are in the lane's unit; `level` is what the season expects of the day's hours and `now`
    what they gave, both in the watched number's own unit (None without a verdict, and of a shape). `moved` is the
    mean effect since the onset; `run` the mean effect and the days of the run of the larger sum, which the floor is
    held against (no days: both sums are 0). `opened` is the first alarm of the episode that the day belongs to, whose
    onset is told; None outside of one. `picked` says why this day where nobody asked for one. `fast` is the day's
    largest score of four hours, 0 if none is told. `path` begins with the first day after the baseline; `parts` are
    in the order of the bins or classes.
    """

    camera: str
    lane: Lane
    class_name: str
    day: date
    alarm: int
    n: int
    m: int
    z: float
    effect: float
    level: float | None
    now: float | None
    band: null.Band
    limit: float
    fast: float
    onset: sequential.Onset
    began: date
    moved: float
    run: tuple[float, int]
    opened: date | None
    path: Path
    parts: tuple[Part, ...]
    picked: str = ""

    @property
    def learning(self) -> bool:
        """Whether the baseline is too short for any alarm."""
        return self.m < sequential.SMALLEST_BASELINE

    @property
    def sign(self) -> int:
        """The way it moved: that of the alarm, else of the change whose onset is told."""
        return self.alarm or int(np.sign(self.fast)) or (-1 if self.onset.size < 0 else 1)


def explain(
    verdict: lanes.Verdict,
    row: int,
    camera: str,
    first: date,
    calendar: lanes.Calendar,
    day: int,
    groups: Ints,
    names: Sequence[str],
) -> Explanation:
    """The camera in `row` of the verdict's arrays on the `day`-th of its days, the first of which is `first`.

    `groups` [days, 24, groups] are the camera's counts by group of bins or by class, called `names`.
    """
    stream, baseline = verdict.stream, calendar.baseline
    lane = stream.lane
    fast = 0.0 if stream.fast is None or not verdict.fast[row, day] else _largest(stream.fast[row, day])
    alarm = int(verdict.alarm[row, day])
    opened = opening(verdict, row, day)
    way = alarm or (1 if verdict.path.up[row, day] >= verdict.path.down[row, day] else -1)
    if opened is None:
        onset = sequential.onset(stream.z[row], day, way, first=_start(verdict, row, day, baseline))
    else:
        onset = lanes.onset_of(verdict, row, opened, baseline)
    level = None if stream.level is None or not np.isfinite(stream.level[row, day]) else float(stream.level[row, day])
    effect = float(stream.effect[row, day])
    change = None if level is None else effect * abs(level) if lane.unit == "relative" else effect
    return Explanation(
        camera=camera,
        lane=lane,
        class_name=stream.class_name,
        day=first + timedelta(days=day),
        alarm=alarm,
        n=int(groups[day].sum()),
        m=int(stream.m[row]),
        z=float(stream.z[row, day]),
        effect=effect,
        level=level,
        now=None if level is None or change is None else level + change,
        band=null.band(stream.effect[row, :baseline], log=lane.probe == "shape"),
        limit=float(verdict.limit[row]),
        fast=fast,
        onset=onset,
        began=first + timedelta(days=onset.day),
        moved=_mean(stream.effect[row, onset.day : day + 1]),
        run=_run(verdict.path, row, day, way),
        opened=None if opened is None else first + timedelta(days=opened),
        path=_path(verdict, row, first, baseline, day),
        parts=parts(groups, names, calendar, onset.day, day),
    )


def opening(verdict: lanes.Verdict, row: int, day: int) -> int | None:
    """The first alarm of the episode that `day` belongs to; None: there is none open.

    An episode ends as an incident of this stream alone does: after a week without an alarm, once the stream is calm.
    """
    alarms = (verdict.alarm[row] != 0) | (verdict.fast[row] != 0)
    calm = lanes.calm(verdict.stream)[row]
    opened, last = None, 0
    for t in range(day + 1):
        if alarms[t]:
            opened, last = t if opened is None else opened, t
        elif calm[t] and t - last >= lanes.WEEK:
            opened = None
    return opened


def _run(path: sequential.Path, row: int, day: int, way: int) -> tuple[float, int]:
    """Mean effect and days of the run of the sum that goes this `way`; a sum of 0 has none."""
    total, side = (path.up, 0) if way > 0 else (path.down, 1)
    if not total[row, day] > 0:
        return float("nan"), 0
    return float(path.mean[row, day, side]), int(path.run[row, day, side])


def _path(verdict: lanes.Verdict, row: int, first: date, baseline: int, day: int) -> Path:
    days = slice(baseline, day + 1)
    return Path(
        tuple(first + timedelta(days=i) for i in range(baseline, day + 1)),
        verdict.stream.effect[row, days],
        verdict.stream.z[row, days],
        verdict.path.up[row, days],
        verdict.path.down[row, days],
        verdict.alarm[row, days],
        verdict.path.over[row, days] & (verdict.alarm[row, days] == 0),
    )


def _largest(scores: Floats) -> float:
    known = np.nan_to_num(scores)
    return float(known[np.abs(known).argmax()])


def _start(verdict: lanes.Verdict, row: int, day: int, baseline: int) -> int:
    """Where the running sums began: the day after both last were 0 or reset."""
    both = np.maximum(verdict.path.up[row, :day], verdict.path.down[row, :day])
    rest = np.flatnonzero((both <= 0) | (verdict.alarm[row, :day] != 0))
    return max(baseline, int(rest[-1]) + 1 if rest.size else baseline)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def parts(groups: Ints, names: Sequence[str], calendar: lanes.Calendar, onset: int, day: int) -> tuple[Part, ...]:
    """Each group's share in the days from `onset` to `day`, and what the season expects of the very same hours.

    Nothing where these days are empty or the baseline knows none of their hours.
    """
    usual = seasonal.expected_shares(groups, calendar.weekend, calendar.baseline)[onset : day + 1]
    counts = groups[onset : day + 1].sum(axis=1).astype(np.float64)
    n = np.where(np.isfinite(usual[:, 0]), counts.sum(axis=1), 0.0)
    if not n.sum():
        return ()
    before = (n[:, None] * np.nan_to_num(usual)).sum(axis=0) / n.sum()
    now = counts[n > 0].sum(axis=0) / n.sum()
    return tuple(Part(name, float(p), float(q)) for name, p, q in zip(names, before, now, strict=True))


def bin_names(edges: Edges, cuts: Sequence[int]) -> list[str]:
    """What groups of fine bins are called by their values; `cuts` are the last bin of each."""
    values = edges.values()
    found, low = [], 0
    for cut in cuts:
        if low == 0:
            found.append(f"under {_short(values[min(cut, values.size - 1)])}")
        elif cut >= values.size:
            found.append(f"{_short(values[low - 1])} and over")
        else:
            found.append(f"{_short(values[low - 1])} to {_short(values[cut])}")
        low = cut + 1
    return found


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def in_words(said: Explanation) -> str:
    """The explanation as text: sentences first, then the parts and the last days as columns, 80 wide at most."""
    lane, of_class = said.lane, f" of class {said.class_name}" if said.class_name else ""
    lines = [f"{lane.name}{of_class} on {said.camera}, {said.day}: {_outcome(said)}"]
    lines += [f"  ({lane.help}; {lane.signal})", ""]
    sentences = [said.picked] * bool(said.picked) + _sentences(said)
    lines += [line for sentence in sentences for line in wrap(sentence, WIDTH)]
    moved = sorted(said.parts, key=lambda part: -abs(part.now - part.before))[:MOST_MOVED]
    if moved:
        lines += ["", f"What moved, from the season's share to the share since {said.began}:"]
        width = max(len(part.name) for part in moved)
        for part in moved:
            points = 100 * (part.now - part.before)
            lines.append(
                f"  {part.name[:40]:<{min(width, 40)}}  {part.before:7.1%} -> {part.now:7.1%}  {points:+6.1f} points"
            )
    lines += ["", f"  {'day':<10}  {'effect':>10}  {'score':>6}  {'sum up':>7}  {'sum down':>8}"]
    path = said.path
    for i in range(max(0, len(path.days) - SHOWN_DAYS), len(path.days)):
        numbers = (
            f"{amount(path.effect[i], lane):>10}  {_number(path.z[i]):>6}  {path.up[i]:7.2f}  {path.down[i]:8.2f}"
        )
        lines.append(f"  {path.days[i]}  {numbers}{_mark(path, i)}")
    return "\n".join(lines)


def _mark(path: Path, i: int) -> str:
    if path.alarm[i]:
        return "  alarm"
    if path.held[i]:
        return "  held by the floor"
    before = np.flatnonzero(np.isfinite(path.z[:i]))
    anew = np.isfinite(path.z[i]) and before.size and path.alarm[before[-1]]
    return "  the sum starts anew" if anew else ""


def _outcome(said: Explanation) -> str:
    if said.learning:
        return f"learning, {said.m} of {sequential.SMALLEST_BASELINE} baseline days"
    if said.alarm:
        return "alarm"
    if said.fast:
        return "alarm within hours"
    return "no alarm" if np.isfinite(said.z) else "no verdict"


def _sentences(said: Explanation) -> list[str]:
    lane = said.lane
    if not np.isfinite(said.effect):
        return [f"The day has {said.n:,} values, too few or in too few hours for a verdict."]
    was = ""
    if said.level is not None and said.now is not None:
        was = f", {plain(said.now, lane)} where {plain(said.level, lane)} was expected"
    lines = [f"The day lies {amount(said.effect, lane)} from its season{was}."]
    low = f"{amount(said.band.low, lane)} to " if np.isfinite(said.band.low) and lane.probe != "shape" else "up to "
    if np.isfinite(said.band.high):
        lines.append(
            f"An ordinary day: {low}{amount(said.band.high, lane)} (99 %), median {amount(said.band.median, lane)}."
        )
    lines.append(f"It has {said.n:,} values; the baseline has {said.m} days that count.")
    up, down = said.path.up[-1] if said.path.days else 0.0, said.path.down[-1] if said.path.days else 0.0
    lines.append(
        f"Its score is {_number(said.z)} sd. The sums: {up:.2f} up, {down:.2f} down; the limit is {said.limit:.2f}."
    )
    if said.fast:
        lines.append(f"Four hours of it scored {said.fast:+.1f}; the limit is {rolling.LIMIT}.")
    if max(up, down) > 0 or said.opened:
        lines.append(_began(said))
    mean, days = said.run
    if lane.floor and days:
        reached = "reaches" if mean * (said.alarm or (1 if up >= down else -1)) >= lane.floor else "does not reach"
        lines.append(
            f"The mean change over the {days} day{'' if days == 1 else 's'} of the sum, {amount(mean, lane)}, "
            f"{reached} the floor of {amount(lane.floor, lane, plus=False)}."
        )
    return lines


def _began(said: Explanation) -> str:
    episode = ""
    if said.opened and said.opened != said.day:
        episode = f" The day belongs to the episode that opened with the alarm of {said.opened}, whose onset this is."
    if said.onset.size == 0:
        return f"No start stands out before {said.began}.{episode}"
    kind = "in one step" if said.onset.shape == "step" else f"as a ramp of {said.onset.size:+.2f} sd a day"
    return f"It most likely began on {said.began}, {kind}; {amount(said.moved, said.lane)} on average since.{episode}"


def amount(value: float, lane: Lane, plus: bool = True) -> str:
    """A number in the lane's unit, signed: `-9.8 %`, `+3.1 points`, `+0.021 ln ms`."""
    if not np.isfinite(value):
        return "-"
    sign = "+" if plus and lane.probe != "shape" else ""
    if lane.unit == "relative":
        return f"{100 * value:{sign}.1f} %"
    if lane.unit == "share":
        return f"{100 * value:{sign}.1f} points"
    return f"{value:{sign}.3g}" if lane.unit in ("PSI", lane.signal) else f"{value:{sign}.3g} {lane.unit}"


def plain(value: float, lane: Lane) -> str:
    """A watched number as people know it: `118.4`, `40.2 ms` of a mean logarithm, `12.3 %` of a share."""
    if lane.unit == "share":
        return f"{100 * value:.1f} %"
    if lane.probe == "log_mean":
        return f"{np.exp(value):.4g} {lane.unit.removeprefix('ln ')}"
    return f"{np.expm1(value) if lane.probe == 'log1p_mean' else value:.4g}"


def _number(value: float) -> str:
    return f"{value:+.2f}" if np.isfinite(value) else "-"
