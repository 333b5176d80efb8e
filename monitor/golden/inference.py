"""A set of image files through a model: decoded in threads while the session runs, in padded batches of one size."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from monitor.client.folder import decoded, scaled
from monitor.errors import MonitorError
from monitor.golden import adapters
from monitor.golden.session import Array, Model
from monitor.golden.sets import ManifestImage
from monitor.imaging.preprocess import Placement, Preprocess, preprocess, tensor_sha256
from monitor.stats.matching import Found

TWICE = 64
"""Images that are scored a second time, to see whether the runtime gives the same answer."""
ONE_BY_ONE = frozenset({"torchvision"})
"""Conventions whose outputs have no axis for a batch."""


class WrongImages(MonitorError):
    """The images are not those of the manifest."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image ready for the model: its place in the set, input, where it lies in it, and the input's hash."""

    place: int
    tensor: Array
    where: Placement
    sha256: str


@dataclass(frozen=True, slots=True)
class Undecoded:
    """An image that could not be made ready."""

    place: int
    reason: str


@dataclass(slots=True)
class Scored:
    """What a model said of a set: detections of each image (None: not decoded), hashes of inputs, and times in s."""

    detections: list[adapters.Detections | None]
    inputs: dict[int, str] = field(default_factory=dict)
    undecoded: list[Undecoded] = field(default_factory=list)
    seconds: float = 0.0
    run_seconds: float = 0.0

    def found(self) -> Found:
        """All detections as rows: image, class, box x, y, width, height, score."""
        there = [(i, one) for i, one in enumerate(self.detections) if one is not None]
        image = [np.full(one.score.size, i, dtype=np.int64) for i, one in there]
        corner = np.concatenate([one.box for _, one in there] or [np.zeros((0, 4))])
        box = np.concatenate((corner[:, :2], corner[:, 2:] - corner[:, :2]), axis=1)
        label, score = (
            np.concatenate([getattr(one, name) for _, one in there] or [np.zeros(0)]) for name in ("label", "score")
        )
        return Found(np.concatenate(image or [np.zeros(0, dtype=np.int64)]), label.astype(np.int64), box, score)


def prepared(
    folder: Path, entries: Sequence[ManifestImage], block: Preprocess, ahead: int, workers: int | None = None
) -> Iterator[Prepared | Undecoded]:
    """Read, check, decode and preprocess images in threads, in order, `ahead` images before they are asked for.

    Raises, when it is reached:
        WrongImages: a file is not the one whose hash the manifest has.
    """
    workers = workers or min(8, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
        todo = iter(enumerate(entries))
        waiting: deque[Future[Prepared | Undecoded]] = deque()
        try:
            waiting.extend(pool.submit(_prepare, folder, i, one, block) for i, one in islice(todo, ahead))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_prepare, folder, i, one, block) for i, one in islice(todo, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare(folder: Path, place: int, entry: ManifestImage, block: Preprocess) -> Prepared | Undecoded:
    try:
        data = (folder / entry.file).read_bytes()
    except OSError as error:
        return Undecoded(place, f"{entry.file} cannot be read ({error.strerror})")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise WrongImages(
            f"{entry.file} is not the image that the manifest names (its SHA-256 is another); restore it, or make "
            "the manifest anew under a new version"
        )
    if block.decoder != "pillow":
        raise WrongImages(f'decoder = "{block.decoder}" is not at hand for scoring; declare "pillow" under [input]')
    try:
        tensor, where = preprocess(decoded(data, turned=block.exif == "apply"), block, scaled)
    except ValueError as error:
        return Undecoded(place, f"{entry.file} {error}")
    return Prepared(place, tensor, where, tensor_sha256(tensor))


def score_images(
    model: Model,
    images: Iterator[Prepared | Undecoded],
    total: int,
    batch: int,
    settings: adapters.Settings,
    tell: Callable[[int], None] = lambda done: None,
) -> Scored:
    """Run every image through the model; `tell` hears how many are done."""
    scored = Scored([None] * total)
    size = 1 if model.wanted.convention in ONE_BY_ONE else model.fixed_batch or batch
    began = time.perf_counter()
    # Boxes are read off one batch while the session runs the next.
    with ThreadPoolExecutor(1, thread_name_prefix="boxes") as reader:
        reading: deque[tuple[list[Prepared], Future[list[adapters.Detections]]]] = deque()
        for part in _batches(images, size, scored.undecoded):
            outputs, ran = run_batch(model, part, size)
            scored.run_seconds += ran
            reading.append((part, reader.submit(_boxes, model, outputs, part, settings)))
            if len(reading) > 1:
                _take(scored, *reading.popleft())
                tell(len(scored.inputs) + len(scored.undecoded))
        while reading:
            _take(scored, *reading.popleft())
    tell(len(scored.inputs) + len(scored.undecoded))
    scored.seconds = time.perf_counter() - began
    return scored


def _take(scored: Scored, part: list[Prepared], found: Future[list[adapters.Detections]]) -> None:
    for one, detections in zip(part, found.result(), strict=True):
        scored.detections[one.place] = detections
        scored.inputs[one.place] = one.sha256


def _batches(
    images: Iterator[Prepared | Undecoded], size: int, undecoded: list[Undecoded]
) -> Iterator[list[Prepared]]:
    """Images of one shape, `size` at a time; those that are none are put aside."""
    part: list[Prepared] = []
    for one in images:
        if isinstance(one, Undecoded):
            undecoded.append(one)
            continue
        if part and (len(part) == size or one.tensor.shape != part[0].tensor.shape):
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def run_batch(model: Model, part: Sequence[Prepared], size: int) -> tuple[dict[str, Array], float]:
    """The outputs for up to `size` images, padded to it with the last one, and the seconds inside the model."""
    padded = [*part, *[part[-1]] * (size - len(part))]
    tensors = np.stack([one.tensor for one in padded])
    sizes = np.array([(one.where.width, one.where.height) for one in padded], dtype=np.int64)
    began = time.perf_counter()
    outputs = model.run(tensors, sizes)
    return outputs, time.perf_counter() - began


def _boxes(
    model: Model, outputs: dict[str, Array], part: Sequence[Prepared], settings: adapters.Settings
) -> list[adapters.Detections]:
    fits = [_fit(one.where) for one in part]
    return adapters.decode(model.wanted.convention, model.wanted.outputs, outputs, fits, settings)


def _fit(of: Placement) -> adapters.Fit:
    return adapters.Fit(
        of.width, of.height, of.input_width, of.input_height, of.ratio_x, of.ratio_y, of.pad_x, of.pad_y
    )
