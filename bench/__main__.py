"""`python -m bench [NAME|all]`: prints a bench's figures as JSON, a line each; exit 1 when one misses its goal."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module

BENCHES = (
    "intake",
    "http",
    "layout",
    "drift",
    "golden",
    "scale",
    "story",
    "bounds",
    "onset",
)
"""Modules of this folder with `figures() -> Iterator[dict]`."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="?", default="all", choices=[*BENCHES, "all"])
    chosen = parser.parse_args().bench
    missed = 0
    for name in BENCHES:
        if chosen not in (name, "all"):
            continue
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        for figure in import_module(f"bench.{name}").figures():
            print(json.dumps(figure), flush=True)
            missed += not figure["holds"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
