"""`python -m bench [intake|layout|drift|story|all]`: prints the figures; exit 1 when one misses its goal."""

from __future__ import annotations

import argparse
import json
import sys

from bench import drift, intake, layout, story

BENCHES = {"layout": layout.figures, "drift": drift.figures, "story": story.figures}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="?", default="all", choices=["intake", *BENCHES, "all"])
    parser.add_argument("--frames", type=int, default=intake.FRAMES, help="how many frames `intake` takes in")
    parser.add_argument("--runs", type=int, default=intake.RUNS, help="how often; the medians are printed")
    args = parser.parse_args()
    chosen = args.bench
    missed = 0
    benches = {"intake": lambda: intake.figures(args.frames, args.runs), **BENCHES}
    for name, figures in benches.items():
        if chosen not in (name, "all"):
            continue
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        for figure in figures():
            print(json.dumps(figure), flush=True)
            missed += not figure["holds"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
