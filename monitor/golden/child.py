"""The process that scores: `python -m monitor.golden.child FOLDER`, started by `monitor.golden.run` alone.

It reads its job from the folder and leaves the outcome there; the lines on its output are progress. Whatever goes
wrong here, with a model or a runtime, goes wrong in a process of its own.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from monitor.client.folder import decoder_name
from monitor.errors import MonitorError, UsageError
from monitor.golden import adapters, dataset, inference, job, ruling, score
from monitor.golden.digest import digest_of, sameness
from monitor.golden.job import Job, Outcome
from monitor.golden.manifest import OpenSet, open_set
from monitor.golden.session import Model, ModelRefused, Wanted, open_model
from monitor.imaging.preprocess import Preprocess
from monitor.spec.contract import Contract
from monitor.spec.load import parse_contract
from monitor.stats.boxes import Ints
from monitor.stats.matching import Found

BOUND = 0.975
"""Confidence of each bound of what is measured: the two make an interval of 95 %, as every measurement's do."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What one scoring works with."""

    folder: Path
    job: Job
    contract: Contract
    opened: OpenSet
    block: Preprocess

    @property
    def outputs(self) -> adapters.Settings:
        said = self.contract.output
        floor = self.contract.golden.score_floor
        return adapters.Settings(floor, said.nms, said.iou, said.max_detections, said.soft_sigma)


def main(folder: Path) -> int:
    """Do the job in `folder`; 0 where an outcome lies there, whatever it is."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    work = msgspec.json.decode((folder / job.JOB).read_bytes(), type=Job)
    try:
        outcome = carry_out(folder, work)
    except MonitorError as error:
        outcome = Outcome("error", str(error))
    (folder / job.OUTCOME).write_bytes(msgspec.json.encode(outcome))
    return 0


def _leave_with_parent() -> None:
    """The parent holds the other end of the input: when it dies, this process must not go on alone."""
    while os.read(0, 4096):
        pass
    os._exit(75)


def carry_out(folder: Path, work: Job) -> Outcome:
    """Score, judge, and leave the artifacts in `folder`.

    Raises:
        MonitorError: the run is an error, and why.
    """
    contract = parse_contract(work.contract)
    opened = open_set(Path(work.manifest))
    desk = Desk(folder, work, contract, opened, Preprocess(**contract.input.model_dump()))
    places = _class_places(contract, opened)
    model = _open(desk)
    images = len(opened.images)
    said = contract.golden
    size = model.fixed_batch or said.batch
    files = inference.prepared(Path(work.images), opened.images, desk.block, 2 * size)
    scored = inference.score_images(model, files, images, size, desk.outputs, lambda done: _tell(done, images))
    decoded = images - len(scored.undecoded)
    if decoded < said.min_decoded * images:
        raise ModelRefused(
            f"only {decoded} of {images} images could be decoded, and [golden] asks for {said.min_decoded:.0%}: "
            f"{scored.undecoded[0].reason}"
        )
    found = known(scored.found(), places)
    same = _same_twice(desk, model, scored, size)
    verdict = _leave(desk, found, scored)
    environment = {**model.environment, **_hashes(desk)}
    return Outcome(
        "degraded" if model.degraded else "done",
        model.degraded or ("" if same else "the runtime gave another answer for the same images within one run"),
        "" if model.degraded else verdict,
        digest_of(found),
        same,
        environment,
        opened.manifest.name,
        opened.manifest.version,
        opened.sha256,
        images,
        decoded,
        scored.seconds,
        scored.run_seconds,
        *_since_last(desk, found),
    )


def _tell(done: int, images: int) -> None:
    sys.stdout.write(f"{done} of {images}\n")
    sys.stdout.flush()


def _class_places(contract: Contract, opened: OpenSet) -> Ints:
    """The golden set's place of each of the model's classes, which are the contract's in its order; -1: none."""
    names = [one.name for one in contract.classes]
    own = list(opened.golden.class_names)
    if strange := sorted({*own} - {*names}):
        raise UsageError(
            f"the set {opened.golden.name} has classes that the contract has not ({', '.join(strange)}); name them "
            "alike in both"
        )
    return np.array([own.index(name) if name in own else -1 for name in names], dtype=np.int64)


