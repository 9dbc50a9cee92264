"""YOLOv3's kind of head (Redmon & Farhadi 2018) on the Lite trunk and pyramid: anchors, objectness and classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.detection.networks.interface import Dense, DetectorNetwork, Target
from training.detection.networks.overlap import iou
from training.detection.networks.pyramid import STRIDES, LitePyramid, centres

ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Width and height in pixels of a 416-pixel photo, for the strides 8, 16 and 32 (YOLOv3, section 2.3)."""

_TRAINED_SIDE = 416
_IGNORE = 0.5  # an anchor that overlaps a box more than this, but is not the best one, is no background
_BOX_WEIGHT, _EMPTY_WEIGHT = 5.0, 0.5
_LARGEST = 4.0  # exponent of a box's size


class SingleStage(DetectorNetwork):
    """Three anchors a cell at three strides. Each says where its box is, whether there is one, and of which kind."""

    def __init__(self, kinds: int, side: int, channels: int = 64, frozen: int = 5, pretrained: bool = True) -> None:
        super().__init__()
        self.pyramid = LitePyramid("efficientnet_lite0", channels, frozen, pretrained, coarse=False)
        self.kinds = kinds - 1
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, 2 * channels, 3, padding=1),
                nn.LeakyReLU(0.1, inplace=True),
                nn.Conv2d(2 * channels, 3 * (5 + self.kinds), 1),
            )
            for _ in ANCHORS
        )
        for head in self.heads:
            last = head[-1]  # type: ignore[index]
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.bias.view(3, -1)[:, 4] = -math.log(99.0)
        self.register_buffer("sizes", torch.tensor(ANCHORS) * (side / _TRAINED_SIDE))
        self.sizes: Tensor

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """See `DetectorNetwork`."""
        yield from self.pyramid.trunk_parameters()

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For all anchors p: boxes in pixels `[n, p, 4]`, objectness logits `[n, p]`, kind logits `[n, p, kinds - 1]`,
        and the anchors themselves as boxes `[p, 4]`."""
        side, boxes, objects, kinds, anchors = int(photos.shape[-1]), [], [], [], []
        maps = self.pyramid(photos)
        for one, head, stride, sizes in zip(maps, self.heads, STRIDES, self.sizes, strict=False):
            raw = head(one).permute(0, 2, 3, 1)
            count = (side // stride) ** 2
            raw = raw.reshape(-1, count, 3, 5 + self.kinds)
            middle = centres(side, stride, photos)[:, None]
            moved = middle + (raw[..., :2].sigmoid() - 0.5) * stride
            half = raw[..., 2:4].clamp(max=_LARGEST).exp() * sizes / 2
            boxes.append(torch.cat((moved - half, moved + half), 3).flatten(1, 2))
            objects.append(raw[..., 4].flatten(1))
            kinds.append(raw[..., 5:].flatten(1, 2))
            anchors.append(torch.cat((middle - sizes / 2, middle + sizes / 2), 2).reshape(-1, 4))
        return torch.cat(boxes, 1), torch.cat(objects, 1), torch.cat(kinds, 1), torch.cat(anchors)

    def dense(self, photos: Tensor) -> Dense:
        """See `DetectorNetwork`."""
        boxes, objects, kinds, _ = self(photos)
        return Dense((boxes / float(photos.shape[-1])).clamp(0, 1), objects.sigmoid(), kinds.sigmoid())

    def losses(self, photos: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """`box`, `product` and `kind`, as YOLOv3 weighs them, with 1 - IoU in place of squared offsets."""
        boxes, objects, kinds, anchors = self(photos)
        side, weight, wanted = int(photos.shape[-1]), torch.full_like(objects, _EMPTY_WEIGHT), torch.zeros_like(objects)
        rows, places, edges, numbers = [], [], [], []
        for row, target in enumerate(targets):
            middle = (anchors[:, None, :2] + anchors[:, None, 2:]) / 2
            hidden = (middle > target.ignored[:, :2] * side) & (middle < target.ignored[:, 2:] * side)
            near = iou(boxes[row].detach()[:, None], target.edges[None] * side) > _IGNORE
            weight[row, hidden.all(2).any(1) | near.any(1)] = 0.0
            best = best_anchors(anchors, target.edges * side)
            rows.append(torch.full_like(best, row))
            places.append(best)
            edges.append(target.edges * side)
            numbers.append(target.kinds)
        owners, chosen = torch.cat(rows), torch.cat(places)
        weight[owners, chosen], wanted[owners, chosen] = 1.0, 1.0
        count = max(1, len(owners))
        cross = F.binary_cross_entropy_with_logits(objects, wanted, reduction="none")
        terms = {"product": (cross * weight).sum() / count}
        mine, theirs = boxes[owners, chosen], torch.cat(edges)
        terms["box"] = _BOX_WEIGHT * (1 - iou(mine, theirs)).sum() / count
        number = torch.cat(numbers)
        known_kind = number > 0
        if self.kinds and bool(known_kind.any()):
            one_hot = F.one_hot(number[known_kind] - 1, self.kinds).to(objects.dtype)
            logits = kinds[owners, chosen][known_kind]
            terms["kind"] = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none").sum(1).mean()
        return terms


def best_anchors(anchors: Tensor, boxes: Tensor) -> Tensor:
    """For each box [k, 4] the anchor [p, 4] that answers for it: int64 [k].

    Of the anchors of every cell that holds the box's middle it is the one with the most similar size, as in YOLOv3:
    the IoU is largest there among all anchors when both are moved to one middle, and the nearest cell breaks ties.
    """
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64, device=anchors.device)
    size, sizes = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    shared = torch.minimum(size[:, None], sizes[None]).prod(2)
    like = shared / (size.prod(1)[:, None] + sizes.prod(1)[None] - shared)
    middle, middles = (boxes[:, :2] + boxes[:, 2:]) / 2, (anchors[:, :2] + anchors[:, 2:]) / 2
    far = (middle[:, None] - middles[None]).pow(2).sum(2).sqrt()
    alike = like >= like.amax(1, keepdim=True) - 1e-6
    return torch.where(alike, far, torch.inf).argmin(1)
