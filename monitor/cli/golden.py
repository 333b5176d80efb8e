"""`monitor golden`: score detections against verified truth, compare versions, choose thresholds, ask the gate."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from monitor.cli import golden_runs, golden_sets
from monitor.cli.written import write_text
from monitor.errors import UsageError
from monitor.golden import compare, dataset, page, report, ruling, score, show, thresholds
from monitor.golden.criteria import SIZE
from monitor.golden.pictures import Folder
from monitor.golden.sets import GoldenSet
from monitor.settings import Settings
from monitor.spec.contract import Contract
from monitor.spec.load import load_contract, parse_contract
from monitor.stats.boxes import Floats
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

TRUTH is a COCO JSON file (images may carry "slices": {"lighting": "night"} and "camera") or a folder of Pascal VOC
files; results are COCO's: a list of image_id, category_id, bbox [x, y, width, height], score 0 to 1.
"""
GATE_CODES = {PASS: 0, FAIL: 1, INSUFFICIENT: 2}
COMPARE_CODES = {compare.HELD: 0, compare.DROP: 1, INSUFFICIENT: 2}


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    example: str,
    files: str | None = None,
) -> argparse.ArgumentParser:
    """A verb about a golden set; `files`: "?" where the set may be left out."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  monitor golden {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "truth", type=Path, nargs=files, metavar="TRUTH", help="COCO JSON, or a folder of Pascal VOC files"
    )
    verb.add_argument(
        "--images", type=Path, metavar="FILE", help="with Pascal VOC: the images to take, a name a line"
    )
    verb.add_argument("--json", action="store_true", help="all numbers as JSON; what was not computed is null")
    verb.add_argument("--seed", type=int, default=0, help="of the sets drawn anew (default: 0)")
    return verb


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `monitor golden` and its verbs."""
    noun = subparsers.add_parser(
        "golden",
        help="score a model against verified truth",
        description="Scores detections against a golden set, compares versions, chooses thresholds, asks the gate.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    golden_sets.register(verbs)
    golden_runs.register(verbs)
    one = _verb(verbs, "evaluate", "every number of a model on a golden set", "truth.json results.json")
    one.set_defaults(run=run_evaluate)
    two = _verb(verbs, "compare", "whether a version is worse than another", "truth.json active.json candidate.json")
    two.add_argument("before", type=Path, metavar="BEFORE", help="results of the version to compare with")
    two.add_argument("after", type=Path, metavar="AFTER", help="results of the version in question")
    two.add_argument("--margin", type=float, default=0.005, help="what may be lost (default: 0.005)")
    two.set_defaults(run=run_compare)
    example = "truth.json results.json --miss-cost 10 --split 0.5"
    choice = _verb(verbs, "thresholds", "choose thresholds by cost and verify them on a second split", example)
    choice.add_argument("--miss-cost", type=float, default=1.0, help="what a missed object costs (default: 1)")
    choice.add_argument(
        "--false-alarm-cost", type=float, default=1.0, help="what a wrong detection costs (default: 1)"
    )
    second = choice.add_mutually_exclusive_group()
    second.add_argument("--split", type=float, default=0.5, help="share of the images to choose on (default: 0.5)")
    second.add_argument("--verify-truth", type=Path, metavar="TRUTH", help="another golden set to verify on")
    choice.add_argument("--verify-results", type=Path, metavar="RESULTS", help="the model's results on it")
    choice.set_defaults(run=run_thresholds)
    gate = _gate_verb(verbs)
    told = _report_verb(verbs)
    for verb in (one, choice, gate, told):
        files = "?" if verb is gate else None
        verb.add_argument("results", type=Path, nargs=files, metavar="RESULTS", help="the model's detections")
    for verb in (one, choice, told):
        words = "production thresholds: one number for all, CLASS=NUMBER, or a contract file (default: 0.5)"
        verb.add_argument("--thresholds", nargs="+", default=[], metavar="T", help=words)
    for verb in (one, two, told):
        verb.add_argument("--confidence", type=float, default=0.95, help="of each bound, one-sided (default: 0.95)")
    for verb in (one, two, gate, told):
        verb.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="sets drawn anew (default: 1000)")


def _report_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    example = "truth.json results.json --pictures images/ --contract my-model.toml --html report.html"
    told = _verb(verbs, "report", "everything about a model on a golden set, as a page, text or JSON", example)
    told.add_argument("--html", type=Path, metavar="FILE", help="write one page that holds all it shows")
    told.add_argument("--title", default="", help="of the page (default: the name of RESULTS)")
    told.add_argument("--pictures", type=Path, metavar="FOLDER", help="the images, to show the worst of them")
    told.add_argument(
        "--before", type=Path, metavar="RESULTS", help="results to compare with: last time's, or another version's"
    )
    told.add_argument(
        "--contract", type=Path, metavar="FILE", help="a contract, or its [[acceptance]]: thresholds, costs, criteria"
    )
    told.add_argument("--frames", type=int, default=12, metavar="N", help="worst frames that are shown (default: 12)")
    told.set_defaults(run=run_report)
    return told


