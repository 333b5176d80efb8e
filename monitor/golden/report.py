"""All that is said of a version on a golden set, in one piece: for a page, for text, for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from monitor.golden import compare, ruling, score
from monitor.golden.frames import Frame, outcomes, worst
from monitor.golden.sets import GoldenSet, Id
from monitor.spec.contract import Contract
from monitor.stats import detection, operating
from monitor.stats.boxes import Floats
from monitor.stats.matching import Found, Table

SHOWN = 20
"""Images of which it is told that they turned, and numbers of which it is told that they moved."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is asked with: production's thresholds [classes], what a miss and a false alarm cost, each
    [classes], the contract with the criteria, and how the intervals are drawn (`times` sets anew; bounds one-sided at
    `confidence`)."""

    thresholds: Floats
    costs: tuple[Floats, Floats]
    contract: Contract | None = None
    times: int = 1000
    seed: int = 0
    confidence: float = 0.95
    margin: float = 0.005
    frames: int = 12


@dataclass(frozen=True, slots=True)
class Curve:
    """A class's best precision from each of 101 recalls on, at overlap 0.5, and where production stands on it.

    Without truth of the class there is none of it.
    """

    class_name: str
    precision: tuple[float, ...]
    scores: tuple[float, ...]
    ap50: float | None
    at_recall: float | None
    at_precision: float | None


@dataclass(frozen=True, slots=True)
class Turned:
    """An image whose objects were found before and are missed now, or the other way round."""

    image: Id
    lost: int
    won: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Precision or recall of a class, of all images or of a slice, then and now; bounds are those of now."""

    name: str
    before: float
    now: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What is otherwise than last time: the paired comparison, verdicts of cells before and now, what moved most.

    `cells` holds only criteria whose verdict is another; `fell` and `rose` are precisions and recalls of which then
    and now lie outside each other's bounds, the farthest first. `lost` and `won` count objects over all images, and
    `turned` has the images with most of them.
    """

    comparison: compare.Comparison
    cells: tuple[tuple[str, str, str], ...]
    fell: tuple[Moved, ...]
    rose: tuple[Moved, ...]
    lost: int
    won: int
    turned: tuple[Turned, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The evaluator's numbers, the ruling as it is kept (None without criteria), curves, worst frames, changes."""

    name: str
    numbers: dict[str, Any]
    ruling: dict[str, Any] | None
    curves: tuple[Curve, ...]
    frames: tuple[Frame, ...]
    changes: Changes | None

    def plain(self) -> dict[str, Any]:
        """The report as plain values: what `--json` prints."""
        return {
            "set": self.name,
            "ruling": self.ruling,
            "evaluation": self.numbers,
            "curves": [asdict(curve) for curve in self.curves],
            "worst_frames": [asdict(frame) for frame in self.frames],
            "changes": None if self.changes is None else asdict(self.changes),
        }


def report(golden: GoldenSet, found: Found, asked: Asked, before: Found | None = None) -> Report:
    """Everything about `found`, and what changed since `before` on the same set.

    Raises:
        UsageError: a criterion names a class or slice that the set has not.
    """
    table = score.table_of(golden, found)
    ruled = _ruled(golden, found, asked)
    numbers = score.evaluate(golden, found, asked.thresholds, asked.times, asked.seed, asked.confidence)
    return Report(
        golden.name,
        numbers,
        ruled,
        curves(golden, table, asked.thresholds),
        tuple(worst(golden, table, asked.thresholds, asked.costs, asked.frames)),
        None if before is None else _changes(golden, before, table, numbers, ruled, asked),
    )


def _ruled(golden: GoldenSet, found: Found, asked: Asked) -> dict[str, Any] | None:
    if asked.contract is None or not asked.contract.acceptance:
        return None
    demands, margin = asked.contract.acceptance, asked.contract.release.map_drop_at_most
    return ruling.plain(ruling.rule(golden, found, demands, asked.thresholds, {}, margin, asked.times, asked.seed))


def curves(golden: GoldenSet, table: Table, thresholds: Floats) -> tuple[Curve, ...]:
    """The curve of each class, with the point that production works at."""
    drawn = detection.curves(table)
    counts = operating.counts(table, thresholds)
    found = []
    for k, (name, of) in enumerate(zip(golden.class_names, detection.by_class(drawn), strict=True)):
        there = of["AP50"] is not None
        precision, scores = (
            tuple(values[0, :, k, 0, -1].tolist()) if there else () for values in (drawn.precision, drawn.scores)
        )
        point = (score.number(float(values[k])) for values in (counts.recall, counts.precision))
        found.append(Curve(name, precision, scores, of["AP50"], *point))
    return tuple(found)


def _changes(
    golden: GoldenSet,
    before: Found,
    table: Table,
    numbers: dict[str, Any],
    ruled: dict[str, Any] | None,
    asked: Asked,
) -> Changes:
    earlier = score.table_of(golden, before)
    told = compare.compare(golden, earlier, table, asked.margin, asked.confidence, asked.times, asked.seed)
    was = _ruled(golden, before, asked)
    then = score.evaluate(golden, before, asked.thresholds, 0, asked.seed, asked.confidence)
    pairs = zip(was["criteria"], ruled["criteria"], strict=True) if was and ruled else ()
    other = [(cell["name"], cell["verdict"], now["verdict"]) for cell, now in pairs]
    missed = np.zeros((2, table.truth.label.size), dtype=bool)
    for row, one in enumerate((earlier, table)):
        missed[row, outcomes(one, asked.thresholds)[2]] = True
    lost, won = (
        np.bincount(table.truth.image[kind], minlength=table.images)
        for kind in (missed[1] & ~missed[0], missed[0] & ~missed[1])
    )
    order = np.lexsort((-won, -lost))[:SHOWN]
    turned = [Turned(golden.images[i], int(lost[i]), int(won[i])) for i in order.tolist() if lost[i] or won[i]]
    return Changes(
        told,
        tuple(row for row in other if row[1] != row[2]),
        *moved(then, numbers),
        int(lost.sum()),
        int(won.sum()),
        tuple(turned),
    )


def moved(before: dict[str, Any], now: dict[str, Any]) -> tuple[tuple[Moved, ...], tuple[Moved, ...]]:
    """Precisions and recalls that fell, and that rose, each value outside the other's bounds; the farthest first."""
    found = []
    for (name, then), (_, point) in zip(_points(before), _points(now), strict=True):
        for measure in ("precision", "recall"):
            was, is_ = then[measure], point[measure]
            if was is None or is_ is None:
                continue
            (low, high), (then_low, then_high) = (
                (of[f"{measure}_low"], of[f"{measure}_high"]) for of in (point, then)
            )
            if not low <= was <= high and not then_low <= is_ <= then_high:
                found.append(Moved(f"{measure} of {name}", was, is_, low, high))
    found.sort(key=lambda one: -abs(one.now - one.before))
    fell, rose = ([one for one in found if (one.now < one.before) is down] for down in (True, False))
    return tuple(fell[:SHOWN]), tuple(rose[:SHOWN])


def _points(numbers: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each class's operating point on the whole set and in every slice."""
    places = [("", numbers["operating_points"])]
    for condition, values in numbers["slices"].items():
        places += [(f" where {condition}={value}", of) for value, of in values.items()]
    return [(point["name"] + where, point) for where, of in places for point in of["per_class"].values()]
