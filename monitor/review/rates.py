"""Counts of verdicts → shares with their intervals: how often people correct the model.

The raw share says what happened among the reviewed detections. The honest one says it of all detections: reviews
whose choice is known, weighed by how likely it was (`weights`) and by how many detections each band of confidence
has, and corrected for what reviewers themselves get wrong (`stats.accuracy`). Reviews that do not say with which
probability their frame was chosen count in the raw share alone: whatever brought them there is unknown. Intervals
are those of independent detections; of one frame they are alike, and count for fewer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from monitor.feedback import BANDS, BOUNDS, MISSES, NO_BAND, OVERRIDE, OVERRIDES, SHARES, VERDICTS
from monitor.records import ALL, Floats, Histogram, Ints, Measurement, Scope, SeriesKey, Window
from monitor.review.overrides import Cells
from monitor.review.weights import NOTHING, Key, Weighed, scopes
from monitor.signals import SIGNALS
from monitor.stats import accuracy
from monitor.stats.accuracy import Estimate, Reviewer
from monitor.stats.intervals import wilson
from monitor.stats.strata import EDGES, band_of

COUNTED = "confidence"
"""The signal whose roll-ups say how many detections each band has."""
_ONE_SIDED = 0.975
"""Two bounds of this confidence make an interval of 95 %."""
_BANDS = len(EDGES) - 1


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval, out of `n` reviewed; `value` is None where nothing can be said."""

    value: float | None
    low: float
    high: float
    n: int


@dataclass(slots=True)
class Tally:
    """What is known of one scope and class: counts by band of confidence."""

    detections: Ints = field(default_factory=lambda: np.zeros(_BANDS, dtype=np.int64))
    """[bands] all of them, reviewed or not."""
    verdicts: Ints = field(default_factory=lambda: np.zeros((len(VERDICTS), 2, _BANDS), dtype=np.int64))
    """[verdicts, chosen, bands]"""
    missed: int = 0
    frames: int = 0

    def overridden(self, direction: str = "") -> Ints:
        """[chosen, bands] detections corrected, whichever way or in one direction."""
        ways = [direction] if direction else OVERRIDES
        return np.asarray(self.verdicts[[VERDICTS.index(way) for way in ways]].sum(axis=0))

    @property
    def reviewed(self) -> Ints:
        """[chosen, bands] detections with a verdict."""
        return np.asarray(self.verdicts.sum(axis=0))


def tally(cells: Cells, found: Mapping[SeriesKey, Histogram]) -> dict[Key, Tally]:
    """The live counts of one version by scope and class: each camera, stage and class, and all of them.

    `found` are the roll-ups of COUNTED over the same period; scopes without a review are left out.
    """
    tallies: dict[Key, Tally] = defaultdict(Tally)
    for place, cell in cells.items():
        if place.shadow:
            continue
        own = Scope(place.model, place.version, place.stage, place.camera, place.slice_name, place.slice_value)
        counts = [getattr(cell, verdict) for verdict in VERDICTS]
        for key in _keys(own, place.class_name):
            one = tallies[key]
            one.missed += cell.missed
            one.frames += cell.frames
            if place.band != NO_BAND:
                one.verdicts[:, int(place.chosen), place.band] += counts
    bands = band_of(SIGNALS[COUNTED].edges.middles())
    for series, histogram in found.items():
        if series.signal == COUNTED and not series.scope.shadow:
            counted = np.bincount(bands, weights=histogram.counts, minlength=_BANDS).astype(np.int64)
            for scope in scopes(series.scope):
                if (scope, series.class_name) in tallies:
                    tallies[scope, series.class_name].detections += counted
    return dict(tallies)


def _keys(scope: Scope, class_name: str) -> list[Key]:
    return [(one, name) for one in scopes(scope) for name in dict.fromkeys((class_name, ALL))]


