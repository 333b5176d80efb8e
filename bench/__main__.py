"""`python -m bench [NAME|all]`: prints a bench's figures as JSON, a line each; exit 1 when one misses its goal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

BENCHES = (
    "intake",
    "http",
    "metrics",
    "layout",
    "drift",
    "backtest",
    "compat",
    "golden",
    "nms",
    "scoring",
    "scale",
    "panels",
    "story",
    "bounds",
    "onset",
)
"""Modules of this folder with `figures() -> Iterator[dict]`."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="?", default="all", choices=[*BENCHES, "arena", "all"])
    parser.add_argument("--arena", type=Path, metavar="PATH", help="the judge's arena.py, for the bench of that name")
    parser.add_argument("--seeds", default="0-4", help="worlds of the arena (default: 0-4)")
    parser.add_argument("--peers", action="store_true", help="run other tools' alarms in the arena too")
    parser.add_argument("--frames", type=int, help="how many frames `intake` takes in")
    parser.add_argument("--runs", type=int, help="how often `intake` does; the medians are printed")
    asked = parser.parse_args()
    if asked.bench == "arena" and asked.arena is None:
        parser.error("--arena names the judge's arena.py")
    chosen = [name for name in BENCHES if asked.bench in (name, "all")]
    if asked.arena is not None and asked.bench in ("arena", "all"):
        chosen.append("arena")
    missed = 0
    for name in chosen:
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        for figure in _figures(name, asked):
            print(json.dumps(figure), flush=True)
            missed += not figure["holds"]
    return 1 if missed else 0


def _figures(name: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    module = import_module(f"bench.{name}")
    more = (asked.arena, asked.seeds, asked.peers) if name == "arena" else ()
    if name == "intake":
        more = (asked.frames or module.FRAMES, asked.runs or module.RUNS)
    found: Iterator[dict[str, Any]] = module.figures(*more)
    return found


if __name__ == "__main__":
    sys.exit(main())
