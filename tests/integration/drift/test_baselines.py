"""Baselines through Postgres: frozen once, read back as frozen, chosen by version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from monitor.drift import baseline as freezing
from monitor.drift.freeze import content_hash
from monitor.errors import GateRefused, UsageError
from monitor.imaging.stats import image_stats
from monitor.records import Scope, SeriesKey, Window
from monitor.store import baselines

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 30 * DAY


def freeze(plant: Any, first: int = 0, last: int = 7, version: str = "v1", now: datetime = NOW) -> freezing.Frozen:
    period = Window(START + first * DAY, START + last * DAY)
    return freezing.from_logs(plant.database, plant.loaded, version, period, now, "a note")


def images(count: int) -> list[Any]:
    draw = np.random.default_rng(1)
    return [image_stats(draw.integers(80, 160, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]


def test_a_baseline_is_read_back_as_it_was_frozen(plant: Any) -> None:
    plant.send(range(7))
    frozen = freeze(plant)
    with plant.database.begin() as conn:
        (kept,) = baselines.listing(conn, "line")
        rows = baselines.histograms(conn, kept.id)
    assert kept == frozen.baseline
    assert (kept.frames, kept.source, kept.version, kept.note) == (840, "logs", "v1", "a note")
    assert (kept.period_start, kept.period_end, kept.created_at) == (START, START + 7 * DAY, NOW)
    assert rows.keys() == frozen.rows.keys()
    assert content_hash(rows) == kept.sha256
    whole = rows[SeriesKey(Scope("line", "v1"), "brightness", recipe="grey601-full-1")]
    assert (whole.histogram.n, len(whole.cuts)) == (840, 10)


def test_the_period_is_half_open_and_of_one_version(plant: Any) -> None:
    plant.send(range(7))
    plant.send(range(7), version="v2", frames=20)
    assert freeze(plant, 0, 3).baseline.frames == 360
    assert freeze(plant, version="v2").baseline.frames == 280


def test_shadow_frames_are_no_baseline(plant: Any) -> None:
    plant.send(range(2))
    plant.send(range(2), frames=50, shadow=True)
    assert freeze(plant).baseline.frames == 240


def test_the_same_frozen_twice_is_one_baseline(plant: Any) -> None:
    plant.send(range(7))
    first, again = freeze(plant), freeze(plant, now=NOW + DAY)
    assert (first.fresh, again.fresh) == (True, False)
    assert again.baseline == first.baseline
    plant.send(range(1), cameras=("cam-3",))
    assert freeze(plant).baseline.id > first.baseline.id


def test_too_small_a_baseline_is_refused_with_what_there_is(plant: Any) -> None:
    plant.send(range(2), cameras=("cam-1",), frames=14)
    with pytest.raises(
        GateRefused, match=r"28 frames of line v1 .* too few .* v1: 28 frames from 2026-03-02"
    ) as refusal:
        freeze(plant)
    assert refusal.value.exit_code == 1
    with pytest.raises(GateRefused, match="0 frames of line v9"):
        freeze(plant, version="v9")
    with pytest.raises(GateRefused, match="29 readable images are too few"):
        freezing.from_images(plant.database, plant.loaded, images(29), NOW)
    with plant.database.begin() as conn:
        assert baselines.listing(conn) == []


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (START, START, "a later end"),
        (START + timedelta(minutes=1), START + DAY, "whole hours"),
        (START, START + timedelta(seconds=5), "whole hours"),
        (START, NOW + DAY, "not passed yet"),
    ],
)
def test_a_period_that_cannot_be(plant: Any, start: datetime, end: datetime, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        freezing.from_logs(plant.database, plant.loaded, "v1", Window(start, end), NOW)


def test_a_version_has_its_own_newest_baseline_or_the_newest_from_images(plant: Any) -> None:
    plant.send(range(7))
    with plant.database.begin() as conn:
        assert baselines.active(conn, "line", "v1") is None
    of_images = freezing.from_images(plant.database, plant.loaded, images(40), NOW).baseline
    assert (of_images.version, of_images.period_start, of_images.frames) == ("", None, 40)
    old, new = freeze(plant, 0, 3).baseline, freeze(plant, 0, 7).baseline
    newer_images = freezing.from_images(plant.database, plant.loaded, images(41), NOW).baseline
    with plant.database.begin() as conn:
        assert baselines.active(conn, "line", "v1") == new
        assert baselines.active(conn, "line", "v2") == newer_images
        assert baselines.active(conn, "another", "v1") is None
        assert [b.id for b in baselines.listing(conn)] == [of_images.id, old.id, new.id, newer_images.id]
