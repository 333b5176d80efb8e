"""`monitor golden run` and `list`: score a set now, and what earlier runs came to."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitor.alerts.channels import configured, told
from monitor.cli.words import so_many
from monitor.errors import UsageError
from monitor.golden import job, stage
from monitor.golden.run import Result, score
from monitor.golden.show import ABSENT, columns
from monitor.scoring import ScoringRun
from monitor.settings import Settings
from monitor.spec.load import load_contract
from monitor.store import migrate, scorings
from monitor.store.database import open_database


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to `monitor golden`."""
    one = verbs.add_parser(
        "run",
        help="score a contract's set now: exit code 0 scored, 1 degraded or error",
        description="Scores the golden (or challenge) set of a contract now, in a process of its own.",
        epilog="examples:\n  monitor golden run contracts/packages.toml\n"
        "  monitor golden run contracts/packages.toml --model candidate.onnx --version v2 --output scored/",
    )
    one.add_argument("contract", type=Path, metavar="CONTRACT", help="the contract (*.toml)")
    one.add_argument("--challenge", action="store_true", help="the challenge set, not the golden one")
    one.add_argument("--model", type=Path, metavar="FILE", help="another ONNX file, such as a candidate's")
    one.add_argument("--version", default="", help="the version that file is; needed with --model")
    one.add_argument("--output", type=Path, metavar="DIR", help="also write the outcome and all that was found there")
    one.add_argument("--no-store", action="store_true", help="keep nothing in the database, and compare with nothing")
    one.add_argument("--json", action="store_true", help="the run as JSON")
    one.set_defaults(run=run_run)
    two = verbs.add_parser(
        "list",
        help="runs of a model, newest first",
        description="Lists the runs of a model, newest first.",
        epilog="example:\n  monitor golden list --model packages",
    )
    two.add_argument("--model", required=True, help="as the contract names it")
    two.add_argument("--version", help="one version (default: all)")
    two.add_argument("--last", type=so_many, default=20, metavar="N", help="so many (default: 20)")
    two.add_argument("--json", action="store_true", help="as JSON")
    two.set_defaults(run=run_list)


def run_run(args: argparse.Namespace, settings: Settings) -> int:
    """Score, keep and print; exit 1 unless the run counts."""
    loaded = load_contract(args.contract)
    if (args.model is None) != (not args.version):
        raise UsageError("--model and --version go together: a file, and the name of the version that it is")
    what = stage.asked(loaded, "challenge" if args.challenge else "golden", args.model, args.version)
    if what is None:
        key = "challenge_manifest" if args.challenge else "manifest"
        raise UsageError(f"{args.contract} names no such set; write {key} under [golden]")
    now, tell = datetime.now(UTC), _told if sys.stderr.isatty() else _silent
    if args.no_store:
        result = score(stage.job_of(loaded, what), stage.limits_of(loaded), tell=tell)
        ended = stage.ended(stage.begun(loaded, what, now), result, None, now)
    else:
        # A run by hand turns alerts as a night does, and the same people are to hear of it.
        channels = told(configured(settings))
        with open_database(settings) as database:
            migrate.require_current(database.engine)
            ended, result = stage.score_now(database, loaded, what, now, channels=channels, tell=tell)
    tell("\n")
    if args.output is not None:
        _write(args.output, ended, result)
    failed = json.loads(result.artifacts[job.RULING])["failed"] if job.RULING in result.artifacts else []
    print(json.dumps({**plain(ended), "failed": failed}, indent=1) if args.json else text(ended, failed))
    return 0 if ended.status == "done" else 1


def _told(line: str) -> None:
    print(f"\r{line}", end="", file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    pass


def _write(folder: Path, run: ScoringRun, result: Result) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in {**result.artifacts, job.OUTCOME: json.dumps(plain(run), indent=1).encode()}.items():
            (folder / name).write_bytes(body)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror}); name a folder that can") from None


def run_list(args: argparse.Namespace, settings: Settings) -> int:
    """Print the runs of a model."""
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = scorings.newest(conn, args.model, version=args.version, limit=args.last)
    if args.json:
        print(json.dumps([plain(one) for one in found], indent=1))
        return 0
    if not found:
        print(f"no run of {args.model} yet; `monitor golden run` scores it, and the daemon does each night")
        return 0
    rows = [("run", "set", "version", "at", "status", "verdict", "answer", "images", "reason")]
    for one in found:
        at = f"{one.started_at:%Y-%m-%d %H:%M}"
        named = f"{one.kind} {one.set_name} {one.set_version}".strip()
        counted = (str(one.decoded), one.reason or "; ".join(one.changed))
        rows.append(
            (str(one.id), named, one.version, at, one.status, one.verdict or ABSENT, one.sameness or ABSENT, *counted)
        )
    print("\n".join(columns(rows, left=len(rows[0]))))
    return 0


def gate_run(run_id: int, settings: Settings) -> tuple[ScoringRun, dict[str, Any]]:
    """A kept run and its ruling.

    Raises:
        UsageError: there is no such run, or its ruling is no longer kept.
    """
    with open_database(settings) as database:
        migrate.require_current(database.engine)
        with database.begin() as conn:
            found = scorings.read(conn, run_id)
            body = scorings.artifact(conn, run_id, job.RULING)
    if found is None:
        raise UsageError(f"there is no run {run_id}; `monitor golden list` names those that there are")
    if body is None and found.status == "done":
        raise UsageError(f"the cells of run {run_id} are no longer kept; score the version again")
    return found, json.loads(body) if body is not None else {}


def plain(run: ScoringRun) -> dict[str, Any]:
    """A run as plain values; times in ISO 8601."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(run).items()}


def text(run: ScoringRun, failed: Sequence[str] = ()) -> str:
    """A run in words; `failed` are its cells that did."""
    named = f"{run.kind} set {run.set_name} {run.set_version}".rstrip()
    lines = [f"{named}, {run.model} {run.version}: {run.status}" + (f", {run.reason}" if run.reason else "")]
    if run.images:
        rate = f"{run.decoded / run.seconds:.0f} images/s, model alone {run.decoded / run.run_seconds:.0f}"
        lines.append(f"{run.decoded:,} of {run.images:,} images, {rate}; digest {run.digest[:16]}")
    if run.sameness:
        since = "; changed since: " + ", ".join(run.changed) if run.changed else ""
        lines.append(f"answer against the run before: {run.sameness}{since}")
    if run.status == "done":
        gate = f"; `monitor golden gate --run {run.id}` lists the cells" if run.id else ""
        lines += [f"failed: {name}" for name in failed]
        lines.append(f"verdict: {run.verdict or 'nothing was demanded'}{gate}")
    return "\n".join(lines)
