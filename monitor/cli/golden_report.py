"""`monitor golden report`: everything about a model on a golden set, as a page, as text or as JSON."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from monitor.cli.contracts import contract_of
from monitor.cli.golden_words import (
    Verbs,
    add_thresholds,
    add_verb,
    costs_in,
    demands,
    golden_set,
    print_out,
    thresholds_in,
    thresholds_said,
)
from monitor.cli.written import write_text
from monitor.errors import UsageError
from monitor.golden import dataset, job, page, report, show, stage
from monitor.golden.manifest import open_set
from monitor.golden.pictures import Folder
from monitor.golden.sets import GoldenSet
from monitor.scoring import ScoringRun
from monitor.settings import Settings
from monitor.spec.contract import Contract
from monitor.spec.load import load_contract
from monitor.stats.matching import Found
from monitor.store import migrate, scorings
from monitor.store.database import Connection, open_database

LOOKED_BACK = 100
"""Runs among which the one before is looked for."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a report is about: the set, detections now and before (None: none), contract, title, folder of images."""

    golden: GoldenSet
    found: Found
    before: Found | None
    contract: Contract | None
    title: str
    images: Path | None


def register(verbs: Verbs) -> None:
    """Add the verb to `monitor golden`."""
    example = (
        "truth.json results.json --pictures images/ --contract my-model.toml --html report.html\n"
        "  monitor golden report --run 17 --html report.html"
    )
    verb = add_verb(
        verbs, "report", "everything about a model on a golden set, as a page, text or JSON", example, "?"
    )
    verb.add_argument("results", type=Path, nargs="?", metavar="RESULTS", help="the model's detections")
    verb.add_argument(
        "--run",
        dest="run_id",
        type=int,
        metavar="ID",
        help="a run that is kept, in place of files, and the one before",
    )
    verb.add_argument("--html", type=Path, metavar="FILE", help="write one page that holds all it shows")
    verb.add_argument("--title", default="", help="of the page (default: the name of RESULTS, or the run's)")
    verb.add_argument("--pictures", type=Path, metavar="FOLDER", help="the images, to show the worst of them")
    words = "results to compare with: last time's, or another version's"
    verb.add_argument("--before", type=Path, metavar="RESULTS", help=words)
    words = "a contract, or its [[acceptance]]: thresholds, costs, criteria"
    verb.add_argument("--contract", type=Path, metavar="FILE", help=words)
    verb.add_argument("--frames", type=int, default=12, metavar="N", help="worst frames that are shown (default: 12)")
    add_thresholds(verb)
    verb.add_argument("--confidence", type=float, default=0.95, help="of each bound, one-sided (default: 0.95)")
    verb.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="sets drawn anew (default: 1000)")
    verb.set_defaults(run=run_report)


def run_report(args: argparse.Namespace, settings: Settings) -> int:
    """Print the report and write its page."""
    if args.frames < 0:
        raise UsageError(f"--frames is {args.frames}; show 0 or more")
    case = _of_files(args) if args.run_id is None else _of_run(args, settings)
    golden, contract = case.golden, case.contract
    words = [f"{name}={limit}" for name, limit in (thresholds_in(golden, contract) if contract else {}).items()]
    asked = report.Asked(
        thresholds_said(golden, [*words, *args.thresholds]),
        costs_in(golden, contract),
        contract,
        args.bootstrap,
        args.seed,
        args.confidence,
        frames=args.frames,
    )
    said = report.report(golden, case.found, asked, case.before)
    if args.html:
        write_text(args.html, page.page(said, args.title or case.title, Folder(case.images) if case.images else None))
    print_out(args, said.plain(), show.report(said))
    return 0


def _of_files(args: argparse.Namespace) -> Case:
    if None in (args.truth, args.results):
        raise UsageError("name TRUTH and RESULTS, or a run that is kept with --run")
    golden = golden_set(args)
    contract = demands(args.contract, golden) if args.contract else None
    before = dataset.read_results(args.before, golden) if args.before else None
    found = dataset.read_results(args.results, golden)
    # What a run writes is called detections.json; the folder has the name that somebody gave it.
    name = args.results.stem if args.results.name != job.DETECTIONS else args.results.resolve().parent.name
    return Case(golden, found, before, contract, name, args.pictures)


def _of_run(args: argparse.Namespace, settings: Settings) -> Case:
    if args.truth is not None:
        raise UsageError("--run names the set and the detections; leave the files out")
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            run = scorings.read(conn, args.run_id)
            if run is None:
                raise UsageError(f"there is no run {args.run_id}; `monitor golden list` names those that there are")
            now, last = scorings.artifact(conn, run.id, job.DETECTIONS), _detections_before(conn, run)
    if now is None:
        raise UsageError(f"the detections of run {run.id} are not kept ({run.status}); score the version again")
    loaded = load_contract(args.contract) if args.contract else contract_of(run.model, settings)
    what = stage.asked(loaded, "challenge" if run.kind == "challenge" else "golden")
    if what is None:
        raise UsageError(f"{loaded.file} names no {run.kind} set any more; name another contract with --contract")
    opened = open_set(what.manifest)
    if opened.sha256 != run.manifest_sha256:
        raise UsageError(
            f"{what.manifest} is not the set that run {run.id} was scored on (its SHA-256 is another); score again"
        )
    golden = opened.golden
    before = dataset.read_results(args.before, golden) if args.before else None
    if before is None and last is not None:
        before = _detections(last, golden)
    title = f"{run.model} {run.version}, run {run.id} of {run.started_at:%Y-%m-%d}"
    return Case(golden, _detections(now, golden), before, loaded.contract, title, args.pictures or what.images)


def _detections_before(conn: Connection, run: ScoringRun) -> bytes | None:
    """The detections of the version's run before this one on the same images."""
    found = scorings.newest(
        conn,
        run.model,
        kind=run.kind,
        version=run.version,
        status="done",
        manifest_sha256=run.manifest_sha256,
        limit=LOOKED_BACK,
    )
    last = next((one for one in found if one.id < run.id), None)
    return None if last is None else scorings.artifact(conn, last.id, job.DETECTIONS)


def _detections(kept: bytes, golden: GoldenSet) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / job.DETECTIONS
        path.write_bytes(kept)
        return dataset.read_results(path, golden)
