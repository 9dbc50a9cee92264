"""The small detector: EfficientNet-Lite0, a pyramid of few channels, and an anchor-free head.

As in FCOS (Tian et al. 2019) every cell of every map says how far the four edges of its box are. Its score is trained
to be the IoU of that box (quality focal loss, Li et al. 2020, Generalized Focal Loss, section 3.1), so that the most
confident box is also the best placed one. One score stands for any product; the kind is a second question that only
boxes with a known kind teach.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.detection.networks.assign import Assigned, assign
from training.detection.networks.interface import Dense, DetectorNetwork, Target
from training.detection.networks.overlap import giou_loss, iou
from training.detection.networks.pyramid import STRIDES, LitePyramid, centres

_PRIOR = 0.01  # the score of an untrained cell (Lin et al. 2017, Focal Loss, section 4.1)
_FARTHEST = 4.0  # exponent of a distance; e^4 strides are more than any photo has
_FOCUS = 2.0  # beta of the quality focal loss
_KIND_WEIGHT = 0.2


class SmallDetector(DetectorNetwork):
    """Lite trunk, pyramid and anchor-free head. `kinds` counts `product` too."""

    def __init__(
        self, kinds: int, channels: int = 64, depth: int = 2, frozen: int = 5, pretrained: bool = True
    ) -> None:
        super().__init__()
        self.pyramid = LitePyramid("efficientnet_lite0", channels, frozen, pretrained)
        self.what, self.where = _tower(channels, depth), _tower(channels, depth)
        self.product = nn.Conv2d(channels, 1, 3, padding=1)
        self.kind = nn.Conv2d(channels, kinds - 1, 1) if kinds > 1 else None
        self.edges = nn.Conv2d(channels, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(len(STRIDES)))
        for conv in (self.product, self.kind, self.edges):
            if conv is not None:
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.product.bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]
        if self.kind is not None:
            nn.init.constant_(self.kind.bias, -3.0)  # type: ignore[arg-type]

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """See `DetectorNetwork`."""
        yield from self.pyramid.trunk_parameters()

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For all cells p of all maps: product logits `[n, p]`, kind logits `[n, p, kinds - 1]`, and boxes in pixels
        `[n, p, 4]`, which may reach beyond the photo."""
        products, kinds, boxes = [], [], []
        side = int(photos.shape[-1])
        for place, (stride, one) in enumerate(zip(STRIDES, self.pyramid(photos), strict=True)):
            what, where = self.what(one), self.where(one)
            products.append(self.product(what).flatten(1))
            if self.kind is not None:
                kinds.append(self.kind(what).flatten(2).transpose(1, 2))
            far = (self.edges(where) * self.scale[place]).clamp(max=_FARTHEST).exp() * (2 * stride)
            far = far.flatten(2).transpose(1, 2)
            middle = centres(side, stride, photos)
            boxes.append(torch.cat((middle - far[..., :2], middle + far[..., 2:]), 2))
        logits = torch.cat(products, 1)
        return logits, torch.cat(kinds, 1) if kinds else logits[..., None][..., :0], torch.cat(boxes, 1)

    def dense(self, photos: Tensor) -> Dense:
        """See `DetectorNetwork`."""
        product, kind, boxes = self(photos)
        return Dense((boxes / float(photos.shape[-1])).clamp(0, 1), product.sigmoid(), kind.sigmoid())

    def losses(self, photos: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """`product`, `box` and `kind`: quality focal loss of all cells, GIoU and cross-entropy of those with a box."""
        product, kind, boxes = self(photos)
        side = int(photos.shape[-1])
        places = [centres(side, stride, photos) for stride in STRIDES]
        found = [assign(places, STRIDES, target, side) for target in targets]
        return quality_losses(product, kind, boxes, found)


def quality_losses(product: Tensor, kind: Tensor, boxes: Tensor, found: Sequence[Assigned]) -> dict[str, Tensor]:
    """The three terms, summed over cells and divided by the number of cells with a box.

    Args:
        product: logits `[n, p]`.
        kind: logits `[n, p, k]`.
        boxes: `[n, p, 4]` in pixels.
        found: for each photo, which box each cell has.
    """
    has = torch.stack([one.has for one in found])
    weight = torch.stack([one.weight for one in found])
    wanted, mine = torch.cat([one.edges for one in found]), boxes[has]
    count = has.sum().clamp(min=1)
    quality = torch.zeros_like(product)
    quality[has] = iou(mine.detach(), wanted).to(quality.dtype)
    away = (quality - product.sigmoid()).abs().pow(_FOCUS)
    cross = F.binary_cross_entropy_with_logits(product, quality, reduction="none")
    terms = {"product": (away * cross * weight).sum() / count, "box": giou_loss(mine, wanted).sum() / count}
    numbers = torch.cat([one.kinds for one in found])
    known = numbers > 0
    if kind.shape[2] and bool(known.any()):
        one_hot = F.one_hot(numbers[known] - 1, kind.shape[2]).to(kind.dtype)
        entropy = F.binary_cross_entropy_with_logits(kind[has][known], one_hot, reduction="none").sum(1)
        terms["kind"] = _KIND_WEIGHT * entropy.mean()
    return terms


def _tower(channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        layers += [conv, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
