"""A model's raw outputs as detections in pixels of the original image, by the convention that its contract declares.

A convention is named, never guessed from shapes: with three classes two of RF-DETR's outputs have one shape. `faults`
compares what a convention needs with what a session has; `decode` reads a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.errors import UsageError
from monitor.golden import nms
from monitor.stats.boxes import Floats, Ints

Outputs = Mapping[str, npt.NDArray[np.generic]]
"""A session's outputs by the roles that a convention gives them."""
STRIDES = (8, 16, 32)
"""Of YOLOX's three grids."""
TOP = 300
"""Best pairs of query and class that are read of a sigmoid DETR."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How an image of `width` by `height` pixels lies in the network's input: input = ratio · original + pad."""

    width: float
    height: float
    input_width: float
    input_height: float
    ratio_x: float
    ratio_y: float
    pad_x: float = 0.0
    pad_y: float = 0.0


def stretched(width: float, height: float, input_width: float, input_height: float) -> Fit:
    """The image fills the input, each side by its own ratio."""
    return Fit(width, height, input_width, input_height, input_width / width, input_height / height)


def letterboxed(width: float, height: float, input_width: float, input_height: float, centred: bool = True) -> Fit:
    """The image keeps its shape; what is left of the input is padding, on both sides or (not centred) at the end."""
    ratio = min(input_width / width, input_height / height)
    pads = ((input_width - width * ratio) / 2, (input_height - height * ratio) / 2) if centred else (0.0, 0.0)
    return Fit(width, height, input_width, input_height, ratio, ratio, *pads)


@dataclass(frozen=True, slots=True)
class Detections:
    """Of one image, best first: boxes x1, y1, x2, y2 [n, 4], scores [n], classes from 0 [n]."""

    box: Floats
    score: Floats
    label: Ints


@dataclass(frozen=True, slots=True)
class Settings:
    """What the contract says of the outputs: `nms` is one of `nms.KINDS`, `iou` and `soft_sigma` as it takes them."""

    score_floor: float = 0.01
    nms: str = "class"
    iou: float = 0.5
    most: int = 300
    soft_sigma: float = 0.5
    first_label: int = 0
    """What the model calls its first class, where it numbers them itself (1 in torchvision and TensorFlow)."""


@dataclass(frozen=True, slots=True)
class Convention:
    """The outputs by role with their shapes (a name is any size, one name one size; `classes` is the model's own).

    `scale` says what boxes are in: "input" pixels, "unit" shares of the image, or "original" pixels. `read` takes the
    outputs, an image's place in the batch and its fit.
    """

    outputs: Mapping[str, tuple[int | str, ...]]
    scale: str
    read: Callable[[Outputs, int, Fit], Detections]
    suppressed: bool = False
    """Whether the graph (or the model's training) has done with duplicates, so that the contract's NMS is not run."""
    first_label: int = 0


def _floats(values: npt.NDArray[np.generic]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _corners(centre: Floats) -> Floats:
    """x1, y1, x2, y2 of centre x, centre y, width, height [n, 4]."""
    half = centre[:, 2:] / 2
    return np.concatenate((centre[:, :2] - half, centre[:, :2] + half), axis=1)


def _best_class(box: Floats, scores: Floats) -> Detections:
    label = scores.argmax(axis=1) if scores.size else np.zeros(len(scores), dtype=np.int64)
    return Detections(box, scores[np.arange(len(scores)), label], label.astype(np.int64))


def _rows(box: npt.NDArray[np.generic], score: npt.NDArray[np.generic], label: npt.NDArray[np.generic]) -> Detections:
    return Detections(
        _floats(box).reshape(-1, 4), _floats(score).ravel(), np.rint(_floats(label)).ravel().astype(np.int64)
    )


def _anchors_last(of: Outputs, i: int, fit: Fit) -> Detections:
    rows = _floats(of["output"][i]).T
    return _best_class(_corners(rows[:, :4]), rows[:, 4:])


def _objectness(of: Outputs, i: int, fit: Fit) -> Detections:
    rows = _floats(of["output"][i])
    return _best_class(_corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5])


def _on_grid(of: Outputs, i: int, fit: Fit) -> Detections:
    rows = _floats(of["output"][i]).copy()
    cells, steps = [], []
    for stride in STRIDES:
        wide, high = int(fit.input_width // stride), int(fit.input_height // stride)
        y, x = np.divmod(np.arange(wide * high), wide)
        cells.append(np.column_stack((x, y)))
        steps.append(np.full((wide * high, 1), stride))
    stride_of = np.concatenate(steps)
    rows[:, :2] = (rows[:, :2] + np.concatenate(cells)) * stride_of
    rows[:, 2:4] = np.exp(rows[:, 2:4]) * stride_of
    return _best_class(_corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5])