def _open(desk: Desk) -> Model:
    said = desk.contract.golden
    path = Path(desk.job.model)
    data = dataset.read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != desk.job.model_sha256:
        raise ModelRefused(
            f"{path.name} has the SHA-256 {sha256[:16]}..., and {desk.job.model_sha256[:16] or 'none'}... was asked "
            "for; restore the file, or name its hash in model_sha256 under [golden]"
        )
    wanted = Wanted(
        said.provider,
        said.allow_cpu,
        said.convention,
        said.inputs,
        said.outputs,
        len(desk.contract.classes),
        desk.block.dtype,
        said.threads,
    )
    return open_model(data, wanted)


def known(found: Found, places: Ints) -> Found:
    """Detections of classes that the set knows, in the set's own places; the model's other classes have no truth.

    Raises:
        ModelRefused: a class that the contract has not, below its first one too.
    """
    for label in (found.label.min(initial=0), found.label.max(initial=0)):
        if not 0 <= label < max(1, places.size):
            raise ModelRefused(f"the model speaks of class {label}, and the contract has {places.size}, from 0 on")
    label = places[found.label] if found.label.size else found.label
    kept = label >= 0
    return Found(found.image[kept], label[kept], found.box[kept], found.score[kept])


def _same_twice(desk: Desk, model: Model, scored: inference.Scored, size: int) -> bool:
    """Whether the first images, scored once more, give the same detections."""
    entries = desk.opened.images[: inference.TWICE]
    images = inference.prepared(Path(desk.job.images), entries, desk.block, 2 * size)
    again = inference.score_images(model, images, len(entries), size, desk.outputs)
    first = inference.Scored(list(islice(scored.detections, len(entries))))
    return digest_of(first.found()) == digest_of(again.found())


def _leave(desk: Desk, found: Found, scored: inference.Scored) -> str:
    """Write the artifacts; returns the verdict."""
    golden, contract = desk.opened.golden, desk.contract
    limits = score.thresholds_of(
        golden, {one.name: one.threshold for one in contract.classes if one.name in golden.class_names}
    )
    _write(desk, job.DETECTIONS, dataset.results_of(found, golden))
    before = {
        name: dataset.read_results(desk.folder / file, golden) for name, file in sorted(desk.job.before.items())
    }
    criteria = contract.acceptance if desk.job.judged else ()
    said = ruling.rule(golden, found, criteria, limits, before, contract.release.map_drop_at_most, desk.job.times)
    _write(desk, job.RULING, ruling.plain(said))
    _write(desk, job.EVALUATION, score.evaluate(golden, found, limits, desk.job.times, 0, BOUND))
    entries = desk.opened.images
    inputs = {
        entries[i].file: {"image": entries[i].sha256, "tensor": sha} for i, sha in sorted(scored.inputs.items())
    }
    undecoded = {entries[one.place].file: one.reason for one in scored.undecoded}
    _write(desk, job.INPUTS, {"inputs": inputs, "undecoded": undecoded})
    return said.verdict


def _since_last(desk: Desk, found: Found) -> tuple[str, str]:
    """Whether the answer is that of the last run, and how far from it."""
    file = desk.job.before.get(ruling.LAST)
    if file is None:
        return "", ""
    golden = desk.opened.golden
    before = dataset.read_results(desk.folder / file, golden)
    of = sameness(before, dataset.read_results(desk.folder / job.DETECTIONS, golden), desk.outputs.score_floor)
    return of.tier, f"{of.unmatched} without counterpart, scores within {of.score:.2g}, boxes within {of.box:.2g} px"


def _write(desk: Desk, name: str, values: Any) -> None:
    (desk.folder / name).write_bytes(msgspec.json.encode(values))


def _hashes(desk: Desk) -> dict[str, str]:
    """What the answer hangs on beside the runtime."""
    images = hashlib.sha256("".join(image.sha256 for image in desk.opened.images).encode()).hexdigest()
    said = desk.contract.output
    return {
        "decoder": decoder_name(),
        "model_sha256": desk.job.model_sha256,
        "preprocess_sha256": desk.block.sha256,
        "manifest_sha256": desk.opened.sha256,
        "images_sha256": images,
        "convention": desk.contract.golden.convention,
        "suppression": f"{said.nms} {said.iou:g} {said.soft_sigma:g}, from {desk.contract.golden.score_floor:g} on",
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
