"""Which ready rules a baseline carries: one that is too small is refused, with what it would need."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from monitor.drift.carried import carried
from monitor.drift.compare import BaselineSeries, ReadyBaseline
from monitor.measures import CLASS_SHARE
from monitor.records import Baseline, Scope, SeriesKey
from monitor.spec.load import parse_contract

BASELINE = Baseline(7, "line", "v1", "logs", None, None, 0, "", "", datetime(2026, 3, 2, tzinfo=UTC))
CONTRACT = '[model]\nname = "line"\n[cameras]\npolicy = "open"\n[[classes]]\nname = "carton"\n'


def said(frames: int, days: float) -> dict[str, tuple[bool, str]]:
    """What is said of each rule by a baseline whose detections are one in five a carton."""
    key = SeriesKey(Scope("line", "v1", camera="cam-1"), CLASS_SHARE, "carton")
    series = BaselineSeries(frames, float(frames), np.array([0.2, 0.8]), 0.2, "")
    known = ReadyBaseline(7, {key: series}, 30, False)
    contract = parse_contract(CONTRACT)
    return {one.rule: (one.carried, one.text) for one in carried(contract, BASELINE, known, days)}


@pytest.mark.parametrize(("frames", "holds"), [(100, False), (100_000, True)])
def test_a_share_must_be_known_to_half_of_the_change(frames: int, holds: bool) -> None:
    """At 100 of 0.2 Wilson's interval is 0.133 to 0.289: wider than half of 15 % of 0.2, which is 0.015."""
    is_carried, text = said(frames, 28)["class-share-shift"]
    assert is_carried is holds
    assert ("cannot be carried" in text and "(cam-1, carton has 100)" in text) is not holds


@pytest.mark.parametrize(("days", "holds"), [(1, False), (28, True)])
def test_a_habit_takes_days(days: float, holds: bool) -> None:
    is_carried, text = said(100, days)["camera-silent"]
    assert is_carried is holds
    assert ("cannot be carried, needs" in text) is not holds


def test_what_the_baseline_never_saw_is_not_carried() -> None:
    carried, why = said(100, 28)["queue-growing"]
    assert not carried
    assert why.startswith("cannot be carried, this baseline knows no peak of queue_depth; log it and freeze again")
