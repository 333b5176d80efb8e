"""`monitor golden manifest` and `leakage`: what a set is made of, and whether it may judge a model."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import get_args

import msgspec

from monitor.cli.written import write_text
from monitor.errors import UsageError
from monitor.golden import dataset, leakage, manifest
from monitor.golden.sets import Kind
from monitor.imaging.likeness import BITS, NEAR
from monitor.settings import Settings
from monitor.spec.sections import read_duration

SHOWN = 20
"""Leaks of a pair of sets that are printed; --json gives all."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to `monitor golden`."""
    one = _verb(
        verbs,
        "manifest",
        "write the manifest of a set: its images by hash, with their conditions",
        "images/ --truth truth.json --name packages --version 3 --output golden/manifest.json",
    )
    one.add_argument("folder", type=Path, metavar="IMAGES", help="folder of the images")
    one.add_argument("--truth", type=Path, help="COCO JSON, or a folder of Pascal VOC files; training sets need none")
    one.add_argument("--images", type=Path, metavar="FILE", help="with Pascal VOC: the images to take, a name a line")
    one.add_argument("--name", required=True, help="of the set")
    one.add_argument("--version", required=True, help="of the set; another content is another version")
    one.add_argument("--kind", choices=get_args(Kind), default="golden", help="(default: golden)")
    one.add_argument("--camera", default="", help="that took every image of which the truth names none")
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="the manifest (*.json)")
    one.set_defaults(run=run_manifest)
    two = _verb(
        verbs,
        "leakage",
        "compare sets: exit code 1 if one holds images of another, or all but",
        "golden/manifest.json challenge/manifest.json training/manifest.json --within 10m",
    )
    two.add_argument(
        "manifests", type=Path, nargs="+", metavar="MANIFEST", help="two or more; all pairs are compared"
    )
    two.add_argument("--within", default="5m", help="frames of one camera this close in time are one (default: 5m)")
    words = f"bits of {BITS} within which two images are one (default: {NEAR})"
    two.add_argument("--near", type=int, default=NEAR, help=words)
    two.add_argument("--json", action="store_true", help="every leak, as JSON")
    two.set_defaults(run=run_leakage)


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, example: str
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  monitor golden {name} {example}",
    )
    return verb


def run_manifest(args: argparse.Namespace, settings: Settings) -> int:
    """Write the manifest, and beside it the truth as COCO JSON where it came as Pascal VOC."""
    if args.kind != "training" and args.truth is None:
        raise UsageError(f"a {args.kind} set is scored against its truth; name it with --truth")
    golden = dataset.read_truth(args.truth, args.images) if args.truth else None
    made = manifest.build(args.folder, args.name, args.version, args.kind, golden, args.camera)
    if golden is not None:
        truth = args.output.parent / f"{args.output.stem}-truth.json"
        text = manifest.coco_of(golden, made).decode() + "\n"
        write_text(truth, text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        made = msgspec.structs.replace(made, truth=truth.name, truth_sha256=digest)
    write_text(args.output, msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n")
    said = f"{len(made.images):,} images" + (f", {golden.truth.label.size:,} objects" if golden else "")
    print(f"{args.output}: {leakage.named(made)}, {said}")
    return 0


def run_leakage(args: argparse.Namespace, settings: Settings) -> int:
    """Print what the sets share; exit 1 if they share anything."""
    if len(args.manifests) < 2:
        raise UsageError("leakage lies between sets; name two manifests or more")
    if not 0 <= args.near <= BITS:
        raise UsageError(f"--near is {args.near}; it is 0 to {BITS} bits")
    sets = [manifest.read_manifest(path) for path in args.manifests]
    within = _within(args.within)
    found = [leakage.leakage(one, other, within, args.near) for one, other in combinations(sets, 2)]
    print(json.dumps([asdict(one) for one in found], indent=1) if args.json else "\n".join(map(_text, found)))
    return 1 if any(one.leaks for one in found) else 0


def _within(said: str) -> timedelta:
    try:
        return read_duration(said)
    except ValueError as error:
        raise UsageError(f"--within is {said!r}; write {error}") from None


def _text(of: leakage.Leakage) -> str:
    kinds = [leak.kind for leak in of.leaks]
    counted = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds)) or "nothing shared"
    lines = [f"{of.one} and {of.other}: {counted}"]
    lines += [f"  {leak.kind}: {leak.one} and {leak.other} ({leak.detail})" for leak in of.leaks[:SHOWN]]
    lines += [f"  ... and {len(of.leaks) - SHOWN:,} more; --json gives all"] if len(of.leaks) > SHOWN else []
    if of.untold:
        lines.append(f"  {of.untold:,} images say no camera or no time, so that they cannot be compared by moment")
    return "\n".join(lines)
