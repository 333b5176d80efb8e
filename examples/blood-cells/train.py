"""Train the blood cells' detector: `PYTHONPATH=.. python train.py FOLDER` (development only, needs torch and onnx).

FOLDER holds the BCCD data set: JPEGImages, Annotations, splits. Learns on splits/train.txt alone; splits/val.txt is
for choosing, and splits/test.txt is not read here. Frames of 640 x 480 are halved, turned by quarters, mirrored,
scaled, moved and tinted. The weights that are written are a running mean of those of the last steps.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from learning import Labelled, Network, Residual, Surroundings, export, loss_of
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
CLASSES = ("Platelets", "RBC", "WBC")
SHAPE = (240, 320)  # height and width of the network's input: the frames' halved
LEAST_SEEN = 0.35  # of a box, or the object is left out when a frame is cut
HIGHEST_RATE = 4e-3


def network() -> Network:
    """The detector before it has learned."""
    far = (Surroundings(72, 36), Residual(72, 36, first=1))
    return Network(SHAPE, len(CLASSES), far)


def read(folder: Path, split: str) -> tuple[Tensor, list[Labelled]]:
    """A split's frames [n, 3, 240, 320] uint8, and each one's boxes and classes in the pixels of those."""
    frames, labels = [], []
    for name in (folder / "splits" / f"{split}.txt").read_text(encoding="utf-8").split():
        with Image.open(folder / "JPEGImages" / f"{name}.jpg") as image:
            frames.append(np.asarray(image.convert("RGB").reduce(2)).transpose(2, 0, 1))
        labels.append(annotated(folder / "Annotations" / f"{name}.xml"))
    return torch.from_numpy(np.stack(frames)), labels


def annotated(path: Path) -> Labelled:
    """The boxes and classes of one Pascal VOC file, halved; boxes without an inside are left out."""
    rows, classes = [], []
    for item in ElementTree.parse(path).iter("object"):
        left, top, right, bottom = (
            float(item.findtext(f"bndbox/{end}")) / 2 for end in ("xmin", "ymin", "xmax", "ymax")
        )
        if right > left and bottom > top:
            rows.append((left, top, right, bottom))
            classes.append(CLASSES.index(item.findtext("name")))
    return torch.tensor(rows).reshape(-1, 4), torch.tensor(classes, dtype=torch.int64)


def varied(frame: Tensor, labels: Labelled, rng: np.random.Generator) -> tuple[Tensor, Labelled]:
    """One frame [3, 240, 320] as it might have been taken: turned, mirrored, nearer, moved, in another light."""
    height, width = SHAPE
    turn = [(1.0, 0.0), (0.0, 1.0)][int(rng.random() < 0.5)]
    scale = math.exp(rng.uniform(math.log(0.75), math.log(1.4)))
    sign = rng.choice((-1.0, 1.0), 2) * scale * np.exp(rng.uniform(-0.08, 0.08, 2))
    matrix = np.array([[turn[0] * sign[0], turn[1] * sign[0]], [turn[1] * sign[1], turn[0] * sign[1]]])
    centre = np.array([width, height]) / 2
    # Where the frame is larger than the view, look anywhere in it; where smaller, put it anywhere.
    span = np.abs(matrix) @ (2 * centre)
    shift = rng.uniform(-0.5, 0.5, 2) * np.abs(span - 2 * centre) * 1.2
    back = np.linalg.inv(matrix)
    unit = np.diag(1 / centre) @ back @ np.diag(centre)
    offset = -(back @ shift) / centre
    theta = torch.tensor(np.column_stack((unit, offset)), dtype=torch.float32)[None]
    grid = functional.affine_grid(theta, [1, 3, height, width], align_corners=False)
    grey = frame.float().mean((1, 2), keepdim=True)
    view = functional.grid_sample((frame.float() - grey)[None], grid, align_corners=False)[0] + grey
    boxes, classes = labels
    corners = boxes.numpy().reshape(-1, 2, 2) - centre
    ends = corners @ matrix.T + centre + shift
    moved = np.concatenate((ends.min(1), ends.max(1)), 1)
    cut = np.clip(moved, 0, [width, height, width, height])
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (cut, moved)]
    seen = areas[0] > LEAST_SEEN * areas[1]
    kept = torch.from_numpy(cut[seen]).float(), classes[torch.from_numpy(seen)]
    return tinted(view, rng), kept


def tinted(view: Tensor, rng: np.random.Generator) -> Tensor:
    """The frame in 0..1 under a lamp and a stain that differ a little, with a little noise."""
    gains = torch.from_numpy(rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 3)).float().reshape(3, 1, 1)
    mean = view.mean()
    view = ((view - mean) * float(rng.uniform(0.85, 1.15)) + mean) * gains
    if rng.random() < 0.3:
        view = view + torch.from_numpy(rng.standard_normal(view.shape, dtype=np.float32)) * float(rng.uniform(0, 6))
    return (view / 255.0).clamp(0.0, 1.0)


def follow(mean: nn.Module, learner: nn.Module, step: int) -> None:
    """Move the running mean of the weights towards the learner's, slowly once it is old."""
    keep = min(0.999, (1 + step) / (20 + step))
    with torch.no_grad():
        for ours, theirs in zip(mean.state_dict().values(), learner.state_dict().values(), strict=True):
            if ours.dtype.is_floating_point:
                ours.lerp_(theirs, 1 - keep)
            else:
                ours.copy_(theirs)


def train(frames: Tensor, labels: list[Labelled], steps: int, batch: int, seed: int) -> Network:
    """Learn from frames [n, 3, 240, 320] and their labels; the same arguments and libraries give the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    learner = network().train()
    mean = copy.deepcopy(learner).eval()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=HIGHEST_RATE, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=HIGHEST_RATE, total_steps=steps, pct_start=0.08)
    start, running, order = time.perf_counter(), 0.0, np.zeros(0, dtype=np.int64)
    for step in range(1, steps + 1):
        if order.size < batch:
            order = np.concatenate((order, rng.permutation(len(frames))))
        chosen, order = order[:batch], order[batch:]
        views, truths = zip(*(varied(frames[i], labels[i], rng) for i in chosen.tolist()), strict=True)
        boxes, logits = learner(torch.stack(views))
        loss = loss_of(boxes, logits, learner.centres, list(truths))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        follow(mean, learner, step)
        running += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}: loss {running / 100:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
            running = 0.0
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE / "detector.onnx")
    arguments = parser.parse_args()
    start = time.perf_counter()
    learned = train(*read(arguments.folder, "train"), arguments.steps, arguments.batch, arguments.seed)
    export(learned, SHAPE, len(CLASSES), arguments.out)
    report = {
        "classes": list(CLASSES),
        "seed": arguments.seed,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in learned.parameters()),
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "sha256": hashlib.sha256(arguments.out.read_bytes()).hexdigest(),
    }
    text = json.dumps(report, indent=2) + "\n"
    arguments.out.with_suffix(".json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
