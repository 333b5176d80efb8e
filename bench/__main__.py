"""`python -m bench [NAME|all]`: prints the figures, one JSON object a line; exit 1 when one misses its goal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import arena, backtest, compat, drift, golden, intake, layout, onset, story

BENCHES: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "intake": intake.figures,
    "layout": layout.figures,
    "drift": drift.figures,
    "backtest": backtest.figures,
    "compat": compat.figures,
    "golden": golden.figures,
    "story": story.figures,
    "onset": onset.figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="?", default="all", choices=[*BENCHES, "arena", "all"])
    parser.add_argument("--arena", type=Path, metavar="PATH", help="the judge's arena.py, for the bench of that name")
    parser.add_argument("--seeds", default=arena.QUICK, help=f"worlds of the arena (default: {arena.QUICK})")
    parser.add_argument("--peers", action="store_true", help="run other tools' alarms in the arena too")
    asked = parser.parse_args()
    if asked.bench == "arena" and asked.arena is None:
        parser.error("--arena names the judge's arena.py")
    chosen = {name: figures for name, figures in BENCHES.items() if asked.bench in (name, "all")}
    if asked.arena is not None and asked.bench in ("arena", "all"):
        chosen["arena"] = lambda: arena.figures(asked.arena, asked.seeds, asked.peers)
    missed = 0
    for name, figures in chosen.items():
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        for figure in figures():
            print(json.dumps(figure), flush=True)
            missed += not figure["holds"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
