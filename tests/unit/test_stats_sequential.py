"""Sums with a dead band: by hand, against simulated chance, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from monitor.stats import null, seasonal, sequential


def test_a_path_by_hand() -> None:
    # 2 - 1 = 1, then 1 + 4 (clipped from 9) - 1 = 4, the missing day holds, then 4 + 3 - 1 = 6 > 5: alarm, reset.
    path = sequential.cusum([2.0, 9.0, np.nan, 3.0, 0.5, -3.0], 5.0)
    assert path.up.tolist() == [1, 4, 4, 6, 0, 0]
    assert path.down.tolist() == [0, 0, 0, 0, 0, 2]
    assert path.alarm.tolist() == [0, 0, 0, 1, 0, 0]


def test_a_fall_alarms_downwards_unless_one_side_is_asked_for() -> None:
    z = np.full(4, -3.0)
    assert sequential.cusum(z, 5.0).alarm.tolist() == [0, 0, -1, 0]
    assert not sequential.cusum(z, 5.0, one_sided=True).alarm.any()


def test_what_the_floor_holds_back_waits_and_is_told_later() -> None:
    # The run's mean effect is 1, 1, 1, 1.75, 2.2: at a floor of 2 the alarm of day 2 waits for day 4.
    path = sequential.cusum(np.full(7, 3.0), 5.0, effect=[1, 1, 1, 4, 4, 4, 4], floor=2)
    assert path.over.tolist() == [False, False, True, True, True, False, False]
    assert path.alarm.tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert path.up.max() == 10
    assert not sequential.cusum(np.full(9, 3.0), 5.0, effect=np.full(9, -5.0), floor=2).alarm.any()


scores = st.lists(st.one_of(st.floats(-6, 6), st.just(float("nan"))), min_size=2, max_size=40)


@settings(derandomize=True, max_examples=100)
@given(scores, st.integers(1, 39))
def test_day_by_day_is_the_same_as_at_once(z: list[float], cut: int) -> None:
    cut = min(cut, len(z) - 1)
    effect = np.linspace(-1, 2, len(z))
    whole = sequential.cusum(z, 4.0, effect=effect, floor=0.5)
    first = sequential.cusum(z[:cut], 4.0, effect=effect[:cut], floor=0.5)
    rest = sequential.cusum(z[cut:], 4.0, effect=effect[cut:], floor=0.5, start=first.last)
    assert np.concatenate((first.up, rest.up)).tolist() == whole.up.tolist()
    assert np.concatenate((first.down, rest.down)).tolist() == whole.down.tolist()
    assert np.concatenate((first.alarm, rest.alarm)).tolist() == whole.alarm.tolist()


@settings(derandomize=True, max_examples=50)
@given(scores)
def test_the_mirror_image_alarms_the_other_way(z: list[float]) -> None:
    path, mirror = sequential.cusum(z, 4.0), sequential.cusum([-v for v in z], 4.0)
    assert path.up.tolist() == mirror.down.tolist()


@pytest.mark.parametrize(("m", "limit"), [(7, 4.0), (14, 5.0), (28, 4.0), (28, 5.0)])
def test_the_table_is_what_chance_does(m: int, limit: float) -> None:
    rng = np.random.default_rng([m, int(limit)])
    x = rng.standard_normal((20_000, m + 60))
    z = null.scores(x, null.usual(x, m))
    found = np.count_nonzero(sequential.cusum(z[:, m:], limit).alarm.any(axis=1)) / 20_000 / 2
    assert found == pytest.approx(sequential.false_alarms(m, limit), rel=0.15)


def test_the_table_at_its_knots_between_and_beyond() -> None:
    assert sequential.false_alarms(28, 5) == pytest.approx(0.0055)
    assert sequential.false_alarms(7, 4) == pytest.approx(0.0433)
    assert sequential.false_alarms(28, 5.25) == pytest.approx((0.0055 * 0.0032) ** 0.5)
    # Half way between 14 and 56 days on the scale of ln m.
    assert sequential.false_alarms(28, 4) > sequential.false_alarms(35, 4) > sequential.false_alarms(42, 4)
    assert sequential.false_alarms(90, 5) < 0.0024
    assert 0 < sequential.false_alarms(28, 12) < 0.0001
    with pytest.raises(ValueError, match="above 0"):
        sequential.false_alarms(0, 5)


def test_a_budget_buys_a_limit() -> None:
    # Ten streams of 28 days at 5 make 0.055; with 0.02 for other lanes the budget is 0.075.
    assert sequential.limit_for(0.075, [28] * 10, fixed=0.02) == pytest.approx(5, abs=1e-3)
    assert sequential.limit_for(10, [28]) == 4
    assert sequential.limit_for(0.08, []) == 4
    assert sequential.limit_for(0.01, [28], fixed=0.02) == 20


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.floats(14, 120), st.integers(1, 40), st.floats(0.01, 0.5))
def test_a_limit_keeps_its_budget_and_more_days_never_raise_it(m: float, streams: int, budget: float) -> None:
    limit = sequential.limit_for(budget, [m] * streams)
    assert streams * sequential.false_alarms(m, limit) <= budget * 1.001
    assert sequential.limit_for(budget, [m + 7] * streams) <= limit + 1e-3


def test_the_long_run_variance_of_an_autoregression() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((400, 328))
    x = lfilter([1.0], [1.0, -0.5], noise, axis=1)[:, 300:]
    # 1 + 2 (0.5 + 0.25): what two lags see of (1 + 0.5) / (1 - 0.5) = 3.
    assert sequential.long_run_variance(x, 28) == pytest.approx(2.5, abs=0.25)
    assert sequential.long_run_variance(noise[:, 300:], 28) == pytest.approx(1, abs=0.1)
    assert sequential.long_run_variance(np.full((3, 28), np.nan), 28) == 1
    assert sequential.long_run_variance(np.ones((3, 28)), 28) < 1.2


def test_onset_of_a_step_and_of_a_ramp() -> None:
    step = np.r_[np.zeros(10), np.full(5, 3.0)]
    assert sequential.onset(step, 14, 1) == sequential.Onset(10, "step", 3.0)
    ramp = np.r_[np.zeros(10), 0.4 * np.arange(1, 13)]
    found = sequential.onset(-ramp, 21, -1)
    assert (found.day, found.shape) == (10, "ramp")
    assert found.size == pytest.approx(-0.4)
    assert sequential.onset(np.r_[step[:12], np.nan, 3.0], 13, 1).day == 10


def test_onset_of_a_noisy_ramp_is_nearer_than_the_last_day_at_nought() -> None:
    rng = np.random.default_rng(8)
    off, late = [], []
    for _ in range(200):
        z = rng.standard_normal(60) + 0.3 * np.clip(np.arange(60) - 19, 0, None)
        path = sequential.cusum(z[20:], 5.0)
        day = 20 + int(np.flatnonzero(path.alarm)[0])
        off.append(abs(sequential.onset(z, day, 1).day - 20))
        late.append(day - 20 - int(np.argmax(path.up[: day - 20][::-1] == 0)))
    assert np.median(off) <= 3
    assert np.mean(off) < np.mean(late)


@pytest.mark.parametrize("phi", [0.0, 0.9, 0.98])
def test_correlated_frames_are_judged_as_rarely_as_independent_ones(phi: float) -> None:
    # Eight frames an hour, each resembling the last: the daily score knows only what days do.
    rng = np.random.default_rng(int(100 * phi))
    streams, m, days = 1500, 7, 37
    frames = lfilter([1.0], [1.0, -phi], rng.standard_normal((streams, days * 24 * 8)), axis=1)
    x = frames.reshape(streams, days, 24, 8).mean(axis=-1)
    hourly = seasonal.Hourly(np.full(x.shape, 8.0), x)
    steady = seasonal.deviations(hourly, np.zeros(days, dtype=int), m).steady
    z = null.scores(steady, null.usual(steady, m), centre=False)
    assert 0.025 <= np.mean(np.abs(z[:, m:]) > 1.96) <= 0.075
    z = sequential.long_run(z, sequential.long_run_variance(steady, m), np.full(streams, m))
    found = sequential.cusum(z[:, m:], np.full(streams, 4.0)).alarm.any(axis=1).mean()
    assert 0.5 <= found / sequential.false_alarms(m, 4.0) <= 1.5