def _end_to_end(of: Outputs, i: int, fit: Fit) -> Detections:
    rows = of["output"][i]
    return _rows(rows[:, :4], rows[:, 4], rows[:, 5])


def _three(of: Outputs, i: int, fit: Fit) -> Detections:
    return _rows(of["boxes"][i], of["scores"][i], of["labels"][i])


def _one_image(of: Outputs, i: int, fit: Fit) -> Detections:
    return _rows(of["boxes"], of["scores"], of["labels"])


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _queries(of: Outputs, i: int, fit: Fit) -> Detections:
    scores = _sigmoid(_floats(of["logits"][i]))
    best = np.argsort(-scores.ravel(), kind="stable")[:TOP]
    query, label = np.divmod(best, scores.shape[1])
    return Detections(_corners(_floats(of["boxes"][i]))[query], scores.ravel()[best], label)


def _queries_but_last(of: Outputs, i: int, fit: Fit) -> Detections:
    return _queries({"logits": of["logits"][:, :, :-1], "boxes": of["boxes"]}, i, fit)


def _softmax(of: Outputs, i: int, fit: Fit) -> Detections:
    logits = _floats(of["logits"][i])
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return _best_class(_corners(_floats(of["boxes"][i])), shares[:, :-1])


def _counted(of: Outputs, i: int, fit: Fit) -> Detections:
    n = int(np.rint(_floats(of["count"]).reshape(-1)[i]))
    return _rows(of["boxes"][i][:n], of["scores"][i][:n], of["labels"][i][:n])


def _counted_yx(of: Outputs, i: int, fit: Fit) -> Detections:
    found = _counted(of, i, fit)
    return Detections(found.box[:, [1, 0, 3, 2]], found.score, found.label)


def _scored_boxes(of: Outputs, i: int, fit: Fit) -> Detections:
    rows = of["boxes"][i]
    return _rows(rows[:, :4], rows[:, 4], of["labels"][i])


def _flat_by_count(of: Outputs, i: int, fit: Fit) -> Detections:
    ends = np.cumsum(_floats(of["count"]).ravel()).astype(np.int64)
    rows = of["output"][int(ends[i - 1]) if i else 0 : int(ends[i])]
    return _rows(rows[:, 2:], rows[:, 1], rows[:, 0])


def _flat_by_image(of: Outputs, i: int, fit: Fit) -> Detections:
    rows = of["output"][_floats(of["output"])[:, 0] == i]
    return _rows(rows[:, 1:5], rows[:, 5], rows[:, 6])


def _selected(of: Outputs, i: int, fit: Fit) -> Detections:
    picked = np.asarray(of["selected"], dtype=np.int64)
    _, label, box = picked[picked[:, 0] == i].T
    return _rows(of["boxes"][i][box], of["scores"][i][label, box], label)


_LISTS: dict[str, tuple[int | str, ...]] = {"boxes": ("n", "m", 4), "scores": ("n", "m"), "labels": ("n", "m")}
_SINGLE: dict[str, tuple[int | str, ...]] = {"boxes": ("m", 4), "scores": ("m",), "labels": ("m",)}
CONVENTIONS: dict[str, Convention] = {
    "yolov8": Convention({"output": ("n", "4+classes", "anchors")}, "input", _anchors_last),
    "yolov5": Convention({"output": ("n", "anchors", "5+classes")}, "input", _objectness),
    "end-to-end": Convention({"output": ("n", "m", 6)}, "input", _end_to_end, True),
    "yolox": Convention({"output": ("n", "anchors", "5+classes")}, "input", _on_grid),
    "yolox-decoded": Convention({"output": ("n", "anchors", "5+classes")}, "input", _objectness),
    "rtdetr-deploy": Convention(_LISTS, "original", _three, True),
    "hf-sigmoid": Convention({"logits": ("n", "m", "classes"), "boxes": ("n", "m", 4)}, "unit", _queries, True),
    "hf-softmax": Convention({"logits": ("n", "m", "1+classes"), "boxes": ("n", "m", 4)}, "unit", _softmax, True),
    "rf-detr": Convention(
        {"logits": ("n", "m", "1+classes"), "boxes": ("n", "m", 4)}, "unit", _queries_but_last, True
    ),
    "torchvision": Convention(_SINGLE, "input", _one_image, True, 1),
    "tf-od": Convention({"count": ("n",), **_LISTS}, "unit", _counted_yx, True, 1),
    "efficient-nms": Convention({"count": ("n", 1), **_LISTS}, "input", _counted, True),
    "mmdeploy": Convention({"boxes": ("n", "m", 5), "labels": ("n", "m")}, "input", _scored_boxes, True),
    "paddle": Convention({"output": ("m", 6), "count": ("n",)}, "original", _flat_by_count, True),
    "nms-in-graph": Convention(
        {"boxes": ("n", "m", 4), "scores": ("n", "classes", "m"), "selected": ("k", 3)}, "input", _selected, True
    ),
    "yolo-nas": Convention({"count": ("n", 1), **_LISTS}, "input", _counted, True),
    "yolo-nas-flat": Convention({"output": ("m", 7)}, "input", _flat_by_image, True),
}
"""Every convention by the name that a contract gives it."""


