"""The packaging line's story as figures: does the alert come before precision falls, and is a quiet plant quiet?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[1] / "examples" / "packaging-line"
sys.path.insert(0, str(EXAMPLE))

import story  # noqa: E402 (the example's scripts import each other by their plain names)
from production import CLEAN_DAYS  # noqa: E402

QUIET_SEEDS = (11, 12, 13, 14, 15)
POINTS = 5.0


def figures() -> Iterator[dict[str, Any]]:
    """The drifted story once, then the undrifted one with five seeds."""
    told = _play(1, drifted=True)
    day = told.first_alert_day
    clean = sum(told.daily_precision[:CLEAN_DAYS]) / CLEAN_DAYS
    lost = None if day is None else 100 * (clean - _week_before(told.daily_precision, day))
    ramp_day = None if day is None else day - CLEAN_DAYS + 1
    yield {
        "name": "story.points_of_precision_lost_at_the_first_alert",
        "value": None if lost is None else round(lost, 2),
        "unit": "percentage points, mean of the seven days up to the alert",
        "against": f"limit of {POINTS:g} points; alert on day {ramp_day} of the ramp",
        "ratio": None if lost is None else round(lost / POINTS, 3),
        "goal": "< 5",
        "holds": lost is not None and day is not None and day >= CLEAN_DAYS and lost < POINTS,
    }
    for seed in QUIET_SEEDS:
        quiet = _play(seed, drifted=False)
        fired = sorted({event.alert_key for event in quiet.events if event.to_state == "firing"})
        yield {
            "name": f"story.alerts_without_drift.seed_{seed}",
            "value": len(fired),
            "unit": "alerts in 14 weeks on 3 cameras",
            "against": "limit of 0" + (f"; fired: {', '.join(fired)}" if fired else ""),
            "ratio": None,
            "goal": "0",
            "holds": not fired,
        }


def _play(seed: int, *, drifted: bool) -> story.Outcome:
    with tempfile.TemporaryDirectory(prefix="monitor-story-") as folder:
        return story.play(Path(folder) / "state", seed, drifted, sys.stderr)


def _week_before(daily: list[float], day: int) -> float:
    days = daily[max(0, day - 6) : day + 1]
    return sum(days) / len(days)
