"""Does a version meet what is demanded of it? Each criterion passes, fails, or cannot be told yet.

All criteria must pass for the gate to open, so each is held to its own confidence: a version that misses any bound
gets through with no more than that criterion's error, however many there are (Berger 1982, "Multiparameter hypothesis
testing and acceptance sampling").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from monitor.errors import UsageError
from monitor.golden.score import Likeness, shares, table_of
from monitor.golden.sets import GoldenSet
from monitor.spec.contract import AcceptanceCriterion
from monitor.stats import bootstrap, calibration, matching, operating
from monitor.stats.boxes import Bools, Floats
from monitor.stats.intervals import INSUFFICIENT, PASS, Estimate, judge_share, verdict
from monitor.stats.matching import Found, Table

SIZE = "object_size"
"""The condition that is computed and not given: small, medium or large."""
AVERAGES = {"ap50": 1, "map50": 1, "ap50_95": None, "map50_95": None}
"""How many of the overlaps each average precision takes in (None: all)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A criterion and what became of it: the value, its one-sided bounds, `n` cases (detections, objects or images).

    `settles_at` is how many cases like these would decide it, where that can be said; `note` says why there is no
    value.
    """

    criterion: AcceptanceCriterion
    verdict: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    settles_at: int | None
    note: str = ""

    @property
    def name(self) -> str:
        """What the cell is of, such as "precision of scratch where lighting=night"."""
        of = self.criterion
        where = " and ".join(f"{name}={value}" for name, value in of.slice.items())
        return of.measure + (f" of {of.class_name}" if of.class_name else "") + (f" where {where}" if where else "")


class Judge:
    """A model's detections on a golden set, asked one criterion after another; each overlap is matched once."""

    def __init__(self, golden: GoldenSet, found: Found, thresholds: Floats, times: int = 1000, seed: int = 0) -> None:
        self._golden, self._found, self._thresholds = golden, found, thresholds
        self._times, self._seed = times, seed
        self._tables: dict[tuple[float, ...], Table] = {}
        self._alike: dict[float, Likeness] = {}

    def _table(self, overlaps: Floats) -> Table:
        key = tuple(overlaps.tolist())
        if key not in self._tables:
            self._tables[key] = table_of(self._golden, self._found, overlaps)
        return self._tables[key]

    def judge(self, criterion: AcceptanceCriterion) -> Cell:
        """The verdict on one criterion.

        Raises:
            UsageError: it names a class that the golden set has not, or a size that there is not.
        """
        label = self._label(criterion.class_name)
        if absent := self._absent(criterion.slice):
            return Cell(criterion, INSUFFICIENT, None, None, None, 0, None, absent)
        among, size = self._where(criterion.slice)
        if criterion.measure == "latency_p95_ms":
            return Cell(criterion, INSUFFICIENT, None, None, None, 0, None, "results carry no latency")
        if criterion.measure in AVERAGES:
            return self._average(criterion, label, among, size)
        if criterion.measure == "calibration_error":
            return self._calibration(criterion, label, among)
        return self._share(criterion, label, among, size)

    def _absent(self, slices: Mapping[str, str]) -> str:
        """What is asked for and no image of the set has, with what there is; "" if all is there."""
        said = []
        for name, value in slices.items():
            values = self._golden.slices.get(name, {})
            if name != SIZE and value not in values:
                said.append(f"no image has {name}={value}" + (f", they have {', '.join(values)}" if values else ""))
        return "; ".join(said)

    def _label(self, name: str) -> int | None:
        if not name:
            return None
        if name not in self._golden.class_names:
            known = ", ".join(self._golden.class_names)
            raise UsageError(f"a criterion names the class {name!r}; {self._golden.name} has {known}")
        return self._golden.class_names.index(name)

    def _where(self, slices: Mapping[str, str]) -> tuple[Bools | None, int]:
        among, size = None, 0
        for name, value in slices.items():
            if name == SIZE:
                if value not in list(matching.SIZES)[1:]:
                    raise UsageError(f"a criterion names the slice {SIZE}={value}; write small, medium or large")
                size = list(matching.SIZES).index(value)
            else:
                there = self._golden.slices[name][value]
                among = there if among is None else among & there
        return among, size

    def _share(self, criterion: AcceptanceCriterion, label: int | None, among: Bools | None, size: int) -> Cell:
        table = self._table(np.array([criterion.iou]))
        if criterion.iou not in self._alike:
            self._alike[criterion.iou] = Likeness(table, self._thresholds)
        each = operating.by_image(table, self._thresholds, 0, size, among)
        # F1 lies between its values at both bounds; each gets half of what may go wrong.
        confidence = (1 + criterion.confidence) / 2 if criterion.measure == "f1" else criterion.confidence
        both = shares(each, label, self._alike[criterion.iou], confidence)
        of = _f1(both) if criterion.measure == "f1" else both[criterion.measure]
        bound, at_least = _bound(criterion)
        said, wanted = judge_share(of, bound, at_least, criterion.confidence)
        known = of.value is not None
        low, high = (of.low, of.high) if known else (None, None)
        return Cell(criterion, said, of.value, low, high, of.n, wanted, "" if known else "there is no case of it")

    def _average(self, criterion: AcceptanceCriterion, label: int | None, among: Bools | None, size: int) -> Cell:
        table = self._table(matching.OVERLAPS)
        levels = AVERAGES[criterion.measure]
        pick = (slice(None), slice(None, levels), slice(None) if label is None else slice(label, label + 1))
        drawn = bootstrap.over_classes(bootstrap.resampled([table], self._times, self._seed, among, size)[0][pick])
        once = np.ones(table.images, dtype=np.int64) if among is None else among.astype(np.int64)
        value = float(bootstrap.over_classes(bootstrap.weighted_ap(bootstrap.weighable(table, size), once)[pick[1:]]))
        images = bootstrap.images_with_truth(table, among, size, label)
        return _resampled(criterion, value, drawn, images, images)

    def _calibration(self, criterion: AcceptanceCriterion, label: int | None, among: Bools | None) -> Cell:
        table = self._table(matching.OVERLAPS)
        weights = bootstrap.draws(table.images, self._times, self._seed, among)
        value, n, images, drawn = calibration.drawn_d_ece(table, self._thresholds, weights, among, label)
        return _resampled(criterion, math.nan if value is None else value, drawn, n, images)


