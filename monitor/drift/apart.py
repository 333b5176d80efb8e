"""The two lanes with ways of their own: a queue against its own history, and what people said against what they did.

Neither has a season: a queue is news when it is longer than it ever was, and reviews are compared band by band.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from monitor.drift import lanes
from monitor.drift.verdicts import Stood, Subject, blank_row
from monitor.records import Ints, Measurement
from monitor.stats import rolling, strata
from monitor.watch import ALARM, EFFECT, FAST, UP, Lane, Numbers


def queue(
    subject: Subject, lane: Lane, usual: Numbers, seen: Numbers, days: Mapping[int, date]
) -> Iterator[Measurement]:
    """A camera's longest queue on `days` (by their place in `seen`), against what its own history makes news."""
    history = usual.x[np.isfinite(usual.x)]
    limit = rolling.queue_limit(history)
    if not np.isfinite(limit):
        return
    mean = float(history.mean())
    for place, day in days.items():
        depth = seen.x[place][np.isfinite(seen.x[place])]
        if depth.size:
            peak = float(depth.max())
            blank = blank_row(subject, lane.name, "", (usual.reading.camera, ""), day, int(seen.n[place].sum()))
            found = replace(blank, state="ok", baseline_n=int(usual.n.sum()), now_mean=peak, baseline_mean=mean)
            yield replace(found, measure=EFFECT, value=peak - mean, noise=lane.floor)
            yield replace(found, measure=FAST, value=peak, noise=max(limit, mean + lane.floor))


def overrides(
    subject: Subject,
    lane: Lane,
    cameras: Sequence[str],
    reviewed: Ints,
    overridden: Ints,
    baseline: int,
    days: Mapping[int, date],
    stood: Stood,
) -> Iterator[Measurement]:
    """What reviews [cameras, days, bands] say on `days` (by their place), the first `baseline` being the past."""
    steps, p, _ = lanes.override_steps(reviewed, overridden, baseline)
    limit = float(np.logaddexp(0.0, strata.LIMIT))
    for i, camera in enumerate(cameras):
        told = stood.get((camera, "", lane.name, ""), {})
        now = 0.0 if ALARM in told else told.get(UP, (0.0, 0))[0]
        for place, day in days.items():
            path = strata.shiryaev_roberts(steps[i, place : place + 1], start=now)
            now = 0.0 if path.alarm[0] else float(path.up[0])
            n = int(reviewed[i, place].sum())
            blank = blank_row(subject, lane.name, "", (camera, ""), day, n)
            blank = replace(blank, baseline_n=int(reviewed[i, :baseline].sum()))
            told_now = replace(blank, state="ok")
            if n:
                rate, expected = float(overridden[i, place].sum()) / n, float(reviewed[i, place] @ p[i]) / n
                found = replace(told_now, now_mean=rate, baseline_mean=expected)
                yield replace(found, measure=EFFECT, value=rate - expected, noise=lane.floor)
            yield replace(told_now, measure=UP, value=float(path.up[0]), noise=limit)
            if path.alarm[0]:
                yield replace(told_now, measure=ALARM, value=1.0, noise=limit)
