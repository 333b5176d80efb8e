"""Manifests: which images a golden, challenge or training set is made of, by hash, and under which conditions.

A manifest is a JSON file beside which, or in a folder named apart, the images lie. It names its truth by hash too, so
that a number says exactly what it was computed on.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from monitor.client.folder import decoded, image_paths
from monitor.errors import UsageError
from monitor.golden import dataset
from monitor.golden.sets import GoldenSet, Id, Kind, Manifest, ManifestImage
from monitor.imaging.likeness import dhash
from monitor.imaging.stats import image_stats

LIGHTING = "lighting"
BANDS = {"low": 64.0, "normal": 192.0, "high": 256.0}
"""Bands of lighting and the mean grey level that each ends below: the darkest and brightest quarters, and between."""
_STEP = 4
"""Every n-th pixel is enough to tell the band of lighting."""


@dataclass(frozen=True, slots=True)
class OpenSet:
    """A manifest that was read: its hash, the golden set, and its entries in the order of the set's images."""

    manifest: Manifest
    sha256: str
    golden: GoldenSet
    images: tuple[ManifestImage, ...]


def read_manifest(path: Path) -> Manifest:
    """A manifest from its file.

    Raises:
        UsageError: it cannot be read or has faults.
    """
    manifest = dataset.decode(path, Manifest, "a manifest (monitor golden manifest writes one)")
    files = [image.file for image in manifest.images]
    faults = [f"{name} stands twice" for name, times in Counter(files).items() if times > 1]
    faults += [f"{name} leaves the folder of images" for name in files if not _inside(name)]
    dataset.refuse(path, faults)
    return manifest


def _inside(name: str) -> bool:
    return not os.path.isabs(name) and ".." not in Path(name).parts


def read_set(path: Path, listed: Path | None = None) -> GoldenSet:
    """A golden set from a manifest, or from truth that `dataset.read_truth` reads.

    Raises:
        UsageError: as those two.
    """
    return open_set(path).golden if path.is_file() and _is_manifest(path) else dataset.read_truth(path, listed)


def _is_manifest(path: Path) -> bool:
    try:
        said = msgspec.json.decode(dataset.read(path).removeprefix(dataset.BOM), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return "kind" in said and "annotations" not in said


def open_set(path: Path) -> OpenSet:
    """The golden set of a manifest, its truth checked by hash.

    Raises:
        UsageError: manifest or truth cannot be read, have faults, or do not fit each other.
    """
    manifest = read_manifest(path)
    if not manifest.truth:
        raise UsageError(f"{path} names no truth, so nothing can be scored on it; write it with --truth")
    truth = path.parent / manifest.truth
    if hashlib.sha256(dataset.read(truth)).hexdigest() != manifest.truth_sha256:
        raise UsageError(
            f"{truth} is not the truth that {path.name} was made with (its SHA-256 is another); restore it, or make "
            "the manifest anew under a new version"
        )
    golden = dataset.read_coco(truth)
    entries = {image.file: image for image in manifest.images}
    dataset.refuse(path, [f"the truth's image {one!r} is not in it" for one in golden.files if one not in entries])
    dataset.refuse(path, [f"{one} has no image in the truth" for one in sorted({*entries} - {*golden.files})])
    images = tuple(entries[file] for file in golden.files)
    named = f"{manifest.name} {manifest.version}"
    golden = replace(golden, name=named, slices=dataset.slices_of([_conditions(image) for image in images]))
    return OpenSet(manifest, hashlib.sha256(dataset.read(path)).hexdigest(), golden, images)


def _conditions(image: ManifestImage) -> dict[str, str]:
    return image.slices | ({"camera": image.camera} if image.camera else {})


def build(
    folder: Path, name: str, version: str, kind: Kind, golden: GoldenSet | None = None, camera: str = ""
) -> Manifest:
    """The manifest of the images of a folder, or of those that `golden` names; without the truth's own path and hash.

    Conditions are those of the golden set. Where it gives no lighting, it is the band of the image's mean grey level.

    Raises:
        UsageError: an image is missing or cannot be read; every one is named.
    """
    paths = _found(folder, golden)
    given = _given(golden, len(paths))
    taken = golden.captured if golden and golden.captured else (None,) * len(paths)
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0))), thread_name_prefix="manifest") as pool:
        entries = list(pool.map(lambda path: _entry(folder, path), paths))
    dataset.refuse(folder, [said for said in entries if isinstance(said, str)])
    images = []
    for entry, said, at in zip(entries, given, taken, strict=True):
        if not isinstance(entry, str):
            own = said.pop("camera", "") or camera
            images.append(msgspec.structs.replace(entry, camera=own, captured_at=at, slices=entry.slices | said))
    return Manifest(name, version, kind, images)


