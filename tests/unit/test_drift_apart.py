"""Queues against their history and reviews against those of the past, as measurements."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from monitor.drift.apart import overrides, queue
from monitor.drift.lanes import decide_overrides
from monitor.drift.verdicts import Subject
from monitor.watch import APART, Numbers, Reading

SUBJECT = Subject("line", "v1", "", 1, "c0")
LANE = APART["queue_peak"]
DAY = date(2026, 3, 30)


def quarters(*days: np.ndarray) -> Numbers:
    """Depths by quarter of an hour, one array of 96 a day."""
    depth = np.stack(days).reshape(len(days), 24, 4)
    return Numbers(Reading("", LANE.name, "", "cam-1", ""), np.full((len(days), 24), 40.0), depth)


def test_a_queue_is_news_when_it_is_longer_than_it_ever_was() -> None:
    draw = np.random.default_rng(1)
    usual = quarters(*(draw.poisson(3, 96).astype(float) for _ in range(14)))
    limit = max(np.quantile(usual.x, 0.9999), usual.x.mean() + 4.5 * usual.x.std(ddof=1))
    jam = np.full(96, 3.0)
    jam[40] = 30.0
    effect, peak = list(queue(SUBJECT, LANE, usual, quarters(jam), {0: DAY}))
    assert (peak.measure, peak.value, peak.n) == ("fast", 30.0, 960)
    assert peak.noise == pytest.approx(limit)
    assert peak.value > peak.noise
    assert effect.value == pytest.approx(30.0 - usual.x.mean())
    (_, quiet) = queue(SUBJECT, LANE, usual, quarters(np.full(96, 3.0)), {0: DAY})
    assert quiet.value < quiet.noise
    assert list(queue(SUBJECT, LANE, quarters(np.full(96, np.nan)), quarters(jam), {0: DAY})) == []


def test_reviews_are_added_up_from_day_to_day_as_the_pure_code_does_at_once() -> None:
    draw = np.random.default_rng(2)
    days, baseline, cameras = 40, 20, ["cam-1", "cam-2"]
    reviewed = draw.poisson(6, (2, days, 5))
    rate = np.where(np.arange(days) >= 28, 0.5, 0.15)[None, :, None]
    overridden = draw.binomial(reviewed, np.broadcast_to(rate, reviewed.shape))
    reviewed[1, 25] = 0
    whole = decide_overrides(reviewed, np.minimum(overridden, reviewed), baseline)
    overridden = np.minimum(overridden, reviewed)
    stood: dict[tuple[str, str, str, str], dict[str, tuple[float, int]]] = {}
    alarms = 0
    for day in range(baseline, days):
        rows = list(overrides(SUBJECT, APART["override"], cameras, reviewed, overridden, baseline, {day: DAY}, stood))
        stood = {}
        for row in rows:
            key = (row.key.scope.camera, "", row.key.signal, "")
            stood.setdefault(key, {})[row.measure] = (row.value or 0.0, row.n)
        for i, camera in enumerate(cameras):
            told = stood[camera, "", "override", ""]
            assert told["cusum_up"][0] == pytest.approx(whole.path.up[i, day], rel=1e-9)
            assert ("alarm" in told) == bool(whole.path.alarm[i, day])
            alarms += "alarm" in told
    assert alarms >= 2
