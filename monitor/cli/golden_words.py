"""What the verbs about a golden set share: how a set, thresholds and criteria are named, and what is printed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TypeAlias

import numpy as np

from monitor.errors import UsageError
from monitor.golden import criteria, score
from monitor.golden.manifest import read_set
from monitor.golden.sets import GoldenSet
from monitor.spec.contract import Contract
from monitor.spec.load import load_contract, parse_contract
from monitor.stats.boxes import Floats

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_verb(
    verbs: Verbs,
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
    )
    verb.add_argument(
        "truth",
        type=Path,
        nargs=files,
        metavar="TRUTH",
        help="a manifest, COCO JSON, or a folder of Pascal VOC files",
    )
    verb.add_argument(
        "--images", type=Path, metavar="FILE", help="with Pascal VOC: the images to take, a name a line"
    )
    verb.add_argument("--json", action="store_true", help="all numbers as JSON; what was not computed is null")
    verb.add_argument("--seed", type=int, default=0, help="of the sets drawn anew (default: 0)")
    return verb


def add_thresholds(verb: argparse.ArgumentParser) -> None:
    """Let a verb be told production's thresholds."""
    words = "production thresholds: one number for all, CLASS=NUMBER, or a contract file (default: 0.5)"
    verb.add_argument("--thresholds", nargs="+", default=[], metavar="T", help=words)


def golden_set(args: argparse.Namespace, fewest: int = 2) -> GoldenSet:
    """The set that is named; `fewest` sets must be drawn anew.

    Raises:
        UsageError: it cannot be read, or a number lies outside its bounds.
    """
    if not 0.5 < getattr(args, "confidence", 0.95) < 1:
        raise UsageError(f"--confidence is {args.confidence}; a one-sided confidence lies between 0.5 and 1")
    if getattr(args, "bootstrap", 1000) < fewest:
        raise UsageError(f"--bootstrap is {args.bootstrap}; draw at least {fewest or 'no fewer than 0'} sets")
    if args.seed < 0:
        raise UsageError(f"--seed is {args.seed}; it is 0 or more")
    return read_set(args.truth, args.images)


def thresholds_said(golden: GoldenSet, words: list[str]) -> Floats:
    """Production thresholds from the words of the command line, in which later ones prevail."""
    usual, named = 0.5, {}
    for word in words:
        name, equals, said = word.rpartition("=")
        if not equals and word.endswith(".toml"):
            named.update(thresholds_in(golden, load_contract(Path(word)).contract))
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


def thresholds_in(golden: GoldenSet, contract: Contract) -> dict[str, float]:
    """The thresholds of a contract for the classes that a set has."""
    known = {*golden.class_names, *map(str, golden.classes)}
    return {one.name: one.threshold for one in contract.classes if one.name in known}


def print_out(args: argparse.Namespace, numbers: object, text: str) -> None:
    """Print the numbers as JSON if asked for, or else the text."""
    print(json.dumps(numbers, ensure_ascii=False, indent=1, allow_nan=False) if args.json else text)


def demands(path: Path, golden: GoldenSet) -> Contract:
    """The contract that a file of criteria is; a table that it leaves out is filled in from the golden set."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); name a contract or a TOML with [[acceptance]]") from None
    classes = "".join(f"[[classes]]\nname = {json.dumps(name)}\n" for name in golden.class_names)
    names = {*golden.slices, criteria.SIZE} - {"camera"}
    conditions = "".join(f"[[conditions]]\nname = {json.dumps(name)}\n" for name in sorted(names))
    for head, tables in (
        ("[model]", '[model]\nname = "golden"\n'),
        ("[[classes]]", classes),
        ("[cameras]", '[cameras]\npolicy = "open"\n'),
        ("[[conditions]]", conditions),
    ):
        text += "" if head in text else f"\n{tables}"
    return parse_contract(text, str(path))


def costs_in(golden: GoldenSet, contract: Contract | None) -> tuple[Floats, Floats]:
    """What a miss and a false alarm of each class cost by a contract, each [classes]; 1 where nobody says."""
    said = {one.name: (one.miss_cost, one.false_alarm_cost) for one in (contract.classes if contract else ())}
    each = np.array([said.get(name, (1.0, 1.0)) for name in golden.class_names])
    return each[:, 0].copy(), each[:, 1].copy()
