"""The arena's view of a plant, handed to the product's own decision code with the product's default budget."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

from monitor.alerts import incidents as incidents_of
from monitor.drift import lanes
from monitor.stats import strata

OURS = {"latency": "latency_ms", "class_mix": "class_share"}
"""The arena's names of signals, where the product has another."""
REVIEWED, OVERRIDDEN = 1, 2


def series_of(view: dict[str, Any]) -> tuple[dict[str, lanes.Series], lanes.Calendar]:
    """The view's histograms as the product keeps them."""
    series = {}
    for name, counts in view["H"].items():
        if name == "class_mix":
            classes = tuple(str(i) for i in range(counts.shape[-1]))
            series[OURS[name]] = lanes.Series(counts, np.zeros(len(classes)), classes)
            continue
        edges = view["edges"][name]
        middles = np.sqrt(edges[1:] * edges[:-1]) if name == "latency" else (edges[1:] + edges[:-1]) / 2
        series[OURS.get(name, name)] = lanes.Series(counts, middles)
    return series, lanes.Calendar(np.asarray(view["weekend"], dtype=np.int64), int(view["ref_days"]))


def judge(view: dict[str, Any]) -> tuple[list[lanes.Verdict], list[lanes.Verdict], lanes.Overrides]:
    """Verdicts of the cameras, of the fleet, and of the reviews."""
    series, calendar = series_of(view)
    found = lanes.streams(series, calendar)
    limit = lanes.limits(found)
    cameras = [lanes.decide(stream, limit, calendar.baseline) for stream in found]
    reviews = view["REV"].sum(axis=2)
    overrides = lanes.decide_overrides(reviews[..., REVIEWED], reviews[..., OVERRIDDEN], calendar.baseline)
    return cameras, lanes.decide_fleet(found, calendar.baseline), overrides


def fire(view: dict[str, Any]) -> np.ndarray:
    """The days on which a camera's lane alarms, bool [cameras, signals, production days]."""
    cameras, _, overrides = judge(view)
    names = [OURS.get(name, name) for name in view["signals"]]
    days, baseline = len(view["weekend"]), int(view["ref_days"])
    fired = np.zeros((len(view["REV"]), len(names), days), dtype=bool)
    for verdict in cameras:
        fired[:, names.index(verdict.stream.lane.signal)] |= (verdict.alarm != 0) | (verdict.fast != 0)
    fired[:, names.index("override")] |= overrides.path.alarm != 0
    return fired[..., baseline:]


FIRST = date(2000, 1, 1)
"""What the arena's first day is called: its days have numbers only."""
PLANT: incidents_of.Scope = ()


def _alarms(
    verdicts: list[lanes.Verdict], overrides: lanes.Overrides | None, baseline: int
) -> dict[int, list[incidents_of.Alarm]]:
    """Alarms by day; those of a fleet's verdicts (which come without overrides) have the plant for a scope."""
    found: dict[int, list[incidents_of.Alarm]] = {}
    group = overrides is None

    def add(day: int, camera: int, signal: str, lane: str, onset: int, size: float = 1.0) -> None:
        scope = PLANT if group else (str(camera),)
        alarm = incidents_of.Alarm(_date(day), scope, signal, lane, _date(onset), group, size)
        found.setdefault(day, []).append(alarm)

    for verdict in verdicts:
        for camera, day in np.argwhere((verdict.alarm != 0) | (verdict.fast != 0)).tolist():
            onset = lanes.onset_of(verdict, camera, day, baseline).day
            lane = verdict.stream.lane
            size = abs(np.nan_to_num(verdict.stream.effect[camera, day])) / lane.floor if lane.floor else 1.0
            add(day, camera, lane.signal, lane.name, onset, float(size))
    if overrides is not None:
        for camera, day in np.argwhere(overrides.path.alarm != 0).tolist():
            add(day, camera, lanes.OVERRIDE, lanes.OVERRIDE, strata.onset(overrides.path.up[camera], day))
    return found


def _date(day: int) -> date:
    return FIRST + timedelta(days=day)


def _calm(verdicts: list[lanes.Verdict], group: bool) -> dict[incidents_of.Key, np.ndarray]:
    """Whether all streams of a cause are calm, by scope and cause, bool [days]."""
    calm: dict[incidents_of.Key, np.ndarray] = {}
    for verdict in verdicts:
        cause = incidents_of.CAUSES[verdict.stream.lane.signal]
        for camera, days in enumerate(lanes.calm(verdict.stream)):
            key = (PLANT if group else (str(camera),), cause)
            calm[key] = calm[key] & days if key in calm else days
    return calm


def incidents(view: dict[str, Any]) -> list[tuple[int, str, str, list[int]]]:
    """What people would be told: (production day, "camera" or "fleet", signal, cameras) of each opened incident."""
    cameras, plant, overrides = judge(view)
    baseline, days = int(view["ref_days"]), len(view["weekend"])
    theirs, own = _alarms(plant, None, baseline), _alarms(cameras, overrides, baseline)
    calm = {**_calm(cameras, group=False), **_calm(plant, group=True)}
    scopes = [(str(camera),) for camera in range(len(view["REV"]))]
    names = {OURS.get(name, name): name for name in view["signals"]}
    state, told = incidents_of.State(), []
    for day in range(baseline, days):
        quiet = {key: bool(is_calm[day]) for key, is_calm in calm.items()}
        done = incidents_of.advance(state, _date(day), [*theirs.get(day, []), *own.get(day, [])], scopes, quiet)
        state = done.state
        for incident in done.opened:
            scope = "fleet" if incident.scope == PLANT else "camera"
            members = sorted(int(member[0]) for member in incident.members if member)
            told.append((day - baseline, scope, names[incident.signals[0]], members))
    return told
