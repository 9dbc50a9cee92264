"""torchvision's RetinaNet, FCOS and Faster R-CNN on ResNet-50-FPN, as detector networks.

They start at random weights or at a file of the user's. RetinaNet and FCOS give dense proposals, so they are exported
like the small network. Faster R-CNN suppresses boxes twice and in between cuts out parts of its maps: it is trained and
measured here, and not exported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.detection.networks.interface import Dense, DetectorNetwork, Target

_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class TorchvisionDetector(DetectorNetwork):
    """One of torchvision's models. Its classes are the run's kinds: `product` alone, or one class for each kind.

    Ignored boxes are background to these models, which have no such notion.
    """

    def __init__(self, kind: str, kinds: int, side: int) -> None:
        super().__init__()
        self.kinds, self.side, self.two_stages = kinds, side, kind == "faster_rcnn_r50"
        self.body: Any = _model(kind, kinds, side)

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """See `DetectorNetwork`."""
        yield from (p for p in self.body.backbone.body.parameters() if p.requires_grad)

    def losses(self, photos: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The model's own losses, under its own names."""
        side, first = int(photos.shape[-1]), 1 if self.two_stages else 0  # class 0 is background in two stages
        wanted = [{"boxes": target.edges * side, "labels": target.kinds + first} for target in targets]
        found: dict[str, Tensor] = self.body(list(photos / 255.0), wanted)
        return found

    def dense(self, photos: Tensor) -> Dense:
        """See `DetectorNetwork`.

        Raises:
            ConfigError: the model has two stages.
        """
        if self.two_stages:
            raise ConfigError("network.kind: faster_rcnn_r50 has no dense proposals; it is measured, not exported")
        mean = torch.tensor(_MEAN, device=photos.device).view(1, 3, 1, 1)
        std = torch.tensor(_STD, device=photos.device).view(1, 3, 1, 1)
        maps = list(self.body.backbone((photos / 255.0 - mean) / std).values())
        out = self.body.head(maps)
        scores = out["cls_logits"].sigmoid()
        anchors = self._anchors(maps, photos)
        boxes = self._decoded(out, anchors)
        if "bbox_ctrness" in out:  # FCOS: the geometric mean of class and centre-ness (torchvision)
            scores = (scores * out["bbox_ctrness"].sigmoid()).sqrt()
        best = scores.max(2).values
        return Dense((boxes / float(photos.shape[-1])).clamp(0, 1), best, scores[..., 1:])

    def _anchors(self, maps: list[Tensor], photos: Tensor) -> Tensor:
        from torchvision.models.detection.image_list import ImageList

        side = int(photos.shape[-1])
        found = self.body.anchor_generator(ImageList(photos[:1], [(side, side)]), maps)
        return torch.as_tensor(found[0])

    def _decoded(self, out: dict[str, Tensor], anchors: Tensor) -> Tensor:
        """Offsets `[n, p, 4]` and anchors `[p, 4]` → boxes in pixels `[n, p, 4]`."""
        offsets = out["bbox_regression"]
        size = anchors[:, 2:] - anchors[:, :2]
        middle = (anchors[:, :2] + anchors[:, 2:]) / 2
        if "bbox_ctrness" in out:  # FCOS: distances to the four edges in units of the anchor
            far = offsets * torch.cat((size, size), 1)
            return torch.cat((middle - far[..., :2], middle + far[..., 2:]), 2)
        at = offsets[..., :2] * size + middle
        half = offsets[..., 2:].clamp(max=4.135).exp() * size / 2  # log(1000 / 16), torchvision's bound
        return torch.cat((at - half, at + half), 2)

    @torch.inference_mode()
    def detect(self, photos: Tensor) -> list[dict[str, Tensor]]:
        """The model's own answer for `float [n, 3, side, side]`: for each photo `boxes` in pixels, `scores`, `labels`
        (0 is `product`)."""
        found: list[dict[str, Tensor]] = self.body(list(photos / 255.0))
        first = 1 if self.two_stages else 0
        return [{**one, "labels": one["labels"] - first} for one in found]


def _model(kind: str, kinds: int, side: int) -> nn.Module:
    from torchvision.models import detection

    options: dict[str, Any] = {
        "weights": None,
        "weights_backbone": None,
        "min_size": side,
        "max_size": side,
    }
    made: nn.Module
    if kind == "retinanet_r50":
        made = detection.retinanet_resnet50_fpn(num_classes=kinds, **options)
    elif kind == "fcos_r50":
        made = detection.fcos_resnet50_fpn(num_classes=kinds, **options)
    else:
        made = detection.fasterrcnn_resnet50_fpn(num_classes=kinds + 1, **options)
    return made
