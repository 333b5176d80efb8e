"""`monitor golden thresholds`: what each would do, the choice by cost, and what a second split says of it."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path

from monitor.cli.golden_words import Verbs, add_thresholds, add_verb, costs_in, golden_set, print_out, thresholds_said
from monitor.cli.written import write_text
from monitor.errors import UsageError
from monitor.golden import dataset, score, show, thresholds
from monitor.golden.manifest import read_set
from monitor.golden.sets import GoldenSet
from monitor.settings import Settings
from monitor.spec.load import load_contract, parse_contract
from monitor.stats.boxes import Floats


def register(verbs: Verbs) -> None:
    """Add the verb to `monitor golden`."""
    example = "truth.json results.json --contract contracts/my-model.toml --split 0.5 --output proposed.toml"
    verb = add_verb(verbs, "thresholds", "choose thresholds by cost and verify them on a second split", example)
    verb.add_argument("results", type=Path, metavar="RESULTS", help="the model's detections")
    add_thresholds(verb)
    verb.add_argument(
        "--contract", type=Path, metavar="FILE", help="whose thresholds are in use, and what errors of a class cost"
    )
    verb.add_argument("--miss-cost", type=float, help="what a missed object costs (default: the contract's, or 1)")
    verb.add_argument("--false-alarm-cost", type=float, help="and a wrong detection (default: the contract's, or 1)")
    second = verb.add_mutually_exclusive_group()
    second.add_argument("--split", type=float, default=0.5, help="share of the images to choose on (default: 0.5)")
    second.add_argument("--verify-truth", type=Path, metavar="TRUTH", help="another golden set to verify on")
    verb.add_argument("--verify-results", type=Path, metavar="RESULTS", help="the model's results on it")
    words = "write the proposal: the contract with other thresholds, or its [[classes]] where none is named"
    verb.add_argument("--output", type=Path, metavar="FILE", help=words)
    verb.set_defaults(run=run_thresholds)


def run_thresholds(args: argparse.Namespace, settings: Settings) -> int:
    """Print the table, the choice, verified, and the proposal."""
    given = [cost for cost in (args.miss_cost, args.false_alarm_cost) if cost is not None]
    if not all(0 <= one < math.inf for one in given) or not 0 < args.split < 1:
        raise UsageError("costs are finite and 0 or more, and --split is a share between 0 and 1")
    if (args.verify_truth is None) != (args.verify_results is None):
        raise UsageError("--verify-truth and --verify-results go together; give both or neither")
    golden = golden_set(args)
    in_use = thresholds_said(golden, [*([str(args.contract)] if args.contract else []), *args.thresholds])
    costs = _costs(args, golden)
    table = score.table_of(golden, dataset.read_results(args.results, golden))
    if args.verify_truth:
        second = read_set(args.verify_truth)
        if second.classes != golden.classes:
            raise UsageError(
                f"{args.verify_truth} has other classes than {args.truth}; verify on a set with the same"
            )
        first, rest = None, None
        other = score.table_of(second, dataset.read_results(args.verify_results, second))
    else:
        first, rest = thresholds.halves(table.images, args.split, args.seed)
        other = table
    chosen = thresholds.choose(table, *costs, first)
    said = thresholds.verify(golden, other, in_use, chosen, costs, rest)
    steps = thresholds.steps(golden, table, costs, first)
    text = _proposal(args, golden, said, costs)
    if args.output:
        write_text(args.output, text)
    numbers = {"table": [asdict(one) for one in steps], "choices": [asdict(one) for one in said], "proposal": text}
    print_out(args, numbers, "\n\n".join((show.steps(steps), show.choices(said), text)))
    return 0


def _costs(args: argparse.Namespace, golden: GoldenSet) -> tuple[Floats, Floats]:
    miss, false_alarm = costs_in(golden, load_contract(args.contract).contract if args.contract else None)
    if args.miss_cost is not None:
        miss[:] = args.miss_cost
    if args.false_alarm_cost is not None:
        false_alarm[:] = args.false_alarm_cost
    return miss, false_alarm


def _proposal(
    args: argparse.Namespace, golden: GoldenSet, said: list[thresholds.Choice], costs: tuple[Floats, Floats]
) -> str:
    """The contract with the proposed thresholds, or its classes alone where no contract is named."""
    if args.contract is None:
        return thresholds.proposal(golden, said, costs)
    proposed = thresholds.rewritten(args.contract.read_text(encoding="utf-8"), said)
    wanted = {one.class_name: one.proposed for one in said}
    got = {one.name: one.threshold for one in parse_contract(proposed, str(args.contract)).classes}
    if any(got.get(name) != threshold for name, threshold in wanted.items()):
        raise UsageError(
            f"the [[classes]] of {args.contract} are not written one key a line, or lack a class of the set, so "
            "that its text cannot be proposed anew; leave out --contract to get the classes alone"
        )
    return proposed