def shares(
    tallies: Mapping[Key, Tally], weighed: Mapping[Key, Weighed], reviewer: Reviewer
) -> dict[Key, dict[str, Share]]:
    """Every share of every scope and class, by measure; `weighed` is what their reviews are worth."""
    worth = {key: weighed.get(key, NOTHING) for key in tallies}
    found: dict[Key, dict[str, Share]] = {key: _raw(one, worth[key].worth) for key, one in tallies.items()}
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in tallies:
        groups[key[0].stage, key[1]].append(key)
    for keys in groups.values():
        # The fleet of a class is its cameras as a whole: slices overlap them.
        fleet = [worth[key] for key in keys if key[0].camera and not key[0].slice_name]
        own = [tallies[key] for key in keys]
        detections = np.stack([np.maximum(one.detections, one.reviewed.sum(axis=0)) for one in own])
        for direction in ("", *OVERRIDES):
            known = accuracy.fleet_of(*_stacked(fleet, direction))
            judged = _estimate(detections, *_stacked([worth[key] for key in keys], direction), known, reviewer)
            for i, key in enumerate(keys):
                found[key][_named("honest", direction)] = _share(judged, i, int(tallies[key].reviewed[1].sum()))
    return found


def _stacked(of: list[Weighed], direction: str) -> tuple[Floats, Floats]:
    """Reviewed and corrected by band, of reviews whose choice is known [keys, bands]."""
    return np.stack([one.reviewed for one in of]), np.stack([one.corrected[direction] for one in of])


def _estimate(
    detections: Ints, seen: Floats, corrected: Floats, fleet: accuracy.Fleet, reviewer: Reviewer
) -> Estimate:
    if reviewer.sensitivity <= reviewer.false_positives:  # so little is settled that it says nothing
        reviewer = Reviewer()
    return accuracy.estimate(detections, seen, corrected, fleet, reviewer)


def _share(found: Estimate, i: int, n: int) -> Share:
    if np.isnan(found.rate[i]):
        return Share(None, 0.0, 1.0, n)
    return Share(float(found.rate[i]), float(found.low[i]), float(found.high[i]), n)


def _raw(one: Tally, worth: float) -> dict[str, Share]:
    seen = one.reviewed.sum(axis=0)
    found = {_named("raw", way): _of(one.overridden(way).sum(), seen.sum(), worth) for way in ("", *OVERRIDES)}
    found[MISSES] = _of(one.missed, one.missed + seen.sum() - one.overridden("false_positive").sum(), worth)
    corrected = one.overridden().sum(axis=0)
    return found | {name: _of(corrected[band], seen[band], worth) for band, name in enumerate(BANDS)}


def _of(hits: int | np.int64, n: int | np.int64, worth: float) -> Share:
    low, high = wilson(int(hits) * worth, int(n) * worth, _ONE_SIDED)
    return Share(int(hits) / int(n) if n else None, low, high, int(n))


def _named(how: str, direction: str) -> str:
    return f"{how}_{direction}" if direction else how


def measurements(
    found: Mapping[Key, Mapping[str, Share]], window: Window, least: int, contract_hash: str
) -> Iterator[Measurement]:
    """The shares as measurements; under `least` reviews there is no number.

    `noise` is how far the interval reaches down: a value above a bound plus it has its whole interval above.
    """
    for (scope, class_name), by_measure in found.items():
        key = SeriesKey(scope, OVERRIDE, class_name)
        for measure in (*SHARES, MISSES, *BANDS):
            share = by_measure[measure]
            if not share.n:
                continue
            known = share.value is not None and share.n >= least
            row = Measurement(key, measure, window, None, "insufficient", share.n, 0, None, contract_hash)
            if share.value is None or not known:
                yield row
                continue
            noise = max(share.value - share.low, 0.0)
            yield replace(row, value=share.value, state="ok", noise=noise, low=share.low, high=share.high)
            for bound, value in zip(("low", "high"), (share.low, share.high), strict=True):
                if (name := f"{measure}_{bound}") in BOUNDS:
                    yield replace(row, measure=name, value=value, state="ok")
