"""Rates drawn to the fleet's: worked numbers, and counts whose spread is known."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.stats.shrinkage import fleet_rates, weight_of


def test_the_rate_of_the_fleet() -> None:
    rates = fleet_rates([[10, 0], [30, 0]], [[100, 0], [300, 0]])
    # All bands: 40.5 / 401; the first band (40 + 0.101) / 401.
    assert rates.tolist() == pytest.approx([(40 + 40.5 / 401) / 401, 40.5 / 401])


def test_the_fleet_weighs_more_where_cells_are_alike() -> None:
    rng = np.random.default_rng(4)
    n = np.full((200, 1), 300)
    alike = rng.binomial(n, 0.2)
    # Rates from a beta of size 60, so that the fleet is worth 60 reviews.
    unlike = rng.binomial(n, rng.beta(0.2 * 60, 0.8 * 60, n.shape))
    assert weight_of(alike, n, [0.2], 40, 400) == 400
    assert weight_of(unlike, n, [0.2], 40, 400) == pytest.approx(60, rel=0.3)
    assert weight_of(n // 2 * (np.arange(200)[:, None] % 2), n, [0.25], 40, 400) == 40
    assert weight_of([[0]], [[0]], [0.5], 40, 400) == 40
