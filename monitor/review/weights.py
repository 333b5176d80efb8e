"""What reviews weigh: a frame that was unlikely to be chosen speaks for many, detections of one frame for fewer.

Within a band of confidence frames are not chosen evenly either: one on which two versions disagree, or that somebody
reported, is likelier to be wrong than its confidence says. Where the probability of the choice is known, each
detection counts by its inverse (Horvitz & Thompson 1952, "A generalization of sampling without replacement from a
finite universe"; as a ratio, Hájek 1971). What uneven weights and likeness within a frame leave of n is the effective
number that intervals are told at (Kish 1965, "Survey sampling").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitor.feedback import OVERRIDES, SettledReview
from monitor.records import ALL, Floats, Scope
from monitor.stats.intervals import likeness
from monitor.stats.strata import EDGES, band_of

_BANDS = len(EDGES) - 1
Key = tuple[Scope, str]
"""A scope and a class; a camera or a class that is `""` stands for all of them."""
_WAYS = ("", *OVERRIDES)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the reviews of one scope and class are worth.

    `worth` is the independent part, 0 to 1, of all detections reviewed. `reviewed` [bands] counts independent
    detections behind those whose choice is known, and `corrected` by direction (`""`: any) how many of them, by the
    weights, were.
    """

    worth: float
    reviewed: Floats
    corrected: Mapping[str, Floats]


NOTHING = Weighed(1.0, np.zeros(_BANDS), {way: np.zeros(_BANDS) for way in _WAYS})


def weigh(counting: Sequence[SettledReview]) -> dict[Key, Weighed]:
    """The reviews of live frames, one a frame, by every scope and class that they count in."""
    live = [one for one in counting if one.class_name and not one.shadow]
    alike = _alike(live)
    sums: dict[Key, Floats] = {}
    for review in live:
        for class_name in {ALL, *review.class_name}:
            part = _part(review, class_name, alike)
            for scope in _scopes_of(review):
                key = scope, class_name
                sums[key] = sums[key] + part if key in sums else part
    return {key: _weighed(part) for key, part in sums.items()}


def scopes(scope: Scope) -> list[Scope]:
    """A scope and those that hold it: all cameras, and all stages of a pipeline."""
    stages = dict.fromkeys((scope.stage, ALL))
    return [replace(scope, camera=camera, stage=stage) for camera in (scope.camera, ALL) for stage in stages]


def _scopes_of(review: SettledReview) -> Iterable[Scope]:
    for condition in ((ALL, ALL), *review.slices):
        yield from scopes(Scope(review.model, review.version, review.stage, review.camera, *condition))


def _alike(live: Sequence[SettledReview]) -> float:
    """How alike the detections of a frame are, beyond what their confidence says of each."""
    if not live:
        return 0.0
    frame = np.repeat(np.arange(len(live)), [len(one.class_name) for one in live])
    band = band_of(np.concatenate([one.confidence for one in live]))
    wrong = np.concatenate([_wrong(one) for one in live])
    usual = np.bincount(band, wrong, _BANDS) / np.maximum(np.bincount(band, minlength=_BANDS), 1)
    return likeness(frame, wrong - usual[band])


def _wrong(review: SettledReview) -> Floats:
    return np.array([verdict in OVERRIDES for verdict in review.verdict], dtype=np.float64)


def _part(review: SettledReview, class_name: str, alike: float) -> Floats:
    """What one review adds up to, [2 + 2 + ways, bands]: its detections, the same with what likeness adds to their
    variance, and, of a frame whose probability is known, the sums of weights, of their squares with what likeness
    adds, and of the weights of the detections corrected in each direction."""
    own = [i for i, name in enumerate(review.class_name) if class_name in (ALL, name)]
    band = band_of([review.confidence[i] for i in own])
    n = np.bincount(band, minlength=_BANDS).astype(np.float64)
    spread = n * (1 + (len(own) - 1) * alike)
    weight = 0.0 if review.review_prob is None else 1 / review.review_prob
    said = [review.verdict[i] for i in own]
    corrected = [
        np.bincount(band, [verdict in ((way,) if way else OVERRIDES) for verdict in said], _BANDS) for way in _WAYS
    ]
    return np.stack([n, spread, weight * n, weight**2 * spread, *(weight * one for one in corrected)])


def _weighed(part: Floats) -> Weighed:
    n, spread, weight, squares, *corrected = part
    reviewed = weight**2 / np.where(squares > 0, squares, 1.0)
    each = reviewed / np.where(weight > 0, weight, 1.0)
    ways = zip(_WAYS, corrected, strict=True)
    return Weighed(float(n.sum() / spread.sum()), reviewed, {way: each * sums for way, sums in ways})
