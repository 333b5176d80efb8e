"""`python -m bench [intake|layout|drift|compat|story|all]`: prints the figures; exit 1 when one misses its goal."""

from __future__ import annotations

import argparse
import json
import sys

from bench import compat, drift, intake, layout, story

BENCHES = {
    "intake": intake.figures,
    "layout": layout.figures,
    "drift": drift.figures,
    "compat": compat.figures,
    "story": story.figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="?", default="all", choices=[*BENCHES, "all"])
    chosen = parser.parse_args().bench
    missed = 0
    for name, figures in BENCHES.items():
        if chosen not in (name, "all"):
            continue
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        for figure in figures():
            print(json.dumps(figure), flush=True)
            missed += not figure["holds"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
