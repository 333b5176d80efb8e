"""The calibrated alarms before the judge: a simulated plant with drifts of known kind and onset, beside other tools.

`python -m bench arena --arena PATH/TO/arena.py [--seeds 0-19] [--peers]` runs the worlds with drifts, without any,
with a change of all cameras, and under stress. `--peers` adds other tools' alarms with the placebo: how often they
"find" a drift where nothing happened.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ADAPTER = Path(__file__).with_name("arena_adapter.py")
FALSE_ALARMS = 0.10
"""False alarms a camera-month, all lanes of a camera together."""
DELAYS = {
    "lamp_ageing": 18,
    "lens_swap": 4,
    "new_product": 7,
    "class_mix": 5,
    "conf_decay": 17,
    "latency_regress": 5,
}
"""Median days from the onset to the first alarm."""
STRESS = ({"day_phi": 0.8}, {"vmin": 3, "vmax": 60}, {"run_mix_kappa": 10}, {"season_out": 0.001})
OURS = "adapter"

Rows = dict[str, list[dict[str, Any]]]


def _module(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location("arena", path)
    if found is None or found.loader is None:
        raise SystemExit(f"{path} is not a Python file; name the arena's arena.py")
    module = importlib.util.module_from_spec(found)
    sys.modules["arena"] = module
    found.loader.exec_module(module)
    return module


def _run(path: Path, kind: str, seeds: str, params: Mapping[str, float], peers: bool) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, str(path), "run", "--kind", kind, "--seeds", seeds, "--adapter", str(ADAPTER)]
        command += ["--params", json.dumps(params), "--out", str(out), *([] if peers else ["--only-adapter"])]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows: Rows = json.loads(out.read_text(encoding="utf-8"))
        return rows


def _figure(name: str, unit: str, value: float, goal: float, at_most: bool = True) -> dict[str, Any]:
    holds = value <= goal if at_most else value >= goal
    return {
        "name": f"arena.{name}",
        "value": round(value, 4),
        "unit": unit,
        "against": f"limit of {goal:g}",
        "ratio": round(value / goal, 2),
        "goal": goal,
        "holds": bool(holds),
    }


def _drifts(arena: ModuleType, rows: Rows) -> Iterator[dict[str, Any]]:
    ours = arena.combine(rows[OURS])
    yield _figure("false_alarms", "a camera-month, all lanes", ours["fa_per_cam_month"], FALSE_ALARMS)
    yield _figure(
        "informedness", "found within 30 days less the placebo", ours["informedness30"], 0.90, at_most=False
    )
    for drift, goal in DELAYS.items():
        yield _figure(f"{drift}.median", "days to the first alarm", ours["drift"][drift]["median"], goal)
    yield _figure("lamp_ageing.p90", "days, 90 % of cameras", ours["drift"]["lamp_ageing"]["p90"], 24)
    found = ours["drift"]["override_rise"]["det30"]
    yield _figure("override_rise.found", "share found within 30 days", found, 0.75, at_most=False)
    yield from (_peer(arena, name, theirs) for name, theirs in rows.items() if name != OURS)


def _peer(arena: ModuleType, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Another tool's row: median days, found and placebo of each drift; nothing is asked of it."""
    said = arena.combine(rows)
    return {
        "name": f"arena.peer.{name}",
        "value": round(said["fa_per_cam_month"], 3),
        "unit": "false alarms a camera-month",
        "informedness": round(said["informedness30"], 3),
        "drifts": {
            drift: {key: _plain(known[key]) for key in ("median", "det30", "placebo30")}
            for drift, known in said["drift"].items()
        },
        "holds": True,
    }


def _plain(value: float) -> float | None:
    """JSON has no infinity: None where nothing was found."""
    return round(float(value), 3) if math.isfinite(value) else None


def _fleet(rows: Rows) -> Iterator[dict[str, Any]]:
    told = [row["grouped"] for row in rows[OURS]]
    named = sum(1 <= world["fleet_in_4"] <= 2 for world in told) / len(told)
    months = sum(world["days_before"] for world in told) / 30
    spared = sum(world["camera_after"] for world in told) / len(told)
    yield _figure("fleet.named", "share of worlds told once or twice within 4 days", named, 0.9, at_most=False)
    yield _figure("fleet.camera_incidents", "a world, after the fleet's", spared, 3)
    yield _figure(
        "fleet.false", "false fleet incidents a site-month", sum(w["false_fleet"] for w in told) / months, 0.15
    )


def figures(path: Path, seeds: str, peers: bool = False) -> Iterator[dict[str, Any]]:
    """Each figure with its goal, and whether it holds.

    The limits are meant over twenty worlds, and the share of overrides found over sixty.
    """
    arena = _module(path)
    yield from _drifts(arena, _run(path, "drift", seeds, {}, peers))
    still = arena.combine(_run(path, "null", seeds, {}, False)[OURS])
    yield _figure("null.false_alarms", "a camera-month, nothing happens", still["fa_per_cam_month"], FALSE_ALARMS)
    yield from _fleet(_run(path, "fleet", seeds, {}, False))
    for params in STRESS:
        hard = arena.combine(_run(path, "drift", seeds, params, False)[OURS])
        name = "stress." + ".".join(params)
        yield _figure(f"{name}.false_alarms", "a camera-month", hard["fa_per_cam_month"], 2 * FALSE_ALARMS)
        yield _figure(f"{name}.informedness", "found less the placebo", hard["informedness30"], 0.75, at_most=False)