def _gate_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    words = "whether a model meets its criteria: exit code 0 pass, 1 fail, 2 insufficient data"
    gate = _verb(verbs, "gate", words, "truth.json results.json --criteria contracts/my-model.toml", "?")
    gate.add_argument("--criteria", type=Path, metavar="FILE", help="a contract, or its [[acceptance]]")
    words = "those of the version in use: a drop beyond map_drop_at_most fails"
    gate.add_argument("--before", type=Path, metavar="RESULTS", help=words)
    gate.add_argument("--run", dest="run_id", type=int, metavar="ID", help="a run that is kept, in place of files")
    gate.set_defaults(run=run_gate)
    return gate


def _set(args: argparse.Namespace) -> GoldenSet:
    if not 0.5 < getattr(args, "confidence", 0.95) < 1:
        raise UsageError(f"--confidence is {args.confidence}; a one-sided confidence lies between 0.5 and 1")
    fewest = 0 if args.run is run_evaluate else 2
    if getattr(args, "bootstrap", 1000) < fewest:
        raise UsageError(f"--bootstrap is {args.bootstrap}; draw at least {fewest or 'no fewer than 0'} sets")
    if args.seed < 0:
        raise UsageError(f"--seed is {args.seed}; it is 0 or more")
    return dataset.read_truth(args.truth, args.images)


def _thresholds(golden: GoldenSet, words: list[str]) -> Floats:
    """Production thresholds from the words of the command line, in which later ones prevail."""
    usual, named = 0.5, {}
    for word in words:
        name, equals, said = word.rpartition("=")
        if not equals and word.endswith(".toml"):
            named.update(_of_contract(golden, load_contract(Path(word)).contract))
            continue
        try:
            value = float(said)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise UsageError(f"--thresholds has {word!r}; write 0.5, scratch=0.6, or the name of a contract (*.toml)")
        if equals:
            named[name] = value
        else:
            usual = value
    return score.thresholds_of(golden, named, usual)


def _of_contract(golden: GoldenSet, contract: Contract) -> dict[str, float]:
    known = {*golden.class_names, *map(str, golden.classes)}
    return {one.name: one.threshold for one in contract.classes if one.name in known}


def _print(args: argparse.Namespace, numbers: object, text: str) -> None:
    print(json.dumps(numbers, ensure_ascii=False, indent=1, allow_nan=False) if args.json else text)


def run_evaluate(args: argparse.Namespace, settings: Settings) -> int:
    """Print every number."""
    golden = _set(args)
    limits = _thresholds(golden, args.thresholds)
    found = dataset.read_results(args.results, golden)
    numbers = score.evaluate(golden, found, limits, args.bootstrap, args.seed, args.confidence)
    _print(args, numbers, show.evaluation(numbers))
    return 0


def run_compare(args: argparse.Namespace, settings: Settings) -> int:
    """Print the comparison; exit 1 if anything dropped, 2 if the images cannot say."""
    if not 0 <= args.margin < 1:
        raise UsageError(f"--margin is {args.margin}; it is what may be lost, 0 or more and under 1")
    golden = _set(args)
    before, after = (score.table_of(golden, dataset.read_results(path, golden)) for path in (args.before, args.after))
    said = compare.compare(golden, before, after, args.margin, args.confidence, args.bootstrap, args.seed)
    _print(args, asdict(said), show.comparison(said))
    return COMPARE_CODES[said.verdict]


def run_thresholds(args: argparse.Namespace, settings: Settings) -> int:
    """Print the choice, verified, and the proposal."""
    costs_given = (args.miss_cost, args.false_alarm_cost)
    if not all(0 <= one < math.inf for one in costs_given) or not 0 < args.split < 1:
        raise UsageError("costs are finite and 0 or more, and --split is a share between 0 and 1")
    if (args.verify_truth is None) != (args.verify_results is None):
        raise UsageError("--verify-truth and --verify-results go together; give both or neither")
    golden = _set(args)
    in_use = _thresholds(golden, args.thresholds)
    table = score.table_of(golden, dataset.read_results(args.results, golden))
    costs = (np.full(table.classes, args.miss_cost), np.full(table.classes, args.false_alarm_cost))
    if args.verify_truth:
        second = dataset.read_truth(args.verify_truth)
        if second.classes != golden.classes:
            raise UsageError(
                f"{args.verify_truth} has other classes than {args.truth}; verify on a set with the same"
            )
        chosen = thresholds.choose(table, *costs)
        other = score.table_of(second, dataset.read_results(args.verify_results, second))
        said = thresholds.verify(golden, other, in_use, chosen, costs)
    else:
        first, rest = thresholds.halves(table.images, args.split, args.seed)
        chosen = thresholds.choose(table, *costs, first)
        said = thresholds.verify(golden, table, in_use, chosen, costs, rest)
    text = thresholds.proposal(golden, said, costs)
    _print(args, {"choices": [asdict(one) for one in said], "proposal": text}, f"{show.choices(said)}\n\n{text}")
    return 0