def faults(
    name: str, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int | str | None]], classes: int
) -> list[str]:
    """What a session's outputs lack of a convention, a sentence each.

    `roles` names the session's output for each role; `shapes` are the session's, in which a text or None is any size.
    """
    if name not in CONVENTIONS:
        return [f"{name!r} is no output convention; there are {', '.join(CONVENTIONS)}"]
    found, sizes = (
        [],
        {"classes": classes, "1+classes": classes + 1, "4+classes": classes + 4, "5+classes": classes + 5},
    )
    for role, wanted in CONVENTIONS[name].outputs.items():
        own = roles.get(role)
        if own is None or own not in shapes:
            has = ", ".join(shapes) or "none"
            found.append(f"{name} needs an output for {role}, and {own or 'none'} is not among the model's: {has}")
            continue
        shape = tuple(shapes[own])
        fits = len(shape) == len(wanted) and all(
            not isinstance(size, int) or size == (sizes.get(said, size) if isinstance(said, str) else said)
            for size, said in zip(shape, wanted, strict=True)
        )
        if not fits:
            is_, should = (f"[{', '.join(map(str, sides))}]" for sides in (shape, wanted))
            found.append(f"{own} has the shape {is_}, and {role} of {name} has {should} with {classes} classes")
    return found


def decode(
    name: str, roles: Mapping[str, str], outputs: Outputs, fits: Sequence[Fit], settings: Settings = Settings()
) -> list[Detections]:
    """The detections of each image of a batch; `fits` are the images', in the order of the batch.

    Raises:
        UsageError: no such convention, an output that it needs is not there, or numbers that are none.
    """
    if name not in CONVENTIONS:
        raise UsageError(f"{name!r} is no output convention; write one of {', '.join(CONVENTIONS)}")
    convention = CONVENTIONS[name]
    missing = [role for role in convention.outputs if roles.get(role) not in outputs]
    if missing:
        raise UsageError(f"{name} needs outputs for {', '.join(missing)}; name the model's own in the contract")
    if not fits:
        return []
    named = {role: outputs[roles[role]] for role in convention.outputs}
    each = [_above_floor(convention.read(named, i, fit), settings.score_floor) for i, fit in enumerate(fits)]
    box = np.concatenate([_original(one.box, convention.scale, fit) for one, fit in zip(each, fits, strict=True)])
    score, label = (np.concatenate([getattr(one, name) for one in each]) for name in ("score", "label"))
    image = np.repeat(np.arange(len(each)), [one.score.size for one in each])
    label = label - (convention.first_label or settings.first_label)
    kind = "none" if convention.suppressed else settings.nms
    kept, score = nms.suppressed(
        image, label, box, score, kind, settings.iou, settings.soft_sigma, settings.score_floor
    )
    ends = np.searchsorted(image[kept], np.arange(len(each) + 1))
    firsts = [slice(start, min(end, start + settings.most)) for start, end in itertools.pairwise(ends)]
    return [Detections(box[kept[part]], score[part], label[kept[part]]) for part in firsts]


_OVER_ONE = 1e-4
"""By so much a score may lie above 1 from rounding."""


def _above_floor(found: Detections, floor: float) -> Detections:
    """The detections with at least the score `floor`.

    Raises:
        UsageError: scores or boxes that are no numbers, or scores above 1: whatever is made of them would be wrong.
    """
    # A comparison with NaN is false, so that these would be left out as if the model had found nothing.
    if np.isnan(found.score).any():
        raise UsageError(
            "the model gives scores that are no numbers (NaN); see whether half precision overflows in it"
        )
    kept = found.score >= floor
    box, score = found.box[kept], found.score[kept]
    if score.size and score.max() > 1 + _OVER_ONE:
        raise UsageError(f"the model gives scores up to {score.max():g}, and they are 0 to 1; see its convention")
    if np.isnan(box).any():
        raise UsageError(
            "the model gives boxes that are no numbers (NaN); see whether half precision overflows in it"
        )
    return Detections(box, np.minimum(score, 1.0), found.label[kept])


def _original(box: Floats, scale: str, fit: Fit) -> Floats:
    """Boxes [n, 4] in pixels of the original image, cut to it."""
    sides = np.array([fit.width, fit.height] * 2)
    if scale == "input":
        box = (box - np.array([fit.pad_x, fit.pad_y] * 2)) / np.array([fit.ratio_x, fit.ratio_y] * 2)
    elif scale == "unit":
        box = box * sides
    return np.asarray(np.clip(box, 0.0, sides))
