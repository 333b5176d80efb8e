"""The honest rate of errors: worked numbers, and a plant in which uncertain detections are reviewed more often."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.stats import accuracy
from monitor.stats.accuracy import Fleet, Reviewer


def fleet(rates: list[float]) -> Fleet:
    """A fleet that is known to the digit."""
    return Fleet(np.array(rates), np.full(len(rates), np.inf))


def test_worked_numbers() -> None:
    # Bands of 900 and 100 detections; 20 of 40 and 4 of 10 reviewed were wrong; the fleet says 0.2 and 0.5.
    found = accuracy.estimate([900, 100], [40, 10], [20, 4], fleet([0.2, 0.5]))
    # (20 + 2) / 50 = 0.44; (4 + 5) / 20 = 0.45; 0.9 x 0.44 + 0.1 x 0.45 = 0.441.
    assert found.rate == pytest.approx(0.441)
    # Variances 0.44 x 0.56 / 51 = 0.0048314 and 0.45 x 0.55 / 21 = 0.0117857; 0.81 and 0.01 of them: 0.00403130.
    assert found.high - found.low == pytest.approx(2 * 1.959964 * np.sqrt(0.0040313), rel=1e-4)
    assert found.raw == pytest.approx(24 / 50)
    assert found.reviewed == 50


def test_what_reviewers_get_wrong_is_taken_out() -> None:
    perfect = accuracy.estimate([1000], [100000], [14000], fleet([0.14]))
    corrected = accuracy.estimate([1000], [100000], [14000], fleet([0.14]), Reviewer(90, 100, 5, 100))
    assert perfect.rate == pytest.approx(0.14)
    # (0.14 - 0.05) / (0.9 - 0.05)
    assert corrected.rate == pytest.approx(0.09 / 0.85)
    assert corrected.high - corrected.low > perfect.high - perfect.low
    with pytest.raises(ValueError, match="nothing follows"):
        accuracy.estimate([10], [10], [1], fleet([0.1]), Reviewer(1, 10, 1, 10))


def test_without_reviews_or_detections_nothing_is_said() -> None:
    found = accuracy.estimate([[10, 0], [0, 0]], [[0, 0], [3, 0]], [[0, 0], [1, 0]], fleet([0.1, 0.1]))
    assert np.isnan(found.rate).all()
    assert np.isnan(found.low).all()


def test_selective_review_biases_the_raw_rate_and_not_the_estimate() -> None:
    """400 camera-weeks of 3,000 detections; half of the uncertain and 1 in 50 of the sure ones are reviewed."""
    rng = np.random.default_rng(8)
    cells = 400
    detections = rng.multinomial(3000, [0.05, 0.1, 0.2, 0.3, 0.35], cells)
    wrong_share = np.array([0.45, 0.3, 0.18, 0.1, 0.05]) * rng.uniform(0.85, 1.15, (cells, 1))
    wrong = rng.binomial(detections, wrong_share)
    truth = wrong.sum(axis=1) / detections.sum(axis=1)
    chosen = np.array([0.5, 0.4, 0.1, 0.03, 0.02])
    wrong_seen, right_seen = rng.binomial(wrong, chosen), rng.binomial(detections - wrong, chosen)
    corrected = rng.binomial(wrong_seen, 0.95) + rng.binomial(right_seen, 0.01)
    reviewed = wrong_seen + right_seen
    fleet = accuracy.fleet_of(reviewed, corrected)
    found = accuracy.estimate(detections, reviewed, corrected, fleet, Reviewer(950, 1000, 20, 2000))
    assert abs(float(np.mean(found.rate - truth))) < 0.01
    assert float(np.mean(found.raw / truth)) > 1.5
    covered = float(np.mean((found.low <= truth) & (truth <= found.high)))
    assert 0.93 <= covered <= 0.99
    assert float(np.mean((found.high - found.low) / 2)) < 0.1


def test_no_slip_among_twenty_is_no_proof_that_there_are_none() -> None:
    """5 % are wrong, reviewers slip on 5 % of the right ones, and twenty settled ones have to tell."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(1500):
        reviewer = Reviewer(int(rng.binomial(10, 0.9)), 10, int(rng.binomial(20, 0.05)), 20)
        seen = rng.binomial(400, 0.05 * 0.9 + 0.95 * 0.05)
        found = accuracy.estimate([10_000], [400], [seen], fleet([0.0925]), reviewer)
        covered.append(found.low <= 0.05 <= found.high)
    assert float(np.mean(covered)) >= 0.95