def _criteria(path: Path, golden: GoldenSet) -> Contract:
    """The contract that a file of criteria is; a table that it leaves out is filled in from the golden set."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); name a contract or a TOML with [[acceptance]]") from None
    classes = "".join(f"[[classes]]\nname = {json.dumps(name)}\n" for name in golden.class_names)
    names = {*golden.slices, SIZE} - {"camera"}
    conditions = "".join(f"[[conditions]]\nname = {json.dumps(name)}\n" for name in sorted(names))
    for head, tables in (
        ("[model]", '[model]\nname = "golden"\n'),
        ("[[classes]]", classes),
        ("[cameras]", '[cameras]\npolicy = "open"\n'),
        ("[[conditions]]", conditions),
    ):
        text += "" if head in text else f"\n{tables}"
    return parse_contract(text, str(path))


def run_gate(args: argparse.Namespace, settings: Settings) -> int:
    """Print every cell; exit 1 if one failed, 2 if one cannot be told."""
    if args.run_id is not None:
        return _gate_kept(args, settings)
    if None in (args.truth, args.results, args.criteria):
        raise UsageError("name TRUTH, RESULTS and --criteria, or a run that is kept with --run")
    golden = _set(args)
    contract = _criteria(args.criteria, golden)
    if not contract.acceptance:
        raise UsageError(f"{args.criteria} has no [[acceptance]]; without a criterion there is nothing to ask")
    limits = score.thresholds_of(golden, _of_contract(golden, contract))
    found = dataset.read_results(args.results, golden)
    before = {ruling.ACTIVE: dataset.read_results(args.before, golden)} if args.before else {}
    said = ruling.plain(ruling.rule(golden, found, contract, limits, before, args.bootstrap, args.seed))
    _print(args, said, show.ruling(said))
    return GATE_CODES[said["verdict"]]


def _gate_kept(args: argparse.Namespace, settings: Settings) -> int:
    if (args.truth, args.criteria, args.before) != (None, None, None):
        raise UsageError("--run names a run that was judged already; leave files and criteria out")
    run, said = golden_runs.gate_run(args.run_id, settings)
    if run.status != "done":
        _print(args, golden_runs.plain(run), f"run {run.id} does not count: {run.status}, {run.reason}")
        return GATE_CODES[FAIL]
    if not said["verdict"]:
        raise UsageError(f"nothing was demanded of run {run.id}; write [[acceptance]] and score again")
    _print(args, said, show.ruling(said))
    return GATE_CODES[said["verdict"]]


def run_report(args: argparse.Namespace, settings: Settings) -> int:
    """Print the report and write its page."""
    golden = _set(args)
    if args.frames < 0:
        raise UsageError(f"--frames is {args.frames}; show 0 or more")
    contract = _criteria(args.contract, golden) if args.contract else None
    words = [f"{name}={limit}" for name, limit in (_of_contract(golden, contract) if contract else {}).items()]
    asked = report.Asked(
        _thresholds(golden, [*words, *args.thresholds]),
        _costs(golden, contract),
        contract.acceptance if contract else (),
        args.bootstrap,
        args.seed,
        args.confidence,
        frames=args.frames,
    )
    images = Folder(args.pictures) if args.pictures else None
    before = dataset.read_results(args.before, golden) if args.before else None
    said = report.report(golden, dataset.read_results(args.results, golden), asked, before)
    if args.html:
        write_text(args.html, page.page(said, args.title or args.results.stem, images))
    _print(args, said.plain(), show.report(said))
    return 0


def _costs(golden: GoldenSet, contract: Contract | None) -> tuple[Floats, Floats]:
    """What a miss and a false alarm of each class cost, each [classes]; 1 where nobody says."""
    said = {one.name: (one.miss_cost, one.false_alarm_cost) for one in (contract.classes if contract else ())}
    each = np.array([said.get(name, (1.0, 1.0)) for name in golden.class_names])
    return each[:, 0], each[:, 1]
