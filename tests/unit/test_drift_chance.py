"""How often calibrated scores and alarms speak when nothing happens, where frames resemble their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from monitor.drift import lanes
from monitor.signals import SIGNALS
from monitor.stats import seasonal, sequential
from monitor.stats.divergence import psi, smooth
from monitor.stats.groups import equal_mass_cuts, regroup

STREAMS, BASELINE, DAYS, AN_HOUR = 1000, 7, 30, 40
TABLE = 0.0433
"""False alarms of one stream in 30 days at h = 4 with seven days of baseline: the design's table."""
WEEKEND = (np.arange(BASELINE + DAYS) % 7 >= 5).astype(np.int64)


def frames(phi: float, draw: np.random.Generator) -> tuple[Any, Any]:
    """Hourly means of 40 frames an hour, an AR(1) with unit variance, and each day's sum over its frames."""
    days = BASELINE + DAYS
    means = np.empty((STREAMS, days, 24))
    for stream in range(STREAMS):
        noise = draw.standard_normal(days * 24 * AN_HOUR) * np.sqrt(1 - phi**2)
        noise[0] /= np.sqrt(1 - phi**2)
        means[stream] = lfilter([1], [1, -phi], noise).reshape(days, 24, AN_HOUR).mean(axis=-1)
    return seasonal.Hourly(np.full(means.shape, float(AN_HOUR)), means), means.mean(axis=-1)


@pytest.mark.parametrize("phi", [0.0, 0.9, 0.98])
def test_correlated_frames_reject_and_alarm_as_often_as_promised(phi: float) -> None:
    hourly, daily = frames(phi, np.random.default_rng(41))
    stream = lanes.stream_of(lanes.LANES["sharpness_mean"], hourly, lanes.Calendar(WEEKEND, BASELINE))
    z = stream.z[:, BASELINE:]
    assert z.size == STREAMS * DAYS
    assert np.isfinite(z).all()
    assert 0.025 <= np.mean(np.abs(z) > 1.96) <= 0.075
    path = sequential.cusum(z, np.full(STREAMS, 4.0))
    assert 0.5 <= (path.alarm != 0).any(axis=1).mean() / TABLE <= 1.5
    # The law for independent frames, for comparison: it holds where frames are independent and nowhere else.
    naive = np.mean(np.abs(daily) * np.sqrt(24 * AN_HOUR) > 1.96)
    assert naive == pytest.approx(0.05, abs=0.005) if phi == 0 else naive > 0.6


def test_a_step_of_four_sd_is_found_within_ten_days() -> None:
    hourly, _ = frames(0.98, np.random.default_rng(43))
    moved = hourly.x.copy()
    size = 4 * moved[:, :BASELINE].mean(axis=-1).std()
    moved[:, BASELINE + 10 :] += size
    stream = lanes.stream_of(
        lanes.LANES["sharpness_mean"], seasonal.Hourly(hourly.n, moved), lanes.Calendar(WEEKEND, BASELINE)
    )
    path = sequential.cusum(stream.z[:, BASELINE:], np.full(STREAMS, 4.0))
    assert (path.alarm[:, 10:20] == 1).any(axis=1).mean() > 0.9


@settings(max_examples=80, derandomize=True)
@given(
    signal=st.sampled_from(sorted(set(SIGNALS) - {"status"})),
    outlier=st.floats(allow_nan=False, allow_infinity=False),
    rows=st.sampled_from([1_000, 30_000, 10_000_000]),
    seed=st.integers(0, 99),
)
def test_one_outlier_among_a_thousand_rows_moves_psi_by_at_most_0_02(
    signal: str, outlier: float, rows: int, seed: int
) -> None:
    edges = SIGNALS[signal].edges
    draw = np.random.default_rng(seed)
    low, high = edges.values()[[0, -1]]
    window = edges.bin_of(draw.normal(0.5, 0.1, 1_000) * (high - low) + low)
    shape = np.bincount(edges.bin_of(draw.normal(0.5, 0.1, 1_000) * (high - low) + low), minlength=edges.count + 2)
    baseline = shape * (rows // 1_000)
    cuts = equal_mass_cuts(baseline)
    q = smooth(regroup(baseline, cuts))

    def distance(bins: Any) -> float:
        return psi(smooth(regroup(np.bincount(bins, minlength=edges.count + 2), cuts)), q)

    with_it = np.concatenate((window[:-1], edges.bin_of(np.array([outlier]))))
    assert abs(distance(with_it) - distance(window)) <= 0.02
