"""The people of the plant: inspectors who review frames, and what false alarms and catches come to on the line.

Inspectors look at a tenth of all frames by lot and at most of those on which the detector is unsure; the probability
of each pick is written down with the review, as any review tool can. They are right 98 times in a hundred, and one in
ten of their reviews is looked at again by somebody who settles it. All of it follows from the truth of the frames,
which the daemon never sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from detector import PRODUCTION_THRESHOLDS, Detection, Truth, iou, matches
from numpy.typing import NDArray
from plant import CLASSES

BY_LOT, WHEN_UNSURE = 0.1, 0.6
UNSURE = (0.3, 0.7)  # confidences between which a detection is unsure
RIGHT = 0.98
SETTLED = 0.1
SAME_PLACE = 0.5  # IoU from which on a detection lies on an object
CHECKED = 0.5  # share of false alarms that become a work order
CAUGHT = 0.01  # share of hits that people would have missed
MINUTES = 4.0  # what a false alarm costs where it is the only one of the day
EACH_MORE = 0.05  # and what each other one of the day adds: they hold each other up
PER_HOUR = 340.0  # packages before the detector
Record = dict[str, object]


def review_day(
    names: Sequence[str],
    times: Sequence[datetime],
    found: Sequence[Sequence[Detection]],
    truth: Sequence[Truth],
    rng: np.random.Generator,
) -> Iterator[Record]:
    """The reviews of one camera's day, by frame: event id, time, detections as logged, truth."""
    for name, at, detections, real in zip(names, times, found, truth, strict=True):
        unsure = any(UNSURE[0] <= d.confidence <= UNSURE[1] for d in detections)
        chance = 1 - (1 - BY_LOT) * (1 - WHEN_UNSURE * unsure)
        if rng.random() >= chance:
            continue
        common: Record = {
            "event_id": name,
            "review_prob": round(chance, 4),
            "reason": "unsure or by lot" if unsure else "by lot",
        }
        right = list(_verdicts(detections, real))
        told = [_slip(one) if rng.random() >= RIGHT else one for one in right]
        done = at + timedelta(minutes=float(rng.uniform(5, 50)))
        inspector = ("kim", "lou", "sam")[int(rng.integers(3))]
        missed = _missed(detections, real)
        said: Record = {"reviewer": inspector, "detections": told, "missed": missed}
        yield common | said | {"review_id": f"r-{name}", "finished_at": done.isoformat()}
        if rng.random() < SETTLED:
            again = {"reviewer": "ada", "detections": right, "missed": missed, "settles": True}
            later = {"review_id": f"s-{name}", "finished_at": (done + timedelta(minutes=5)).isoformat()}
            yield common | again | later


def _verdicts(detections: Sequence[Detection], truth: Truth) -> Iterator[Record]:
    boxes = np.array([d.box for d in detections], dtype=np.float64).reshape(-1, 4)
    overlap = iou(boxes, truth.boxes)
    for place, (one, hit) in enumerate(zip(detections, matches(detections, truth), strict=True)):
        said: Record = {"index": place, "class": one.class_name, "verdict": "confirmed" if hit else "false_positive"}
        if not hit and overlap.shape[1] and overlap[place].max() >= SAME_PLACE:
            real = CLASSES[int(truth.class_ids[overlap[place].argmax()])]
            said |= {"verdict": "wrong_class", "right_class": real} if real != one.class_name else {}
        yield {key: value for key, value in said.items() if key != "class"}


def _slip(said: Record) -> Record:
    """What an inspector says who is not right."""
    verdict = "false_positive" if said["verdict"] == "confirmed" else "confirmed"
    return {"index": said["index"], "verdict": verdict}


def _missed(detections: Sequence[Detection], truth: Truth) -> list[Record]:
    boxes = np.array([d.box for d in detections], dtype=np.float64).reshape(-1, 4)
    covered: NDArray[np.bool_] = np.zeros(len(truth.class_ids), dtype=bool)
    if boxes.size:
        covered = (iou(boxes, truth.boxes) >= SAME_PLACE).any(axis=0)
    left_out = [i for i in range(len(truth.class_ids)) if not covered[i]]
    return [{"class": CLASSES[int(truth.class_ids[i])], "box": [float(v) for v in truth.boxes[i]]} for i in left_out]


def business_day(
    model: str,
    camera: str,
    day: int,
    names: Sequence[str],
    times: Sequence[datetime],
    found: Sequence[Sequence[Detection]],
    truth: Sequence[Truth],
    rng: np.random.Generator,
) -> Iterator[Record]:
    """What the day of one camera's line brought: false alarms and work orders, catches, and on Mondays throughput."""
    wrong, caught = [], []
    for name, at, detections, real in zip(names, times, found, truth, strict=True):
        acted_on = [d for d in detections if d.confidence >= PRODUCTION_THRESHOLDS[d.class_name]]
        for one, hit in zip(acted_on, matches(acted_on, real), strict=True):
            (caught if hit else wrong).append((name, at, one.class_name))
    common: Record = {"model": model, "camera": camera}
    for i, (name, at, of_class) in enumerate(wrong):
        about = common | {"at": (at + timedelta(minutes=2)).isoformat(), "frame": name, "class": of_class}
        minutes = float(MINUTES * rng.lognormal(0, 0.3) * (1 + EACH_MORE * (len(wrong) - 1)))
        alarm = {"event_id": f"a-{camera}-{day:03d}-{i}", "kind": "false_alarm", "minutes": round(minutes, 1)}
        yield about | alarm
        if rng.random() < CHECKED:
            yield about | {"event_id": f"w-{camera}-{day:03d}-{i}", "kind": "work_order"}
    for i, (name, at, of_class) in enumerate(caught):
        if rng.random() < CAUGHT:
            about = common | {"at": at.isoformat(), "frame": name, "class": of_class}
            yield about | {"event_id": f"c-{camera}-{day:03d}-{i}", "kind": "missed_defect"}
    if day % 7 == 0:
        lost = 0.004 * len(wrong)  # every false alarm of the day holds the line up a little
        after = PER_HOUR * (1.06 - lost) * float(rng.normal(1, 0.01))
        yield common | {
            "event_id": f"t-{camera}-{day:03d}",
            "kind": "throughput",
            "at": times[0].isoformat(),
            "before": PER_HOUR,
            "after": round(after, 1),
        }


def write(folder: Path, name: str, records: Sequence[Record]) -> None:
    """A file of records, whole or not at all; nothing where there is none."""
    if records:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.part").write_text(lines, encoding="utf-8")
        (folder / f"{name}.part").rename(folder / name)
