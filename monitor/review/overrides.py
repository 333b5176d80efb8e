"""What reviews say of detections, counted: by hour of the frame, camera, slice, class, band of confidence, direction.

Of each frame one review counts, whatever was said later: the first that was finished and does not settle what others
said (of the same moment, the first by source and id). The others are kept, and tell how far reviewers are right.
Which that is does not depend on the order in which reviews come. Those that settle do not count where another is
there: they are truth on a chosen few frames, and the correction for what reviewers get wrong is right only if all
that is counted was judged in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitor.feedback import NO_BAND, OVERRIDES, ReviewCell, ReviewPlace, SettledReview, Verdict
from monitor.records import ALL, Floats
from monitor.stats.accuracy import Reviewer
from monitor.stats.boxes import overlap
from monitor.stats.strata import band_of

SAME = 0.5
"""IoU from which on a box names a detection's."""
Cells = dict[ReviewPlace, ReviewCell]


@dataclass(frozen=True, slots=True)
class Found:
    """The detections that verdicts are of: v places in the frame, the verdict on each, and verdicts without one."""

    index: tuple[int, ...]
    verdict: tuple[Verdict, ...]
    unmatched: int


def find(judged: Sequence[dict[str, Any]], class_name: Sequence[str], box: Sequence[float], whole: bool) -> Found:
    """The detections of a frame, with classes [d] and boxes [4 d], that verdicts speak of.

    Verdicts by place come first; then each by class and box takes, in its turn, the detection of that class that
    overlaps it most and is still free. `whole`: whether the frame holds all that was sent; where a detection was set
    aside, places are no more what they were, and only class and box can be trusted.
    """
    boxes = _corners(box)
    free = set(range(len(class_name)))
    taken: list[tuple[int, Verdict]] = []
    for one in judged:
        if (place := one.get("index")) is not None and whole and place in free:
            free.remove(place)
            taken.append((place, one["verdict"]))
    for one in judged:
        if one.get("index") is None:
            place = _nearest(one, class_name, boxes, free)
            if place is not None:
                free.remove(place)
                taken.append((place, one["verdict"]))
    taken.sort()
    return Found(tuple(i for i, _ in taken), tuple(v for _, v in taken), len(judged) - len(taken))


def _corners(box: Sequence[float]) -> Floats:
    """Boxes as x, y, width, height [d, 4]."""
    corners = np.array(box, dtype=np.float64).reshape(-1, 4)
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)


def _nearest(one: dict[str, Any], class_name: Sequence[str], boxes: Floats, free: set[int]) -> int | None:
    same = [i for i in sorted(free) if class_name[i] == one["class"]]
    if not same:
        return None
    shared = overlap(boxes[same], np.repeat(_corners(one["box"]), len(same), axis=0))
    best = int(shared.argmax())
    return same[best] if shared[best] >= SAME else None


def counting(reviews: Iterable[SettledReview]) -> list[SettledReview]:
    """The review of each frame that counts; see the head of this file."""
    return [_first(of_frame) for of_frame in _by_frame(reviews).values()]


def _by_frame(reviews: Iterable[SettledReview]) -> dict[tuple[str, str], list[SettledReview]]:
    found: dict[tuple[str, str], list[SettledReview]] = defaultdict(list)
    for review in reviews:
        found[review.frame_source, review.event_id].append(review)
    return found


def _first(of_frame: Sequence[SettledReview]) -> SettledReview:
    return min(of_frame, key=lambda r: (r.settles, r.finished_at, r.source, r.review_id))


def count(reviews: Iterable[SettledReview]) -> Cells:
    """The counts of these reviews, which hold all of their frames."""
    cells: Cells = defaultdict(ReviewCell)
    for review in counting(reviews):
        said = list(_said(review))
        for condition in ((ALL, ALL), *review.slices):
            for class_name, band, what in said:
                cell = cells[_place(review, condition, class_name, band)]
                setattr(cell, what, getattr(cell, what) + 1)
    return dict(cells)


def _said(review: SettledReview) -> Iterator[tuple[str, int, str]]:
    """Each thing that a review says: class, band, and what of a cell it adds to."""
    yield ALL, NO_BAND, "frames"
    bands = band_of(review.confidence).tolist() if review.confidence else []
    yield from zip(review.class_name, bands, review.verdict, strict=True)
    for class_name in review.missed_class:
        yield class_name, NO_BAND, "missed"


def _place(review: SettledReview, condition: tuple[str, str], class_name: str, band: int) -> ReviewPlace:
    return ReviewPlace(
        model=review.model,
        version=review.version,
        start_at=hour_of(review.captured_at),
        stage=review.stage,
        camera=review.camera,
        shadow=review.shadow,
        slice_name=condition[0],
        slice_value=condition[1],
        class_name=class_name,
        band=band,
        chosen=review.chosen,
    )


def hour_of(at: datetime) -> datetime:
    """The start of the hour that a moment (UTC) lies in."""
    return at.replace(minute=0, second=0, microsecond=0)


def reviewer(reviews: Iterable[SettledReview]) -> Reviewer:
    """What the reviews that count got right, by those frames that somebody settled: the last to settle is the truth.

    Only detections that both judged are compared.
    """
    hits = wrong = slips = right = 0
    for of_frame in _by_frame(reviews).values():
        settling = [one for one in of_frame if one.settles]
        first = _first(of_frame)
        if not settling or first.settles:
            continue
        last = max(settling, key=lambda r: (r.finished_at, r.source, r.review_id))
        truth = dict(zip(last.index, last.verdict, strict=True))
        for place, verdict in zip(first.index, first.verdict, strict=True):
            if place not in truth:
                continue
            corrected = verdict in OVERRIDES
            if truth[place] in OVERRIDES:
                wrong, hits = wrong + 1, hits + corrected
            else:
                right, slips = right + 1, slips + corrected
    return Reviewer(hits, wrong, slips, right)
