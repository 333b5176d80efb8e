"""`monitor spec`: check and show contracts, and print the schemas of contract and frame record."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from monitor.alerts.conditions import counted
from monitor.errors import UsageError
from monitor.records import FrameRecord
from monitor.settings import Settings
from monitor.spec.contract import Contract
from monitor.spec.load import LoadedContract, load_contract
from monitor.spec.rules import AlertRule
from monitor.spec.show import as_toml, json_schema
from monitor.spec.soundness import allowance, fewest

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the noun and its verbs to the command line."""
    noun = subparsers.add_parser("spec", help="check and show contracts; print schemas")
    verbs = noun.add_subparsers(title="verbs", metavar="VERB", required=True)

    def add(name: str, run: Callable[[argparse.Namespace, Settings], int], what: str, example: str) -> Any:
        verb = verbs.add_parser(
            name,
            help=what,
            description=what,
            epilog=f"example:\n  {example}",
        )
        verb.set_defaults(run=run)
        return verb

    check = add(
        "check", run_check, "name every fault of contracts; exit 2 if there is one", "monitor spec check contracts/"
    )
    check.description = (
        "Names every fault of contracts; exit code 2 if there is one. Of a contract without faults it says from "
        "which value on each rule fires: its threshold plus what chance alone exceeds in one of a thousand windows "
        "of the fewest frames that it judges; at the least, for a small baseline and detections that come in bunches "
        "add to it."
    )
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a contract, or a folder of them (*.toml)")
    show = add(
        "show", run_show, "print a contract with every default filled in", "monitor spec show contracts/my-model.toml"
    )
    show.add_argument("path", type=Path, metavar="PATH", help="a contract")
    add(
        "template",
        run_template,
        "print a contract with every key explained, to start from",
        "monitor spec template > contracts/my-model.toml",
    )
    add("schema", run_schema, "print the JSON Schema of a contract", "monitor spec schema > contract.schema.json")
    add(
        "record-schema",
        run_record_schema,
        "print the JSON Schema of a frame record, one line of a log",
        "monitor spec record-schema > record.schema.json",
    )


def run_template(args: argparse.Namespace, settings: Settings) -> int:
    """Print the template: from inside the package in an installed wheel, from `examples/` in a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "spec" / "template.toml"
    template = shipped if shipped.exists() else package.parent / "examples" / "contract-template.toml"
    print(template.read_text(encoding="utf-8"), end="")
    return 0


def run_check(args: argparse.Namespace, settings: Settings) -> int:
    """Check every file and print what is well to standard output and what is not to standard error."""
    files, faulty = _contract_files(args.paths)
    by_model: dict[str, Path] = {}
    for path in files:
        try:
            loaded = load_contract(path)
        except UsageError as error:
            faulty.append(str(error))
            continue
        first = by_model.setdefault(loaded.model, path)
        if first != path:
            faulty.append(f"{path}: {loaded.model} already has a contract in {first}; keep one file a model")
        else:
            print("\n".join([_summary(loaded), *_limits(loaded.contract)]))
    for sentence in faulty:
        print(sentence, file=sys.stderr)
    return 2 if faulty else 0


def run_show(args: argparse.Namespace, settings: Settings) -> int:
    """Print one contract as TOML, with where it came from in a comment."""
    loaded = load_contract(args.path)
    print(f"# {loaded.path}, contract {loaded.hash}, with every default filled in\n")
    print(as_toml(loaded.contract), end="")
    return 0


def run_schema(args: argparse.Namespace, settings: Settings) -> int:
    """Print the JSON Schema of a contract."""
    print(json.dumps(json_schema(), indent=2))
    return 0


def run_record_schema(args: argparse.Namespace, settings: Settings) -> int:
    """Print the JSON Schema of a frame record."""
    print(json.dumps(record_schema(), indent=2))
    return 0


def record_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line of a log, titled with the version of the record."""
    version = get_args(get_type_hints(FrameRecord)["schema_version"])[0]
    return {"$schema": DRAFT, "title": f"monitor frame record, version {version}", **msgspec.json.schema(FrameRecord)}


def _contract_files(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """The files to check, each once, and a sentence for each folder without any."""
    files: dict[Path, None] = {}
    empty: list[str] = []
    for path in paths:
        inside = sorted(p for p in path.glob("*.toml") if not p.name.startswith(".")) if path.is_dir() else [path]
        files.update(dict.fromkeys(inside))
        if not inside:
            empty.append(f"{path} holds no contract (*.toml); name a file or another folder")
    return list(files), empty


def _summary(loaded: LoadedContract) -> str:
    contract = loaded.contract
    cameras = "any camera" if contract.cameras.policy == "open" else _count(contract.cameras.list, "camera")
    rules = f"{_count(contract.alerts, 'alert rule')} and {len(contract.rules) - len(contract.alerts)} ready ones"
    counts = f"{_count(contract.classes, 'class', 'classes')}, {cameras}, {rules}"
    return f"{loaded.path}: ok, model {loaded.model}, {counts}, contract {loaded.hash}"


def _limits(contract: Contract) -> list[str]:
    """From which value on each rule of [[alerts]] fires at the fewest frames that it judges."""
    return [f"  {rule.name}: {_fires(contract, rule)}" for rule in contract.alerts]


def _fires(contract: Contract, rule: AlertRule) -> str:
    what = f"{rule.measure} of {rule.signal}{' by class' if rule.by_class else ''}"
    if rule.above is not None and (chance := allowance(contract, rule)):
        least = fewest(contract, rule)
        return f"fires above {rule.above:.3g} + {chance:.2g} for chance at {least:,} frames, {what}"
    of = " x baseline" if rule.relative_to else ""
    sides = [f"{side} {said:.3g}{of}" for side in ("above", "below") if (said := getattr(rule, side)) is not None]
    floor = f" and by {rule.by_at_least:g} at least" if rule.by_at_least else ""
    return f"fires {' or '.join(sides)}{floor} from {rule.min_n:,} {counted(rule.signal)} on, {what}"


def _count(things: tuple[Any, ...], one: str, many: str = "") -> str:
    return f"{len(things)} {one if len(things) == 1 else many or one + 's'}"
