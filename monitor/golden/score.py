"""Every number of a golden set, from one match table: what `monitor golden evaluate` says.

So AP, operating points, confusion, calibration, error kinds, LRP, slices and bootstrap cannot contradict each other.
The AP is that of COCO's evaluator to the last bit, the kinds of error are tidecv's, the D-ECE is netcal's; a class
without truth is "not computed" (null) and never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from monitor.errors import UsageError
from monitor.golden.sets import GoldenSet
from monitor.stats import bootstrap, calibration, detection, intervals, lrp, matching, operating, taxonomy
from monitor.stats.boxes import Bools, Floats
from monitor.stats.calibration import Calibration, Reliability
from monitor.stats.matching import Found, Table

Numbers = dict[str, Any]


def table_of(golden: GoldenSet, found: Found, overlaps: Floats = matching.OVERLAPS) -> Table:
    """The match table of a model's detections on a golden set."""
    return matching.match(golden.truth, found, len(golden.images), len(golden.classes), overlaps)


def number(value: float | None) -> float | None:
    """A finite number as it is; None for what was not computed (None or NaN)."""
    return None if value is None or not math.isfinite(value) else float(value)


def thresholds_of(golden: GoldenSet, named: Mapping[str, float], usual: float = 0.5) -> Floats:
    """The production threshold of each class [classes]: the one named for it, by name or id, or the usual one.

    Raises:
        UsageError: a name that no class has.
    """
    limits = np.full(len(golden.classes), usual)
    places = {str(one): k for k, one in enumerate(golden.classes)}
    places |= {name: k for k, name in enumerate(golden.class_names)}
    for name, threshold in named.items():
        if name not in places:
            raise UsageError(f"{golden.name} has no class {name!r}; it has {', '.join(golden.class_names)}")
        limits[places[name]] = threshold
    return limits


