"""What the examples' detectors have in common: the network, its loss, and how it is written as ONNX.

Development only (torch and onnx). Anchor-free, two scales, the output layout of the YOLOv8 family. Objects are
assigned to anchors by alignment of score and overlap (TOOD, Feng et al. 2021), boxes learn by complete IoU (Zheng et
al. 2020).
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16)
TOP_ANCHORS = 10  # anchors an object may claim
Labelled = tuple[Tensor, Tensor]
"""One frame's boxes [n, 4] as x1, y1, x2, y2 in pixels, and classes [n]."""


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


class Surroundings(nn.Module):
    """Largest values of ever wider neighbourhoods beside the values themselves (spatial pyramid pooling)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.narrow, self.widen = Block(channels, inner, 1), Block(4 * inner, channels, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.narrow(x)]
        for _ in range(3):
            found.append(self.pool(found[-1]))
        return self.widen(torch.cat(found, 1))


class Network(nn.Module):
    """`forward` gives boxes [N, 4, A] as x1, y1, x2, y2 in pixels and class logits [N, classes, A].

    `shape` is the input's height and width; `far` stands between the coarse scale's blocks, for objects that are
    larger than what those see.
    """

    def __init__(self, shape: tuple[int, int], classes: int, far: tuple[nn.Module, ...] = ()) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            Block(3, 16, stride=2),
            Block(16, 24, stride=2),
            Residual(24, 24),
            Block(24, 48, stride=2),
            Residual(48, 48),
        )
        self.coarse = nn.Sequential(Block(48, 72, stride=2), Residual(72, 36, first=1), *far, Block(72, 48, size=1))
        self.merge = Block(48, 48)
        self.box = nn.Sequential(Block(48, 32), nn.Conv2d(32, 4, 1))
        self.score = nn.Sequential(Block(48, 32), nn.Conv2d(32, classes, 1))
        nn.init.constant_(self.score[-1].bias, -4.0)  # objects are rare: begin with scores near 0.02
        nn.init.constant_(self.box[-1].bias, 0.7)
        centres, strides = anchors(shape)
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


def anchors(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the anchors' centres [2, A] and strides [1, A], in pixels."""
    centres, strides = [], []
    for stride in STRIDES:
        down, right = ((torch.arange(side // stride) + 0.5) * stride for side in shape)
        y, x = torch.meshgrid(down, right, indexing="ij")
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


def loss_of(boxes: Tensor, logits: Tensor, centres: Tensor, truths: list[Labelled]) -> Tensor:
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


def export(network: Network, shape: tuple[int, int], classes: int, path: Path) -> None:
    """Write the network as one ONNX file, every axis but the batch fixed."""
    torch.onnx.export(
        Exported(network).eval(),
        (torch.zeros(1, 3, *shape),),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    # The exporter leaves the output's fixed axes nameless.
    model = onnx.load(path)
    axes = model.graph.output[0].type.tensor_type.shape.dim
    axes[1].dim_value, axes[2].dim_value = 4 + classes, anchors(shape)[1].numel()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
