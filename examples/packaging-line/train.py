"""Train the packaging line's detector and export it: `python train.py` (development only, needs torch and onnx).

About 176,000 parameters, anchor-free, two scales, the output layout of the YOLOv8 family; about five minutes on one
CPU thread. Each step draws frames that are used once, under lamps between 0.9 and 1.1 and with the old packaging
only. Objects are assigned to anchors by alignment of score and overlap (TOOD, Feng et al. 2021), boxes learn by
complete IoU (Zheng et al. 2020). Writes detector.onnx and, beside it, detector.json with what was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from detector import Detection, Detector, Truth, matches, precision_recall, to_input
from numpy.typing import NDArray
from plant import CAMERAS, CLASSES, SIZE, Scene, draw
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
STRIDES = (8, 16)
TOP_ANCHORS = 10  # anchors an object may claim
HELD_OUT = {
    "clean": Scene(),
    "light 0.55": Scene(light=0.55),
    "new packaging 25 %": Scene(new_packaging=0.25),
}


class Block(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two blocks around a shortcut."""

    def __init__(self, channels: int, inner: int, first: int = 3) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(channels, inner, first), Block(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.blocks(x)


class Network(nn.Module):
    """`forward` gives boxes [N, 4, A] as x1, y1, x2, y2 in pixels and class logits [N, classes, A]."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            Block(3, 16, stride=2),
            Block(16, 24, stride=2),
            Residual(24, 24),
            Block(24, 48, stride=2),
            Residual(48, 48),
        )
        self.coarse = nn.Sequential(Block(48, 72, stride=2), Residual(72, 36, first=1), Block(72, 48, size=1))
        self.merge = Block(48, 48)
        self.box = nn.Sequential(Block(48, 32), nn.Conv2d(32, 4, 1))
        self.score = nn.Sequential(Block(48, 32), nn.Conv2d(32, len(CLASSES), 1))
        nn.init.constant_(self.score[-1].bias, -4.0)  # objects are rare: begin with scores near 0.02
        nn.init.constant_(self.box[-1].bias, 0.7)
        centres, strides = anchors()
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("strides", strides, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(images)
        coarse = self.coarse(fine)
        levels = (self.merge(fine + functional.interpolate(coarse, scale_factor=2.0)), coarse)
        reach = torch.cat([self.box(x).flatten(2) for x in levels], 2).clamp(-4.0, 4.0).exp() * self.strides
        logits = torch.cat([self.score(x).flatten(2) for x in levels], 2)
        return torch.cat([self.centres - reach[:, :2], self.centres + reach[:, 2:]], 1), logits


class Exported(nn.Module):
    """The network with the declared output: [N, 4 + classes, A], centre and size in pixels, then scores."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        boxes, logits = self.network(images)
        low, high = boxes[:, :2], boxes[:, 2:]
        return torch.cat([(low + high) / 2, high - low, logits.sigmoid()], 1)


def anchors() -> tuple[Tensor, Tensor]:
    """Return the anchors' centres [2, A] and strides [1, A], in pixels."""
    centres, strides = [], []
    for stride in STRIDES:
        ticks = (torch.arange(SIZE // stride) + 0.5) * stride
        y, x = torch.meshgrid(ticks, ticks, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, x.numel()), float(stride)))
    return torch.cat(centres, 1), torch.cat(strides, 1)


def overlap(a: Tensor, b: Tensor, complete: bool = False) -> Tensor:
    """IoU of boxes [..., 4] that broadcast; `complete` subtracts the distance and shape terms of CIoU."""
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    value = shared / (size_a.prod(-1) + size_b.prod(-1) - shared + 1e-7)
    if not complete:
        return value
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(-1) / 4
    shape_a, shape_b = (torch.atan(s[..., 0] / (s[..., 1] + 1e-7)) for s in (size_a, size_b))
    shape = (shape_a - shape_b).square() * (4 / torch.pi**2)
    weight = (shape / (1 - value + shape + 1e-7)).detach()
    return value - apart / (hull.square().sum(-1) + 1e-7) - weight * shape


@torch.no_grad()
def assign(boxes: Tensor, scores: Tensor, centres: Tensor, truth: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Give one frame's objects to anchors: the object of each anchor [A] (-1: none) and its target score [A].

    Takes predicted boxes [A, 4] and scores [A, classes], centres [A, 2], true boxes [n, 4] and classes [n]. An
    object claims the anchors inside it that align best, score x IoU^6; the best of them is to score its IoU.
    """
    inside = ((centres > truth[:, None, :2]) & (centres < truth[:, None, 2:])).all(-1)
    iou = overlap(truth[:, None], boxes[None]) * inside
    alignment = scores[:, classes].T * iou.pow(6)
    claimed = torch.zeros_like(alignment).scatter_(1, alignment.topk(TOP_ANCHORS, 1).indices, 1.0)
    alignment = alignment * claimed
    owner = torch.where(alignment > 0, iou, 0.0).argmax(0)
    aligned, columns = alignment[owner, torch.arange(len(boxes))], torch.arange(len(boxes))
    best = alignment.amax(1).clamp(min=1e-12)
    target = aligned / best[owner] * (iou * (alignment > 0)).amax(1)[owner]
    return torch.where(alignment[owner, columns] > 0, owner, -1), target


def loss_of(boxes: Tensor, logits: Tensor, centres: Tensor, truths: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the batch's loss: soft cross-entropy of the scores, and CIoU of the assigned boxes."""
    boxes, logits = boxes.transpose(1, 2), logits.transpose(1, 2)
    targets, box_loss = torch.zeros_like(logits), logits.new_zeros(())
    for i, (truth, classes) in enumerate(truths):
        if len(truth) == 0:
            continue
        owner, target = assign(boxes[i].detach(), logits[i].detach().sigmoid(), centres.T, truth, classes)
        (own,) = torch.where(owner >= 0)
        targets[i, own, classes[owner[own]]] = target[own]
        quality = overlap(boxes[i, own], truth[owner[own]], complete=True)
        box_loss = box_loss + ((1 - quality) * target[own]).sum()
    total = targets.sum().clamp(min=1.0)
    return (functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") + 2.5 * box_loss) / total


def training_scene(rng: np.random.Generator) -> Scene:
    """Draw the conditions of one training frame: a lamp in good order and the packaging of today."""
    blur = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.2 else 0.0
    light, noise = float(rng.uniform(0.9, 1.1)), float(rng.uniform(1.5, 4.0))
    return Scene(camera=CAMERAS[rng.integers(len(CAMERAS))], light=light, blur_sigma=blur, noise_sigma=noise)


def train(steps: int, batch: int, seed: int) -> Network:
    """Train on freshly drawn frames; the same seed, steps, batch and library versions give the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    network = Network().train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps, pct_start=0.15)
    start, running = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        drawn = [draw(training_scene(rng), rng) for _ in range(batch)]
        truths = [(torch.from_numpy(b).float(), torch.from_numpy(c)) for _, b, c in drawn]
        boxes, logits = network(torch.from_numpy(to_input([frame for frame, _, _ in drawn])))
        loss = loss_of(boxes, logits, network.centres, truths)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        running += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}: loss {running / 100:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
            running = 0.0
    return network.eval()


def export(network: Network, path: Path) -> None:
    """Write the network as one ONNX file, every axis but the batch fixed."""
    torch.onnx.export(
        Exported(network).eval(),
        (torch.zeros(1, 3, SIZE, SIZE),),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    declare_shape(path)


def declare_shape(path: Path) -> None:
    """Write down the output's fixed axes, which the exporter leaves nameless."""
    model = onnx.load(path)
    axes = model.graph.output[0].type.tensor_type.shape.dim
    axes[1].dim_value, axes[2].dim_value = 4 + len(CLASSES), anchors()[1].numel()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def measure(path: Path, scene: Scene, frames: int, seed: int) -> dict[str, float]:
    """Score the exported model on freshly drawn frames of all cameras: mAP@0.5, precision, recall, confidence."""
    pictures, truth = [], []
    for i in range(frames):
        rng = np.random.default_rng(np.random.SeedSequence((seed, 2, i)))
        frame, boxes, class_ids = draw(_on_camera(scene, CAMERAS[i % len(CAMERAS)]), rng)
        pictures.append(frame)
        truth.append(Truth(boxes, class_ids))
    found = Detector(path, log_threshold=0.01).detect(pictures)
    score = precision_recall(found, truth)
    acted_on = [d.confidence for frame in found for d in frame if d.confidence >= 0.25]
    return {
        "frames": frames,
        "map50": round(mean_average_precision(found, truth), 4),
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "mean_confidence": round(float(np.mean(acted_on)), 4),
    }


def _on_camera(scene: Scene, camera: str) -> Scene:
    return Scene(camera=camera, light=scene.light, new_packaging=scene.new_packaging)


def mean_average_precision(found: list[list[Detection]], truth: list[Truth]) -> float:
    """Mean over classes of the area under the precision envelope at IoU 0.5 (every recall step counts)."""
    hits = [matches(ours, theirs) for ours, theirs in zip(found, truth, strict=True)]
    areas = []
    for class_id, name in enumerate(CLASSES):
        pairs = [
            (d.confidence, hit)
            for ours, marks in zip(found, hits, strict=True)
            for d, hit in zip(ours, marks, strict=True)
            if d.class_name == name
        ]
        real = sum(int((theirs.class_ids == class_id).sum()) for theirs in truth)
        areas.append(_area(np.array([hit for _, hit in sorted(pairs, reverse=True)], dtype=np.float64), real))
    return float(np.mean(areas))


def _area(hits: NDArray[np.float64], real: int) -> float:
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / real)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE / "detector.onnx")
    arguments = parser.parse_args()
    network = train(arguments.steps, arguments.batch, arguments.seed)
    export(network, arguments.out)
    report = {
        "classes": list(CLASSES),
        "seed": arguments.seed,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()),
        "sha256": hashlib.sha256(arguments.out.read_bytes()).hexdigest(),
        "held_out": {name: measure(arguments.out, scene, 600, arguments.seed) for name, scene in HELD_OUT.items()},
    }
    text = json.dumps(report, indent=2) + "\n"
    arguments.out.with_suffix(".json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