def evaluate(
    golden: GoldenSet, found: Found, thresholds: Floats, times: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Numbers:
    """All numbers as a tree of plain values; None is "not computed". Classes are keyed by their ids.

    `thresholds` [classes] are production's; `times` sets are drawn anew for the intervals of average precision (0:
    none), whose bounds are one-sided at `confidence` each.
    """
    table = table_of(golden, found)
    curves = detection.curves(table)
    by_class = detection.by_class(curves)
    keys = [str(one) for one in golden.classes]
    named = zip(keys, golden.class_names, by_class, strict=True)
    return {
        "images": len(golden.images),
        "objects": int((~golden.truth.ignored).sum()),
        "ignored_objects": int(golden.truth.ignored.sum()),
        "detections": int(found.score.size),
        "set_aside": list(golden.set_aside),
        "stats": detection.stats(curves),
        "per_class": {key: {**values, "name": name} for key, name, values in named},
        "intervals": ap_intervals(table, keys, times, seed, confidence) if times else None,
        "operating_points": operating_points(golden, table, thresholds, confidence),
        "confusion": {
            "classes": [*golden.class_names, "background"],
            "matrix": operating.confusion(table, thresholds).tolist(),
        },
        "calibration": calibrations(golden, table, thresholds),
        "taxonomy": errors(golden, table, thresholds),
        "lrp": optimal(golden, table),
        "slices": slices(golden, table, thresholds, confidence),
    }


def ap_intervals(table: Table, keys: Sequence[str], times: int, seed: int, confidence: float) -> Numbers:
    """Percentile bounds of AP and AP50, of all classes and of each, from sets drawn anew."""
    drawn = bootstrap.resampled([table], times, seed)[0]

    def bounds(values: Floats) -> list[float | None]:
        known = values[np.isfinite(values)]
        if not known.size:
            return [None, None]
        return [float(end) for end in np.quantile(known, (1 - confidence, confidence))]

    each = {
        key: {"AP": bounds(drawn[:, :, k].mean(axis=1)), "AP50": bounds(drawn[:, 0, k])} for k, key in enumerate(keys)
    }
    return {
        "times": times,
        "confidence": confidence,
        "reliable": bootstrap.images_with_truth(table) >= bootstrap.FEWEST_IMAGES,
        "AP": bounds(bootstrap.over_classes(drawn)),
        "AP50": bounds(bootstrap.over_classes(drawn[:, :1])),
        "per_class": each,
    }


def _counted(counts: operating.Counts) -> list[Numbers]:
    parts = zip(
        *(np.atleast_1d(values).tolist() for values in (counts.right, counts.wrong, counts.missed)),
        *(np.atleast_1d(values).tolist() for values in (counts.precision, counts.recall, counts.f1)),
        strict=True,
    )
    return [
        {"tp": tp, "fp": fp, "fn": fn, "precision": number(p), "recall": number(r), "f1": number(f)}
        for tp, fp, fn, p, r, f in parts
    ]


class Likeness:
    """How alike an image's detections and objects are, of each class over the whole set: slices are too small to say.

    A class is taken to be at least as alike as all classes together.
    """

    def __init__(self, table: Table, thresholds: Floats, level: int = 0) -> None:
        whole = operating.by_image(table, thresholds, level)
        sides = (
            (whole.label, whole.image, whole.right),
            (whole.truth_label, whole.truth_image, whole.truth_found),
        )
        self.precision, self.recall = (
            [intervals.likeness(image, success)]
            + [intervals.likeness(image[label == k], success[label == k]) for k in range(table.classes)]
            for label, image, success in sides
        )

    def of(self, measure: str, k: int | None) -> float:
        """That of precision or recall of class `k`, or of all (None)."""
        values = self.precision if measure == "precision" else self.recall
        return values[0] if k is None else max(values[0], values[k + 1])


def shares(
    each: operating.ByImage, k: int | None, alike: Likeness, confidence: float
) -> dict[str, intervals.Estimate]:
    """Precision and recall with bounds, of class `k` or of all (None)."""
    rows, objects = ((np.ones(x.size, dtype=bool) if k is None else x == k) for x in (each.label, each.truth_label))
    return {
        "precision": intervals.share(each.image[rows], each.right[rows], alike.of("precision", k), confidence),
        "recall": intervals.share(
            each.truth_image[objects], each.truth_found[objects], alike.of("recall", k), confidence
        ),
    }


def points(
    golden: GoldenSet,
    table: Table,
    thresholds: Floats,
    alike: Likeness,
    confidence: float,
    among: Bools | None = None,
    size: int = 0,
) -> Numbers:
    """Counts, precision, recall, F1 and bounds at the thresholds, of all classes and of each."""
    each = operating.by_image(table, thresholds, 0, size, among)
    counts = operating.counts(table, thresholds, 0, size, among)
    rows: list[Numbers] = []
    for k, row in zip([None, *range(table.classes)], _counted(counts.total()) + _counted(counts), strict=True):
        bounds = shares(each, k, alike, confidence)
        low_high = {
            f"{name}_{end}": getattr(of, end) if of.n else None
            for name, of in bounds.items()
            for end in ("low", "high")
        }
        rows.append({**row, **low_high})
    named = zip(golden.classes, golden.class_names, thresholds.tolist(), rows[1:], strict=True)
    return {
        "all": rows[0],
        "per_class": {str(key): {"name": name, "threshold": limit, **row} for key, name, limit, row in named},
    }


def operating_points(golden: GoldenSet, table: Table, thresholds: Floats, confidence: float) -> Numbers:
    """Production's own thresholds, and the table of all from 0.30 to 0.90."""
    steps = operating.threshold_table(table)
    grid = []
    for i, threshold in enumerate(operating.GRID.tolist()):
        step = operating.Counts(steps.right[i], steps.wrong[i], steps.missed[i])
        per_class = dict(zip(map(str, golden.classes), _counted(step), strict=True))
        grid.append({"threshold": threshold, "all": _counted(step.total())[0], "per_class": per_class})
    alike = Likeness(table, thresholds)
    return {
        "iou": float(table.overlaps[0]),
        "confidence": confidence,
        **points(golden, table, thresholds, alike, confidence),
        "table": grid,
    }


def slices(golden: GoldenSet, table: Table, thresholds: Floats, confidence: float) -> Numbers:
    """Operating points and average precisions of each condition's values, and of small, medium and large objects."""
    alike = Likeness(table, thresholds)
    weighable = bootstrap.weighable(table)

    def of_images(among: Bools) -> Numbers:
        ap = bootstrap.weighted_ap(weighable, among.astype(np.int64))
        averages = {"AP": bootstrap.over_classes(ap), "AP50": bootstrap.over_classes(ap[:1])}
        return {
            "images": int(among.sum()),
            **{name: number(float(value)) for name, value in averages.items()},
            **points(golden, table, thresholds, alike, confidence, among),
        }

    found: Numbers = {
        name: {value: of_images(among) for value, among in values.items()} for name, values in golden.slices.items()
    }
    sizes = {
        name: points(golden, table, thresholds, alike, confidence, size=i)
        for i, name in enumerate(matching.SIZES)
        if i
    }
    return found | {"object_size": sizes}


def _bins(of: Reliability) -> list[Numbers]:
    columns = (of.edges[:-1], of.edges[1:], of.n, of.score, of.precision)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"from": a, "to": b, "n": n, "score": s, "precision": p} for a, b, n, s, p in rows if n]


