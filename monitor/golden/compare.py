"""Has a version become worse than another on the same images? Paired, with a margin, and Holm over the criteria."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from monitor.golden.sets import GoldenSet
from monitor.stats import bootstrap
from monitor.stats.boxes import Floats
from monitor.stats.intervals import INSUFFICIENT, Difference, difference, holm
from monitor.stats.matching import Table

DROP, HELD = "drop", "held"
FEWEST_FOR_DROP = 30
"""Images with truth of a class under which no drop of that class is claimed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A criterion: its measure, class ("" for all), both values, their difference, and what that says.

    `p` is Holm's for the claim of a drop; `images` have truth of it; `settles_at` images would decide it, as far as
    is known.
    """

    measure: str
    class_name: str
    before: float | None
    after: float | None
    difference: Difference | None
    p: float
    images: int
    verdict: str
    settles_at: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All criteria, and the verdict on the whole: drop if any fell, held if both means did not, else insufficient."""

    rows: tuple[Row, ...]
    verdict: str
    margin: float
    confidence: float
    times: int


def compare(
    golden: GoldenSet,
    before: Table,
    after: Table,
    margin: float = 0.005,
    confidence: float = 0.95,
    times: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two match tables of one golden set: AP and AP50 of all classes, and AP of each class.

    A drop is claimed where the upper bound of the paired difference lies below minus the margin, and its p-value
    holds after Holm's adjustment over all criteria, AP weighing as much as all others together; "held" where the
    lower bound lies above it.
    """
    drawn = bootstrap.resampled([before, after], times, seed)
    ones = np.ones(len(golden.images), dtype=np.int64)
    whole = np.stack([bootstrap.weighted_ap(bootstrap.weighable(table), ones) for table in (before, after)])
    images = [bootstrap.images_with_truth(before, label=k) for k in (None, *range(before.classes))]
    told: list[tuple[str, str, Floats, Floats, int]] = [
        ("map50_95", "", bootstrap.over_classes(whole), bootstrap.over_classes(drawn), images[0]),
        ("map50", "", bootstrap.over_classes(whole[:, :1]), bootstrap.over_classes(drawn[:, :, :1]), images[0]),
    ]
    for k, name in enumerate(golden.class_names):
        value, resampled = whole[:, :, k].mean(axis=1), drawn[:, :, :, k].mean(axis=2)
        told.append(("ap50_95", name, value, resampled, images[k + 1]))
    judged = [_difference(value, values, margin, confidence) for _, _, value, values, _ in told]
    claims = [i for i, d in enumerate(judged) if d is not None and told[i][4] >= FEWEST_FOR_DROP]
    p = [1.0] * len(told)
    weights = [1.0 if i else float(max(1, len(claims) - 1)) for i in claims]
    for i, adjusted in zip(claims, holm([_claimed(judged[i]) for i in claims], weights), strict=True):
        p[i] = adjusted
    rows = []
    for (measure, name, value, _, n), d, adjusted in zip(told, judged, p, strict=True):
        first, second = (None if math.isnan(one) else float(one) for one in value)
        said, wanted = _verdict(d, adjusted, n, margin, confidence)
        rows.append(Row(measure, name, first, second, d, adjusted, n, said, wanted))
    return Comparison(tuple(rows), _overall(rows), margin, confidence, times)


def _claimed(of: Difference | None) -> float:
    return 1.0 if of is None else of.p_drop


def _difference(value: Floats, drawn: Floats, margin: float, confidence: float) -> Difference | None:
    if np.isnan(value).any():
        return None
    return difference(float(value[1] - value[0]), drawn[1] - drawn[0], margin, confidence)


def _verdict(
    of: Difference | None, p: float, images: int, margin: float, confidence: float
) -> tuple[str, int | None]:
    if of is None:
        return INSUFFICIENT, None
    if of.high < -margin and p <= 1 - confidence:
        return DROP, None
    if of.low >= -margin and images >= bootstrap.FEWEST_IMAGES:
        return HELD, None
    gap = abs(of.value + margin)
    if gap == 0:
        return INSUFFICIENT, None
    wanted = images * (float(scipy.special.ndtri(confidence)) * of.spread / gap) ** 2
    return INSUFFICIENT, max(bootstrap.FEWEST_IMAGES, math.ceil(wanted))


def _overall(rows: list[Row]) -> str:
    if any(row.verdict == DROP for row in rows):
        return DROP
    return HELD if all(row.verdict == HELD for row in rows[:2]) else INSUFFICIENT
