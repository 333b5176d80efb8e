"""What reviews weigh: worked numbers, and a plant that looks at those frames first on which two versions disagree."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from monitor.feedback import SettledReview
from monitor.records import Scope
from monitor.review.weights import weigh
from monitor.stats import accuracy
from monitor.stats.intervals import wilson
from monitor.stats.strata import band_of

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
WHOLE = (Scope("line", "v1", camera="cam-1"), "")


def review(name: str, probability: float | None, confidence: list[float], wrong: list[bool]) -> SettledReview:
    """A review of a frame whose detections are all cartons."""
    n = len(confidence)
    verdicts = tuple("false_positive" if one else "confirmed" for one in wrong)
    who = ("plant", name, "plant", name, "ada", AT, False, probability, AT, "line", "v1", "", "cam-1", False, ())
    return SettledReview(*who, tuple(range(n)), ("carton",) * n, tuple(confidence), verdicts, ())


def test_a_frame_weighs_the_inverse_of_its_probability() -> None:
    said = [review("a", 1.0, [0.9], [True]), review("b", 0.5, [0.9], [False]), review("c", 0.5, [0.95], [False])]
    found = weigh(said)[WHOLE]
    # Weights 1, 2, 2: one in five is wrong, and they are worth (1 + 2 + 2)² / (1 + 4 + 4) reviews.
    assert found.reviewed == pytest.approx([0, 0, 0, 0, 25 / 9])
    assert found.corrected[""] == pytest.approx([0, 0, 0, 0, 5 / 9])
    assert found.corrected["wrong_class"].sum() == 0
    assert found.worth == 1.0


def test_detections_of_one_frame_are_worth_fewer_the_more_they_are_alike() -> None:
    said = [review("a", None, [0.9] * 4, [True] * 4), review("b", None, [0.9] * 4, [False] * 4)]
    found = weigh(said)[WHOLE]
    # Wholly alike, drawn to 0.3 as by 30 cases: (8 x 1 + 30 x 0.3) / 38 = 17/38, so each frame of 4 weighs
    # 4 / (1 + 3 x 17/38).
    assert found.worth == pytest.approx(1 / (1 + 3 * 17 / 38))
    assert found.reviewed.sum() == 0  # their choice is not known


def test_frames_chosen_because_two_versions_disagree_do_not_raise_the_estimate() -> None:
    """4 detections a frame, alike within it; wrong frames are flagged ten times as often, and flags are looked at."""
    rng = np.random.default_rng(6)
    off, covered, without = [], [], []
    for _ in range(80):
        frames, each = 1500, 4
        confidence = 1 - rng.beta(1.2, 4, (frames, each))
        trouble = rng.normal(size=(frames, 1))
        wrong = rng.random((frames, each)) < (0.45 - 0.4 * confidence) * np.exp(trouble - 0.5)
        flagged = rng.random(frames) < np.where(wrong.any(axis=1), 0.5, 0.05)
        probability = np.where(flagged, 0.8, 0.03)
        rows = np.flatnonzero(rng.random(frames) < probability)
        said = [review(str(i), float(probability[i]), confidence[i].tolist(), wrong[i].tolist()) for i in rows]
        found = weigh(said)[WHOLE]
        detections = np.bincount(band_of(confidence.ravel()), minlength=5)
        reviewed, corrected = found.reviewed[None], found.corrected[""][None]
        fleet = accuracy.fleet_of(reviewed, corrected)
        judged = accuracy.estimate(detections[None], reviewed, corrected, fleet)
        truth = wrong.mean()
        off.append(judged.rate[0] - truth)
        covered.append(judged.low[0] <= truth <= judged.high[0])
        without.append(wrong[rows].mean() - truth)
    assert float(np.mean(without)) > 0.1
    assert abs(float(np.mean(off))) < 0.01
    assert float(np.mean(covered)) >= 0.85


def test_the_raw_interval_holds_where_detections_of_a_frame_are_alike() -> None:
    """60 frames of 10 detections, 12 % of them wrong, much more in some frames: Wilson's alone is far too short."""
    rng = np.random.default_rng(7)
    plain, allowed = [], []
    for _ in range(150):
        share = rng.beta(0.12 * 2.3, 0.88 * 2.3, (60, 1))  # alike by 1 / 3.3
        wrong = rng.random((60, 10)) < share
        said = [review(str(i), None, [0.9] * 10, wrong[i].tolist()) for i in range(60)]
        worth = weigh(said)[WHOLE].worth
        for held, part in ((plain, 1.0), (allowed, worth)):
            low, high = wilson(wrong.sum() * part, wrong.size * part, 0.975)
            held.append(low <= 0.12 <= high)
    assert float(np.mean(plain)) < 0.75
    assert 0.9 <= float(np.mean(allowed)) <= 0.99