def calibrations(golden: GoldenSet, table: Table, thresholds: Floats) -> Numbers:
    """D-ECE and LaECE of all detections, of those from 0.05 on, and of production's; a reliability table a class."""
    at: dict[str, Calibration] = {
        "all": calibration.calibration(table, 0.0),
        "floor": calibration.calibration(table, calibration.FLOOR),
        "production": calibration.calibration(table, thresholds),
    }
    floor = at["floor"].by_class
    per_class = {
        str(key): {"d_ece": calibration.d_ece(of), "la_ece": calibration.la_ece(of), "reliability": _bins(of)}
        for key, of in zip(golden.classes, floor, strict=True)
    }
    return {
        "iou": float(table.overlaps[0]),
        "bins": calibration.BINS,
        "score_floor": calibration.FLOOR,
        **{name: {"n": of.n, "d_ece": of.d_ece, "la_ece": of.la_ece} for name, of in at.items()},
        "per_class": per_class,
    }


def errors(golden: GoldenSet, table: Table, thresholds: Floats) -> Numbers:
    """Counts by kind of error: of all detections, of each class, and of those that production acts on."""
    every = taxonomy.taxonomy(table)
    acted = taxonomy.taxonomy(table, operating.acted_on(table, thresholds))
    return {
        **{kind: int(values.sum()) for kind, values in every.items()},
        "production": {kind: int(values.sum()) for kind, values in acted.items()},
        "per_class": {
            str(key): {kind: int(values[k]) for kind, values in every.items()} for k, key in enumerate(golden.classes)
        },
    }


def optimal(golden: GoldenSet, table: Table) -> Numbers:
    """The optimal LRP of each class, its parts, and the means over the classes that have them."""
    of_classes = lrp.optimal_lrp(table)
    parts: dict[str, Callable[[lrp.Lrp], float | None]] = {
        "oLRP": lambda one: one.error,
        "localisation": lambda one: one.localisation,
        "false": lambda one: one.false,
        "missed": lambda one: one.missed,
        "threshold": lambda one: one.threshold,
    }
    rows = [{name: None if one is None else number(part(one)) for name, part in parts.items()} for one in of_classes]
    means = {}
    for name in list(parts)[:-1]:
        known = [value for value in (row[name] for row in rows) if value is not None]
        means[name] = math.fsum(known) / len(known) if known else None
    return {
        "iou": float(table.overlaps[0]),
        **means,
        "per_class": dict(zip(map(str, golden.classes), rows, strict=True)),
    }
