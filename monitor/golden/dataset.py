"""Golden sets and results from files: COCO JSON, Pascal VOC, and COCO's results format. All faults at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from xml.etree import ElementTree

import msgspec
import numpy as np

from monitor.errors import UsageError
from monitor.golden.sets import GoldenSet, Id
from monitor.stats.boxes import Bools
from monitor.stats.matching import Found, Truth

SHOWN = 10
"""Faults that an error names; it counts the others."""
BOM = b"\xef\xbb\xbf"
"""What some editors put before UTF-8."""
Box = tuple[float, float, float, float]
Read = TypeVar("Read")


class VocObject(NamedTuple):
    """An object of a Pascal VOC file."""

    label: str
    box: Box
    difficult: bool
    occluded: bool | None
    """None: the file does not say."""


class CocoImage(msgspec.Struct):
    """An image; `slices`, `camera` and `captured_at` are ours: the conditions that it was taken under."""

    id: Id
    file_name: str = ""
    captured_at: datetime | None = None
    slices: dict[str, str] = {}
    camera: str = ""


class CocoAnnotation(msgspec.Struct):
    """An object; without an area it has that of its box. `ignore` is ours: it counts nowhere, and is no crowd."""

    image_id: Id
    category_id: Id
    bbox: Box
    id: Id | None = None
    area: float | None = None
    iscrowd: int | bool = 0
    ignore: int | bool = 0
    attributes: dict[str, Any] = {}
    """What annotation tools say of it; `occluded` is read."""


class CocoCategory(msgspec.Struct):
    """A class."""

    id: Id
    name: str = ""


class CocoTruth(msgspec.Struct):
    """A file of truth; what else it holds is not needed here."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class CocoResult(msgspec.Struct):
    """A detection."""

    image_id: Id
    category_id: Id
    bbox: Box
    score: float


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a file that can") from None


