"""The calibrated alarms before the judge: a simulated plant with drifts of known kind and onset, beside other tools.

`python -m bench.arena PATH/TO/arena.py [--seeds 0-19] [--peers]` runs the worlds with drifts, without any, and with a
change of all cameras, and prints a figure a line; exit 1 when one misses its goal. `--peers` adds other tools.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
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


def _figure(name: str, value: float, goal: float, at_most: bool = True) -> dict[str, Any]:
    holds = value <= goal if at_most else value >= goal
    return {"bench": "arena", "figure": name, "value": round(value, 4), "goal": goal, "holds": bool(holds)}


def _drifts(arena: ModuleType, rows: Rows) -> Iterator[dict[str, Any]]:
    ours = arena.combine(rows[OURS])
    yield _figure("false alarms a camera-month", ours["fa_per_cam_month"], FALSE_ALARMS)
    yield _figure("informedness within 30 days", ours["informedness30"], 0.90, at_most=False)
    for drift, goal in DELAYS.items():
        yield _figure(f"{drift}: median days", ours["drift"][drift]["median"], goal)
    yield _figure("lamp_ageing: days, 90 %", ours["drift"]["lamp_ageing"]["p90"], 24)
    yield _figure("override_rise: found in 30 days", ours["drift"]["override_rise"]["det30"], 0.75, at_most=False)
    for name, theirs in rows.items():
        if name != OURS:
            said = arena.combine(theirs)
            drifts = {d: {"found": v["det30"], "placebo": v["placebo30"]} for d, v in said["drift"].items()}
            row = {"false alarms a camera-month": said["fa_per_cam_month"], "informedness": said["informedness30"]}
            yield {"bench": "arena", "figure": f"peer {name}", **row, "drifts": drifts, "holds": True}


def _fleet(rows: Rows) -> Iterator[dict[str, Any]]:
    told = [row["grouped"] for row in rows[OURS]]
    named = sum(1 <= world["fleet_in_4"] <= 2 for world in told) / len(told)
    months = sum(world["days_before"] for world in told) / 30
    yield _figure("fleet change: told once or twice within 4 days", named, 0.9, at_most=False)
    yield _figure("fleet change: camera incidents a world", sum(w["camera_after"] for w in told) / len(told), 3)
    yield _figure("false fleet incidents a site-month", sum(w["false_fleet"] for w in told) / months, 0.15)


def figures(path: Path, seeds: str = "0-19", peers: bool = False) -> Iterator[dict[str, Any]]:
    """Each figure with its goal, and whether it holds."""
    arena = _module(path)
    yield from _drifts(arena, _run(path, "drift", seeds, {}, peers))
    still = arena.combine(_run(path, "null", seeds, {}, False)[OURS])
    yield _figure("nothing happens: false alarms a camera-month", still["fa_per_cam_month"], FALSE_ALARMS)
    yield from _fleet(_run(path, "fleet", seeds, {}, False))
    for params in STRESS:
        hard = arena.combine(_run(path, "drift", seeds, params, False)[OURS])
        name = json.dumps(params)
        yield _figure(f"{name}: false alarms a camera-month", hard["fa_per_cam_month"], 2 * FALSE_ALARMS)
        yield _figure(f"{name}: informedness", hard["informedness30"], 0.75, at_most=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.arena", description=__doc__)
    parser.add_argument("arena", type=Path)
    parser.add_argument("--seeds", default="0-19")
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    missed = 0
    for figure in figures(asked.arena, asked.seeds, asked.peers):
        print(json.dumps(figure), flush=True)
        missed += not figure["holds"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
