"""`monitor golden`: score detections against verified truth, compare versions, choose thresholds, ask the gate."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from monitor.cli import golden_report, golden_runs, golden_sets, golden_thresholds
from monitor.cli.golden_words import (
    add_thresholds,
    add_verb,
    demands,
    golden_set,
    print_out,
    thresholds_in,
    thresholds_said,
)
from monitor.errors import UsageError
from monitor.golden import compare, dataset, ruling, score, show
from monitor.settings import Settings
from monitor.stats.intervals import FAIL, INSUFFICIENT, PASS

EPILOG = """\
examples:
  monitor golden manifest images/ --truth truth.json --name packages --version 3 --output manifest.json
  monitor golden leakage golden/manifest.json training/manifest.json
  monitor golden evaluate truth.json results.json
  monitor golden evaluate truth.json results.json --thresholds 0.5 scratch=0.6 --json
  monitor golden compare truth.json active.json candidate.json --margin 0.005
  monitor golden thresholds truth.json results.json --miss-cost 10 --false-alarm-cost 1 --split 0.5
  monitor golden gate truth.json results.json --criteria contracts/my-model.toml
  monitor golden report truth.json results.json --contract contracts/my-model.toml --html report.html

TRUTH is a manifest, a COCO JSON file (images may carry "slices": {"lighting": "night"} and "camera") or a folder of
Pascal VOC files; results are COCO's: a list of image_id, category_id, bbox [x, y, width, height], score 0 to 1.
"""
GATE_CODES = {PASS: 0, FAIL: 1, INSUFFICIENT: 2}
COMPARE_CODES = {compare.HELD: 0, compare.DROP: 1, INSUFFICIENT: 2}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor golden` and its verbs."""
    noun = subparsers.add_parser(
        "golden",
        help="score a model against verified truth",
        description="Scores detections against a golden set, compares versions, chooses thresholds, asks the gate.",
        epilog=EPILOG,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    golden_sets.register(verbs)
    golden_runs.register(verbs)
    one = add_verb(verbs, "evaluate", "every number of a model on a golden set", "truth.json results.json")
    one.set_defaults(run=run_evaluate)
    two = add_verb(
        verbs, "compare", "whether a version is worse than another", "truth.json active.json candidate.json"
    )
    two.add_argument("before", type=Path, metavar="BEFORE", help="results of the version to compare with")
    two.add_argument("after", type=Path, metavar="AFTER", help="results of the version in question")
    two.add_argument("--margin", type=float, default=0.005, help="what may be lost (default: 0.005)")
    two.set_defaults(run=run_compare)
    golden_thresholds.register(verbs)
    golden_report.register(verbs)
    words = "whether a model meets its criteria: exit code 0 pass, 1 fail, 2 insufficient data"
    gate = add_verb(verbs, "gate", words, "truth.json results.json --criteria contracts/my-model.toml", "?")
    gate.add_argument("--criteria", type=Path, metavar="FILE", help="a contract, or its [[acceptance]]")
    gate.add_argument(
        "--before",
        type=Path,
        metavar="RESULTS",
        help="those of the version in use: a drop beyond map_drop_at_most fails",
    )
    gate.add_argument("--run", dest="run_id", type=int, metavar="ID", help="a run that is kept, in place of files")
    gate.set_defaults(run=run_gate)
    for verb in (one, gate):
        files = "?" if verb is gate else None
        verb.add_argument("results", type=Path, nargs=files, metavar="RESULTS", help="the model's detections")
    add_thresholds(one)
    for verb in (one, two):
        verb.add_argument("--confidence", type=float, default=0.95, help="of each bound, one-sided (default: 0.95)")
    for verb in (one, two, gate):
        verb.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="sets drawn anew (default: 1000)")


def run_evaluate(args: argparse.Namespace, settings: Settings) -> int:
    """Print every number."""
    golden = golden_set(args, fewest=0)
    limits = thresholds_said(golden, args.thresholds)
    found = dataset.read_results(args.results, golden)
    numbers = score.evaluate(golden, found, limits, args.bootstrap, args.seed, args.confidence)
    print_out(args, numbers, show.evaluation(numbers))
    return 0


def run_compare(args: argparse.Namespace, settings: Settings) -> int:
    """Print the comparison; exit 1 if anything dropped, 2 if the images cannot say."""
    if not 0 <= args.margin < 1:
        raise UsageError(f"--margin is {args.margin}; it is what may be lost, 0 or more and under 1")
    golden = golden_set(args)
    before, after = (score.table_of(golden, dataset.read_results(path, golden)) for path in (args.before, args.after))
    said = compare.compare(golden, before, after, args.margin, args.confidence, args.bootstrap, args.seed)
    print_out(args, asdict(said), show.comparison(said))
    return COMPARE_CODES[said.verdict]


def run_gate(args: argparse.Namespace, settings: Settings) -> int:
    """Print every cell; exit 1 if one failed, 2 if one cannot be told."""
    if args.run_id is not None:
        return _gate_kept(args, settings)
    if None in (args.truth, args.results, args.criteria):
        raise UsageError("name TRUTH, RESULTS and --criteria, or a run that is kept with --run")
    golden = golden_set(args)
    contract = demands(args.criteria, golden)
    if not contract.acceptance:
        raise UsageError(f"{args.criteria} has no [[acceptance]]; without a criterion there is nothing to ask")
    limits = score.thresholds_of(golden, thresholds_in(golden, contract))
    found = dataset.read_results(args.results, golden)
    before = {ruling.ACTIVE: dataset.read_results(args.before, golden)} if args.before else {}
    margin = contract.release.map_drop_at_most
    made = ruling.rule(golden, found, contract.acceptance, limits, before, margin, args.bootstrap, args.seed)
    said = ruling.plain(made)
    print_out(args, said, show.ruling(said))
    return GATE_CODES[said["verdict"]]


def _gate_kept(args: argparse.Namespace, settings: Settings) -> int:
    if (args.truth, args.criteria, args.before) != (None, None, None):
        raise UsageError("--run names a run that was judged already; leave files and criteria out")
    run, said = golden_runs.gate_run(args.run_id, settings)
    if run.status != "done":
        print_out(args, golden_runs.plain(run), f"run {run.id} does not count: {run.status}, {run.reason}")
        return GATE_CODES[FAIL]
    if not said["verdict"]:
        raise UsageError(f"nothing was demanded of run {run.id}; write [[acceptance]] and score again")
    print_out(args, said, show.ruling(said))
    return GATE_CODES[said["verdict"]]