def _bound(criterion: AcceptanceCriterion) -> tuple[float, bool]:
    if criterion.at_least is not None:
        return criterion.at_least, True
    if criterion.at_most is not None:
        return criterion.at_most, False
    raise UsageError(f"the criterion {criterion.name!r} has no bound; give it at_least or at_most")


def _f1(of: Mapping[str, Estimate]) -> Estimate:
    precision, recall = of["precision"], of["recall"]

    def between(p: float, r: float) -> float:
        return 2 * p * r / (p + r) if p + r else 0.0

    fewer = min(precision, recall, key=lambda one: one.effective)
    if recall.value is None:
        return Estimate(None, 0.0, 1.0, 0, 0.0, 0)
    if precision.value is None:  # nothing is said, and all objects are missed
        return Estimate(0.0, 0.0, between(precision.high, recall.high), recall.n, recall.effective, recall.clusters)
    return Estimate(
        between(precision.value, recall.value),
        between(precision.low, recall.low),
        between(precision.high, recall.high),
        fewer.n,
        fewer.effective,
        fewer.clusters,
    )


def _resampled(criterion: AcceptanceCriterion, value: float, drawn: Floats, n: int, images: int) -> Cell:
    """The cell of a number of `n` cases whose bounds come from images drawn anew; of too few `images` it never
    passes."""
    known = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or not known.size:
        return Cell(criterion, INSUFFICIENT, None, None, None, n, None, "there is no case of it")
    bound, at_least = _bound(criterion)
    confidence, fewest = criterion.confidence, bootstrap.FEWEST_IMAGES
    low, high = (float(end) for end in np.quantile(known, (1 - confidence, confidence)))
    said = verdict(value, low, high, bound, at_least)
    least = math.ceil(n * fewest / images) if images else fewest
    if said == PASS and images < fewest:
        note = f"no interval to rely on under {fewest} images with it"
        return Cell(criterion, INSUFFICIENT, value, low, high, n, least, note)
    wanted: int | None = None
    gap = abs(value - bound)
    if said == INSUFFICIENT and gap > 0:
        spread = float(known.std(ddof=1)) if known.size > 1 else 0.0
        wanted = max(least, math.ceil(n * (float(scipy.special.ndtri(confidence)) * spread / gap) ** 2))
    return Cell(criterion, said, value, low, high, n, wanted)