def _found(folder: Path, golden: GoldenSet | None) -> list[Path]:
    try:
        there = image_paths(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read ({error.strerror}); name the folder of the images") from None
    if golden is None:
        dataset.refuse(folder, [] if there else ["there is no image; name the folder of the images"])
        return there
    # A path from the folder on names one file; a bare name, with its suffix or without, is to be that of one alone.
    by_path = {path.relative_to(folder).as_posix(): [path] for path in there}
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in there:
        for name in {path.name, path.stem}:
            by_name[name].append(path)
    wanted = golden.files or tuple(str(one) for one in golden.images)
    named = {one: by_path.get(one) or by_name.get(one, []) for one in wanted}
    faults = [f"{one} is not there" for one, paths in named.items() if not paths]
    for one, paths in named.items():
        if len(paths) > 1:
            first = " and ".join(path.relative_to(folder).as_posix() for path in paths[:2])
            faults.append(f"{one} may be {first}; name it by its path from the folder on")
    dataset.refuse(folder, faults)
    return [named[one][0] for one in wanted]


def _given(golden: GoldenSet | None, images: int) -> list[dict[str, str]]:
    """What the truth says of each image's conditions."""
    said: list[dict[str, str]] = [{} for _ in range(images)]
    if golden is None:
        return said
    for i, hidden in enumerate(golden.occluded):
        said[i]["occlusion"] = "some" if hidden else "none"
    for name, values in golden.slices.items():
        for value, there in values.items():
            for i in np.flatnonzero(there).tolist():
                said[i][name] = value
    return said


def _entry(folder: Path, path: Path) -> ManifestImage | str:
    """An image as it stands in a manifest, or what is wrong with it."""
    try:
        data = path.read_bytes()
        pixels = decoded(data)
    except (OSError, ValueError) as error:
        return f"{path.name} {error}"
    level = image_stats(pixels, _STEP).brightness
    band = next(name for name, end in BANDS.items() if level < end)
    return ManifestImage(
        path.relative_to(folder).as_posix() if path != folder else path.name,
        hashlib.sha256(data).hexdigest(),
        pixels.shape[1],
        pixels.shape[0],
        slices={LIGHTING: band},
        dhash=dhash(pixels),
    )


def coco_of(golden: GoldenSet, manifest: Manifest) -> bytes:
    """The golden set as COCO JSON, its images numbered from 1 in the order of the manifest."""
    labels: dict[Id, int] = {one: k + 1 for k, one in enumerate(golden.classes)}
    images = [
        {
            "id": i + 1,
            "file_name": image.file,
            "width": image.width,
            "height": image.height,
            "camera": image.camera,
            "captured_at": image.captured_at,
            "slices": image.slices,
        }
        for i, image in enumerate(manifest.images)
    ]
    categories = [{"id": labels[one], "name": golden.class_names[k]} for k, one in enumerate(golden.classes)]
    coco = {"images": images, "annotations": list(_annotations(golden)), "categories": categories}
    return msgspec.json.format(msgspec.json.encode(coco), indent=1)


def _annotations(golden: GoldenSet) -> Iterator[dict[str, object]]:
    truth = golden.truth
    columns = (truth.image, truth.label, truth.box, truth.area, truth.crowd, truth.ignored)
    rows: Sequence[tuple[int, int, list[float], float, bool, bool]] = list(
        zip(*(column.tolist() for column in columns), strict=True)
    )
    for i, (image, label, box, area, crowd, ignored) in enumerate(rows):
        yield {
            "id": i + 1,
            "image_id": image + 1,
            "category_id": label + 1,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        } | ({"ignore": 1} if ignored and not crowd else {})