def decode(path: Path, kind: type[Read], format_name: str) -> Read:
    try:
        return msgspec.json.decode(read(path).removeprefix(BOM), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not {format_name}: {error}; mend the file") from None


def refuse(path: Path, faults: Sequence[str]) -> None:
    if faults:
        more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        lines = [*faults[:SHOWN], *more]
        count = f"{len(faults)} fault" + ("" if len(faults) == 1 else "s")
        raise UsageError(f"{path}: {count}; mend the file\n" + "\n".join(f"  - {line}" for line in lines))


def _twice(ids: Iterable[Hashable], what: str) -> list[str]:
    seen: set[Hashable] = set()
    faults = []
    for one in ids:
        if one in seen:
            faults.append(f"{what} {one!r} stands twice; ids are unique")
        seen.add(one)
    return faults


def _ascending(path: Path, ids: Iterable[Id], what: str) -> tuple[Id, ...]:
    try:
        return tuple(sorted(ids))
    except TypeError:
        raise UsageError(f"{path}: ids of {what} are numbers and texts mixed; write all of them as one") from None


def _known(where: str, image: Id, label: Id, images: dict[Id, int], classes: dict[Id, int]) -> list[str]:
    faults = [] if image in images else [f"{where}: image {image!r} is not among the set's images"]
    return faults + ([] if label in classes else [f"{where}: class {label!r} is not among the set's classes"])


def _box_faults(where: str, box: Box) -> list[str]:
    if not all(map(math.isfinite, box)):
        return [f"{where}: box {list(box)} is not finite"]
    return [f"{where}: box {list(box)} has a negative width or height"] if min(box[2:]) < 0 else []


def read_truth(path: Path, listed: Path | None = None) -> GoldenSet:
    """A golden set: a COCO JSON file, or a folder of Pascal VOC files, of which `listed` may name some by line.

    Raises:
        UsageError: it cannot be read or has faults; the message names them.
    """
    if path.is_dir():
        return read_voc(path, listed)
    if listed is not None:
        raise UsageError(
            f"a list of images goes with a folder of Pascal VOC files, and {path} is a file; leave it out"
        )
    return read_coco(path)


def read_coco(path: Path) -> GoldenSet:
    """A golden set from COCO's JSON: images, annotations, categories.

    A box of no width or height stays: it is an object that cannot be found, as COCO's own evaluator has it.

    Raises:
        UsageError: not such a file, or faults in it.
    """
    coco = decode(path, CocoTruth, "COCO truth")
    ids = _ascending(path, (image.id for image in coco.images), "images")
    labels = _ascending(path, (category.id for category in coco.categories), "classes")
    images, classes = ({one: i for i, one in enumerate(order)} for order in (ids, labels))
    faults = _twice(ids, "image") + _twice(labels, "class")
    faults += _twice((a.id for a in coco.annotations if a.id is not None), "annotation")
    if not ids or not labels:
        faults.append("a golden set has at least one image and one class")
    faults += [fault for i, a in enumerate(coco.annotations) for fault in _object_faults(i, a, images, classes)]
    refuse(path, faults)
    crowd = np.array([bool(a.iscrowd) for a in coco.annotations], dtype=bool)
    box = np.array([a.bbox for a in coco.annotations], dtype=np.float64).reshape(-1, 4)
    area = [a.bbox[2] * a.bbox[3] if a.area is None else a.area for a in coco.annotations]
    truth = Truth(
        np.array([images[a.image_id] for a in coco.annotations], dtype=np.int64),
        np.array([classes[a.category_id] for a in coco.annotations], dtype=np.int64),
        box,
        np.array(area, dtype=np.float64),
        crowd,
        crowd | np.array([bool(a.ignore) for a in coco.annotations], dtype=bool),
    )
    names = {category.id: category.name or str(category.id) for category in coco.categories}
    said = {image.id: image for image in coco.images}
    ordered = [said[one] for one in ids]
    hidden = [
        (images[a.image_id], bool(a.attributes["occluded"])) for a in coco.annotations if "occluded" in a.attributes
    ]
    return GoldenSet(
        path.stem,
        ids,
        labels,
        tuple(names[one] for one in labels),
        truth,
        slices_of([image.slices | ({"camera": image.camera} if image.camera else {}) for image in ordered]),
        files=tuple(image.file_name for image in ordered) if any(image.file_name for image in ordered) else (),
        occluded=_occluded(hidden, len(ids)),
        captured=tuple(image.captured_at for image in ordered),
    )


def _object_faults(i: int, a: CocoAnnotation, images: dict[Id, int], classes: dict[Id, int]) -> list[str]:
    where = f"annotations[{i}]"
    faults = _known(where, a.image_id, a.category_id, images, classes) + _box_faults(where, a.bbox)
    if a.area is not None and not (math.isfinite(a.area) and a.area >= 0):
        faults.append(f"{where}: area {a.area} is no area")
    if a.iscrowd not in (0, 1):
        faults.append(f"{where}: iscrowd is {a.iscrowd}; it is 0 or 1")
    return faults


def _occluded(said: Sequence[tuple[int, bool]], images: int) -> tuple[bool, ...]:
    """Whether anything in each image is occluded; empty where nothing says so or otherwise."""
    some = {image for image, hidden in said if hidden}
    return tuple(i in some for i in range(images)) if said else ()


def slices_of(conditions: Sequence[dict[str, str]]) -> dict[str, dict[str, Bools]]:
    """Which images [images] have each value of each condition."""
    found: dict[str, dict[str, Bools]] = {}
    for i, image in enumerate(conditions):
        for name, value in image.items():
            found.setdefault(name, {}).setdefault(value, np.zeros(len(conditions), dtype=bool))[i] = True
    return {name: dict(sorted(values.items())) for name, values in sorted(found.items())}


def read_voc(folder: Path, listed: Path | None = None) -> GoldenSet:
    """A golden set from a folder of Pascal VOC XML files, an image each; its id is the file's name without .xml.

    `difficult` objects are ignored; a box of no width or height is set aside with its reason. `listed` is a text file
    that names the images to take, a name a line.

    Raises:
        UsageError: no such folder, list or file, or faults in one.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.xml"))}
    names = _listed(listed) if listed else list(files)
    wanted = [Path(name).stem if name.endswith((".xml", ".jpg", ".jpeg", ".png")) else name for name in names if name]
    faults = [f"{name}: {folder} has no {name}.xml" for name in wanted if name not in files] + _twice(wanted, "image")
    refuse(listed or folder, faults if wanted else ["there is no image; name a folder with *.xml"])
    images = tuple(sorted(wanted))
    rows: list[tuple[int, VocObject]] = []
    aside, hidden = [], []
    for i, name in enumerate(images):
        for one in _voc_objects(files[name]):
            if min(one.box[2:]) <= 0:
                aside.append(f"{name}.xml: {one.label} of width {one.box[2]:g} and height {one.box[3]:g} is no box")
                continue
            rows.append((i, one))
            hidden += [] if one.occluded is None else [(i, one.occluded)]
    classes = tuple(sorted({one.label for _, one in rows}))
    place = {label: k for k, label in enumerate(classes)}
    boxes = np.array([one.box for _, one in rows], dtype=np.float64).reshape(-1, 4)
    truth = Truth(
        np.array([i for i, _ in rows], dtype=np.int64),
        np.array([place[one.label] for _, one in rows], dtype=np.int64),
        boxes,
        boxes[:, 2] * boxes[:, 3],
        np.zeros(len(rows), dtype=bool),
        np.array([one.difficult for _, one in rows], dtype=bool),
    )
    name = (listed or folder).stem
    return GoldenSet(name, images, classes, classes, truth, {}, tuple(aside), occluded=_occluded(hidden, len(images)))


def _listed(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read(path).removeprefix(BOM).decode().splitlines()]
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8; save it as a text of one name a line in UTF-8") from None


def _voc_objects(path: Path) -> list[VocObject]:
    text = read(path)
    if b"<!" in text.replace(b"<!--", b""):
        raise UsageError(f"{path} declares a document type or entities, which no annotation needs; take them out")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without declarations there is nothing to expand
        return [_voc_object(item) for item in root.iter("object")]
    except (ElementTree.ParseError, ValueError) as error:
        raise UsageError(f"{path} is not a Pascal VOC annotation: {error}; mend the file") from None


def _voc_object(item: ElementTree.Element) -> VocObject:
    label = (item.findtext("name") or "").strip()
    if not label:
        raise ValueError("an object has no name")
    ends = [float(item.findtext(f"bndbox/{end}") or "nan") for end in ("xmin", "ymin", "xmax", "ymax")]
    if not all(map(math.isfinite, ends)):
        raise ValueError(f"{label} has no whole bndbox (xmin, ymin, xmax, ymax)")
    left, top, right, bottom = ends
    difficult, occluded = ((item.findtext(name) or "").strip() for name in ("difficult", "occluded"))
    box = (left, top, right - left, bottom - top)
    return VocObject(label, box, difficult == "1", occluded == "1" if occluded else None)


def read_results(path: Path, of: GoldenSet) -> Found:
    """A model's detections on a golden set, in COCO's results format: a list of image_id, category_id, bbox, score.

    Raises:
        UsageError: not such a file, or faults in it: an image or class that the set has not, a score outside 0 to 1.
    """
    results = decode(path, list[CocoResult], "a list of COCO results")
    images = {one: i for i, one in enumerate(of.images)}
    classes = {one: i for i, one in enumerate(of.classes)}
    faults = []
    for i, one in enumerate(results):
        where = f"[{i}]"
        if one.image_id not in images or one.category_id not in classes:
            faults += _known(where, one.image_id, one.category_id, images, classes)
        if not 0 <= one.score <= 1:
            faults.append(f"{where}: score {one.score} is not 0 to 1")
        faults += _box_faults(where, one.bbox)
    refuse(path, faults)
    return Found(
        np.array([images[one.image_id] for one in results], dtype=np.int64),
        np.array([classes[one.category_id] for one in results], dtype=np.int64),
        np.array([one.bbox for one in results], dtype=np.float64).reshape(-1, 4),
        np.array([one.score for one in results], dtype=np.float64),
    )


def results_of(found: Found, of: GoldenSet) -> list[dict[str, object]]:
    """Detections in COCO's results format, by image and score downwards."""
    order = np.lexsort((found.label, -found.score, found.image))
    columns = (found.image[order], found.label[order], found.box[order], found.score[order])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        {"image_id": of.images[image], "category_id": of.classes[label], "bbox": box, "score": score}
        for image, label, box, score in rows
    ]
