"""The lanes over a small plant: what changed is told, what did not is not, and nothing depends on the future."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from monitor.drift import lanes
from monitor.drift.lanes import LANES, Calendar, Series
from monitor.signals import SIGNALS

BASELINE, DAYS, CAMERAS = 28, 60, 6
CALENDAR = Calendar((np.arange(DAYS) % 7 >= 5).astype(np.int64), BASELINE)


@cache
def brightness(seed: int, drop: float = 0.0, onset: int = 40, days: int = DAYS) -> Series:
    """Frames of six cameras about grey level 120, days that differ by 1 %; the first loses `drop` from `onset` on."""
    rng = np.random.default_rng(seed)
    edges = SIGNALS["brightness"].edges
    level = 120 * (
        1 + 0.01 * rng.standard_normal((CAMERAS, DAYS, 1)) + 0.005 * rng.standard_normal((CAMERAS, DAYS, 24))
    )
    level[0, onset:] *= 1 - drop
    frames = level[..., None] + 8 * rng.standard_normal((CAMERAS, DAYS, 24, 40))
    bins = edges.bin_of(frames.reshape(-1)).reshape(-1, 40) + np.arange(CAMERAS * DAYS * 24)[:, None] * (
        edges.count + 2
    )
    counts = np.bincount(bins.reshape(-1), minlength=CAMERAS * DAYS * 24 * (edges.count + 2))
    return Series(counts.reshape(CAMERAS, DAYS, 24, -1)[:, :days], edges.middles())


def verdict_of(series: Series, calendar: Calendar = CALENDAR, lane: str = "brightness_mean") -> lanes.Verdict:
    (stream,) = lanes.streams({LANES[lane].signal: series}, calendar, [LANES[lane]])
    return lanes.decide(stream, lanes.limits([stream]), calendar.baseline)


def test_a_lane_reads_a_signal_that_exists() -> None:
    assert {lane.signal for lane in LANES.values()} <= {*SIGNALS, "class_share"}


def test_a_darker_camera_is_told_of_alone_with_its_onset() -> None:
    verdict = verdict_of(brightness(1, drop=0.05))
    first = int(np.flatnonzero(verdict.alarm[0])[0])
    assert 40 <= first <= 43
    assert verdict.alarm[0, first] == -1
    assert not verdict.alarm[1:].any()
    assert not verdict.alarm[:, :40].any()
    assert abs(lanes.onset_of(verdict, 0, first, BASELINE).day - 40) <= 1
    assert verdict.stream.effect[0, first] == pytest.approx(-0.05, abs=0.02)
    assert not lanes.calm(verdict.stream)[0, first + 5]


def test_a_change_under_the_floor_is_seen_and_not_told() -> None:
    verdict = verdict_of(brightness(1, drop=0.05))
    stream = replace(verdict.stream, lane=replace(verdict.stream.lane, floor=0.2))
    held = lanes.decide(stream, verdict.limit, BASELINE)
    assert held.path.over[0].any()
    assert not held.alarm.any()


def test_a_sudden_blackout_is_told_by_four_hours() -> None:
    verdict = verdict_of(brightness(2, drop=0.3))
    assert verdict.fast[0, 40] == -1
    assert not verdict.fast[1:].any()
    assert lanes.onset_of(verdict, 0, 40, BASELINE).day == 40


def test_tomorrow_has_no_say_in_today() -> None:
    whole = verdict_of(brightness(3, drop=0.05))
    part = verdict_of(brightness(3, drop=0.05, days=45), Calendar(CALENDAR.weekend[:45], BASELINE))
    np.testing.assert_array_equal(part.stream.z, whole.stream.z[:, :45])
    np.testing.assert_array_equal(part.alarm, whole.alarm[:, :45])
    np.testing.assert_array_equal(part.fast, whole.fast[:, :45])


def test_under_fourteen_days_a_lane_learns_and_is_silent() -> None:
    verdict = verdict_of(brightness(4, drop=0.3), Calendar(CALENDAR.weekend, 13))
    assert np.isfinite(verdict.stream.z[0, 45])
    assert not verdict.alarm.any()
    assert not verdict.fast.any()


def test_the_limit_rises_with_streams_and_falls_with_days() -> None:
    (stream,) = lanes.streams({"brightness": brightness(5)}, CALENDAR, [LANES["brightness_mean"]])
    few, many = lanes.limits([stream] * 5), lanes.limits([stream] * 20)
    assert (many > few).all()
    longer = replace(stream, m=stream.m * 2)
    assert (lanes.limits([longer] * 20) < many).all()
    assert (lanes.limits([stream] * 20, budget=0.3) < many).all()


def test_a_new_form_of_confidence_is_told_though_the_mean_stays() -> None:
    rng = np.random.default_rng(6)
    counts = rng.poisson(np.where(np.isin(np.arange(102), range(70, 90)), 2.0, 0.05), (4, DAYS, 24, 102))
    counts[0, 40:, :, 70:90] = 0
    counts[0, 40:, :, 60], counts[0, 40:, :, 99] = 20, 20
    series = Series(counts.astype(np.int64), SIGNALS["confidence"].edges.middles())
    verdict = verdict_of(series, lane="confidence_shape")
    assert 40 <= np.flatnonzero(verdict.alarm[0])[0] <= 43
    assert not verdict.alarm[1:].any()


def test_a_class_that_grows_is_told_by_name() -> None:
    rng = np.random.default_rng(7)
    p = np.full((4, DAYS, 24, 3), 1 / 3)
    p[0, 40:] = (0.5, 0.25, 0.25)
    series = Series(rng.multinomial(60, p), np.zeros(3), ("scratch", "dent", "stain"))
    found = {s.class_name: s for s in lanes.streams({"class_share": series}, CALENDAR)}
    assert list(found) == ["scratch", "dent", "stain"]
    limit = lanes.limits(list(found.values()))
    grown = lanes.decide(found["scratch"], limit, BASELINE)
    assert grown.alarm[0, 40:44].max() == 1
    assert found["scratch"].effect[0, 45] == pytest.approx(1 / 6, abs=0.03)
    assert not grown.alarm[1:].any()


def test_the_tail_of_the_latency_is_told() -> None:
    rng = np.random.default_rng(8)
    edges = SIGNALS["latency_ms"].edges
    ms = 40 * np.exp(0.15 * rng.standard_normal((4, DAYS, 24, 40)))
    ms[0, 40:, :, :5] *= 3
    counts = np.zeros((4, DAYS, 24, edges.count + 2), dtype=np.int64)
    where = np.indices(ms.shape)
    np.add.at(counts, (where[0], where[1], where[2], edges.bin_of(ms.reshape(-1)).reshape(ms.shape)), 1)
    verdict = verdict_of(Series(counts, edges.middles()), lane="latency_tail")
    assert 40 <= np.flatnonzero(verdict.alarm[0])[0] <= 42
    assert not verdict.alarm[1:].any()


@pytest.mark.parametrize(("before", "after"), [(200, 20), (20, 3)])
def test_a_camera_that_sends_less_sees_no_more_of_what_is_rare(before: int, after: int) -> None:
    """Nothing changes but how many detections an hour has: neither shares move, nor four hours of means."""
    rng = np.random.default_rng(9)
    n = rng.poisson(np.where(np.arange(DAYS) < BASELINE, before, after)[:, None], (CAMERAS, DAYS, 24))
    mix = np.stack([rng.multinomial(n[c], (0.7, 0.27, 0.03)) for c in range(CAMERAS)])
    edges = SIGNALS["confidence"].edges
    rows = np.repeat(np.arange(n.size), n.ravel())
    counts = np.zeros((n.size, edges.count + 2), dtype=np.int64)
    np.add.at(counts, (rows, edges.bin_of(rng.beta(8, 2, rows.size))), 1)
    series = {
        "class_share": Series(mix, np.zeros(3), ("carton", "pouch", "dent")),
        "confidence": Series(counts.reshape(*n.shape, -1), edges.middles()),
    }
    found = lanes.streams(series, CALENDAR)
    limit = lanes.limits(found)
    for stream in found:
        verdict = lanes.decide(stream, limit, BASELINE)
        assert not verdict.fast.any()
        if stream.lane.name == "confidence_low" or stream.class_name == "dent":
            assert not verdict.alarm.any()
            assert abs(float(np.nanmean(stream.effect[:, BASELINE:]))) < 0.004


def test_the_fleet_is_told_of_what_most_cameras_do() -> None:
    series = brightness(9)
    half = np.roll(series.counts, -4, axis=-1)
    counts = np.where((np.arange(DAYS) >= 40)[:, None, None], half, series.counts)
    found = lanes.streams({"brightness": replace(series, counts=counts)}, CALENDAR, [LANES["brightness_mean"]])
    (plant,) = lanes.decide_fleet(found, BASELINE)
    assert plant.alarm.shape == (1, DAYS)
    assert 40 <= np.flatnonzero(plant.alarm[0])[0] <= 42
    quiet = lanes.streams({"brightness": series}, CALENDAR, [LANES["brightness_mean"]])
    assert not lanes.decide_fleet(quiet, BASELINE)[0].alarm.any()


def test_more_overrides_are_told() -> None:
    rng = np.random.default_rng(10)
    reviewed = rng.poisson(6, (5, DAYS, 5))
    p = np.where((np.arange(DAYS) >= 35)[:, None] & (np.arange(5) == 0)[:, None, None], 0.3, 0.1)
    said = lanes.decide_overrides(reviewed, rng.binomial(reviewed, p), BASELINE)
    assert np.flatnonzero(said.path.alarm[0])[0] < 45
    assert said.path.alarm[1:].sum() <= 1
    assert not said.path.alarm[:, :BASELINE].any()
